"""A trial: one training and one evaluation as a plain value, with everything that decides its numbers. Free of torch.

Its id is the SHA-256 of its canonical JSON, so equal questions have equal ids wherever they are asked. Where the file of a method or
dataset lies is no part of a question: its code and data are, by version and fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

from bench import registry
from bench.data.grammar import evaluated_at, parse_protocol
from bench.data.terms import number_text
from bench.names import Choice, Setting, Value, bare, format_value, list_item, method_label

HARNESS_VERSION = 2  # rises with every change of the harness that moves a number; part of each trial's id
WITHOUT_FOLDERS = 2  # the harness from which on ids leave out the folders of files; trials of before keep the ids they have


@dataclass(frozen=True)
class Trial:
    """One training and one evaluation: everything that decides its numbers."""

    method: str  # catalog name, entry point, or path/to/file.py:Class
    preset: str
    options: Mapping[str, Value]  # the method's own changes to its preset
    training: Mapping[str, Value]  # the suite's changes, to every method and to this one
    dataset: str
    dataset_options: Mapping[str, Value]
    combination: str  # letters, dataset order
    protocol: str  # canonical
    seed: int
    selection: str
    vary: str
    fixed_seed: int
    fingerprint: str  # of the dataset
    version: str  # of the method's source
    harness: int = HARNESS_VERSION
    evaluations: tuple[str, ...] = ()  # canonical rules under which the test part is scored as well
    row: str = field(default="", compare=False)  # what tables call its method, if not by name and options; no part of its identity
    data: str = field(default="", compare=False)  # what tables call its dataset, likewise

    def __post_init__(self) -> None:
        object.__setattr__(self, "evaluations", tuple(self.evaluations))  # JSON knows lists alone

    @cached_property
    def id(self) -> str:
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]

    def canonical(self) -> str:
        """What its id is the hash of: every field but its names in tables and the folders of its files."""
        found = self.as_dict()
        if self.harness >= WITHOUT_FOLDERS:
            found |= {"method": bare(self.method), "dataset": bare(self.dataset)}
        return written(found)

    def to_json(self) -> str:
        """The trial as `from_json` reads it back, with the folders of its files, so that it can run again."""
        return written(self.as_dict())

    def as_dict(self) -> dict[str, object]:
        """Every field but `row` and `data`; no `evaluations` where there are none, so that such a trial has the id it always had."""
        given = vars(self)
        return {key: given[key] for key in IDENTITY if key != "evaluations" or given[key]}

    def called(self, row: str, data: str) -> Trial:
        """The same trial under other names in tables: its id stays, and is not worked out again."""
        found = replace(self, row=row, data=data)
        if "id" in vars(self):
            vars(found)["id"] = self.id
        return found

    @cached_property
    def setting(self) -> Setting:
        return Setting(self.dataset_label, self.combination, self.protocol)

    @property
    def noise(self) -> float | None:
        return parse_protocol(self.protocol).noise

    @cached_property
    def choice(self) -> str:
        """The method as `--methods` takes it."""
        return method_label(self.method, self.preset, self.options)

    @property
    def label(self) -> str:
        """The method as a table names it."""
        return self.row or self.choice

    @cached_property
    def dataset_choice(self) -> str:
        """The dataset as `--datasets` takes it."""
        return str(Choice(self.dataset, "", self.dataset_options))

    @property
    def dataset_label(self) -> str:
        """The dataset as a table names it."""
        return self.data or self.dataset_choice

    @property
    def asked(self) -> Setting:
        """Its setting with the dataset as it was asked for, whatever tables call it."""
        return Setting(self.dataset_choice, self.combination, self.protocol)

    @classmethod
    def from_json(cls, text: str) -> Trial:
        return cls(**json.loads(text))

    def command(self) -> str:
        """The command that repeats this trial."""
        sets = "".join(f" --set {shlex.quote(f'{key}={format_value(value)}')}" for key, value in sorted(self.training.items()))
        vary = f" --vary {self.vary}" if self.vary != "training" or registry.is_from_outside(self.dataset) else ""
        fixed = f" --fixed-seed {self.fixed_seed}" if self.fixed_seed else ""
        at = [evaluated_at(text) for text in self.evaluations]
        rates = ",".join(number_text(rate) for rate, _ in at if rate is not None)
        fixed_to = [letters for _, letters in at if letters is not None]
        combinations = "all" if len(fixed_to) == 2 ** len(self.combination) - 1 else ",".join(fixed_to)
        surface = (f" --test-noise {rates}" if rates else "") + (f" --test-combinations {combinations}" if combinations else "")
        return (
            f"bench run --suite published --methods {_quoted(self.choice)} --datasets {_quoted(self.dataset_choice)} "
            f"--combinations {self.combination} --protocols '{self.protocol}' --seeds {self.seed} --selection {self.selection}"
            f"{sets}{vary}{fixed}{surface}"
        )


written = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
IDENTITY = tuple(key.name for key in fields(Trial) if key.compare)


def _quoted(choice: str) -> str:
    """A choice as the one item of a list that a shell hands over."""
    return "'" + list_item(choice).replace("'", "'\"'\"'") + "'"
