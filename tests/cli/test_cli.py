"""bench/cli: every command works, JSON keeps its shape, bad input is one line and exit code 2."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from typed import called as bench

from bench.cli import GROUPS, main
from bench.methods.catalog import METHODS
from bench.names import one_name

OUTSIDE = Path(__file__).parents[1] / "support" / "outside.py"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A small finished run: two methods, one of them outside, and one that fails."""
    folder = tmp_path_factory.mktemp("runs")
    methods = f"constant,mean-logistic,{OUTSIDE}:Mine,{OUTSIDE}:Raises"
    result = bench(
        "run",
        "--methods",
        methods,
        "--datasets",
        "breast-cancer",
        "--noise",
        "0.3",
        "--seeds",
        "0-1",
        "--epochs",
        "1",
        "--out",
        folder,
        code=1,
    )
    assert "Mine" in result.stdout
    assert "2 of 8 trials failed" in result.stderr
    return folder


def test_newcomer_from_a_file_appears_in_the_table(out):
    page = bench("leaderboard", "--out", out).stdout
    assert "| Mine " in page
    assert str(OUTSIDE) not in page
    assert "2 failed" in page


def test_run_json_is_the_documented_shape_and_nothing_else(out):
    result = bench(
        "run",
        "--methods",
        "constant",
        "--datasets",
        "breast-cancer",
        "--noise",
        "0.3",
        "--seeds",
        "0-1",
        "--epochs",
        "1",
        "--out",
        out,
        "--json",
        "-q",
    )
    trials = json.loads(result.stdout)["trials"]
    keys = {"id", "method", "preset", "dataset", "combination", "protocol", "noise", "seed", "status", "reason", "metrics", "cost"}
    assert all(set(trial) == keys for trial in trials)
    assert {trial["seed"] for trial in trials} == {0, 1}


def test_leaderboard_json_is_the_documented_shape(out):
    board = json.loads(bench("leaderboard", "--out", out, "--json").stdout)
    assert set(board["settings"][0]) >= {"dataset", "protocol", "noise", "rows"}
    assert set(board["settings"][0]["rows"][0]) >= {"method", "preset", "n", "mean", "sd", "interval", "rank", "flags"}


def test_compare_answers_in_words_and_in_the_documented_json(out):
    page = bench("compare", "mean-logistic", "constant", "--out", out, "--patterns").stdout
    assert "**breast-cancer (MEW), mcar(0.3).** On 86 test samples mean-logistic scored" in page
    assert "| Observed" in page
    shape = json.loads(bench("compare", "mean-logistic", "constant", "--out", out, "--rope", "2", "--json").stdout)
    assert shape["rope"] == 0.02
    assert set(shape["settings"][0]) >= {"difference", "interval", "p", "p_adjusted", "verdict"}
    assert shape["settings"][0]["verdict"] == "better"
    assert shape["across"]["wilcoxon"]["reason"] == "n/a (needs n >= 6)"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["constant", "mean-logistics"], "did you mean 'mean-logistic'"),
        (["constant", "mean-logistic", "--settings", "digits"], "no setting fits 'digits'"),
        (["constant", "mean-logistic", "--metric", "acc"], "unknown metric 'acc'"),
        (["constant", "mean-logistic", "--rope", "0"], "above 0 and below 100 points, got 0"),
    ],
)
def test_compare_explains_bad_input(out, words, message):
    result = bench("compare", *words, "--out", out, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_published_folder_answers_as_the_results_folder_does(out, tmp_path):
    folder = tmp_path / "board"
    bench("leaderboard", "--out", out, "--publish", folder)
    for words in (["compare", "mean-logistic", "constant", "--json"], ["show", "--methods", "mean-logistic,constant", "--json"]):
        assert json.loads(bench(*words, "--from", folder).stdout) == json.loads(bench(*words, "--out", out).stdout)
    # A method of a file is published by its short name, and so under another id.
    theirs, ours = (json.loads(bench("show", "--json", *where).stdout)["trials"] for where in (("--from", folder), ("--out", out)))
    ours, theirs = (
        [(trial["method"].rpartition(":")[2], trial["seed"], trial["metrics"]) for trial in trials] for trials in (ours, theirs)
    )
    assert all(trial in ours for trial in theirs)
    assert len(ours) == len(theirs)
    result = bench("compare", "mean-logistic", "constant", "--from", folder, "--out", out, code=2)
    assert result.stderr == "Error: --out and --from name two places; give one of them\n"
    assert "holds one suite, 'board', got 'quick'" in bench("compare", "a", "b", "--from", folder, "--suite", "quick", code=2).stderr


@pytest.mark.parametrize("damage", ["absent", "records", "trial", "predictions"])
def test_damaged_published_folder_is_explained(out, tmp_path, damage):
    folder = tmp_path / "board"
    bench("leaderboard", "--out", out, "--publish", folder)
    if damage == "absent":
        folder = tmp_path / "nowhere"
    elif damage == "predictions":
        (folder / "predictions.npz").write_bytes((folder / "predictions.npz").read_bytes()[:200])
    else:
        lines = (folder / "records.jsonl").read_text().splitlines()
        lines[0] = lines[0][:50] if damage == "records" else json.dumps({**json.loads(lines[0]), "trial": {"method": "muse"}})
        (folder / "records.jsonl").write_text("\n".join(lines))
    result = bench("compare", "mean-logistic", "constant", "--from", folder, code=2)
    assert "cannot be read" in result.stderr
    assert result.stderr.count("\n") == 1


def test_show_prints_the_command_that_repeats_a_trial(out, tmp_path):
    trials = json.loads(bench("show", "--out", out, "--json").stdout)["trials"]
    chosen = next(trial for trial in trials if trial["method"] == "mean-logistic")
    text = bench("show", chosen["id"], "--out", out).stdout
    command = text.strip().splitlines()[-1].split()
    assert command[:2] == ["bench", "run"]
    words = [word.strip("'") for word in command[1:]]
    words[words.index("--out") + 1] = str(tmp_path)
    again = json.loads(bench(*words, "--json", "-q").stdout)["trials"]
    assert [(trial["id"], trial["metrics"]) for trial in again] == [(chosen["id"], chosen["metrics"])]


def test_response_surface_is_run_shown_and_repeated(tmp_path):
    words = ["run", "--methods", "constant,mean-logistic", "--datasets", "breast-cancer", "--noise", "0.3", "--seeds", "0"]
    page = bench(*words, "--test-noise", "0,0.5", "--test-combinations", "all", "--out", tmp_path, "-q").stdout
    assert "### Response surface" in page
    assert "Shapley M" in page
    trials = json.loads(bench("show", "--out", tmp_path, "--json").stdout)["trials"]
    chosen = next(trial for trial in trials if trial["method"] == "mean-logistic")
    text = bench("show", chosen["id"], "--out", tmp_path).stdout
    assert text.index("evaluations\n  rule") < text.index("fixed(MEW)  ") < text.index("repeat it")
    assert text.strip().endswith(f"--test-noise 0,0.5 --test-combinations all --out {tmp_path}-repeat")
    command = [word.strip("'") for word in text.strip().splitlines()[-1].split()[1:-2]]
    again = json.loads(bench(*command, "--out", tmp_path / "again", "--json", "-q").stdout)["trials"]
    assert [(trial["id"], trial["metrics"]) for trial in again] == [(chosen["id"], chosen["metrics"])]


def test_show_json_holds_facts_and_provenance(out):
    first = json.loads(bench("show", "--out", out, "--json").stdout)["trials"][0]["id"]
    shown = json.loads(bench("show", first, "--out", out, "--json").stdout)["trials"][0]
    assert shown["facts"]["test_evaluations"] == 1
    assert "hardware_id" in shown["provenance"]


def test_publish_writes_a_folder_that_checks(out, tmp_path):
    bench("leaderboard", "--out", out, "--publish", tmp_path / "board")
    names = {path.name for path in (tmp_path / "board").iterdir()}
    data = {"suite.toml", "records.jsonl", "predictions.npz", "audit.json"}
    rendered = {"README.md", "breast-cancer.md", "table.csv", "table.tex", "significance.json"}
    assert {name for name in names if not name.endswith(".svg")} == data | rendered  # plots where matplotlib is installed
    assert str(out) not in (tmp_path / "board" / "README.md").read_text()
    bench("leaderboard", "--check", tmp_path / "board")
    written = json.loads(bench("leaderboard", "--render", tmp_path / "board", "--json").stdout)
    assert {"README.md", "breast-cancer.md", "significance.json", "table.tex"} <= set(written[0]["files"])
    (tmp_path / "board" / "table.csv").write_text("edited")
    assert "table.csv" in bench("leaderboard", "--check", tmp_path / "board", code=1).stdout


def test_profile_json_is_the_documented_shape_and_nothing_else():
    result = bench("profile", "mean-mlp[width=8],mean-logistic", "--dataset", "breast-cancer", "--noise", "0.3", "--json", "-q")
    found = json.loads(result.stdout)["profiles"]
    assert result.stderr == ""
    keys = {
        "method", "preset", "dataset", "combination", "protocol", "seed", "device", "threads", "reason", "cost", "components", "observed",
        "not_counted", "waits",
    }  # fmt: skip
    assert [set(entry) for entry in found] == [keys, keys]
    assert set(found[0]["cost"]) == {
        "gflops_per_sample", "training_gflops_per_sample", "parameters", "active_parameters", "latency_ms_1", "latency_ms_8",
        "latency_ms_64", "peak_memory_mb", "launches", "synchronisations",
    }  # fmt: skip
    assert set(found[0]["components"][0]) == {"component", "gflops_per_sample", "parameters", "active_parameters"}
    observed = found[0]["observed"]
    assert set(observed[0]) == {"combination", "gflops_per_sample", "ms_per_sample", "peak_memory_mb", "components"}
    assert [entry["combination"] for entry in observed] == ["M", "E", "W", "ME", "MW", "EW", "MEW"]


def test_profile_of_a_method_that_fails_ends_with_code_one():
    result = bench("profile", "constant", f"{OUTSIDE}:Raises", "--dataset", "breast-cancer", code=1)
    assert "constant" in result.stdout
    assert f"failed: {one_name(f'{OUTSIDE}:Raises')}: KeyError" in result.stderr


def test_profile_draws_a_plot(tmp_path):
    pytest.importorskip("matplotlib")
    bench("profile", "mean-mlp", "--dataset", "breast-cancer", "-q", "--plot", tmp_path / "cost.svg")
    assert "<svg" in (tmp_path / "cost.svg").read_text()
    result = bench("profile", "mean-mlp", "--dataset", "breast-cancer", "--plot", tmp_path / "cost.unknown", code=2)
    assert "a plot is written to a file ending in .png, .pdf, .svg" in result.stderr
    assert result.stdout == ""


def test_dry_run_lists_trials_and_runs_none(tmp_path):
    text = bench("run", "--methods", "constant", "--dry-run", "--out", tmp_path / "none").stdout
    assert "12 trials, 12 to run" in text
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("what", ["methods", "datasets", "suites"])
def test_list_names_everything(what):
    rows = json.loads(bench("list", what, "--json").stdout)
    assert all("name" in row for row in rows)
    lines = bench("list", what).stdout.splitlines()
    assert len(lines) > len(rows)
    assert max(map(len, lines)) <= 80  # a terminal's width
    if what == "methods":
        assert [row["name"] for row in rows][: len(METHODS)] == list(METHODS)


def test_list_of_suites_opens_with_those_for_everyone():
    lines = bench("list", "suites").stdout.splitlines()
    assert lines[0].split() == ["name", "group", "title"]
    assert lines[2].split()[:2] == ["quick", "general"]
    assert {line.split()[1] for line in lines[2:] if not line.startswith(" ")} == {"general", "moe-retriever"}


def test_doctor_finds_this_machine_fit(tmp_path):
    found = json.loads(bench("doctor", "--json", "--out", tmp_path).stdout)
    assert {check["check"] for check in found} >= {"torch", "isolation", "dataset digits", "methods", "results folder"}
    assert "ok" in bench("doctor", "--out", tmp_path).stdout


@pytest.mark.slow
def test_new_method_runs_and_passes_its_test(tmp_path):
    said = json.loads(bench("new", "method", "my-mean", "--folder", tmp_path, "--json").stdout)
    assert said["catalog_line"] == '"my-mean": "bench.methods.my_mean:MyMean",'
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *said["files"][1:]], capture_output=True, text=True, check=False
    )
    assert "2 passed" in tested.stdout, tested.stdout
    bench(
        "run",
        "--methods",
        f"{said['files'][0]}:MyMean",
        "--datasets",
        "breast-cancer",
        "--noise",
        "0.3",
        "--seeds",
        "0",
        "--epochs",
        "3",
        "--out",
        tmp_path,
    )
    assert "MyMean" in bench("leaderboard", "--out", tmp_path).stdout
    assert "exists already" in bench("new", "method", "my-mean", "--folder", tmp_path, code=2).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--methods", "shapec"], "unknown method 'shapec', did you mean 'shaspec'"),
        (["run", "--datasets", "digit"], "unknown dataset 'digit', did you mean 'digits'"),
        (["run", "--suite", "quik"], "unknown suite 'quik', did you mean 'quick'"),
        (["run", "--metric", "acc"], "unknown metric 'acc'"),
        (["run", "--noise", "1.0"], "must be in [0, 1), got 1.0"),
        (["run", "--noise", "lots"], "must be a number in [0, 1)"),
        (["run", "--seeds", "one"], "seeds are whole numbers"),
        (["run", "--set", "epochs"], "an option reads name=value"),
        (["run", "--set", "epocs=3"], "unknown training option 'epocs', did you mean 'epochs'"),
        (["run", "--methods", "muse,muse"], "names muse twice"),
        (["run", "--methods", "nothing.py:X"], "does not exist"),
        (["run", "--methods", f"{OUTSIDE}:NoForward"], "does not define forward"),
        (["run", "--datasets", f"{OUTSIDE}:NoLoad"], "NoLoad' does not load: TypeError: NoLoad must define load"),
        (["run", "--datasets", f"{OUTSIDE}:LoadsNothing"], "must return Samples, got NoneType"),
        (["profile", "shapec"], "unknown method 'shapec', did you mean 'shaspec'"),
        (["profile", "muse", "--dataset", "digits,gaussian"], "takes one dataset, combination and protocol, got 2 settings"),
        (["profile", "muse", "--protocol", "mcar"], "mcar needs a missing rate"),
        (["profile", "muse", "--set", "epocs=3"], "unknown training option 'epocs', did you mean 'epochs'"),
        (["profile", "muse", "--device", "gpu"], "device must be auto, cpu, cuda or cuda:N"),
        (["leaderboard", "--out", "nowhere"], "run `bench run --out nowhere` first"),
        (["show", "abc", "--out", "nowhere"], "no results in nowhere"),
        (["new", "method", "Bad Name"], "lower case words"),
        (["new", "method", "muse"], "exists already"),
    ],
)
def test_bad_input_is_one_line_and_code_two(words, message):
    more = ["--dry-run"] if words[0] == "run" else []
    result = bench(*words, *more, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_help_is_fast_to_import_and_free_of_torch():
    code = (
        "import sys; from bench.cli import main; "
        "heavy = {'torch', 'sklearn', 'pandas', 'scipy', 'numpy'} & set(sys.modules); assert not heavy, heavy"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == ""
    for command in ("run", "list", "profile", "leaderboard", "compare", "audit", "show", "new", "doctor"):
        assert bench(command, "--help").stdout.startswith("Usage:")


def test_notebook_functions_give_tidy_rows(tmp_path):
    import bench as package

    chosen = {"methods": ["constant", "mean-logistic"], "datasets": "breast-cancer", "noise": 0.3, "seeds": range(2)}
    frame = package.run(**chosen, out=tmp_path, quiet=True)
    assert list(frame["seed"]) == [0, 0, 1, 1]
    assert {"accuracy", "auroc", "parameters", "status"} <= set(frame.columns)
    assert package.results(tmp_path).equals(frame)
    assert package.board(tmp_path).settings[0].rows[-1].label == "constant"
    found = package.compare("mean-logistic", "constant", tmp_path, settings="breast-cancer", rope=0.5, patterns=True)
    assert found.differences[0].verdict == "better"
    assert "Verdict: mean-logistic is **better**" in str(found)


def test_evaluations_are_tidy_rows(tmp_path):
    import bench as package

    options = {"datasets": "breast-cancer", "noise": 0.3, "test_noise": [0, 0.5], "test_combinations": "M"}
    package.run(methods=["constant"], seeds=0, out=tmp_path, quiet=True, **options)
    frame = package.evaluations(tmp_path)
    assert list(frame["evaluation"]) == ["mcar(0)", "mcar(0.5)", "fixed(M)"]
    assert list(frame["test_combination"])[-1] == "M"
    assert list(frame["test_noise"])[:2] == [0, 0.5]
    assert {"id", "method", "noise", "seed", "missing", "accuracy", "auroc"} <= set(frame.columns)


def test_class_given_from_python_runs(tmp_path):
    import bench as package

    specification = importlib.util.spec_from_file_location("cell", OUTSIDE)
    cell = importlib.util.module_from_spec(specification)
    sys.modules["cell"] = cell
    specification.loader.exec_module(cell)
    frame = package.run(methods=[cell.Mine], datasets="breast-cancer", noise=0.3, seeds=0, training={"epochs": 2}, out=tmp_path, quiet=True)
    assert list(frame["method"]) == ["Mine"]
    assert frame["accuracy"][0] > 0.5


def test_help_lists_every_command_in_one_group_and_in_80_columns():
    listed = [command.name for commands in GROUPS.values() for command in commands]
    assert sorted(listed) == sorted(main.commands)
    text = CliRunner().invoke(main, ["--help"], terminal_width=80).stdout
    assert [title for title in GROUPS if f"\n{title}:\n" in text] == list(GROUPS)
    assert "..." not in text.partition("\n")[2]
    assert max(map(len, text.splitlines())) <= 80
    places = [text.index(f"\n  {name}  ") for name in listed]
    assert places == sorted(places)


def leaves(group):
    return [leaf for command in group.commands.values() for leaf in (leaves(command) if hasattr(command, "commands") else [command])]


def test_an_option_of_several_commands_is_the_same_option_everywhere():
    """It is written once, in bench/cli/options.py; those below bear a common word in two senses."""
    senses = {
        "--suite",
        "--methods",
        "--noise",
        "--seed",
        "--metric",
        "--plot",
        "--publish",
        "--check",
        "--from",
        "--to",
        "--minutes",
        "--by",
    }
    helps = {}
    for command in leaves(main):
        for option in command.params:
            if isinstance(option, click.Option):
                helps.setdefault(max(option.opts, key=len), set()).add((option.help, type(option.type).__name__, option.metavar))
    assert {name for name, found in helps.items() if len(found) > 1} == senses


@pytest.mark.parametrize("name", ["run", "tune", "analyze routing"])
def test_the_question_is_asked_by_the_same_options(name):
    command = main
    for word in name.split():
        command = command.commands[word]
    names = {option.name for option in command.params}
    question = {"suite", "methods", "datasets", "combinations", "protocols", "noise", "selection", "epochs", "training"}
    assert names >= question | {"device", "threads", "minutes", "memory_gb", "jobs", "out", "as_json", "quiet"}


def test_set_and_epochs_reach_the_trials_of_a_run_and_of_an_analysis(tmp_path):
    words = ["--methods", "mean-mlp", "--datasets", "breast-cancer", "--noise", "0.3", "--seeds", "0", "--epochs", "1", "--set", "width=8"]
    bench("run", *words, "--out", tmp_path, "-q")
    bench("analyze", "cost", *words, "--out", tmp_path, "--figures", tmp_path / "figures", "-q")
    (trial,) = json.loads(bench("show", "--out", tmp_path, "--json").stdout)["trials"]
    shown = bench("show", trial["id"], "--out", tmp_path).stdout
    assert "'epochs': 1" in shown
    assert "'width': 8" in shown
    result = bench("run", *words, "--set", "epochs=3", "--out", tmp_path, code=2)
    assert result.stderr == "Error: option 'epochs' is given twice; give it once\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--check", "--render"], "--check and --render are steps of their own"),
        (["--publish", "x", "--site", "y"], "--publish and --site are steps of their own"),
        (["--add", "x.bundle", "--check", "board"], "--check and --add are steps of their own"),
        (["leaderboards/quick"], "nothing here looks at leaderboards/quick; --from leaderboards/quick prints it"),
        (["--publish", "x", "leaderboards/quick"], "--publish makes one board of several folders, got leaderboards/quick alone"),
        (["--no-predictions"], "give --publish FOLDER as well"),
        (["--site", "y", "--no-predictions"], "give --publish FOLDER as well"),
    ],
)
def test_leaderboard_takes_one_step_and_overlooks_nothing(words, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reason in bench("leaderboard", *words, code=2).stderr
    assert list(tmp_path.iterdir()) == []
