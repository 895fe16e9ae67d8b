"""Errors that a user can mend: one line that says what, the rule, what came, and the way on."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UsageError(ValueError):
    """Bad input. The command line prints it as one line and exits with 2."""


class OtherQuestion(UsageError):
    """This process would answer another question than the one that was planned: its code, its harness or its data are others."""


class PlaceLost(RuntimeError):
    """The place where tasks run cannot be reached any more; what has ended is stored. The command line prints it and exits with 1."""


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not known, with the closest one offered.

    >>> str(unknown("method", "shapec", ["muse", "shaspec"]))
    "unknown method 'shapec', did you mean 'shaspec'? known: muse, shaspec"
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f", did you mean {close[0]!r}?" if close else ";"
    return UsageError(f"unknown {what} {name!r}{hint} known: {', '.join(names)}")


class TrialError(RuntimeError):
    """A trial that cannot give a number; the message becomes the record's reason."""


class MachineError(TrialError):
    """What the machine lacks or lost, such as its GPU or room on its disk: says nothing of the trial, which stays to be run."""
