"""A question with what came of it: what boards, comparisons, looks and guides read, wherever it is stored. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from bench.question.suite import Suite
from bench.question.winners import Winner
from bench.records.predictions import Predictions
from bench.records.record import Finding, Record


class StoredPredictions(Mapping[str, Predictions]):
    """Predictions by trial, read from where they are stored when one is first asked for, all of them in one go."""

    def __init__(self, ids: Iterable[str], read: Callable[[Sequence[str]], dict[str, Predictions]]) -> None:
        self.ids, self.read = tuple(dict.fromkeys(ids)), read

    @cached_property
    def _found(self) -> dict[str, Predictions]:
        return self.read(self.ids)

    def __getitem__(self, id_: str) -> Predictions:
        return self._found[id_]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


@dataclass(frozen=True)
class Answers:
    """A suite and every record that may stand on its board. Records of tuned trials bear the name of their winner."""

    suite: Suite
    records: Sequence[Record]
    predictions: Mapping[str, Predictions] = field(default_factory=dict)  # by trial; a trial may have none
    audits: Sequence[Finding] = ()
    commands: Sequence[str] = ()  # that made them
    folder: str = ""  # of a published board, as a reader of the repository names it

    def of(self, records: Sequence[Record]) -> Answers:
        """The answers of these records alone; stored predictions of others are not read."""
        predictions = self.predictions
        if isinstance(predictions, StoredPredictions):
            predictions = StoredPredictions((record.trial.id for record in records), predictions.read)
        return replace(self, records=records, predictions=predictions)

    def by(self, metric: str | None) -> Answers:
        """The same answers ranked by another metric, if one is given."""
        return replace(self, suite=replace(self.suite, metric=metric)) if metric else self


def named(records: Iterable[Record], winners: Sequence[Winner]) -> list[Record]:
    """The records with those of tuned trials named after their winner."""
    found = []
    for record in records:
        winner = next((winner for winner in winners if winner.made(record.trial)), None)
        found.append(record if winner is None else replace(record, trial=replace(record.trial, row=winner.label)))
    return found
