"""The question: suites, settings and trials as plain values, read from TOML and options. Free of torch.

A suite file and the command line share their keys; options win. A trial's id is the SHA-256 of its canonical JSON, so equal
questions have equal ids wherever they are asked.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import resources
from itertools import count, islice
from pathlib import Path

from bench.errors import UsageError, unknown
from bench.protocol import check_rate, number_text, parse_protocol, point_of, takes_noise
from bench.stats.levels import Levels

HARNESS_VERSION = 1  # rises with every change of the harness that moves a number; part of each trial's id
METRIC_NAMES = ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "auprc", "brier", "ece")
VARY = ("training", "split")
MAX_SEEDS = 30  # of a pair that gets seeds until it is resolved, unless told
DEFAULT_PRESETS = ("paper", "default")  # a class that has one of these names it first
Value = str | int | float | bool


@dataclass(frozen=True)
class Choice:
    """A method or dataset as written on the command line: `name@preset[option=value,...]`."""

    name: str
    preset: str = ""  # empty: the default
    options: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        preset = f"@{self.preset}" if self.preset else ""
        options = ",".join(f"{key}={format_value(value)}" for key, value in sorted(self.options.items()))
        return f"{self.name}{preset}[{options}]" if options else f"{self.name}{preset}"


def method_label(name: str, preset: str, options: Mapping[str, Value]) -> str:
    """A method as a table names it: with its preset, unless that is the default one."""
    return str(Choice(name, "" if preset in DEFAULT_PRESETS else preset, options))


def parse_choice(text: str) -> Choice:
    """Read `name@preset[option=value,...]`.

    >>> parse_choice("moe-retriever@as_released[use_intra=false,width=64]").options
    {'use_intra': False, 'width': 64}
    """
    match = re.fullmatch(r"\s*([^\[\]@]+?)\s*(?:@([\w-]+))?\s*(?:\[([^\[\]]*)\])?\s*", text)
    if match is None:
        raise UsageError(f"expected name, name@preset or name@preset[option=value,...], got {text!r}")
    name, preset, options = match.groups()
    return Choice(name, preset or "", parse_options(split_list(options or "")))


def parse_options(pairs: Iterable[str]) -> dict[str, Value]:
    """`key=value` texts as a dictionary with typed values. Raises: UsageError."""
    options: dict[str, Value] = {}
    for pair in pairs:
        key, equals, value = (word.strip() for word in pair.partition("="))
        if not equals or not key or not value:
            raise UsageError(f"an option reads name=value, got {pair!r}")
        if key in options:
            raise UsageError(f"option {key!r} is given twice; give it once")
        options[key] = parse_value(value)
    return options


def parse_value(text: str) -> Value:
    """true and false, integers and floats as such, everything else as text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def format_value(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def split_list(text: str) -> list[str]:
    """Comma separated items; commas inside brackets belong to their item.

    >>> split_list("muse, fusemoe[layers=1,k=2], mcar(A=0.1,B=0.2)")
    ['muse', 'fusemoe[layers=1,k=2]', 'mcar(A=0.1,B=0.2)']
    """
    items = [item.strip() for item in re.split(r",(?![^\[(]*[\])])", text)]
    return [item for item in items if item]


def parse_seeds(value: object) -> tuple[int, ...]:
    """Seeds from `3`, `"0-4"`, `"0,2,5-7"` or a list of these. Raises: UsageError if one is not a whole number from 0 on."""
    items = value if isinstance(value, list | tuple) else str(value).split(",")
    seeds: list[int] = []
    for item in items:
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", str(item)) if not isinstance(item, bool) else None
        if match is None:
            raise UsageError(f"seeds are whole numbers from 0 on, or ranges such as 0-4, got {item!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"a range of seeds runs upwards, got {item!r}; write {last}-{first}")
        seeds.extend(range(first, last + 1))
    if not seeds or len(set(seeds)) != len(seeds):
        raise UsageError(f"seeds must be given, each once, got {value!r}")
    return tuple(seeds)


@dataclass(frozen=True)
class Setting:
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
class Suite:
    """Everything a run asks: methods x settings x seeds under one budget."""

    name: str
    settings: tuple[Setting, ...]
    title: str = ""
    methods: tuple[str, ...] = ("all",)
    seeds: tuple[int, ...] = (0, 1, 2)
    metric: str = "accuracy"  # primary metric of the leaderboard
    selection: str = "accuracy"  # validation metric that picks the checkpoint
    vary: str = "training"  # "split": the seed also draws the split and the valid and test masks
    fixed_seed: int = 0  # root of everything that does not vary with the seed
    threads: int = 1  # of each trial
    device: str = "auto"
    minutes: float = 60.0  # wall time a trial may take
    memory_gb: float = 8.0  # memory a trial may take
    training: Mapping[str, Value] = field(default_factory=dict)  # changes to every method's Config that has the field
    configs: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)  # method -> changes to its Config, over `training`
    tuned: tuple[Mapping[str, object], ...] = ()  # winners of `bench tune`, which run as rows of their own; see bench.tuned
    untuned: bool = True  # False: the winners alone
    budgets: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)  # dataset -> changes to every Config, over both
    until_resolved: tuple[str, ...] = ()  # pairs "A,B" of methods that get more seeds in each setting where they are undecided
    max_seeds: int = 0  # seeds of each of them at the most; 0: none are added
    rope: float = 1.0  # largest difference that does not matter, in points

    def __post_init__(self) -> None:
        if not 0 < self.rope < 100:
            raise UsageError(f"rope, the largest difference that does not matter, must be above 0 and below 100 points, got {self.rope:g}")
        if self.until_resolved or self.max_seeds:
            self._check_looks()
        for what in ("metric", "selection"):
            if getattr(self, what) not in METRIC_NAMES:
                raise unknown("metric", str(getattr(self, what)), METRIC_NAMES)
        if self.vary not in VARY:
            raise unknown("value of vary", str(self.vary), VARY)
        if self.device not in ("auto", "cpu") and not re.fullmatch(r"cuda(:\d+)?", self.device):
            raise UsageError(f"device must be auto, cpu, cuda or cuda:N, got {self.device!r}")
        if self.threads < 1 or self.minutes <= 0 or self.memory_gb <= 0:
            raise UsageError(f"threads, minutes and memory_gb must be positive, got {self.threads}, {self.minutes} and {self.memory_gb}")
        if not self.settings or not self.methods:
            raise UsageError(f"suite {self.name!r} needs a method and a [[settings]] table with datasets")

    def _check_looks(self) -> None:
        """Seeds can be added only as planned before the first look. Raises: UsageError."""
        if not self.until_resolved:
            raise UsageError("max_seeds needs a pair of methods to resolve; name it with --until-resolved A,B")
        for pair in self.pairs:
            if len(pair) != 2 or pair[0] == pair[1]:
                raise UsageError(f"until_resolved takes pairs of two methods, such as muse,fusemoe, got {','.join(pair)!r}")
        if self.vary != "training":
            raise UsageError("until_resolved needs one test set for all seeds; leave --vary split out")
        if len(self.seeds) < 2 or self.max_seeds <= len(self.seeds):
            raise UsageError(
                f"until_resolved starts from 2 seeds or more and adds some: max_seeds must be above the {len(self.seeds)} "
                f"of the first look, got {self.max_seeds}"
            )

    @property
    def pairs(self) -> tuple[tuple[str, ...], ...]:
        """The pairs to resolve, each as its methods."""
        return tuple(tuple(split_list(pair)) for pair in self.until_resolved)

    @property
    def levels(self) -> Levels:
        """What every decision about these results is made by, on boards and in comparisons alike."""
        return Levels(rope=self.rope / 100)

    def seed_order(self) -> tuple[int, ...]:
        """Seeds in the order in which looks take them: those of the suite, then the smallest others, `max_seeds` in all."""
        further = (seed for seed in count() if seed not in self.seeds)
        return (*self.seeds, *islice(further, max(0, self.max_seeds - len(self.seeds))))

    def to_toml(self) -> str:
        """The suite as a file that reads back to itself."""
        defaults = {key.name: key.default for key in fields(self) if key.name in ("until_resolved", "max_seeds", "rope", "untuned")}
        scalars = {key.name: getattr(self, key.name) for key in fields(self) if key.name not in ("settings", *SUITE_TABLES, "name")}
        scalars = {key: value for key, value in scalars.items() if key not in defaults or value != defaults[key]}
        lines = [f"{key} = {_toml(value)}" for key, value in scalars.items()]
        if self.training:
            lines += ["", "[training]", *(f"{key} = {_toml(value)}" for key, value in sorted(self.training.items()))]
        for what in ("configs", "budgets"):
            for name, table in getattr(self, what).items():
                lines += ["", f"[{what}.{_toml(name)}]", *(f"{key} = {_toml(value)}" for key, value in sorted(table.items()))]
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
    row: str = field(default="", compare=False)  # what tables call it, if not by its method and options; no part of its identity

    def __post_init__(self) -> None:
        object.__setattr__(self, "evaluations", tuple(self.evaluations))  # JSON knows lists alone

    @property
    def id(self) -> str:
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]

    def canonical(self) -> str:
        return json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))

    def as_dict(self) -> dict[str, object]:
        """Every field but `row`; no `evaluations` where there are none, so that such a trial has the id it always had."""
        return {key: value for key, value in asdict(self).items() if key != "row" and (value or key != "evaluations")}

    @property
    def noise(self) -> float | None:
        return parse_protocol(self.protocol).noise

    @property
    def choice(self) -> str:
        """The method as `--methods` takes it."""
        return method_label(self.method, self.preset, self.options)

    @property
    def label(self) -> str:
        """The method as a table names it."""
        return self.row or self.choice

    @property
    def dataset_label(self) -> str:
        return str(Choice(self.dataset, "", self.dataset_options))

    @classmethod
    def from_json(cls, text: str) -> Trial:
        return cls(**json.loads(text))

    def command(self) -> str:
        """The command that repeats this trial."""
        sets = "".join(f" --set {key}={format_value(value)}" for key, value in sorted(self.training.items()))
        vary = f" --vary {self.vary}" if self.vary != "training" else ""
        fixed = f" --fixed-seed {self.fixed_seed}" if self.fixed_seed else ""
        points = [point_of(text) for text in self.evaluations]
        rates = ",".join(number_text(rate) for rate, _ in points if rate is not None)
        fixed_to = [letters for _, letters in points if letters is not None]
        combinations = "all" if len(fixed_to) == 2 ** len(self.combination) - 1 else ",".join(fixed_to)
        surface = (f" --test-noise {rates}" if rates else "") + (f" --test-combinations {combinations}" if combinations else "")
        return (
            f"bench run --suite published --methods '{self.choice}' --datasets '{self.dataset_label}' --combinations {self.combination} "
            f"--protocols '{self.protocol}' --seeds {self.seed} --selection {self.selection}{sets}{vary}{fixed}{surface}"
        )


SUITE_TABLES = ("training", "configs", "budgets", "tuned")
SUITE_KEYS = tuple(key.name for key in fields(Suite) if key.name not in ("name", "settings"))
SETTING_KEYS = tuple(key.name for key in fields(Setting))


def known_suites() -> dict[str, Path]:
    """Suites that come with the package, by name."""
    folder = Path(str(resources.files("bench"))) / "suites"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_suite(name_or_path: str) -> Suite:
    """A suite by name, or from a TOML file. Raises: UsageError naming file, line or key."""
    suites = known_suites()
    if name_or_path in suites:
        path = suites[name_or_path]
    elif name_or_path.endswith(".toml"):
        path = Path(name_or_path)
    else:
        raise unknown("suite", name_or_path, suites)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"suite file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"suite file {path} is not valid TOML: {error}") from None
    try:
        return suite_from(path.stem, table)
    except UsageError as error:
        raise UsageError(f"{error} ({path})") from None


def suite_from(name: str, table: Mapping[str, object]) -> Suite:
    """A suite from a mapping with the keys of a suite file. Raises: UsageError."""
    for key in table:
        if key not in (*SUITE_KEYS, "settings"):
            raise unknown("suite key", key, (*SUITE_KEYS, "settings"))
    entries = table.get("settings", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError("settings must be tables, each headed [[settings]]")
    return Suite(name, tuple(_setting(entry) for entry in entries), **_checked({k: v for k, v in table.items() if k != "settings"}))


def with_options(suite: Suite, options: Mapping[str, object]) -> Suite:
    """The suite with options of the command line over it: settings keys change every setting, `training` is merged."""
    given = {key: value for key, value in options.items() if value is not None}
    changes = {key: value for key, value in given.items() if key in SETTING_KEYS}
    settings = suite.settings
    if changes:
        parsed = {key: getattr(_setting({"datasets": ["-"], **changes}), key) for key in changes}
        settings = tuple(dict.fromkeys(replace(setting, **parsed) for setting in settings))
    scalars = _checked({key: value for key, value in given.items() if key not in SETTING_KEYS})
    if "training" in scalars:  # what the option names wins over all tables of the suite
        for what in ("configs", "budgets"):
            scalars[what] = {
                name: {key: value for key, value in table.items() if key not in scalars["training"]}
                for name, table in getattr(suite, what).items()
            }
        scalars["training"] = {**suite.training, **scalars["training"]}
    if scalars.get("until_resolved") and not suite.max_seeds:
        scalars.setdefault("max_seeds", MAX_SEEDS)
    return replace(suite, settings=settings, **scalars)


def _setting(entry: Mapping[str, object]) -> Setting:
    for key in entry:
        if key not in SETTING_KEYS:
            raise unknown("key of [[settings]]", key, SETTING_KEYS)
    if not entry.get("datasets"):
        raise UsageError("a [[settings]] table needs datasets")
    rates = ("noise", "test_noise")
    values: dict = {key: tuple(map(check_rate, _items(value))) if key in rates else _texts(key, value) for key, value in entry.items()}
    setting = Setting(**values)
    if "protocols" in entry or "noise" in entry:
        for text in setting.protocols:
            parse_protocol(text, setting.noise[0] if setting.noise else 0.0)
    return setting


def _checked(table: Mapping[str, object]) -> dict:
    """Suite keys with their types checked. Raises: UsageError."""
    checked: dict = {}
    for key, value in table.items():
        if key not in SUITE_KEYS:
            raise unknown("suite key", key, SUITE_KEYS)
        if key == "seeds":
            checked[key] = parse_seeds(value)
        elif key == "methods":
            checked[key] = _texts(key, value)
        elif key == "training":
            checked[key] = value if isinstance(value, Mapping) else parse_options(_texts(key, value))
        elif key in ("configs", "budgets"):
            if not isinstance(value, Mapping) or not all(isinstance(config, Mapping) for config in value.values()):
                one = {"configs": "method", "budgets": "dataset"}[key]
                raise UsageError(f"{key} must be tables, one a {one}, each headed [{key}.{one.upper()}]")
            checked[key] = value
        elif key == "until_resolved":  # a text is one pair: its comma separates two methods
            checked[key] = _texts(key, [value] if isinstance(value, str) else value)
        elif key == "tuned":
            if not isinstance(value, list | tuple) or not all(isinstance(table, Mapping) for table in value):
                raise UsageError("tuned must be tables, each headed [[tuned]]; `bench tune` writes them")
            checked[key] = tuple(value)
        elif key == "untuned":
            if not isinstance(value, bool):
                raise UsageError(f"untuned must be true or false, got {value!r}")
            checked[key] = value
        elif key in ("fixed_seed", "threads", "max_seeds"):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise UsageError(f"{key} must be a whole number, got {value!r}")
            checked[key] = value
        elif key in ("minutes", "memory_gb", "rope"):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UsageError(f"{key} must be a number, got {value!r}")
            checked[key] = float(value)
        elif not isinstance(value, str):
            raise UsageError(f"{key} must be a text, got {value!r}")
        else:
            checked[key] = value
    return checked


def _items(value: object) -> list:
    if isinstance(value, str):
        return split_list(value)
    return list(value) if isinstance(value, list | tuple) else [value]


def _texts(key: str, value: object) -> tuple[str, ...]:
    items = _items(value)
    if not items or not all(isinstance(item, str) for item in items):
        raise UsageError(f"{key} must be a list of names, got {value!r}")
    repeated = sorted({item for item in items if items.count(item) > 1})
    if repeated:
        raise UsageError(f"{key} names {', '.join(repeated)} twice; name each once")
    return tuple(items)


@dataclass(frozen=True)
class Finding:
    """What one check of `bench audit` found in one method. `bench.auditing` makes them; tables read them."""

    method: str  # with its options
    preset: str
    check: str
    passed: bool
    declared: bool  # the dependence that was measured is one the class states: it passes
    detail: str
    version: str  # of the method's source

    @property
    def label(self) -> str:
        """The method as a trial's label names it."""
        choice = parse_choice(self.method)
        return method_label(choice.name, self.preset, choice.options)


def audit_summary(findings: Iterable[Finding]) -> str:
    """What a table says of one method's audit: passed, passed with declared dependences, or the checks that failed."""
    findings = list(findings)
    failed, declared = [finding.check for finding in findings if not finding.passed], sum(finding.declared for finding in findings)
    if failed:
        return f"FAILED: {', '.join(failed) if len(failed) < len(findings) else 'every check'}"
    return f"passed, {declared} declared" if declared else "passed"


@dataclass(frozen=True)
class Record:
    """A trial and what came of it: the only thing the read half of the suite sees."""

    trial: Trial
    status: str  # done, failed or skipped; a trial that has not ended is planned
    reason: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)  # fractions; NaN has its reason in facts["metric_reasons"]
    cost: Mapping[str, float | None] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)  # realised missing shares, mask hashes, histogram, best epoch, timings
    provenance: Mapping[str, object] = field(default_factory=dict)

    @property
    def collapsed(self) -> bool:
        """Whether one class was predicted for every test row."""
        histogram = self.facts.get("histogram")
        return isinstance(histogram, list) and sum(count > 0 for count in histogram) == 1

    def row(self) -> dict[str, object]:
        """The record in the documented JSON shape."""
        trial = self.trial
        return {
            "id": trial.id,
            "method": str(Choice(trial.method, "", trial.options)),
            "preset": trial.preset,
            "dataset": trial.dataset_label,
            "combination": trial.combination,
            "protocol": trial.protocol,
            "noise": trial.noise,
            "seed": trial.seed,
            "status": self.status,
            "reason": self.reason,
            "metrics": dict(self.metrics),
            "cost": dict(self.cost),
        }
