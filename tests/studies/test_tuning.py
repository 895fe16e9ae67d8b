"""bench/studies and bench/question/winners.py: equal budgets, validation alone, resumable; winners run and are shown for what they are."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typed import called as bench

import bench as package
from bench import registry
from bench.errors import UsageError
from bench.grid.engine import execute
from bench.grid.how import How
from bench.grid.places import Local
from bench.grid.process import Lost
from bench.leaderboard import build, markdown, publish, stale_files
from bench.leaderboard.front_page import tuning_lines
from bench.leaderboard.rows import hp_of
from bench.question.plan import plan
from bench.question.suite import Settings, Suite, suite_from, with_options
from bench.question.winners import REACHES, own_label, read_winners, winners_of, with_configs, write_winners
from bench.records.answers import named as named_rows
from bench.records.database import Store
from bench.records.record import Record
from bench.studies.results import BUDGETS, training_seed
from bench.studies.space import Space, key_of, propose, space_of
from bench.studies.study import JOURNAL, Budget, Cut, Study
from bench.studies.tuning import tune
from bench.training.trial import run_trial, validate_trial

HERE = Path(__file__).parents[1] / "support"
FILE = "tunable.py"  # as a user in this folder writes it: what is drawn depends on a method's name, here not on where the checkout lies
EPOCHS = 4


@pytest.fixture(scope="module", autouse=True)
def here():
    before = Path.cwd()
    os.chdir(HERE)
    yield
    os.chdir(before)


def named(*names):
    return tuple(f"{FILE}:{name}" for name in names)


def suite_of(*names, dataset="Clean", epochs=EPOCHS, **options):
    training = {"epochs": epochs, "batch_size": 64}
    return Suite("small", (Settings((f"{FILE}:{dataset}",), noise=(0.3,)),), methods=named(*names), training=training, **options)


def tuned(out, *names, suggestions=6, **options):
    suite = {key: options.pop(key) for key in ("dataset", "epochs", "selection") if key in options}
    budget = {key: options.pop(key) for key in ("gflops", "minutes") if key in options}
    how = How(place=Local(options.pop("jobs", 1)))
    return tune(suite_of(*names, **suite), out, Budget(suggestions, **budget), how=how, **options)


def trial_of(name, dataset="Clean", **changes):
    return replace(plan(suite_of(name, dataset=dataset, seeds=(7,)))[0], **changes)


def configurations(result):
    return [key_of(suggestion.options) for track in result.tracks for suggestion in track.suggestions]


@pytest.fixture(scope="module")
def found(tmp_path_factory, here):
    """One tuning of a method that fits itself and one that is trained, without pruning."""
    out = tmp_path_factory.mktemp("runs")
    return out, tuned(out, "Cut", "Net", pruner="none", jobs=2)


# --- validation alone


@pytest.mark.parametrize("name", ["Cut", "Net", "WarmUp"])
def test_validation_scores_as_a_trial_does_to_the_last_bit(name):
    trial = trial_of(name)
    record, nothing = validate_trial(trial)
    assert nothing is None
    assert record.facts.valid == run_trial(trial)[0].facts.valid
    assert record.facts.rows["test"] == record.facts.test_evaluations == 0
    assert record.metrics == {}


@pytest.mark.parametrize("name", ["Cut", "Net"])
def test_test_rows_are_never_read(name):
    """Test rows that no trial survives, with wrong labels, change no bit of a validation."""
    clean, poisoned = (validate_trial(trial_of(name, dataset))[0] for dataset in ("Clean", "Poisoned"))
    assert clean.facts.valid == poisoned.facts.valid
    with pytest.raises(UsageError, match="infinite values"):
        run_trial(trial_of(name, "Poisoned"))


def test_tuning_ends_well_on_test_rows_that_no_trial_survives(tmp_path):
    tuning = tuned(tmp_path, "Cut", "Net", dataset="Poisoned", suggestions=2)
    assert [result.count("done") for result in tuning.results] == [2, 2]


def test_epochs_report_counted_flops_that_grow_evenly():
    seen = []
    record, _ = validate_trial(trial_of("Net"), report=seen.append)
    gflops = [reached.gflops for reached in seen]
    assert np.allclose(gflops, gflops[0] * np.arange(1, EPOCHS + 1))
    assert record.facts.train_gflops == pytest.approx(gflops[-1])
    assert all(a < b for a, b in zip([0, *(reached.seconds for reached in seen)], [reached.seconds for reached in seen], strict=False))


def test_warm_up_is_counted_at_its_own_cost():
    seen = []
    validate_trial(trial_of("WarmUp"), report=lambda reached: seen.append(reached.gflops))
    steps = np.diff([0, *seen])
    assert steps[0] == pytest.approx(steps[1])
    assert steps[2] == pytest.approx(steps[3])
    assert steps[2] > 2 * steps[0]


def test_method_that_fits_itself_has_no_flops():
    assert validate_trial(trial_of("Cut"))[0].facts.train_gflops is None


# --- budgets


def test_every_method_gets_the_same_number_of_suggestions(found):
    _, tuning = found
    assert {len(result.suggestions) for result in tuning.results} == {6}
    assert all(result.count("done") == 6 for result in tuning.results)
    assert not tuning.interrupted


def test_no_configuration_is_tried_twice_nor_the_default_again(found):
    for result in found[1].results:
        tried = [*configurations(result), key_of(result.tracks[0].default.options)]
        assert len(set(tried)) == len(tried) == 7


def test_small_space_ends_when_it_is_exhausted(tmp_path):
    tuning = tuned(tmp_path, "FewCuts")
    result = tuning.results[0]
    assert result.has_ended
    assert {options["cut"] for options in (s.options for s in result.suggestions)} == {-1.0, 1.0}
    assert result.winner().label == f"{FILE}:FewCuts tuned (2 suggestions)"
    assert not tuned(tmp_path, "FewCuts").interrupted


def test_costs_are_recorded_both_ways(found):
    by_name = {result.trial.method.rpartition(":")[2]: result for result in found[1].results}
    assert by_name["Cut"].gflops is None
    assert by_name["Net"].gflops > 0
    assert all(0 < s.train_seconds < s.seconds for result in by_name.values() for s in result.suggestions)


def test_flop_budget_ends_a_study_and_what_runs_over_does_not_count(tmp_path):
    whole = validate_trial(trial_of("Net", options={"learning_rate": 1e-3, "width": 16}))[0].facts.train_gflops
    result = tuned(tmp_path, "Net", suggestions=50, gflops=3 * whole, pruner="none").results[0]
    assert result.has_ended
    assert 3 * whole <= result.gflops
    scored = [s for s in result.suggestions if s.score is not None]
    assert sum(s.gflops for s in scored) <= 3 * whole
    over = [s for s in result.suggestions if s.score is None]
    assert [s.reason for s in over] == ["the budget was spent"] * len(over)
    assert len(result.suggestions) < 50


def test_time_budget_ends_what_runs(tmp_path):
    begin = time.monotonic()
    with pytest.raises(UsageError, match=r"(the only suggestion|all \d suggestions) for .* (was|were) pruned \(the budget was spent\)"):
        tuned(tmp_path, "Hopeless", suggestions=2, minutes=1.0 / 60)
    assert time.monotonic() - begin < 60


def test_lagging_suggestion_is_ended_early(tmp_path):
    suite = suite_of("Net", epochs=12)
    result = tune(suite, tmp_path, Budget(11)).results[0]
    pruned = [s for s in result.suggestions if s.status == "pruned"]
    assert pruned
    assert all("below the median after epoch" in s.reason and s.score is None for s in pruned)
    whole = max(s.gflops for s in result.suggestions if s.status == "done")
    assert max(s.gflops for s in pruned) < whole
    assert result.best().status == "done"


def test_training_goes_on_while_its_end_is_decided(tmp_path, monkeypatch):
    reached = Study.reached

    def slowly(study, number, *told):
        reached(study, number, *told)
        if number == 1:
            time.sleep(0.4)
            raise Cut("enough")

    monkeypatch.setattr(Study, "reached", slowly)
    first, second = tuned(tmp_path, "Net", suggestions=2).results[0].suggestions
    assert (first.status, second.status, second.reason) == ("done", "pruned", "enough")
    assert 0.4 < second.train_seconds < second.seconds


# --- what is suggested


def test_workers_change_no_suggestion_and_no_score_of_random_search(found, tmp_path):
    again = tuned(tmp_path, "Cut", "Net", pruner="none", jobs=1)
    for one, other in zip(found[1].results, again.results, strict=True):
        assert [(s.options, s.score) for s in one.tracks[0].suggestions] == [(s.options, s.score) for s in other.tracks[0].suggestions]
        assert one.winner().options == other.winner().options


def test_seeds_draw_suggestions_and_trainings_of_their_own(tmp_path):
    result = tuned(tmp_path, "Cut", suggestions=4, seeds=(0, 1)).results[0]
    first, second = ([s.options for s in track.suggestions] for track in result.tracks)
    assert first != second
    assert result.winner().seeds == (training_seed(0), training_seed(1))
    assert result.winner().suggestions == 8


def test_more_suggestions_go_on_where_fewer_ended(tmp_path):
    few = tuned(tmp_path, "Cut", suggestions=3).results[0]
    more = tuned(tmp_path, "Cut", suggestions=6).results[0]
    assert configurations(more)[:3] == configurations(few)
    assert len(configurations(more)) == 6
    assert configurations(tuned(tmp_path, "Cut", suggestions=3).results[0]) == configurations(few)


def test_tpe_learns_where_scores_are_high(tmp_path):
    result = tuned(tmp_path, "Cut", suggestions=16, sampler="tpe").results[0]
    assert len(set(configurations(result))) == 16
    assert result.winner().sampler == "tpe"
    early, late = ([s.score for s in result.suggestions[part]] for part in (slice(0, 10), slice(10, 16)))
    assert np.mean(late) > np.mean(early)


def test_draws_reach_every_configuration_once():
    space = space_of(trial_of("Cut"))
    tried, generator = set(), np.random.default_rng(0)
    while (options := space.draw(generator, tried)) is not None:
        assert key_of(options) not in tried
        tried.add(key_of(options))
    assert len(tried) == space.size == 21


def test_configurations_that_break_a_rule_are_not_drawn():
    space = Space(trial_of("Cut"), {"cut": (0.0, 101.0), "slope": (1.0, 2.0)})
    drawn = {key_of(propose(space, None, "random", np.random.default_rng(seed), set())) for seed in range(40)}
    assert drawn == {key_of({"cut": 0.0, "slope": slope}) for slope in (1.0, 2.0)}


def test_what_an_option_fixes_is_not_tuned():
    trial = plan(with_options(suite_of("Cut"), {"methods": f"{FILE}:Cut[slope=2.0]"}))[0]
    assert set(space_of(trial).values) == {"cut"}


def test_what_is_fixed_is_not_tuned_and_the_winner_and_the_page_say_so(tmp_path):
    tuning = tuned(tmp_path, "Cut", suggestions=3, fixed=("slope",))
    assert {tuple(s.options) for s in tuning.results[0].suggestions} == {("cut",)}
    (winner,) = read_winners(tuning.file)
    assert (set(winner.options), winner.fixed) == ({"cut"}, ("slope",))
    said = "Not tuned, but as the suite or the method has them: `slope`."
    assert said in "\n".join(tuning_lines([winner]))
    assert "Not tuned" not in "\n".join(tuning_lines([replace(winner, fixed=())]))


def test_winner_tells_only_the_fixed_fields_of_its_own_space(tmp_path):
    out = package.tune(
        methods="mean-logistic,mean-mlp", datasets="breast-cancer", noise=0.3, training={"epochs": 1}, suggestions=1, fix="width",
        out=tmp_path, quiet=True, jobs=1,
    ).attrs["file"]  # fmt: skip
    assert {winner.method: winner.fixed for winner in read_winners(Path(out))} == {"mean-logistic": (), "mean-mlp": ("width",)}


def test_method_whose_whole_space_is_fixed_has_nothing_to_tune():
    assert not set(space_of(trial_of("Cut"), ("slope",)).values) & {"slope"}
    with pytest.raises(UsageError, match=r"Cut has nothing to tune: its class states no `search` besides what is fixed"):
        space_of(trial_of("Cut"), ("cut", "slope"))


# --- bad input


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoSpace", "has nothing to tune: its class states no `search`; add one or leave the method out"),
        ("UnknownField", "unknown field in the search space of .*'cutt', did you mean 'cut'"),
        ("NoValues", r"gives cut no values: write a tuple such as \(0.1, 0.3\)"),
        ("Twice", "gives cut a value twice"),
        ("WrongType", "values of cut must be of type float, got 'low'"),
        ("NotFinite", "must be finite numbers, texts or booleans, got nan"),
        ("NotAMapping", "must be a mapping, Config field -> values, got tuple"),
        ("OneConfiguration", "holds one configuration; give a field a second value"),
        ("Contradictory", "is contradictory: the Config takes none of its 2 configurations .*cut must not exceed 100"),
        ("TunesEpochs", "names epochs, which is the budget and equal for all methods"),
    ],
)
def test_bad_search_space_is_explained_before_anything_runs(tmp_path, name, message):
    with pytest.raises(UsageError, match=message):
        tuned(tmp_path / "out", name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "tpee"}, "unknown sampler 'tpee', did you mean 'tpe'"),
        ({"pruner": "mean"}, "unknown pruner 'mean', did you mean 'median'"),
        ({"suggestions": 0}, "suggestions must be at least 1, got 0"),
        ({"gflops": -1.0}, "budget in gflops must be positive, got -1.0"),
        ({"minutes": 0.0}, "budget in minutes must be positive, got 0.0"),
        ({"gflops": 1.0}, "fits itself, so its training FLOPs cannot be counted; give --budget-minutes"),
        ({"name": "../up"}, "the name of a study takes letters, digits, dots and hyphens"),
    ],
)
def test_bad_option_is_explained(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        tuned(tmp_path, "Cut", **options)


def test_moving_split_is_refused(tmp_path):
    with pytest.raises(UsageError, match="tuning needs one split"):
        tune(suite_of("Cut", vary="split"), tmp_path)


def test_study_of_another_suite_is_refused(tmp_path):
    tuned(tmp_path, "Cut", suggestions=1, name="mine")
    with pytest.raises(UsageError, match=r'study mine .* was made with training \{.*"epochs": 4.*, this command has .*"epochs": 5'):
        tuned(tmp_path, "Cut", suggestions=1, name="mine", epochs=5)
    with pytest.raises(UsageError, match='was made with sampler "random", this command has "tpe"; give the same suite and options, or'):
        tuned(tmp_path, "Cut", suggestions=1, name="mine", sampler="tpe")


@pytest.mark.parametrize(("first", "then"), [(("slope",), ()), ((), ("slope",))])
def test_study_that_fixed_other_fields_is_refused(tmp_path, first, then):
    tuned(tmp_path, "Cut", suggestions=1, name="mine", fixed=first)
    with pytest.raises(UsageError, match=r"study mine .* was made with fixed"):
        tuned(tmp_path, "Cut", suggestions=1, name="mine", fixed=then)


@pytest.mark.slow
def test_study_of_another_version_is_refused(tmp_path):
    source = (HERE / FILE).read_text()
    copy = tmp_path / "method.py"
    script = "import bench; bench.tune(methods='method.py:Cut', datasets='breast-cancer', noise=0.3, suggestions=1, out='out', quiet=True)"

    def run():
        return subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)

    copy.write_text(source)
    assert run().stderr == ""
    copy.write_text(source.replace("np.exp(self", "np.exp(1.0 * self"))
    error = run().stderr.strip().splitlines()[-1]
    assert "was begun with another version" in error
    assert "give another --study NAME, or delete the folder" in error


def test_study_of_another_search_space_is_refused(tmp_path, monkeypatch):
    tuned(tmp_path, "Cut", suggestions=1, name="mine")
    monkeypatch.setattr(registry.method_class(f"{FILE}:Cut"), "search", {"cut": (-1.0, 0.0, 1.0)})
    with pytest.raises(UsageError, match=r"was begun with another search \(.*-3.0.*, now .*\[-1.0, 0.0, 1.0\].*give another --study"):
        tuned(tmp_path, "Cut", suggestions=1, name="mine")


def test_further_masks_of_the_test_part_are_no_matter_of_a_tuning(tmp_path):
    tuned(tmp_path, "Cut", suggestions=1, name="mine")
    suite = with_options(suite_of("Cut"), {"test_noise": [0.0, 0.5]})
    assert len(tune(suite, tmp_path, Budget(2), name="mine").results[0].suggestions) == 2
    assert all(trial.evaluations for trial in plan(with_configs(suite, "tuned", tmp_path)))


def test_study_whose_suggestions_all_fail_is_explained(tmp_path):
    with pytest.raises(UsageError, match=r"no suggestion for .*AlwaysFails.* gave a score \(2 of 2 failed: RuntimeError: no luck\)"):
        tuned(tmp_path, "AlwaysFails", suggestions=2)


def test_method_without_a_winner_does_not_lose_the_others(tmp_path):
    tuning = tuned(tmp_path, "AlwaysFails", "Cut", suggestions=2)
    assert len(tuning.without_winner) == 1
    assert [winner.method for winner in read_winners(tuning.file)] == list(named("Cut"))


def test_undefined_validation_metric_fails_with_its_reason(tmp_path, monkeypatch):
    from bench.studies.tuning import _with_score

    record, _ = validate_trial(trial_of("Cut"))
    undefined = replace(record, facts=replace(record.facts, valid=-np.inf))
    assert _with_score(undefined).status == "failed"
    assert "is undefined: a class is absent" in _with_score(undefined).reason


def test_second_driver_in_one_folder_is_refused(tmp_path):
    from bench.studies.study import held

    with held(tmp_path / "tuning" / "mine"), pytest.raises(UsageError, match="another tuning is writing"):
        tuned(tmp_path, "Cut", name="mine")


@pytest.mark.parametrize("text", ["half a line", '{"no": "journal"}\n'])
def test_foreign_file_is_explained(tmp_path, text):
    folder = tmp_path / "tuning" / "mine"
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(text)
    with pytest.raises(UsageError, match=r"is not what a tuning wrote|was made with training null"):
        tuned(tmp_path, "Cut", name="mine")


# --- resuming


def test_half_line_and_lock_of_a_killed_driver_are_mended(tmp_path):
    first = tuned(tmp_path, "Cut", suggestions=3)
    journal = first.folder / JOURNAL
    with journal.open("ab") as stream:
        stream.write(b'{"op_code":4,"worker')
    Path(f"{journal}.lock").symlink_to(journal)
    again = tuned(tmp_path, "Cut", suggestions=4)
    assert configurations(again.results[0])[:3] == configurations(first.results[0])
    assert len(again.results[0].suggestions) == 4


@pytest.mark.slow
def test_tuning_killed_three_times_ends_as_if_never_killed(tmp_path):
    words = ["tune", "--methods", f"{FILE}:Net[pause=0.05],{FILE}:Cut", "--datasets", f"{FILE}:Clean", "--noise", "0.3"]
    words += ["--epochs", "4", "--suggestions", "6", "--pruner", "none", "-j", "2", "--json"]
    command = [sys.executable, "-m", "bench", *words]
    out = tmp_path / "killed"
    ended = []
    for _ in range(3):
        process = subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        lines = []
        for line in process.stderr:  # the second suggestion of this run has ended: others are running
            lines.append(line)
            if len([text for text in lines if "] done" in text]) >= 3:
                break
        assert process.poll() is None, "".join(lines)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
        ended.append(len(lines))
    outcome = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, check=True)
    whole = subprocess.run([*command, "--out", str(tmp_path / "whole")], capture_output=True, text=True, check=True)
    killed, never = (json.loads(run.stdout) for run in (outcome, whole))
    for one, other in zip(killed["methods"], never["methods"], strict=True):
        assert one["suggestions"] == other["suggestions"]
        assert one["suggestions"]["ended"] == one["suggestions"]["done"] == 6
        assert (one["best"], one["options"], one["default"]) == (other["best"], other["options"], other["default"])
    journal = next(out.glob(f"tuning/*/{JOURNAL}")).read_text().splitlines()
    created = [json.loads(line) for line in journal if json.loads(line)["op_code"] == 4]
    assert len(created) == 12
    counts = Counter((line["study_id"], key_of(line["params"])) for line in created)
    assert max(counts.values()) == 1


@pytest.mark.slow
def test_interrupt_leaves_a_study_that_goes_on(tmp_path):
    words = ["tune", "--methods", f"{FILE}:Net[pause=0.2]", "--datasets", f"{FILE}:Clean", "--noise", "0.3", "--epochs", "4"]
    command = [sys.executable, "-m", "bench", *words, "--suggestions", "3", "-j", "1", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "] done" in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in errors
    assert "Traceback" not in errors
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "3 done, 0 pruned, 0 failed" in again.stdout


# --- winners


def test_winner_is_the_best_or_the_default(found):
    for result in found[1].results:
        winner = result.winner()
        scores = [s.score for s in result.suggestions]
        assert winner.valid == max([*scores, result.default])
        assert winner.valid >= winner.default
        assert set(winner.options) == set(space_of(result.trial).values)


def test_equal_score_keeps_the_default(found):
    result = found[1].results[0]
    track = result.tracks[0]
    worse = tuple(replace(s, score=track.default.score) for s in track.suggestions)
    assert replace(result, tracks=(replace(track, suggestions=worse),)).best() is track.default


def test_winners_read_back_as_written(found, tmp_path):
    winners = read_winners(found[1].file)
    write_winners(tmp_path / "copy.toml", winners, "again")
    assert read_winners(tmp_path / "copy.toml") == winners
    suite = with_configs(suite_of("Cut"), str(found[1].file), tmp_path)
    assert winners_of(suite_from("small", __import__("tomllib").loads(suite.to_toml()))) == winners


def test_later_command_keeps_the_winners_of_other_methods(tmp_path):
    first = tuned(tmp_path, "Cut", suggestions=1)
    second = tuned(tmp_path, "FewCuts", suggestions=1)
    assert first.file == second.file
    assert [winner.method for winner in read_winners(second.file)] == list(named("Cut", "FewCuts"))


def test_tuned_trial_says_in_its_identity_what_was_trained(found):
    out, _ = found
    suite = with_configs(suite_of("Cut", seeds=(0, 1)), "default,tuned", out)
    trials = plan(suite)
    plain, winners = [t for t in trials if not t.options], [t for t in trials if t.options]
    assert len(plain) == len(winners) == 2
    winner = next(w for w in winners_of(suite) if w.method.endswith("Cut"))
    assert all(trial.options == winner.options for trial in winners)
    rows = named_rows([Record(trial, "planned") for trial in trials], winners_of(suite))
    assert {record.trial.label for record in rows} == {"Cut", "Cut tuned (6 suggestions)"}
    assert {trial.id for trial in plan(with_configs(suite_of("Cut", seeds=(0, 1)), "tuned", out))} == {trial.id for trial in winners}
    assert f"[cut={winner.options['cut']}" in winners[0].command()


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("suggestions", [1, 20, 2000])
def test_row_is_known_as_tuned_and_whose_it_is_wherever_the_winner_is_trained(found, reach, suggestions):
    """The form of a label and its reading are two: the row of a winner of its whole dataset was once told to be a default one."""
    for winner in read_winners(found[1].file):
        label = replace(winner, reach=reach, suggestions=suggestions).label
        assert own_label(label) == winner.method
        assert (hp_of(label), hp_of(winner.method)) == ("tuned", "default")


def test_board_shows_default_and_tuned_rows_apart(found, tmp_path):
    out, _ = found
    base = suite_of("Cut", seeds=(0, 1))
    execute(with_configs(base, "tuned", out), tmp_path)
    execute(base, tmp_path)
    with Store(tmp_path, create=False) as store:
        answers = store.answers()
    board = build(answers)
    labels = {row.label for row in board.settings[0].rows}
    assert labels == {"Cut", "Cut tuned (6 suggestions)"}
    page = markdown(board)
    assert "### Tuning" in page
    assert [row.hp for row in board.settings[0].rows if row.label.endswith("Cut")] == ["default"]
    assert "6 random (0 pruned, 0 failed)" in page
    assert "tuned where a row says so, else untuned (default hp)" in page
    publish(tmp_path / "board", answers)
    assert not stale_files(tmp_path / "board")


def test_latest_winner_of_a_label_names_its_row(found):
    from bench.question.winners import latest

    winner = winners_of(with_configs(suite_of("Cut"), "tuned", found[0]))[0]
    older, newer = winner.table(), replace(winner, options={"cut": 3.0, "slope": 1.0}).table()
    assert latest([older, newer]) == (newer,)


def at_rates(suite, *rates):
    return replace(suite, settings=tuple(replace(table, noise=rates) for table in suite.settings))


def test_winner_for_its_dataset_is_trained_under_each_protocol_of_it_and_says_where_it_was_found(found):
    base = at_rates(suite_of("Cut", seeds=(0, 1)), 0.1, 0.3, 0.5)
    narrow, wide = with_configs(base, "tuned", found[0]), with_configs(base, "tuned", found[0], "dataset")
    assert {trial.protocol for trial in plan(narrow)} == {"mcar(0.3)"}
    trials = plan(wide)
    assert {trial.protocol for trial in trials} == {"mcar(0.1)", "mcar(0.3)", "mcar(0.5)"}
    assert len({key_of(trial.options) for trial in trials}) == 1
    assert {trial.id for trial in plan(narrow)} <= {trial.id for trial in trials}, "what is trained does not depend on who else is"
    rows = named_rows([Record(trial, "planned") for trial in trials], winners_of(wide))
    assert {record.trial.label for record in rows} == {"Cut tuned at mcar(0.3) (6 suggestions)"}
    assert winners_of(suite_from("small", __import__("tomllib").loads(wide.to_toml()))) == winners_of(wide)


def test_two_tunings_that_end_in_one_configuration_are_trained_once(found):
    base = at_rates(suite_of("Cut"), 0.3, 0.5)
    wide = with_configs(base, "tuned", found[0], "dataset")
    again = tuple({**table, "protocol": "mcar(0.5)"} for table in wide.tuned)
    trials = plan(replace(wide, tuned=(*wide.tuned, *again)))
    assert len(trials) == len({trial.id for trial in trials}) == len(plan(wide))


@pytest.mark.parametrize(
    ("configs", "reach", "message"),
    [("tuned", "data", "unknown value of tuned_for .*did you mean 'dataset'"), ("default", "dataset", "configs names none; give tuned")],
)
def test_reach_of_winners_is_checked(found, configs, reach, message):
    with pytest.raises(UsageError, match=message):
        with_configs(suite_of("Cut"), configs, found[0], reach)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 5}, "was found with training batch_size=64, epochs=4, this run has batch_size=64, epochs=5"),
        ({"selection": "auroc"}, "was found with selection accuracy, this run has auroc"),
        ({"fixed_seed": 1}, "was found with fixed_seed 0, this run has 1"),
        ({"vary": "split"}, "was found on one split, this run has vary = split"),
        ({"seeds": (training_seed(0),)}, "was chosen with training seed .*; give fresh --seeds"),
        ({"dataset": "Poisoned"}, "no method of this run was tuned in its setting; tuned are: "),
    ],
)
def test_winner_found_under_other_conditions_is_refused(found, changes, message):
    with pytest.raises(UsageError, match=message):
        plan(with_configs(suite_of("Net", **changes), "tuned", found[0]))


@pytest.mark.parametrize("table", ["training", "configs"])
def test_default_that_a_suite_says_anew_of_a_tuned_field_leaves_the_winner_the_trial_that_it_was(found, table):
    asked = with_configs(suite_of("Net"), "tuned", found[0])
    winner, tuned = next(winner for winner in winners_of(asked) if winner.method.endswith(":Net")), "learning_rate"
    assert tuned in winner.options
    assert tuned not in winner.training
    changed = {**asked.training, tuned: 0.002} if table == "training" else {winner.method: {tuned: 0.002}}
    before, after = plan(asked), plan(replace(asked, **{table: changed}))
    assert before
    assert [trial.id for trial in after] == [trial.id for trial in before]
    default = plan(replace(suite_of("Net"), **{table: changed}))
    assert {trial.training[tuned] for trial in default} == {0.002}
    assert not {trial.id for trial in default} & {trial.id for trial in plan(suite_of("Net"))}, "the default rows are other trials"
    found_so = [dict(entry, training={**entry["training"], tuned: 0.01}) for entry in asked.tuned]  # by a suite that said another one
    assert {trial.training[tuned] for trial in plan(replace(asked, tuned=tuple(found_so)))} == {0.01}


def test_winner_of_other_code_is_refused(found):
    suite = with_configs(suite_of("Cut"), "tuned", found[0])
    with pytest.raises(UsageError, match=r"was found with version 0123, this run has .*; run it as it was tuned, or tune again"):
        plan(replace(suite, tuned=tuple({**table, "version": "0123"} for table in suite.tuned)))


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        ("tund", "unknown value of configs .*did you mean 'tuned'"),
        ("tuned", "no tuned configs in .*; `bench tune --out .*` finds some"),
        ("none.toml", "none.toml cannot be read: No such file"),
        ("bad.toml", "bad.toml is not valid TOML"),
        ("suite.toml", r"holds no \[\[tuned\]\] tables alone"),
        ("key.toml", "unknown key of .*'methd', did you mean 'method'"),
        ("lacks.toml", r"a \[\[tuned\]\] table lacks dataset, combination"),
        ("", "configs names nothing"),
    ],
)
def test_bad_configs_are_explained(tmp_path, configs, message):
    texts = {"bad": "tuned = [", "suite": 'metric = "accuracy"', "key": '[[tuned]]\nmethd = "x"', "lacks": '[[tuned]]\nmethod = "x"'}
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
    place = str(tmp_path / configs) if configs.endswith(".toml") else configs
    with pytest.raises(UsageError, match=message):
        with_configs(suite_of("Cut"), place, tmp_path)


def test_winner_with_a_wrong_type_is_explained(found):
    suite = with_configs(suite_of("Cut"), "tuned", found[0])
    with pytest.raises(UsageError, match=r"suggestions of a .* table cannot be 'many'"):
        winners_of(replace(suite, tuned=({**suite.tuned[0], "suggestions": "many"},)))


def test_several_tunings_must_be_told_apart(tmp_path):
    tuned(tmp_path, "FewCuts", suggestions=1, name="a")
    tuned(tmp_path, "FewCuts", suggestions=1, name="b")
    with pytest.raises(UsageError, match=r"several tunings in .*; name one: --configs"):
        with_configs(suite_of("FewCuts"), "tuned", tmp_path)


# --- command line and notebook


COMMAND = ["tune", "--datasets", f"{FILE}:Clean", "--noise", "0.3", "--epochs", "2", "--suggestions", "2", "-q", "-j", "1"]


@pytest.mark.slow
def test_command_tunes_and_a_run_trains_the_winners(tmp_path):
    said = bench(*COMMAND, "--methods", f"{FILE}:Cut,reference", "--out", tmp_path, "--plot", tmp_path / "curves.svg",
                 "--json")  # fmt: skip
    page = json.loads(said.stdout)
    methods = [entry["method"].rpartition(":")[2] for entry in page["methods"]]
    assert methods[0] == "Cut"
    assert "constant" in page["left_out"]
    first = page["methods"][0]
    assert set(first) >= {"default", "best", "options", "suggestions", "gflops", "seconds", "importances", "curves"}
    assert first["suggestions"] == {"ended": 2, "done": 2, "pruned": 0, "failed": 0, "space": 20}
    assert "not tuned, for they have nothing to tune: constant" in said.stderr
    assert (tmp_path / "curves.svg").stat().st_size > 1000
    arguments = ["--methods", f"{FILE}:Cut", "--datasets", f"{FILE}:Clean", "--noise", "0.3", "--epochs", "2"]
    text = bench("run", *arguments, "--seeds", "0-1", "--configs", "default,tuned", "--out", tmp_path, "-q").stdout
    assert "| Cut tuned (2 suggestions) " in text


def test_command_prints_a_table_and_where_the_winners_are(tmp_path):
    said = bench(*COMMAND, "--methods", f"{FILE}:Cut", "--out", tmp_path)
    assert "accuracy: default" in said.stdout
    assert "2 done, 0 pruned, 0 failed" in said.stdout
    assert "tuned.toml" in said.stderr
    command = shlex.split(said.stderr.strip().splitlines()[-1].partition("fresh seeds:  ")[2])
    assert "| Cut tuned (2 suggestions) " in bench(*command[1:], "--seeds", "0", "-q").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sampler", "grid"], "unknown sampler 'grid'"),
        (["--methods", "shapec"], "did you mean 'shaspec'"),
        (["--methods", "constant"], "constant has nothing to tune"),
        (["--seed", "x"], "seeds are whole numbers"),
        (["--fix", "widht"], "unknown field to fix 'widht'"),
        (["--plot", "curves.txt"], "a plot is written to a file ending in .png, .pdf, .svg"),
        (["--plot", "no/such/folder/curves.png"], "does not exist; make it first"),
    ],
)
def test_bad_input_is_one_line_and_code_two(tmp_path, words, message):
    result = bench(*COMMAND, "--out", tmp_path / "out", *words, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_absent_matplotlib_is_explained_before_the_tuning(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    result = bench(*COMMAND, "--methods", f"{FILE}:Cut", "--out", tmp_path / "out", "--plot", tmp_path / "curves.png", code=2)
    assert "no plot can be drawn: matplotlib is not installed; pip install 'missing-modality-bench[plot]'" in result.stderr
    assert not (tmp_path / "out").exists()


def test_help_of_tune_needs_neither_torch_nor_optuna():
    code = (
        "import sys; from bench.cli import main; main(['tune', '--help'], standalone_mode=False); "
        "heavy = {'torch', 'optuna', 'sklearn', 'numpy'} & set(sys.modules); assert not heavy, heavy"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert outcome.stderr == ""
    assert "bench tune --methods paper" in outcome.stdout


def test_notebook_function_gives_one_row_a_method(tmp_path):
    options = {"datasets": f"{FILE}:Clean", "noise": 0.3, "quiet": True, "out": tmp_path}
    frame = package.tune(methods=list(named("Cut", "FewCuts")), suggestions=2, seeds=range(2), **options)
    assert list(frame["method"]) == list(named("Cut", "FewCuts"))
    assert (frame["best"] >= frame["default"]).all()
    assert set(frame["curves"][0]) == set(BUDGETS) - {"gflops"}
    rows = package.run(methods=list(named("Cut")), configs=frame.attrs["file"], seeds=5, **options)
    assert list(rows["status"]) == ["done"]
    assert "cut=" in rows["method"][0]


def test_a_suggestion_that_the_machine_failed_is_trained_again_by_the_same_call(tmp_path):
    class Loses(Local):
        lost = 0

        def call(self, task, report, stopped):
            if self.lost < 2:
                self.lost += 1
                raise Lost("killed from outside by signal SIGKILL")
            return super().call(task, report, stopped)

    said = []
    suite, budget = suite_of("Cut"), Budget(suggestions=3)
    first = tune(suite, tmp_path / "lost", budget, how=How(place=Loses(), warn=said.append))
    assert first.interrupted
    assert said[0].startswith("lost to the machine, 2 suggestions: killed from outside by signal SIGKILL: ")
    assert said[1] == "2 suggestions of this run gave no result, for the machine failed; the same command runs them again"
    again, undisturbed = tune(suite, tmp_path / "lost", budget), tune(suite, tmp_path / "whole", budget)
    assert not again.interrupted
    assert sorted(configurations(again.results[0])) == sorted(configurations(undisturbed.results[0]))
