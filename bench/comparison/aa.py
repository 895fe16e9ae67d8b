"""An A/A test of the tests: one method under two names must not differ in more than its share of settings. Free of torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binom

from bench.comparison.compare import compare
from bench.errors import UsageError
from bench.question.suite import Suite
from bench.records.answers import Answers
from bench.records.predictions import Predictions
from bench.records.record import Record
from bench.seeds import stream
from bench.stats import crossed_test, pseudo_values
from bench.stats.levels import ALPHA
from bench.text import count

AGAIN = "again"  # preset of the second name
LEAST_SEEDS = 4  # two for each name
CONFIDENCE = 0.95  # share of sound runs that show no more than allowed, at least


@dataclass(frozen=True)
class SelfTest:
    """How often one method was called better or worse than itself, before any correction."""

    metric: str  # by which; of several datasets with their own, all of them
    p: Mapping[tuple[str, str], tuple[float, ...]]  # (method, setting) -> p of each way to halve the seeds; the first: even and odd ones
    left_out: tuple[str, ...]  # (method, setting) with too few seeds, in words

    @property
    def tests(self) -> int:
        return len(self.p)

    @property
    def significant(self) -> int:
        return sum(values[0] <= ALPHA for values in self.p.values())

    @property
    def share(self) -> float:
        """Mean share over all ways to halve: a less noisy figure, but of dependent tests."""
        return float(np.mean([np.mean(np.array(values) <= ALPHA) for values in self.p.values()]))

    @property
    def allowed(self) -> int:
        """The most that 95 of 100 such runs would show if each test errs in 5 %."""
        return int(binom.ppf(CONFIDENCE, self.tests, ALPHA))

    @property
    def passed(self) -> bool:
        return self.significant <= self.allowed

    def as_json(self) -> dict[str, object]:
        return {
            "metric": self.metric, "tests": self.tests, "significant": self.significant, "allowed": self.allowed, "passed": self.passed,
            "share_over_halvings": self.share, "halvings": len(next(iter(self.p.values()))), "left_out": list(self.left_out),
            "found": [{"method": method, "setting": setting, "p": values[0]} for (method, setting), values in self.p.items()
                      if values[0] <= ALPHA],
        }  # fmt: skip


def self_test(answers: Answers, methods: Iterable[str], halvings: int = 20) -> SelfTest:
    """Compare each method with itself in every setting: half of its seeds under its name, half under another.

    Seeds are halved into even and odd ones by `compare` itself, and at random `halvings - 1` times more by its test alone. A method
    whose score does not vary with the seed says nothing and is left out by name.
    Raises: UsageError if no setting has 4 finished seeds of any of the methods.
    """
    suite, wanted = answers.suite, set(methods)
    of_setting: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in sorted(answers.records, key=lambda record: record.trial.seed):
        trial = record.trial
        if record.status == "done" and trial.label in wanted:
            of_setting[trial.label, trial.setting.title].append(record)
    found: dict[tuple[str, str], tuple[float, ...]] = {}
    left_out = []
    metrics: dict[tuple[str, str], str] = {}
    for key, asked in of_setting.items():
        predictions = answers.of(asked).predictions
        here = [record for record in asked if record.trial.id in predictions]
        if not here:
            continue
        metric = metrics[key] = answers.metric_of(here[0])
        own = [predictions[record.trial.id] for record in here]
        scores = np.array([record.metrics[metric] for record in here])
        if len(here) < LEAST_SEEDS or not np.isfinite(scores).all():
            left_out.append(f"{key[0]} on {key[1]}: {count(len(here), 'seed')}, needs {LEAST_SEEDS} with a score")
        elif np.ptp(scores) == 0:
            left_out.append(f"{key[0]} on {key[1]}: every seed has the same score")
        else:
            values = np.stack([pseudo_values(metric, x.target, x.scores) for x in own])
            rng = stream(0, "statistics", "self-test", *key)
            orders = [rng.permutation(len(here) // 2 * 2) for _ in range(halvings - 1)]
            further = [crossed_test(values[i[::2]], values[i[1::2]], scores[i[::2]], scores[i[1::2]]).p for i in orders]
            found[key] = (_p(suite, here, predictions), *further)
    if not found:
        raise UsageError(
            f"a self-test needs {LEAST_SEEDS} finished seeds of a method whose scores vary, in some setting; run more with --seeds"
        )
    return SelfTest(" and ".join(dict.fromkeys(metrics[key] for key in found)), found, tuple(left_out))


def _p(suite: Suite, records: Sequence[Record], predictions: Mapping[str, Predictions]) -> float:
    """p of the records at even places against those at odd places; a last one without its like is left out."""
    sides: list[Record] = []
    arrays: dict[str, Predictions] = {}
    for place, record in enumerate(records[: len(records) // 2 * 2]):
        trial = replace(record.trial, seed=place // 2, preset=AGAIN if place % 2 else record.trial.preset, row="")
        sides.append(replace(record, trial=trial))
        arrays[trial.id] = predictions[record.trial.id]
    plain = Answers(replace(suite, until_resolved=(), max_seeds=0, tuned=()), sides, arrays)  # a tuned row's two halves are two rows
    return compare(plain, sides[0].trial.label, sides[1].trial.label, allow=("commits", "hardware")).differences[0].p
