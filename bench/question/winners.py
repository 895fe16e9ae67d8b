"""Tuned configurations: winners as `bench tune` writes them, and their way into a run. Free of torch.

A winner's options become options of the method, so a tuned trial says in its own identity what was trained; what a table calls it,
`muse tuned (20 suggestions)`, comes from the winners that the suite names. A winner is valid where it was found: the same
code, data, setting, training budget and split, and training seeds that the tuning did not use. One that is asked for a whole dataset is
trained under every protocol of it, and its rows say at which it was found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from bench.errors import UsageError, unknown
from bench.names import Choice, Setting, Value, Words, bare_choice, parse_choice, path_of, words_of
from bench.question.suite import Suite, read_toml, toml_tables
from bench.question.trial import Trial
from bench.text import count

FOLDER = "tuning"  # in a results folder
FILE = "tuned.toml"
SOURCES = ("default", "tuned")
REACHES = ("setting", "dataset")  # where a winner is trained
TUNED = re.compile(r"(?P<own>.+?) tuned(?: at .+)? \([\d,]+ suggestions?\)")  # what `Winner.called` makes


def own_label(label: str) -> str:
    """What tables call the default row of the method that this row is of.

    >>> own_label("muse tuned (20 suggestions)"), own_label("muse tuned at natural + mcar(0.3) (1 suggestion)")
    ('muse', 'muse')
    >>> own_label("muse@as_released")
    'muse@as_released'
    """
    found = TUNED.fullmatch(label)
    return found["own"] if found else label


@dataclass(frozen=True)
class Winner:
    """The best configuration that a tuning found for one method in one setting, with all that was spent on finding it."""

    method: str  # label of the method at its default configuration
    dataset: str
    combination: str
    protocol: str
    study: str  # name of the tuning
    sampler: str
    pruner: str
    suggestions: int  # asked for and ended, over all seeds of the tuning; the default configuration is not one
    pruned: int
    failed: int
    seconds: float  # of all suggestions' processes together
    selection: str  # the validation metric, in its own direction
    valid: float
    seeds: tuple[int, ...]  # training seeds of the tuning
    fixed_seed: int
    fingerprint: str  # of the dataset
    version: str  # of the method's source
    harness: int
    options: Mapping[str, Value]  # every tuned field
    training: Mapping[str, Value]  # the suite's changes, under which it was found
    gflops: float | None = None  # counted training GFLOPs of all suggestions together
    default: float | None = None  # validation score of the default configuration
    fixed: tuple[str, ...] = ()  # fields of search spaces that the tuning left as they were
    reach: str = "setting"  # "dataset": trained under the other protocols of the dataset as well

    @property
    def label(self) -> str:
        return self.called({})

    def called(self, short: Mapping[str, str]) -> str:
        """What tables call its rows; `short` are the names of methods that are files."""
        choice = parse_choice(self.method)
        where = f" at {self.protocol}" if self.reach == "dataset" else ""
        return f"{replace(choice, name=short.get(choice.name, choice.name))} tuned{where} ({count(self.suggestions, 'suggestion')})"

    @property
    def setting(self) -> Setting:
        return Setting(self.dataset, self.combination, self.protocol)

    def is_for(self, trial: Trial) -> bool:
        """Whether `trial` is the method in this setting at its default configuration."""
        return self._is(self.method, trial)

    def made(self, trial: Trial) -> bool:
        """Whether `trial` is this winner's."""
        base = parse_choice(self.method)
        return self._is(str(Choice(base.name, base.preset, {**base.options, **self.options})), trial)

    def _is(self, method: str, trial: Trial) -> bool:
        """Whether `trial` is of this method in this setting; of files, the same code and data are the same wherever they lie."""
        names = (
            (method, trial.choice, self.version == trial.version),
            (self.dataset, trial.dataset_choice, self.fingerprint == trial.fingerprint),
        )
        where = trial.combination == self.combination and (trial.protocol == self.protocol or self.reach == "dataset")
        return where and all(own == other or (same and bare_choice(own) == bare_choice(other)) for own, other, same in names)

    def applied(self, trial: Trial) -> Trial:
        """The tuned trial in place of the default one.

        What the suite says now of a field that was tuned, such as another rate, does not reach it: it stays the trial that it was.
        Raises: UsageError if the winner was found under other conditions.
        """
        what = f"the winner of {self.method} on {self.dataset} {self.protocol} (tuning {self.study})"
        again = "run it as it was tuned, or tune again"
        tuned = {key: value for key, value in self.training.items() if key in self.options}
        trial = replace(trial, training={**{key: value for key, value in trial.training.items() if key not in self.options}, **tuned})
        for key in ("selection", "fixed_seed", "training", "fingerprint", "version", "harness"):
            mine, asked = getattr(self, key), getattr(trial, key)
            if mine != asked:
                raise UsageError(f"{what} was found with {key} {_shown(mine)}, this run has {_shown(asked)}; {again}")
        if trial.vary != "training":
            raise UsageError(f"{what} was found on one split, this run has vary = {trial.vary}; {again}")
        if trial.seed in self.seeds:
            raise UsageError(f"{what} was chosen with training seed {trial.seed}; give fresh --seeds")
        return replace(trial, options={**trial.options, **self.options})

    def table(self) -> dict[str, object]:
        """As a TOML table, which reads back to itself."""
        left_out = {"fixed": (), "reach": "setting"}
        return {key: value for key, value in asdict(self).items() if value is not None and left_out.get(key) != value}


def _shown(value: object) -> str:
    return ", ".join(f"{key}={item}" for key, item in sorted(value.items())) or "none" if isinstance(value, Mapping) else str(value)


def winner_from(table: Mapping[str, object]) -> Winner:
    """A winner from its TOML table. Raises: UsageError."""
    known = {field.name: field for field in fields(Winner)}
    for key in table:
        if key not in known:
            raise unknown("key of [[tuned]]", key, known)
    absent = [name for name, field in known.items() if field.default is MISSING and name not in table]
    if absent:
        raise UsageError(f"a [[tuned]] table lacks {', '.join(absent)}; write the file with `bench tune`")
    values: dict[str, Any] = dict(table)
    for key, hint in get_type_hints(Winner).items():
        if key in values and (isinstance(values[key], bool) or not isinstance(values[key], _kinds(hint))):
            raise UsageError(f"{key} of a [[tuned]] table cannot be {values[key]!r}; write the file with `bench tune`")
    if not values["options"] or not all(isinstance(value, bool | int | float | str) for value in values["options"].values()):
        raise UsageError(f"options of a [[tuned]] table must be Config fields with their values, got {values['options']!r}")
    if values.get("reach", "setting") not in REACHES:
        raise unknown("reach of a [[tuned]] table", values["reach"], REACHES)
    return Winner(**{**values, "seeds": tuple(values["seeds"]), "fixed": tuple(values.get("fixed", ()))})


def _kinds(hint: Any) -> tuple[type, ...]:
    """The types in which TOML gives a field of `Winner`: a whole number may stand for any number, an absent field is None.

    >>> _kinds(float | None), _kinds(tuple[int, ...]), _kinds(str)
    ((<class 'int'>, <class 'float'>), (<class 'list'>, <class 'tuple'>), (<class 'str'>,))
    """
    if isinstance(hint, UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    kind = get_origin(hint) or hint
    return {float: (int, float), tuple: (list, tuple), Mapping: (dict,)}.get(kind, (kind,))


def read_winners(path: Path) -> list[Winner]:
    """The winners of a file. Raises: UsageError naming the file."""
    table = read_toml(path, "file of tuned configs")
    try:
        if set(table) - {"tuned"} or not isinstance(table.get("tuned"), list) or not table["tuned"]:
            raise UsageError("it holds no [[tuned]] tables alone; write it with `bench tune`")
        return [winner_from(entry) for entry in table["tuned"]]
    except UsageError as error:
        raise UsageError(f"{error} ({path})") from None


def write_winners(path: Path, winners: Iterable[Winner], command: str) -> None:
    """Write a file that `bench run --configs FILE` reads, whole or not at all."""
    text = "\n".join([f"# Found by: {command}", *toml_tables("tuned", [winner.table() for winner in winners])]) + "\n"
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def winners_of(suite: Suite) -> list[Winner]:
    return [winner_from(table) for table in suite.tuned]


def with_configs(suite: Suite, configs: Words, out: Path | str, reach: str = "setting") -> Suite:
    """The suite with what `--configs` names: `default`, `tuned` (found in the results folder), files of winners, or several of these.

    Winners are trained where they were found, or with `reach` "dataset" under every protocol of their dataset. Raises: UsageError.
    """
    if reach not in REACHES:
        raise unknown("value of tuned_for", reach, REACHES)
    winners: list[Winner] = []
    names = words_of(configs)
    for name in names:
        if name not in SOURCES and not name.endswith(".toml"):
            raise unknown("value of configs (or a file FILE.toml)", name, SOURCES)
        if name != "default":
            winners += read_winners(_only_file(path_of(out)) if name == "tuned" else path_of(name))
    if not names:
        raise UsageError("configs names nothing; give default, tuned or FILE.toml")
    if reach != "setting" and not winners:
        raise UsageError(f"tuned_for={reach} says where tuned configs are trained, and configs names none; give tuned or FILE.toml")
    tuned = tuple(replace(winner, reach=reach).table() for winner in winners)
    return replace(suite, tuned=tuned, untuned="default" in names)


def _only_file(out: Path) -> Path:
    files = sorted((out / FOLDER).glob(f"*/{FILE}"))
    if not files:
        raise UsageError(f"no tuned configs in {out / FOLDER}; `bench tune --out {out}` finds some, or name a file: --configs FILE.toml")
    if len(files) > 1:
        raise UsageError(f"several tunings in {out / FOLDER}; name one: --configs {' or '.join(map(str, files))}")
    return files[0]


def with_winners(suite: Suite, trials: Sequence[Trial]) -> list[Trial]:
    """The trials that a suite asks for: the default ones unless it wants none, and each winner's in place of its default one.

    Raises: UsageError if no winner has a trial here, or one was found under other conditions.
    """
    winners = winners_of(suite)
    found = [trial for trial in trials if suite.untuned]
    for winner in winners:
        found += [_checked(winner.applied(trial)) for trial in trials if winner.is_for(trial)]
    found = list({trial.id: trial for trial in found}.values())  # tunings at two protocols may end in one configuration
    if winners and len(found) == len(trials) * suite.untuned:
        tuned = "; ".join(f"{winner.method} on {winner.dataset} {winner.combination} {winner.protocol}" for winner in winners)
        raise UsageError(f"no method of this run was tuned in its setting; tuned are: {tuned}")
    return found


def _checked(trial: Trial) -> Trial:
    from bench import registry

    registry.config_of(registry.method_class(trial.method), Choice(trial.method, trial.preset, trial.options), trial.training)
    return trial


def latest(tables: Iterable[Mapping[str, object]]) -> tuple[Mapping[str, object], ...]:
    """The last winner of each label and setting: what a board of several runs names its rows by."""
    found = {(winner.label, *winner.setting): winner for winner in map(winner_from, tables)}
    return tuple(winner.table() for winner in found.values())
