"""The question: suites and their settings as plain values, read from TOML and options. Free of torch.

A suite file and the command line share their keys; options win.
"""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import resources
from itertools import count, islice
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from bench.data.grammar import parse_protocol, takes_noise
from bench.errors import UsageError, unknown
from bench.names import Value, bare_choice, list_item, one_choice, one_name, parse_choice, path_of, plain, split_list
from bench.question import budgets, keys
from bench.question.machine import Limits, Machine
from bench.stats.levels import Levels
from bench.stats.metrics import METRICS, listed_metrics
from bench.text import listed

VARY = ("training", "split")
MAX_SEEDS = 30  # of a pair that gets seeds until it is resolved, unless told


@dataclass(frozen=True)
class Settings:
    """Datasets with the combinations, protocols and noise levels they are crossed with."""

    datasets: tuple[str, ...]
    combinations: tuple[str, ...] = ("all",)
    protocols: tuple[str, ...] = ("mcar",)
    noise: tuple[float, ...] = ()
    test_noise: tuple[float, ...] = ()  # further missing rates at which each trained model is tested
    test_combinations: tuple[str, ...] = ()  # modalities with which alone each trained model is tested; all: every subset

    def protocol_texts(self) -> list[str]:
        """Canonical protocols: a rule without a rate is crossed with the noise levels. Raises: UsageError."""
        texts: list[str] = []
        for text in self.protocols:
            levels: tuple[float | None, ...] = self.noise if self.noise and takes_noise(text) else (None,)
            texts.extend(str(parse_protocol(text, level)) for level in levels)
        return list(dict.fromkeys(texts))


@dataclass(frozen=True)
class Looks:
    """Seeds where they are needed: pairs of methods that get more of them, look by look, as planned before the first look."""

    pairs: tuple[tuple[str, ...], ...]
    seeds: tuple[int, ...]  # of the first look
    max_seeds: int  # of the last
    rope: float  # largest difference that does not matter, in points

    def check(self) -> None:
        """Raises: UsageError unless there is something to look at, and more than once."""
        if not self.pairs:
            raise UsageError("max_seeds needs a pair of methods to resolve; name it with --until-resolved A,B")
        for pair in self.pairs:
            if len(pair) != 2 or pair[0] == pair[1]:
                raise UsageError(f"until_resolved takes pairs of two methods, such as muse,fusemoe, got {','.join(pair)!r}")
        if len(self.seeds) < 2 or self.max_seeds <= len(self.seeds):
            raise UsageError(
                f"until_resolved starts from 2 seeds or more and adds some: max_seeds must be above the {len(self.seeds)} "
                f"of the first look, got {self.max_seeds}"
            )

    def seed_order(self) -> tuple[int, ...]:
        """Seeds in the order in which looks take them: those of the suite, then the smallest others, `max_seeds` in all."""
        further = (seed for seed in count() if seed not in self.seeds)
        return (*self.seeds, *islice(further, max(0, self.max_seeds - len(self.seeds))))


@dataclass(frozen=True)
class Suite:
    """Everything a run asks: methods x settings x seeds under one budget."""

    name: str
    settings: tuple[Settings, ...]
    title: str = ""
    methods: tuple[str, ...] = ("all",)
    seeds: tuple[int, ...] = (0, 1, 2)
    metric: str = "accuracy"  # primary metric of the leaderboard; of several kinds of target one each, with commas between
    selection: str = "accuracy"  # validation metric that picks the checkpoint, likewise
    vary: str = "training"  # "split": the seed also draws the split and the valid and test masks
    fixed_seed: int = 0  # root of everything that does not vary with the seed
    threads: int = 1  # of each trial
    device: str = "auto"
    minutes: float = 60.0  # wall time a trial may take
    memory_gb: float = 8.0  # memory a trial may take
    training: Mapping[str, Value] = field(default_factory=dict)  # changes to every method's Config that has the field
    configs: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)  # method -> changes to its Config, over `training`
    tuned: tuple[Mapping[str, object], ...] = ()  # winners of `bench tune`, which run as rows of their own; see bench.question.winners
    untuned: bool = True  # False: the winners alone
    budgets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # dataset -> changes to every Config, over both: `budget_of`
    metrics: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # dataset -> its own metric and selection; see `on`
    until_resolved: tuple[str, ...] = ()  # pairs "A,B" of methods that get more seeds in each setting where they are undecided
    max_seeds: int = 0  # seeds of each of them at the most; 0: none are added
    rope: float = 1.0  # largest difference that does not matter, in points
    by_default: Mapping[str, str] = field(default_factory=dict)  # key -> its value, which nobody named, and why; see `defaults`

    def __post_init__(self) -> None:
        budgets.check(self.budgets, self.training)
        if not 0 < self.rope < 100:
            raise UsageError(f"rope, the largest difference that does not matter, must be above 0 and below 100 points, got {self.rope:g}")
        if self.until_resolved or self.max_seeds:
            self.looks.check()
            if self.vary != "training":
                raise UsageError("until_resolved needs one test set for all seeds; leave --vary split out")
        for what in ("metric", "selection"):
            listed_metrics(str(getattr(self, what)))
        self._check_metrics()
        if self.until_resolved and len(listed_metrics(self.metric)) > 1:
            raise UsageError(
                f"until_resolved resolves pairs by one metric, got {self.metric!r}; run datasets of one kind of target at a time"
            )
        if self.vary not in VARY:
            raise unknown("value of vary", str(self.vary), VARY)
        if self.device not in ("auto", "cpu") and not re.fullmatch(r"cuda(:\d+)?", self.device):
            raise UsageError(f"device must be auto, cpu, cuda or cuda:N, got {self.device!r}")
        if self.threads < 1 or self.minutes <= 0 or self.memory_gb <= 0:
            raise UsageError(f"threads, minutes and memory_gb must be positive, got {self.threads}, {self.minutes} and {self.memory_gb}")
        if not self.settings or not self.methods:
            raise UsageError(f"suite {self.name!r} needs a method and a [[settings]] table with datasets")

    def _check_metrics(self) -> None:
        """Raises: UsageError unless each table of [metrics] says metrics, and those of one kind of target share a scale."""
        whose = {METRICS[name].kind: (name, "the suite's") for name in listed_metrics(self.metric)}
        for dataset, table in self.metrics.items():
            where = f"[metrics.{_toml(dataset)}]"
            for key, name in table.items():
                if key not in keys.OF_DATASET:
                    raise unknown(f"key of {where}", key, keys.OF_DATASET)
                if not isinstance(name, str) or name not in METRICS:
                    raise unknown(f"metric in {where}", str(name), METRICS)
            if "metric" in table:
                own = METRICS[table["metric"]]
                first, of = whose.setdefault(own.kind, (own.name, f"that of {dataset}"))
                if METRICS[first].scale != own.scale:
                    raise UsageError(
                        f"metric of {where} is {own.name} and {of} {first}; one board averages its settings, so their metrics must share a "
                        f"scale ({METRICS[first].scale_text} and {own.scale_text}): run {dataset} in a suite of its own"
                    )

    def on(self, dataset: str) -> Suite:
        """What the suite asks of a dataset, `NAME` or `NAME[option=value]`: with the metric and selection of its table, and no tables.

        The table of a dataset with its options wins over that of its name.
        """
        if not self.metrics:
            return self
        own = self.said_of(dataset)
        return replace(self, metric=own.get("metric", self.metric), selection=own.get("selection", self.selection), metrics={})

    def budget_of(self, method: str, dataset: str) -> dict[str, Value]:
        """What [budgets] says of a method on a dataset, `epochs_times` as the epochs that it makes of the method's: rounded, 1 at least."""
        budget = budgets.of_all(budgets.tables_on(self.budgets, dataset))
        if budgets.TIMES in budget:
            epochs = self.configs.get(method, {}).get("epochs", self.training["epochs"])
            times = float(budget.pop(budgets.TIMES))
            made = max(1, round(times * epochs)) if isinstance(epochs, int | float) else epochs  # what is no number, the Config refuses
            budget = {"epochs": made, **budget}
        return {**budget, **self.own_budget_of(method, dataset)}

    def own_budget_of(self, method: str, dataset: str) -> Mapping[str, Value]:
        """What [budgets] says of this method alone on a dataset."""
        return budgets.of_methods(budgets.tables_on(self.budgets, dataset)).get(method, {})

    def metric_on(self, dataset: str) -> str:
        """What ranks a dataset; see `on`."""
        return self.on(dataset).metric

    def said_of(self, dataset: str) -> dict[str, str]:
        """What tables of [metrics] say of a dataset."""
        return budgets.tables_on(self.metrics, dataset)

    @property
    def selections(self) -> dict[str, str]:
        """The datasets that have a selection of their own: how trials are run there, as a metric is not."""
        return {dataset: table["selection"] for dataset, table in self.metrics.items() if "selection" in table}

    @property
    def looks(self) -> Looks:
        """The pairs to resolve and the plan of looks at them, one value for its four keys."""
        return Looks(tuple(tuple(split_list(pair)) for pair in self.until_resolved), self.seeds, self.max_seeds, self.rope)

    @property
    def levels(self) -> Levels:
        """What every decision about these results is made by, on boards and in comparisons alike."""
        return Levels(rope=self.rope / 100)

    @property
    def limits(self) -> Limits:
        return Limits(self.minutes * 60, int(self.memory_gb * 1e9))

    @property
    def machine(self) -> Machine:
        return Machine(self.device, self.threads)

    def to_toml(self) -> str:
        """The suite as a file that reads back to itself."""
        defaults = {key.name: key.default for key in fields(self) if key.name in ("until_resolved", "max_seeds", "rope", "untuned")}
        scalars = {key.name: getattr(self, key.name) for key in fields(self) if key.name not in ("settings", *SUITE_TABLES, "name")}
        scalars = {key: value for key, value in scalars.items() if key not in defaults or value != defaults[key]}
        lines = [f"{key} = {_toml(value)}" for key, value in scalars.items()]
        if self.by_default:
            lines += ["", "[by_default]", *(f"{key} = {_toml(value)}" for key, value in sorted(self.by_default.items()))]
        if self.training:
            lines += ["", "[training]", *(f"{key} = {_toml(value)}" for key, value in sorted(self.training.items()))]
        for what in ("configs", "budgets", "metrics"):
            for name, table in getattr(self, what).items():
                for method, own in {"": budgets.of_all(table), **budgets.of_methods(table)}.items():
                    head = ".".join([what, *(_toml(part) for part in (name, method) if part)])
                    lines += ["", f"[{head}]", *(f"{key} = {_toml(value)}" for key, value in sorted(own.items()))]
        for setting in self.settings:
            lines += ["", "[[settings]]", *(f"{key} = {_toml(value)}" for key, value in asdict(setting).items() if value)]
        return "\n".join([*lines, *toml_tables("tuned", self.tuned)]) + "\n"


def toml_tables(name: str, tables: Iterable[Mapping[str, object]]) -> list[str]:
    """Lines of an array of tables, tables inside them last."""
    lines: list[str] = []
    for table in tables:
        inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
        lines += ["", f"[[{name}]]", *(f"{key} = {_toml(value)}" for key, value in table.items() if key not in inner)]
        for key, entries in inner.items():
            lines += ["", f"[{name}.{key}]", *(f"{entry} = {_toml(value)}" for entry, value in sorted(entries.items()))]
    return lines


def _toml(value: object) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


NAMED = ("method", "dataset")  # keys of a [[tuned]] table that name what may be a file
SUITE_TABLES = ("training", "configs", "budgets", "metrics", "tuned", "by_default")
Reader = Callable[[str, object], object]
SUITE_KEYS: Mapping[str, Reader] = {  # of a suite file beside [[settings]]: how each is read
    "title": keys.text,
    "methods": keys.texts,
    "seeds": keys.seeds,
    "metric": keys.text,
    "selection": keys.text,
    "vary": keys.text,
    "fixed_seed": keys.whole,
    "threads": keys.whole,
    "device": keys.text,
    "minutes": keys.number,
    "memory_gb": keys.number,
    "training": keys.options,
    "configs": keys.by_method,
    "tuned": keys.winners,
    "untuned": keys.truth,
    "budgets": keys.by_dataset,
    "metrics": keys.by_dataset,
    "until_resolved": keys.pairs,
    "max_seeds": keys.whole,
    "rope": keys.number,
    "by_default": keys.reasons,
}
SETTING_KEYS: Mapping[str, Reader] = {
    "datasets": keys.texts,
    "combinations": keys.texts,
    "protocols": keys.texts,
    "noise": keys.rates,
    "test_noise": keys.rates,
    "test_combinations": keys.texts,
}


# how a list of suites opens
FIRST = ("quick", "real", "natural", "robustness", "value", "labels", "synthetic", "presets", "published")


def known_suites() -> dict[str, Path]:
    """Suites that come with the package, by name: those for everyone first, then those of a paper, which have a folder of their own."""
    folder = Path(str(resources.files("bench"))) / "suites"

    def place(path: Path) -> tuple[bool, int, str]:
        return path.parent != folder, FIRST.index(path.stem) if path.stem in FIRST else len(FIRST), path.stem

    return {path.stem: path for path in sorted(folder.rglob("*.toml"), key=place)}


def read_suite(name_or_path: str | PathLike[str]) -> Suite:
    """A suite by name, or from a TOML file. Raises: UsageError naming file, line or key."""
    path = _file_of(name_or_path)
    table = read_toml(path, "suite file")
    try:
        return suite_from(path.stem, table)
    except UsageError as error:
        raise UsageError(f"{error} ({path})") from None


def keys_said(suite: str | PathLike[str] | Suite) -> frozenset[str]:
    """The keys that a suite of the user's own says: all of a value, those that stand in a file, none of one that comes along.

    Raises: UsageError.
    """
    if isinstance(suite, Suite):
        return frozenset(SUITE_KEYS)
    return frozenset() if fspath(suite) in known_suites() else frozenset(read_toml(_file_of(suite), "suite file"))


def _file_of(name_or_path: str | PathLike[str]) -> Path:
    suites, text = known_suites(), fspath(name_or_path)
    if text in suites:
        return suites[text]
    if text.endswith(".toml"):
        return path_of(text)
    raise unknown("suite", text, suites)


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The table of a file that a user may have written, with or without a byte-order mark. Raises: UsageError; `what` it is to be."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror}") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"{what} {path} is in UTF-16, and TOML is UTF-8; save it as UTF-8")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{what} {path} is not UTF-8 (line {line}), and TOML is; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{what} {path} is not valid TOML: {error}") from None


def suite_from(name: str, table: Mapping[str, object]) -> Suite:
    """A suite from a mapping with the keys of a suite file. Raises: UsageError."""
    for key in table:
        if key not in (*SUITE_KEYS, "settings"):
            raise unknown("suite key", key, (*SUITE_KEYS, "settings"))
    entries = table.get("settings", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError("settings must be tables, each headed [[settings]]")
    scalars = _read({key: value for key, value in table.items() if key != "settings"}, SUITE_KEYS, "suite key")
    return Suite(name, tuple(_setting(entry) for entry in entries), **scalars)


def with_options(suite: Suite, options: Mapping[str, object]) -> Suite:
    """The suite with options of the command line over it: settings keys change every setting, `training` is merged.

    A title speaks of a suite's own datasets: where others are named, it names them.
    """
    given = {key: value for key, value in options.items() if value is not None}
    changes = _setting_values({key: value for key, value in given.items() if key in SETTING_KEYS})
    settings = tuple(dict.fromkeys(replace(setting, **changes) for setting in suite.settings)) if changes else suite.settings
    scalars = _read({key: value for key, value in given.items() if key not in SETTING_KEYS}, SUITE_KEYS, "suite key")
    if "training" in scalars:  # what the option names wins over all tables of the suite
        scalars |= {what: budgets.without(getattr(suite, what), scalars["training"]) for what in ("configs", "budgets")}
        scalars["training"] = {**suite.training, **scalars["training"]}
    named = [key for key in keys.OF_DATASET if key in scalars and "metrics" not in scalars]
    if named and suite.metrics:
        scalars["metrics"] = _without(suite.metrics, named)
    if settings != suite.settings and "datasets" in changes and suite.title:
        names = dict.fromkeys(bare_choice(name) for name in changes["datasets"])
        scalars.setdefault("title", f"Suite {suite.name} on {listed(list(names))}")
    if suite.by_default:
        scalars.setdefault("by_default", {key: reason for key, reason in suite.by_default.items() if key not in scalars})
    if scalars.get("until_resolved") and not suite.max_seeds:
        scalars.setdefault("max_seeds", MAX_SEEDS)
    return replace(suite, settings=settings, **scalars)


def without_datasets(suite: Suite, left_out: Container[str]) -> Suite:
    """The suite asked of its other datasets, without the budgets and metrics of those that it no longer asks."""
    settings = tuple(
        replace(table, datasets=tuple(name for name in table.datasets if str(parse_choice(name)) not in left_out))
        for table in suite.settings
    )
    before, after = ({parse_choice(name).name for table in tables for name in table.datasets} for tables in (suite.settings, settings))
    gone = before - after
    asked = {name: table for name, table in suite.budgets.items() if parse_choice(name).name not in gone}
    metrics = {name: table for name, table in suite.metrics.items() if parse_choice(name).name not in gone}
    return replace(suite, settings=tuple(table for table in settings if table.datasets), budgets=asked, metrics=metrics)


def _without(tables: Mapping[str, Mapping[str, str]], named: Iterable[str]) -> dict[str, dict[str, str]]:
    """The tables without these keys; one that says nothing else is gone."""
    kept = {name: {key: value for key, value in table.items() if key not in named} for name, table in tables.items()}
    return {name: table for name, table in kept.items() if table}


def _setting(entry: Mapping[str, object]) -> Settings:
    values = _setting_values({key: value for key, value in entry.items() if key != "datasets" or plain(value)})
    if "datasets" not in values:
        raise UsageError("a [[settings]] table needs datasets")
    return Settings(**values)


def _setting_values(entry: Mapping[str, object]) -> dict[str, Any]:
    """Values of a [[settings]] table, or of options that change one; its protocols are rules that take its rates. Raises: UsageError."""
    values = _read(entry, SETTING_KEYS, "key of [[settings]]")
    if "protocols" in values or "noise" in values:
        noise = values.get("noise") or (0.0,)
        for text in values.get("protocols", ("mcar",)):
            parse_protocol(text, noise[0])
    return values


def _read(table: Mapping[str, object], readers: Mapping[str, Reader], what: str) -> dict[str, Any]:
    """Each value as its reader gives it. Raises: UsageError, also for a key that has none."""
    for key in table:
        if key not in readers:
            raise unknown(what, key, readers)
    return {key: readers[key](key, plain(value)) for key, value in table.items()}


def with_one_name(suite: Suite) -> Suite:
    """The suite with every file under its one name (see `names.one_name`), wherever a method or dataset is named.

    Raises: UsageError if one file is named twice, under two spellings.
    """
    tuned = [{key: one_choice(str(value)) if key in NAMED else value for key, value in table.items()} for table in suite.tuned]
    own = [budgets.renamed(table, one_name) for table in suite.budgets.values()]
    return replace(
        suite,
        methods=_each_once("methods", suite.methods, one_choice),
        settings=tuple(replace(table, datasets=_each_once("datasets", table.datasets, one_choice)) for table in suite.settings),
        configs=dict(zip(_each_once("configs", suite.configs, one_name), suite.configs.values(), strict=True)),
        budgets=dict(zip(_each_once("budgets", suite.budgets, one_choice), own, strict=True)),
        metrics=dict(zip(_each_once("metrics", suite.metrics, one_choice), suite.metrics.values(), strict=True)),
        until_resolved=tuple(",".join(list_item(one_choice(name)) for name in split_list(pair)) for pair in suite.until_resolved),
        tuned=tuple(tuned),
    )


def _each_once(key: str, names: Iterable[str], spelled: Callable[[str], str]) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for name in names:
        first = found.setdefault(spelled(name), name)
        if first != name:
            raise UsageError(f"{key} names one file twice, as {first} and as {name}; name it once")
    return tuple(map(spelled, names))
