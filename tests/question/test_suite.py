"""bench/question/suite.py: suites, choices and ids."""

import json
import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace

import pytest

from bench.errors import UsageError
from bench.names import Choice, parse_choice, parse_seeds, split_list
from bench.question.plan import budget_key, plan
from bench.question.suite import (
    Settings,
    Suite,
    known_suites,
    read_suite,
    suite_from,
    with_one_name,
    with_options,
    without_datasets,
)
from bench.question.trial import WITHOUT_FOLDERS, Trial

TRIAL = Trial(
    method="muse", preset="paper", options={"layers": 3}, training={"epochs": 2}, dataset="digits", dataset_options={}, combination="NEWS",
    protocol="mcar(0.3)", seed=1, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip


@pytest.mark.parametrize(
    "text", ["muse", "moe-retriever@as_released", "muse[layers=3,norm=true]", "moe-retriever@paper[width=64]", "my/file.py:Mine"]
)
def test_choice_prints_as_it_was_written(text):
    assert str(parse_choice(text)) == text


def test_option_values_get_their_types():
    assert parse_choice("a[x=1,y=0.5,z=false,w=abc]").options == {"x": 1, "y": 0.5, "z": False, "w": "abc"}


@pytest.mark.parametrize("text", ["muse[layers]", "muse[layers=1", "muse@", "muse[layers=1,layers=2]", ""])
def test_malformed_choice_is_explained(text):
    with pytest.raises(UsageError):
        parse_choice(text)


def test_commas_inside_brackets_do_not_split():
    assert split_list("a[x=1,y=2],mcar(V=0.1,A=0.5),b") == ["a[x=1,y=2]", "mcar(V=0.1,A=0.5)", "b"]


@pytest.mark.parametrize(("value", "seeds"), [("0-2", (0, 1, 2)), ("4,1-2", (4, 1, 2)), (3, (3,)), ([0, "5-6"], (0, 5, 6))])
def test_seeds_take_ranges(value, seeds):
    assert parse_seeds(value) == seeds


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "2-0", "0,0", "", True, [0.5]])
def test_seeds_that_are_not_integers_are_refused(value):
    with pytest.raises(UsageError, match="seed"):
        parse_seeds(value)


@pytest.mark.parametrize("name", known_suites())
def test_suite_file_reads_back_to_itself(name):
    suite = read_suite(name)
    assert suite_from(name, tomllib.loads(suite.to_toml())) == suite
    assert suite.title


def test_noise_crosses_protocols_without_a_rate():
    setting = Settings(("digits",), protocols=("natural", "mcar", "mcar(0.2)", "mar(N->E,2)", "mcar(N=0.2)"), noise=(0.1, 0.5))
    assert setting.protocol_texts() == [
        "natural", "mcar(0.1)", "mcar(0.5)", "mcar(0.2)", "mar(N->E,2,0.1)", "mar(N->E,2,0.5)", "mcar(N=0.2)",
    ]  # fmt: skip


def test_surface_keys_come_from_file_and_options():
    table = {"settings": [{"datasets": ["digits"], "noise": [0.3], "test_noise": [0, 0.5], "test_combinations": "all"}]}
    suite = suite_from("mine", table)
    assert suite.settings == (Settings(("digits",), noise=(0.3,), test_noise=(0.0, 0.5), test_combinations=("all",)),)
    assert suite_from("mine", tomllib.loads(suite.to_toml())) == suite
    changed = with_options(suite, {"test_noise": "0.1,0.2", "test_combinations": "NE,N"})
    assert changed.settings == (Settings(("digits",), noise=(0.3,), test_noise=(0.1, 0.2), test_combinations=("NE", "N")),)


def test_options_win_over_the_suite_and_merge_training():
    suite = with_options(
        read_suite("quick"), {"datasets": "gaussian", "noise": "0.2", "seeds": "7", "training": ["epochs=1"], "metric": None}
    )
    assert suite.settings == (Settings(("gaussian",), protocols=("mcar",), noise=(0.2,)),)
    assert suite.seeds == (7,)
    assert suite.training["epochs"] == 1
    assert suite.training["width"] == 64
    assert "epochs" in read_suite("quick").configs["muse"]
    assert "epochs" not in suite.configs["muse"]
    assert "epochs_times" in read_suite("real").budgets["support2"]
    assert with_options(read_suite("real"), {"training": ["epochs=1"]}).budgets["support2"] == {"m3care": {"learning_rate": 0.001}}


def test_budget_of_a_dataset_with_its_options_counts_over_that_of_its_name():
    budgets = {"gaussian": {"epochs_times": 0.5, "width": 8}, "gaussian[synergy=2]": {"epochs_times": 4}}
    datasets = ("gaussian", "gaussian[synergy=2]", "gaussian[synergy=2.0,n=300]")
    suite = Suite("s", (Settings(datasets, noise=(0.3,)),), methods=("mean-mlp",), seeds=(0,), training={"epochs": 10}, budgets=budgets)
    found = {trial.dataset_choice: trial.training for trial in plan(suite) if trial.method == "mean-mlp"}
    assert [found[name]["epochs"] for name in ("gaussian", "gaussian[synergy=2]")] == [5, 40]
    assert [training["epochs"] for name, training in found.items() if "300" in name] == [5]  # another dataset than that of the table
    assert all(training["width"] == 8 for training in found.values())
    assert suite_from("s", tomllib.loads(suite.to_toml())).budgets == suite.budgets


def test_epochs_times_multiplies_each_methods_own_epochs_on_a_dataset():
    tables = {"training": {"epochs": 10}, "configs": {"muse": {"epochs": 30}}, "budgets": {"digits": {"epochs_times": 0.25, "width": 8}}}
    suite = Suite("s", (Settings(("digits", "breast-cancer"), noise=(0.3,)),), methods=("muse", "mean-mlp"), seeds=(0,), **tables)
    found = {(trial.method, trial.dataset): trial.training for trial in plan(suite)}
    assert {key: training["epochs"] for key, training in found.items()} == {
        ("muse", "digits"): 8, ("mean-mlp", "digits"): 2, ("muse", "breast-cancer"): 30, ("mean-mlp", "breast-cancer"): 10,
    }  # fmt: skip
    assert found["muse", "digits"] == {"epochs": 8, "width": 8}
    assert replace(suite, budgets={"digits": {"epochs_times": 0.01}}).budget_of("muse", "digits") == {"epochs": 1}
    assert with_options(suite, {"training": ["epochs=4"]}).budgets == {"digits": {"width": 8}}
    assert suite_from("s", tomllib.loads(suite.to_toml())).budgets == suite.budgets


def test_budget_of_a_method_on_a_dataset_counts_over_all_others_and_reaches_fields_of_its_own():
    of_name = {"epochs_times": 0.5, "learning_rate": 0.01, "muse": {"learning_rate": 0.001, "edge_drop_rate": 0.4}}
    of_options = {"width": 16, "muse": {"learning_rate": 0.1}}
    suite = Suite(
        "s",
        (Settings(("gaussian", "gaussian[synergy=2]", "breast-cancer"), noise=(0.3,)),),
        methods=("muse", "mean-mlp"),
        seeds=(0,),
        training={"epochs": 10, "width": 8},
        configs={"muse": {"epochs": 30, "edge_drop_rate": 0.2}},
        budgets={"gaussian": of_name, "gaussian[synergy=2]": of_options},
    )
    found = {(trial.method, trial.dataset_choice): trial.training for trial in plan(suite) if trial.method != "bayes"}
    assert found == {
        ("muse", "gaussian"): {"epochs": 15, "width": 8, "learning_rate": 0.001, "edge_drop_rate": 0.4},
        ("muse", "gaussian[synergy=2]"): {"epochs": 15, "width": 16, "learning_rate": 0.1, "edge_drop_rate": 0.4},
        ("muse", "breast-cancer"): {"epochs": 30, "width": 8, "edge_drop_rate": 0.2},
        ("mean-mlp", "gaussian"): {"epochs": 5, "width": 8, "learning_rate": 0.01},
        ("mean-mlp", "gaussian[synergy=2]"): {"epochs": 5, "width": 16, "learning_rate": 0.01},
        ("mean-mlp", "breast-cancer"): {"epochs": 10, "width": 8},
    }
    assert suite_from("s", tomllib.loads(suite.to_toml())) == suite
    set_ = with_options(suite, {"training": ["learning_rate=0.5"]})
    assert {trial.training["learning_rate"] for trial in plan(set_) if trial.method != "bayes"} == {0.5}, "what the command line says wins"
    assert set_.own_budget_of("muse", "gaussian") == {"edge_drop_rate": 0.4}
    assert without_datasets(suite, {"gaussian", "gaussian[synergy=2]"}).budgets == {}
    same = replace(suite, budgets={"gaussian": {**of_name, "muse": {}}, "gaussian[synergy=2]": of_options})
    assert budget_key(suite) != budget_key(same), "of two budgets there is no table"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"mus": {"epochs": 2}}, r"unknown method in \[budgets.digits\].*did you mean 'muse'"),
        ({"muse": {"epoch": 2}}, "unknown option of muse.*did you mean 'epochs'"),
        ({"muse": {"epochs_times": 2}}, "unknown option of muse.*'epochs_times'"),
        ({"muse": {"epochs": {"x": 2}}}, "epochs"),
    ],
)
def test_budget_of_a_method_on_a_dataset_is_checked(table, message):
    with pytest.raises(UsageError, match=message):
        plan(Suite("s", (Settings(("digits",), noise=(0.3,)),), methods=("muse",), seeds=(0,), budgets={"digits": table}))


@pytest.mark.parametrize("times", [0, -1, True, "x2", float("inf"), float("nan")])
def test_epochs_times_is_a_positive_number(times):
    with pytest.raises(UsageError, match=r"epochs_times in \[budgets.digits\] must be a positive number"):
        Suite("s", (Settings(("digits",)),), training={"epochs": 2}, budgets={"digits": {"epochs_times": times}})


@pytest.mark.parametrize(
    "tables",
    [{"budgets": {"digits": {"epochs_times": 2}}}, {"training": {"epochs": 2}, "budgets": {"digits": {"epochs_times": 2, "epochs": 3}}}],
)
def test_epochs_times_needs_epochs_stated_elsewhere(tables):
    with pytest.raises(UsageError, match="multiplies the epochs that"):
        Suite("s", (Settings(("digits",)),), **tables)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"metod": ["muse"], "settings": [{"datasets": ["digits"]}]}, "did you mean 'methods'"),
        ({"settings": [{"datasets": ["digits"], "nosie": [0.1]}]}, "did you mean 'noise'"),
        ({"settings": [{"datasets": ["digits"], "noise": [1.2]}]}, r"in \[0, 1\), got 1.2"),
        ({"settings": [{"noise": [0.1]}]}, "needs datasets"),
        ({"settings": [{"datasets": ["digits"], "test_noise": [1]}]}, r"in \[0, 1\), got 1"),
        ({"settings": [{"datasets": ["digits"], "test_combination": ["N"]}]}, "did you mean 'test_combinations'"),
        ({"settings": []}, "needs a method and a"),
        ({"metric": "acuracy", "settings": [{"datasets": ["digits"]}]}, "did you mean 'accuracy'"),
        ({"device": "gpu", "settings": [{"datasets": ["digits"]}]}, "device must be auto"),
        ({"minutes": "long", "settings": [{"datasets": ["digits"]}]}, "minutes must be a number"),
        ({"methods": ["muse", "muse"], "settings": [{"datasets": ["digits"]}]}, "names muse twice"),
        ({"settings": {"datasets": ["digits"]}}, "settings must be tables"),
        ({"vary": "splt", "settings": [{"datasets": ["digits"]}]}, "did you mean 'split'"),
    ],
)
def test_bad_suite_keys_are_explained(table, message):
    with pytest.raises(UsageError, match=message):
        suite_from("bad", table)


def test_malformed_toml_names_file_and_line(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("title = 'x'\nseeds = [0,\nmethods =\n")
    with pytest.raises(UsageError, match=r"broken\.toml is not valid TOML: .*line 3"):
        read_suite(str(path))


def test_missing_suite_file_and_unknown_name_are_explained(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_suite(str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="did you mean 'quick'"):
        read_suite("quik")


def test_trial_id_depends_on_every_field_and_survives_json():
    changes = {"method": "x", "preset": "x", "options": {}, "training": {}, "dataset": "x", "dataset_options": {"n": 1}, "combination": "N",
               "protocol": "natural", "seed": 2, "selection": "auroc", "vary": "split", "fixed_seed": 1, "fingerprint": "g", "version": "w",
               "harness": 0, "evaluations": ("mcar(0.5)",)}  # fmt: skip
    ids = {replace(TRIAL, **{key: value}).id for key, value in changes.items()}
    assert len(ids | {TRIAL.id}) == len(changes) + 1
    assert Trial.from_json(TRIAL.canonical()) == TRIAL
    assert replace(TRIAL, options=json.loads('{"layers": 3}')).id == TRIAL.id
    tested = replace(TRIAL, evaluations=("mcar(0.5)", "fixed(NE)"))
    assert Trial.from_json(tested.canonical()) == tested


def test_trial_without_further_evaluations_keeps_the_id_it_always_had():
    assert "evaluations" not in TRIAL.canonical()
    assert replace(TRIAL, harness=1).id == "2a4f5a9525913a2f"


def test_default_preset_is_left_out_of_the_label():
    assert TRIAL.label == "muse[layers=3]"
    assert replace(TRIAL, preset="as_released", options={}).label == "muse@as_released"
    assert str(Choice("muse")) == "muse"


@pytest.mark.parametrize(
    ("evaluations", "rates", "combinations"),
    [
        (("mcar(0)", "mcar(0.5)"), (0.0, 0.5), ()),
        (("fixed(E)", "fixed(NE)"), (), ("E", "NE")),
        (("mcar(0.5)", "fixed(N)", "fixed(E)", "fixed(NE)"), (0.5,), ("all",)),
    ],
)
def test_command_of_a_trial_asks_for_its_evaluations(evaluations, rates, combinations):
    words = shlex.split(replace(TRIAL, combination="NE", evaluations=evaluations).command())[2:]
    options = {key.removeprefix("--").replace("-", "_"): value for key, value in zip(words[::2], words[1::2], strict=True)}
    chosen = {key: options[key] for key in ("test_noise", "test_combinations") if key in options}
    setting = with_options(read_suite("published"), chosen).settings[0]
    assert (setting.test_noise, setting.test_combinations) == (rates, combinations)


@pytest.mark.parametrize("training", [{}, {"epochs": 3, "layers": 2}], ids=["published", "changed"])
def test_command_of_a_trial_asks_for_that_trial(training):
    """Whatever suite a trial came from, its command gives the same settings and no others."""
    trial = replace(TRIAL, training=training, options={}, vary="split", fixed_seed=3)
    words = shlex.split(trial.command())[2:]
    options = {}
    for key, value in zip(words[::2], words[1::2], strict=True):
        options.setdefault(key.removeprefix("--").replace("-", "_"), []).append(value)
    suite = read_suite(options.pop("suite")[0])
    sets = options.pop("set", [])
    fixed_seed = int(options.pop("fixed_seed")[0])
    found = with_options(suite, {key: value[0] for key, value in options.items()} | {"training": sets or None, "fixed_seed": fixed_seed})
    assert (found.training, found.configs) == (training, {})
    assert found.settings == (Settings(("digits",), ("NEWS",), ("mcar(0.3)",), (0.1, 0.3, 0.5)),)
    assert (found.seeds, found.vary, found.fixed_seed, found.methods) == ((1,), "split", 3, ("muse",))


def test_suite_rejects_nonpositive_limits():
    with pytest.raises(UsageError, match="must be positive"):
        Suite("s", (Settings(("digits",)),), minutes=0)


def test_pairs_to_resolve_read_back_and_order_the_seeds():
    suite = with_options(
        Suite("s", (Settings(("digits",)),), seeds=(4, 1)), {"until_resolved": "muse[layers=3,width=8],fusemoe", "max_seeds": 5}
    )
    assert suite.looks.pairs == (("muse[layers=3,width=8]", "fusemoe"),)
    assert suite.looks.seed_order() == (4, 1, 0, 2, 3)
    assert suite_from("s", tomllib.loads(suite.to_toml())) == suite
    assert with_options(Suite("s", (Settings(("digits",)),)), {"until_resolved": ["muse,fusemoe"]}).max_seeds == 30
    assert "max_seeds" not in Suite("s", (Settings(("digits",)),)).to_toml()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_seeds": 9}, "name it with --until-resolved"),
        ({"until_resolved": "muse"}, "pairs of two methods.*got 'muse'"),
        ({"until_resolved": "muse,muse"}, "pairs of two methods"),
        ({"until_resolved": ["muse,fusemoe,m3care"]}, "pairs of two methods"),
        ({"until_resolved": "muse,fusemoe", "max_seeds": 3}, "must be above the 3 of the first look, got 3"),
        ({"until_resolved": "muse,fusemoe", "seeds": 0}, "starts from 2 seeds or more"),
        ({"until_resolved": "muse,fusemoe", "vary": "split"}, "leave --vary split out"),
        ({"rope": 0}, "above 0 and below 100 points, got 0"),
        ({"max_seeds": "many"}, "must be a whole number"),
    ],
)
def test_bad_plans_to_resolve_are_explained(options, words):
    with pytest.raises(UsageError, match=words):
        with_options(Suite("s", (Settings(("digits",)),)), options)


def test_read_half_and_help_import_no_torch():
    names = (
        "names",
        "question.suite",
        "grid.engine",
        "records.database",
        "stats",
        "leaderboard",
        "comparison.page",
        "cli",
        "data.protocol",
        "grid.progress",
    )
    modules = ", ".join(f"bench.{name}" for name in names)
    absent = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.partition('.')[0] == 'torch': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    code = f"{absent}import {modules}\nfrom bench.api import board, compare, results\nassert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == ""


# Files as their users wrote them


def test_suite_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "mine.toml").write_text(read_suite("quick").to_toml(), encoding="utf-8-sig")
    assert read_suite(tmp_path / "mine.toml") == replace(read_suite("quick"), name="mine")


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("utf-16", "is in UTF-16, and TOML is UTF-8; save it as UTF-8"),
        ("latin-1", r"is not UTF-8 \(line 2\), and TOML is; save it as UTF-8"),
    ],
)
def test_suite_in_another_encoding_is_explained_in_our_words(encoding, words, tmp_path):
    (tmp_path / "mine.toml").write_text('# first\ntitle = "für alle"\n', encoding=encoding)
    with pytest.raises(UsageError, match=f"suite file .*mine.toml {words}"):
        read_suite(tmp_path / "mine.toml")


def test_id_leaves_out_where_files_lie_and_keeps_all_else():
    trial = replace(TRIAL, method="/home/me/a/net.py:Net", dataset="sub/data.py:Made", harness=WITHOUT_FOLDERS)
    moved = replace(trial, method="net.py:Net", dataset="/srv/data.py:Made")
    assert moved.id == trial.id
    assert Trial.from_json(trial.to_json()) == trial
    others = {"method": "a/net.py:Other", "dataset": "sub/other.py:Made", "version": "w", "fingerprint": "g"}
    assert len({replace(trial, **{key: value}).id for key, value in others.items()} | {trial.id}) == 5


def test_trial_of_the_first_harness_keeps_the_id_that_its_path_gave_it():
    trial = replace(TRIAL, method="a/net.py:Net", harness=1)
    assert replace(trial, method="net.py:Net").id != trial.id
    assert trial.canonical() == trial.to_json()


def test_command_of_a_trial_survives_the_shell_whatever_its_paths_hold():
    trial = replace(TRIAL, method="it's, [so/net.py:Net", dataset="a@b, c/data.py:Made", training={"weights": "a b,'c.pt"})
    words = shlex.split(trial.command())
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert split_list(options["--methods"]) == [trial.choice]
    assert split_list(options["--datasets"]) == [trial.dataset_choice]
    assert with_options(Suite("s", (Settings(("digits",)),)), {"training": [options["--set"]]}).training == trial.training


def test_tables_of_a_file_are_found_however_it_is_spelled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").touch()
    (tmp_path / "data.py").touch()
    tables = {
        "configs": {"./net.py:Net": {"width": 8}},
        "budgets": {f"{tmp_path}/data.py:Made": {"epochs": 2, "./net.py:Net": {"epochs": 3}}},
    }
    pairs = {"methods": ("muse", "./net.py:Net"), "until_resolved": ("muse,./net.py:Net",), "max_seeds": 5}
    suite = Suite("s", (Settings(("./data.py:Made[rows=3]",)),), **pairs, **tables)
    found = with_one_name(suite)
    assert (found.methods, found.settings[0].datasets) == (("muse", "net.py:Net"), ("data.py:Made[rows=3]",))
    assert (list(found.configs), list(found.budgets), found.looks.pairs) == (["net.py:Net"], ["data.py:Made"], (("muse", "net.py:Net"),))
    assert list(found.budgets["data.py:Made"]) == ["epochs", "net.py:Net"]
    assert with_one_name(found) == found
    with pytest.raises(UsageError, match=r"configs names one file twice, as net\.py:Net and as \./net\.py:Net; name it once"):
        with_one_name(replace(found, configs={"net.py:Net": {}, "./net.py:Net": {}}))


def test_title_of_a_suite_names_the_datasets_that_were_asked_for_in_place_of_its_own():
    suite = read_suite("quick")
    asked = with_options(suite, {"datasets": ["/home/me/mine.py:Mine", "digits"]})
    assert asked.title == "Suite quick on mine.py:Mine and digits"
    assert with_options(suite, {"methods": ["constant"], "noise": 0.3}).title == suite.title
    assert with_options(suite, {"datasets": ["digits"], "title": "Mine"}).title == "Mine"
    assert suite_from("quick", tomllib.loads(asked.to_toml())).title == asked.title


# --- a metric and a selection of a dataset's own

OWN = {"metrics": {"digits": {"metric": "auroc", "selection": "auroc"}}, "settings": [{"datasets": ["digits", "breast-cancer"]}]}


def test_a_dataset_may_have_a_metric_and_a_selection_of_its_own():
    suite = suite_from("own", OWN)
    assert [(suite.on(name).metric, suite.on(name).selection) for name in ("digits", "breast-cancer")] == [
        ("auroc", "auroc"),
        ("accuracy", "accuracy"),
    ]
    assert suite.on("digits[rows=3]").metric == "auroc"
    assert suite_from("own", tomllib.loads(suite.to_toml())) == suite
    assert "metrics" not in suite_from("own", {"settings": OWN["settings"]}).to_toml()


def test_the_table_of_a_dataset_with_options_wins_over_that_of_its_name_key_by_key():
    tables = {"mosi": {"metric": "auroc", "selection": "auroc"}, "mosi[fold=standard]": {"metric": "f1_macro"}}
    suite = Suite("s", (Settings(("mosi", "mosi[fold=standard]")),), metrics=tables)
    assert (suite.on("mosi[fold=1]").metric, suite.on("mosi[fold=standard]").metric) == ("auroc", "f1_macro")
    assert suite.on("mosi[fold=standard]").selection == "auroc"
    assert suite_from("s", tomllib.loads(suite.to_toml())) == suite


def test_a_metric_that_an_option_names_wins_over_the_tables_of_datasets():
    suite = suite_from("own", OWN)
    one = with_options(suite, {"metric": "f1_macro"})
    assert (one.on("digits").metric, one.on("digits").selection) == ("f1_macro", "auroc")
    both = with_options(suite, {"metric": "f1_macro", "selection": "accuracy"})
    assert (both.metrics, both.on("digits").selection) == ({}, "accuracy")
    assert with_options(suite, {"seeds": "7"}).metrics == suite.metrics


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"metrc": "auroc"}, r"unknown key of \[metrics.\"digits\"\] 'metrc', did you mean 'metric'"),
        ({"metric": "aurocs"}, r"unknown metric in \[metrics.\"digits\"\] 'aurocs', did you mean 'auroc'"),
        ({"selection": 3}, r"unknown metric in \[metrics.\"digits\"\] '3'"),
        (
            {"metric": "brier"},
            r"is brier and the suite's accuracy; .* share a scale \(accuracy from 0 to 1, higher is better and brier from 0 to 2, lower",
        ),
        ("auroc", r"metrics must be tables, one a dataset, each headed \[metrics.DATASET\]"),
    ],
    ids=["key", "metric", "selection", "direction", "no table"],
)
def test_what_a_table_of_a_dataset_may_not_say_is_explained(table, message):
    with pytest.raises(UsageError, match=message):
        suite_from("bad", {**OWN, "metrics": {"digits": table}})


def test_a_checkpoint_may_be_picked_by_a_score_that_falls():
    assert suite_from("own", {**OWN, "metrics": {"digits": {"selection": "brier"}}}).on("digits").selection == "brier"
