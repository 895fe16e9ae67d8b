"""What predictions score: where every metric of a record comes from, and whether a record still says the same. Free of torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

import bench
from bench.errors import UsageError
from bench.records.answers import Answers
from bench.records.facts import Evaluated
from bench.records.ids import SALTED
from bench.records.predictions import Predictions
from bench.records.record import Record
from bench.stats.kinds import KINDS, kind_of
from bench.stats.metrics import METRICS, score

SAME = 1e-4  # probabilities of a class that differ by no more, relative to their mean, are the same to four digits for every sample
CLOSE = 1e-9  # two machines may differ in the last bits of an exponential or a sum, far below this; a share of larger numbers


class Scored(NamedTuple):
    """What the predictions of one part come to, named as records name it."""

    metrics: Mapping[str, float]
    metric_reasons: Mapping[str, str]  # of metrics that are NaN
    histogram: list[int]  # how often each class or label is the predicted one; empty for a value


def scored(target: np.ndarray, scores: np.ndarray, names: Sequence[str] = ()) -> Scored:
    """All metrics of scores, as `stats.metrics.score` has them; `names` are of labels. Raises: UsageError if a score is not finite."""
    bad = (~np.isfinite(scores)).any(1).sum()
    if bad:
        raise UsageError(f"scores must be finite, got {bad} of {len(scores)} rows with NaN or infinity")
    return Scored(*score(target, scores, names), kind_of(target).told(target, scores))


def is_collapsed(record: Record, metric: str, predictions: Predictions | None = None) -> bool:
    """Whether a trial tells no test row from another, by what the metric looks at.

    A metric of predicted classes or labels sees the same for every row; one of scores sees equal scores, to four digits. Without
    predictions an AUROC of exactly a half stands for these, where it is not defined one predicted class, and of a value a correlation
    that equal predictions leave undefined.
    """
    kind = KINDS[METRICS[metric].kind]
    one_class = kind.is_one_answer(record.facts.histogram, record.facts.rows.get("test", 0))
    if METRICS[metric].by_class:
        return one_class
    if predictions is not None:
        return bool((np.ptp(predictions.scores, axis=0) <= SAME * np.abs(predictions.scores.mean(0))).all())
    if kind.name == "value":
        return "pearson" in record.facts.metric_reasons and "r2" not in record.facts.metric_reasons
    auroc = record.metrics.get("auroc" if kind.name == "classes" else "label_auroc", math.nan)
    return one_class if math.isnan(auroc) else auroc == 0.5


@dataclass(frozen=True)
class Mismatch:
    """A number of a record that its stored predictions do not give."""

    trial: str
    rule: str  # of the evaluation; empty for the main scores
    metric: str  # or "histogram"
    recorded: object
    stored: object  # what the predictions give

    @property
    def size(self) -> float:
        """Difference of the two; infinite where they are no two numbers."""
        a, b = self.recorded, self.stored
        return abs(a - b) if isinstance(a, float) and isinstance(b, float) and math.isfinite(a - b) else math.inf

    def __str__(self) -> str:
        under = f" under {self.rule}" if self.rule else ""
        return f"trial {self.trial}: {self.metric}{under} is recorded as {self.recorded}, its predictions give {self.stored}"


def mismatches(record: Record, predictions: Predictions) -> list[Mismatch]:
    """Numbers of a record that differ from those of its predictions by more than `CLOSE`. Raises: UsageError if these are not finite."""
    facts = record.facts
    told = {"": Scored(record.metrics, facts.metric_reasons, facts.histogram)}
    told |= {rule: Scored(one.metrics, one.metric_reasons, one.histogram) for rule, one in facts.evaluations.items()}
    found = []
    for rule, (metrics, _, histogram) in _all_scored(record, predictions).items():
        then = told.get(rule, Scored({}, {}, []))
        pairs = [(name, then.metrics[name], metrics[name]) for name in metrics if name in then.metrics]
        found += [Mismatch(record.trial.id, rule, name, a, b) for name, a, b in pairs if not _close(a, b)]
        if then.histogram and then.histogram != histogram:
            found.append(Mismatch(record.trial.id, rule, "histogram", then.histogram, histogram))
    return found


def rescored(record: Record, predictions: Predictions) -> Record:
    """The record with every metric and histogram as its predictions give them; itself if they are the same to the bit.

    Rows under salted ids have another order than those that were scored, which the last bits of a sum depend on: there `CLOSE` is the same.
    Its facts then name the version that took them anew. Raises: UsageError if a class score is not finite.
    """
    if record.facts.ids == SALTED and not mismatches(record, predictions):
        return record
    found, before = _all_scored(record, predictions), record.facts.evaluations
    metrics, reasons, histogram = found.pop("")
    evaluations = {rule: replace(before.get(rule, Evaluated()), **given._asdict()) for rule, given in found.items()}
    facts = replace(record.facts, metric_reasons=reasons, histogram=histogram, evaluations={**before, **evaluations})
    new = replace(record, metrics={**record.metrics, **metrics}, facts=facts)
    return record if _text(new) == _text(record) else replace(new, facts=replace(facts, rescored=bench.__version__))


def agreeing(answers: Answers) -> Answers:
    """The answers with every record saying what its predictions give. Raises: UsageError if a class score is not finite."""
    fresh: dict[str, Record] = {}
    for _, here in answers.by_setting():
        off = {found.trial for found in _mismatches_in(here)}
        fresh |= {r.trial.id: rescored(r, here.predictions[r.trial.id]) for r in here.records if r.trial.id in off}
    return replace(answers, records=[fresh.get(record.trial.id, record) for record in answers.records])


def mismatches_of(answers: Answers) -> list[Mismatch]:
    """Every number of these records that differs from those of their predictions, as `mismatches` finds them."""
    return [found for _, here in answers.by_setting() for found in _mismatches_in(here)]


def _mismatches_in(answers: Answers) -> list[Mismatch]:
    known = [record for record in answers.records if record.status == "done" and record.trial.id in answers.predictions]
    return [found for record in known for found in mismatches(record, answers.predictions[record.trial.id])]


def _all_scored(record: Record, predictions: Predictions) -> dict[str, Scored]:
    """By rule, the main scores under the empty one."""
    target, names = predictions.target, record.facts.classes
    try:
        found = {"": scored(target, predictions.scores, names)}
        return found | {rule: scored(target, predictions.scores_under(rule), names) for rule in predictions.evaluations}
    except UsageError as error:
        raise UsageError(f"predictions of trial {record.trial.id} are damaged: {error}; run the trial again") from None


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= CLOSE * max(1.0, abs(a)) or (math.isnan(a) and math.isnan(b))


def _text(record: Record) -> str:
    """Equal for equal records: as a number, NaN is not equal to itself."""
    return json.dumps(record.as_json(), sort_keys=True)
