"""bench/grid/left.py and what a run shows: the time that is left, and the score so far in its metric's own direction."""

import io
import math
from dataclasses import replace

import pytest

from bench.grid import progress
from bench.grid.left import TimeLeft
from bench.grid.progress import Lines, score_so_far
from bench.question.trial import Trial
from bench.records.facts import Facts
from bench.records.reached import Reached
from bench.records.record import Record


def trial(method="muse", seed=0, **given):
    return Trial(
        method=method, preset="paper", options={}, version="v", dataset="digits", dataset_options={}, fingerprint="f", combination="NEWS",
        protocol="mcar(0.3)", seed=seed, fixed_seed=0, vary="training", selection="accuracy", training={"epochs": 10}, **given,
    )  # fmt: skip


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def done(of, seconds):
    return Record(of, "done", facts=replace(Facts(), seconds={"total": seconds}))


def test_nothing_is_known_at_first(clock):
    assert TimeLeft(2, [trial(seed=s) for s in range(4)], clock=clock).seconds() is None


def test_stored_trials_tell_before_anything_runs(clock):
    left = TimeLeft(2, [trial(seed=s) for s in range(1, 5)], [done(trial(), 30.0)], clock=clock)
    assert left.seconds() == pytest.approx(4 * 30 / 2)


def test_the_first_epoch_tells_of_the_rest(clock):
    trials = [trial(seed=s) for s in range(3)]
    left = TimeLeft(1, trials, clock=clock)
    left.started(trials[0])
    clock.now = 3.0  # two seconds to start, one for the epoch
    left.reached(trials[0], Reached(1, 10, 0.5, 1.0))
    assert left.of(trials[0]) == pytest.approx(9.0)
    assert left.seconds() == pytest.approx(9.0 + 2 * 12.0)


def test_time_goes_on_between_epochs_and_never_below_nothing(clock):
    left = TimeLeft(1, [trial()], clock=clock)
    left.started(trial())
    clock.now = 1.0
    left.reached(trial(), Reached(1, 10, 0.5, 1.0))
    clock.now = 4.0
    assert left.of(trial()) == pytest.approx(6.0)
    clock.now = 400.0
    assert left.of(trial()) == left.seconds() == 0.0


def test_many_at_once_share_the_rest_but_no_trial_is_parted(clock):
    trials = [trial(seed=s) for s in range(2)]
    left = TimeLeft(8, trials, [done(trial(seed=9), 40.0)], clock=clock)
    left.started(trials[0])
    assert left.seconds() == pytest.approx(40.0)


def test_a_method_of_which_nothing_is_known_takes_as_long_as_the_others(clock):
    left = TimeLeft(1, [trial(), trial("fusemoe")], [done(trial(seed=9), 40.0)], clock=clock)
    assert left.seconds() == pytest.approx(80.0)


def test_suggestions_that_nobody_can_name_yet_are_counted(clock):
    left = TimeLeft(1, unnamed=3, clock=clock)
    left.started(trial())
    clock.now = 5.0
    left.ended(trial())
    assert left.seconds() == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("selection", "best", "said"), [("accuracy", 0.8, "0.8000"), ("brier", -0.3, "0.3000"), ("accuracy", math.nan, "no score yet")]
)
def test_score_so_far_is_in_the_direction_of_its_metric(selection, best, said):
    assert said in score_so_far(replace(trial(), selection=selection), Reached(1, 10, best, 1.0))


def told(reports, every, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", every)
    stream = io.StringIO()
    lines = Lines("accuracy", stream=stream)
    lines.begin(2, 0, TimeLeft(1, [trial(), trial(seed=1)]))
    lines.started(trial())
    for epoch in range(1, reports + 1):
        lines.reached(trial(), Reached(epoch, 10, 0.7, 0.001 * epoch))
    return stream.getvalue().splitlines()


def test_a_log_tells_the_time_once_and_says_nothing_of_quick_epochs(monkeypatch):
    lines = told(5, 60.0, monkeypatch)
    assert lines[0] == "2 trials"
    assert len(lines) == 2
    assert lines[1].startswith("about ")
    assert lines[1].endswith(" to go")


def test_a_log_speaks_of_a_slow_trial_now_and_then(monkeypatch):
    lines = told(3, 0.0, monkeypatch)
    assert [line for line in lines if "epoch 3/10, validation accuracy 0.7000" in line]
