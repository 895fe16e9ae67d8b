"""From records and predictions to numbers: what the trials of one method in one setting gave, and why some gave nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from bench.errors import UsageError
from bench.names import Setting
from bench.records.answers import Answers
from bench.records.predictions import Predictions
from bench.records.record import Record
from bench.records.scoring import is_collapsed
from bench.stats import Estimates, crossed_interval, crossed_pairs, pseudo_values, resampled_t
from bench.stats.kinds import kind_of
from bench.stats.metrics import METRICS
from bench.stats.pairs import Estimate
from bench.text import count


@dataclass(frozen=True)
class Scores:
    """The trials of one method in one setting, in seed order. `scores` are the metric's own, not turned."""

    label: str
    ids: tuple[str, ...]
    records: tuple[Record, ...]
    scored: tuple[Record, ...]  # done, with a finite score
    scores: np.ndarray  # (S,)
    values: np.ndarray | None  # (S, N) pseudo-values, where every seed has predictions for the same test samples
    arrays: Predictions | None  # of one of them, its ids and targets alone
    duplicates: int  # further trials of a seed, left out
    reason: str = ""  # why there are no values
    collapsed: int = 0  # trials that tell no test row from another, by what the metric looks at

    @property
    def done(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.status == "done")

    @property
    def attempted(self) -> bool:
        """Whether any trial has ended; a method that was never tried is absent, not bad."""
        return any(record.status != "planned" for record in self.records)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(record.trial.seed for record in self.scored)

    @property
    def mean(self) -> float:
        return float(self.scores.mean()) if len(self.scores) else float("nan")

    def without_samples(self) -> Scores:
        """The same without what it has of each test sample, which is most of it."""
        return replace(self, values=None, arrays=None)


def scores_of(answers: Answers) -> dict[Setting, dict[str, Scores]]:
    """Every setting's methods, by the metric that ranks it, without samples. Raises: UsageError if a trial is given twice."""
    check_once(answers.records)
    return {setting: scores_in(here.suite.metric, here.records, {}) for setting, here in answers.by_setting()}


def check_once(records: Iterable[Record]) -> None:
    """Raises: UsageError if a trial is given twice."""
    seen: set[str] = set()
    for record in records:
        trial, id_ = record.trial, record.trial.id
        if id_ in seen:
            raise UsageError(f"trial {id_} ({trial.label} on {trial.dataset_label}, {trial.protocol}, seed {trial.seed}) is given twice")
        seen.add(id_)


def scores_in(metric: str, records: Iterable[Record], predictions: Mapping[str, Predictions]) -> dict[str, Scores]:
    """The methods of one setting, whose records these are."""
    methods: dict[str, list[tuple[str, Record]]] = defaultdict(list)
    for record in records:
        methods[record.trial.label].append((record.trial.id, record))
    return {label: _scores(metric, label, found, predictions) for label, found in methods.items()}


def _scores(metric: str, label: str, found: Sequence[tuple[str, Record]], predictions: Mapping[str, Predictions]) -> Scores:
    latest = {record.trial.seed: (id_, record) for id_, record in found}  # of two versions of a trial the one given last counts
    trials = [latest[seed] for seed in sorted(latest)]
    scored = [(id_, record) for id_, record in trials if record.status == "done" and np.isfinite(record.metrics.get(metric, np.nan))]
    arrays = [predictions[id_] for id_, _ in scored if id_ in predictions]
    values, reason = _values(metric, [record for _, record in scored], arrays)
    return Scores(
        label,
        tuple(id_ for id_, _ in trials),
        tuple(record for _, record in trials),
        tuple(record for _, record in scored),
        np.array([record.metrics[metric] for _, record in scored], dtype=float),
        values,
        arrays[0].without_outputs() if values is not None else None,
        len(found) - len(trials),
        reason,
        sum(is_collapsed(record, metric, predictions.get(id_)) for id_, record in trials if record.status == "done"),
    )


def _values(metric: str, scored: Sequence[Record], arrays: Sequence[Predictions]) -> tuple[np.ndarray | None, str]:
    if not scored:
        return None, "no trial gave a score"
    if len(arrays) < len(scored):
        return None, f"predictions of {len(scored) - len(arrays)} of {count(len(scored), 'trial')} are not stored"
    if not all(found.shares_rows(arrays[0]) for found in arrays):
        return None, "seeds were tested on different samples"
    if not all(np.isfinite(found.outputs).all() for found in arrays):
        return None, "some scores are not finite"
    values = np.stack([pseudo_values(metric, found.target, found.scores) for found in arrays])
    if np.isfinite(values).all():
        return values, ""
    target, outputs = arrays[0].target, arrays[0].scores.shape[1]
    return None, kind_of(target).why_untested(target, outputs, scored[0].facts.classes)


def interval(metric: str, found: Scores, vary: str) -> tuple[float, float]:
    """95 % interval of the mean score over seeds and test samples, inside the metric's range; NaN where it cannot be had."""
    if vary == "split":
        low, high = resampled_t(found.scores, test_over_train(found.scored)).interval() if len(found.scores) > 1 else (np.nan, np.nan)
    elif found.values is None:
        return np.nan, np.nan
    else:
        low, high = crossed_interval(found.values, found.scores)
    return max(low, METRICS[metric].lower), min(high, METRICS[metric].upper)


def pairs_of(metric: str, methods: Sequence[Scores], vary: str) -> Estimates:
    """Every pair of methods in one setting, turned so that above 0 the first is better.

    The crossed test where seeds share the test samples, the corrected resampled t over seeds where each draws its own split.
    """
    sign = METRICS[metric].sign
    if vary == "split":
        return Estimates.of([_resampled(sign, a, b) for a, b in combinations(methods, 2)])
    refused = refusal(methods)
    found = [one.values if one.values is not None and not refused else np.empty((0, 2)) for one in methods]
    samples = max((len(one[0]) for one in found if len(one)), default=2)
    values = [sign * one if len(one) else np.empty((0, samples)) for one in found]
    scores = [sign * one.scores if one.values is not None and not refused else np.empty(0) for one in methods]
    estimates = crossed_pairs(values, scores)
    pairs = list(combinations(methods, 2))
    reasons = tuple(refused or a.reason or b.reason or reason for (a, b), reason in zip(pairs, estimates.reasons, strict=True))
    difference = sign * np.array([a.mean - b.mean for a, b in pairs])
    return Estimates(estimates.test, difference, estimates.error, estimates.freedom, reasons)


def refusal(methods: Sequence[Scores]) -> str:
    """Why methods that were scored cannot be compared sample by sample, if they cannot."""
    known = [one for one in methods if one.arrays is not None]
    other = [one.label for one in known[1:] if one.arrays and known[0].arrays and not one.arrays.shares_rows(known[0].arrays)]
    return f"{', '.join(other)} and {known[0].label} were tested on different samples" if other else ""


def _resampled(sign: float, a: Scores, b: Scores) -> Estimate:
    seeds = sorted(set(a.seeds) & set(b.seeds))
    of_a, of_b = (dict(zip(one.seeds, one.scores, strict=True)) for one in (a, b))
    differences = sign * np.array([of_a[seed] - of_b[seed] for seed in seeds])
    return resampled_t(differences, test_over_train(a.scored))


def test_over_train(records: Sequence[Record]) -> float:
    """Test rows over training rows, the overlap that the corrected t-test allows for."""
    rows = next((record.facts.rows for record in records if record.facts.rows), {})
    return rows["test"] / rows["train"] if rows.get("train") else 0.0
