"""Answers as tables name them: records of tuned trials under the name of their winner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bench.question.winners import Winner
from bench.records.record import Record


def named(records: Iterable[Record], winners: Sequence[Winner]) -> list[Record]:
    """The records with those of tuned trials named after their winner."""
    found = []
    for record in records:
        winner = next((winner for winner in winners if winner.made(record.trial)), None)
        found.append(record if winner is None else replace(record, trial=replace(record.trial, row=winner.label)))
    return found
