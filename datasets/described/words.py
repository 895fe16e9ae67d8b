"""Numbers with their words, in what is noted of a user's files; a dataset knows nothing of the suite's own words."""

from __future__ import annotations


def count(number: int, word: str) -> str:
    """
    >>> count(1, "row"), count(2, "row")
    ('1 row', '2 rows')
    """
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def agreeing(number: int, one: str, several: str) -> str:
    """The word that agrees with a number, such as a verb."""
    return one if number == 1 else several
