"""What must be the same on a worker as in the driver, or its results answer another question. Each says of this process whether it is.

A trial's id holds the fingerprint of its data, the version of its method's source and that of the harness: a process proves all three.
Packages and Python move the last bits of numbers; whoever runs on unlike machines knowingly says so (`--mixed`), and records tell of them.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import bench
from bench.data.loading import load_same
from bench.errors import OtherQuestion
from bench.names import Value, parse_choice
from bench.question.trial import HARNESS_VERSION
from bench.records.provenance import provenance

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")  # whose versions move numbers


def python_version() -> str:
    """Major and minor version."""
    return ".".join(platform.python_version_tuple()[:2])


@dataclass(frozen=True)
class SameSuite:
    """This suite, and what it computes with."""

    bench: str
    harness: int
    python: str
    packages: tuple[tuple[str, str | None], ...]
    is_mixed: bool = False  # other packages and another Python are taken

    @classmethod
    def here(cls, is_mixed: bool = False) -> SameSuite:
        found = provenance().packages
        return cls(bench.__version__, HARNESS_VERSION, python_version(), tuple((name, found[name]) for name in PACKAGES), is_mixed)

    def check(self) -> None:
        """Raises: OtherQuestion if this process is of another suite, or has other packages and these are not taken."""
        here = SameSuite.here()
        if (here.bench, here.harness) != (self.bench, self.harness):
            raise OtherQuestion(
                f"bench {here.bench} of harness {here.harness} is installed, the driver is bench {self.bench} of harness {self.harness}; "
                "install the same one"
            )
        theirs = {"python": self.python, **dict(self.packages)}
        ours = {"python": here.python, **dict(here.packages)}
        differing = [f"{name} {ours[name]} (the driver has {version})" for name, version in theirs.items() if ours[name] != version]
        if differing and not self.is_mixed:
            raise OtherQuestion(
                f"other packages, which move the last bits of numbers: {', '.join(differing)}; install the same ones, or --mixed takes "
                "them as they are and each record tells its own"
            )


@dataclass(frozen=True)
class SameData:
    """A dataset, as `--datasets` takes it, with the fingerprint that trials were planned on."""

    choice: str
    fingerprint: str

    @property
    def name(self) -> str:
        return parse_choice(self.choice).name

    def renamed(self, names: Mapping[str, str]) -> SameData:
        return replace(self, choice=_renamed(self.choice, names))

    def check(self) -> None:
        """Raises: OtherQuestion if it is not here or is other data."""
        try:
            load_same(parse_choice(self.choice), self.fingerprint)
        except OtherQuestion:
            raise
        except ValueError as error:  # a UsageError: it does not load here, and in the driver it did
            raise OtherQuestion(f"{error}; copy it there, or give the worker a BENCH_DATA that has it") from None


@dataclass(frozen=True)
class SameCode:
    """A method in one configuration, as `--methods` takes it, with what the suite changes of it, and the version of its code."""

    choice: str = field(compare=False)  # one with which it can be looked at
    training: tuple[tuple[str, Value], ...] = field(compare=False)
    version: str
    name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or parse_choice(self.choice).name)

    def renamed(self, names: Mapping[str, str]) -> SameCode:
        return replace(self, choice=_renamed(self.choice, names), name=names.get(self.name, self.name))

    def check(self) -> None:
        """Raises: UsageError; OtherQuestion if it is another one here."""
        from bench.training.opened import code_of

        code_of(parse_choice(self.choice), dict(self.training), self.version)


Same = SameData | SameCode


def _renamed(text: str, names: Mapping[str, str]) -> str:
    choice = parse_choice(text)
    return str(replace(choice, name=names.get(choice.name, choice.name)))
