"""The board as values: a row, a setting's table, the table over all settings, and their JSON. `board` makes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

from bench.data.grammar import parse_protocol
from bench.leaderboard.files import Files, Key, base_of
from bench.leaderboard.groups import GroupTable
from bench.leaderboard.printed import Printed, of_setting
from bench.leaderboard.robustness import Curve
from bench.leaderboard.significance import Across, Family, PairTest, Place
from bench.leaderboard.surface import Surface
from bench.names import Setting
from bench.question.suite import Suite
from bench.question.winners import Winner, own_label
from bench.stats.levels import Levels
from bench.text import finite

SEVERAL = "score"  # what settings are called to be scored by that have several metrics
NOT_AUDITED = "not audited"
COLLAPSED = "collapsed"
DROPS = "drops modalities itself"  # heads a flag
EXTRA_METRICS = {  # shown beside the primary one, by kind of target
    "classes": ("accuracy", "f1_macro", "auroc"),
    "labels": ("label_auroc", "label_auprc", "label_f1"),
    "value": ("mae", "rmse", "r2", "pearson"),
}
TIMINGS = ("latency_ms_1", "latency_ms_64", "peak_memory_mb", "train_seconds")  # comparable within one hardware id alone
COSTS = ("gflops_per_sample", "parameters", "active_parameters", *TIMINGS)


@dataclass(frozen=True)
class Row:
    """One method in one setting. Scores are fractions, NaN where no trial gave one; `interval` holds seed and sample variance."""

    label: str
    method: str
    preset: str
    role: str  # paper, reference, outside, floor or ceiling; floor and ceiling are not ranked
    n: int  # trials with a score
    planned: int
    mean: float
    sd: float
    interval: tuple[float, float]
    rank: float | None
    flags: tuple[str, ...]
    others: Mapping[str, float]  # means of further metrics
    cost: Mapping[str, float | None]  # means over trials
    audit: str  # what `bench audit` found in the version that ran: passed, FAILED: checks, or not audited
    done: int = 0  # trials that ended well, with or without a score
    trials: tuple[str, ...] = ()  # ids, in seed order
    above_floor: float = math.nan  # what the score gains on the floor's, whatever the metric
    gap_closed: float = math.nan  # (score - floor) / (ceiling - floor)
    place: Place | None = None
    versus: PairTest | None = None  # against the best row
    verified: str = ""  # what came of verifying it, if it was sent in
    pareto: str = ""  # front, ~ (nobody significantly better is as cheap), or nothing
    tied: tuple[str, ...] = ()  # methods with the same rank: their order is that of their names

    @property
    def is_complete(self) -> bool:
        return self.n == self.planned

    @property
    def hp(self) -> str:
        """Where its hyper-parameters come from."""
        return hp_of(self.label)

    @property
    def is_bold(self) -> bool:
        """Significantly better than every other method, with every planned trial."""
        return self.place is not None and self.place.best and self.is_complete


@dataclass(frozen=True)
class SettingTable:
    """All methods in one setting, best first, floor and ceiling at the end."""

    dataset: str
    combination: str
    protocol: str
    synthetic: bool
    test_rows: int | None
    missing: float | None  # realised share of missing cells in the test part
    rows: tuple[Row, ...]
    surface: Surface | None = None  # scores under the rules of their evaluations, where trials have some
    tests: Family | None = None  # every pair of ranked methods
    floor: float = math.nan
    ceiling: float = math.nan
    ceiling_source: str = ""
    seeds: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()  # why scores are NaN, where some are
    mixed: str = ""  # what is mixed in it that forbids tests
    timed: bool = True  # whether its timings may be compared
    provenance: str = ""
    floor_reason: str = ""  # why the floor is NaN though it was asked for
    notes: tuple[str, ...] = ()  # what a reader must know of the samples and their splits
    concerns: tuple[str, ...] = ()  # what a checkup found in data from outside
    beats_floor: tuple[str, ...] | None = None  # methods significantly better than the floor; None where that is not tested
    fingerprint: str = ""  # of its data
    page: str = ""  # the file that shows it: settings of one dataset share a page, whatever its options
    unit: str = ""  # what its scores are in, where that is the unit of a target: only scores in one unit have a mean
    groups: tuple[GroupTable, ...] = ()  # its scores by groups of test samples, where they were asked for
    metric: str = ""  # that ranks it
    selection: str = ""  # metric that picked its checkpoints
    counts_as: str = ""  # the dataset it counts as in what is said of several: its own without options, or the first with the same data

    @property
    def question(self) -> tuple[str, ...]:
        """What settings share that are one, under two names of the same data."""
        return self.counts_as or base_of(self.dataset), self.fingerprint or self.dataset, self.combination, self.protocol

    @cached_property
    def noise(self) -> float | None:
        return parse_protocol(self.protocol).noise

    @cached_property
    def shape(self) -> str:
        return parse_protocol(self.protocol).shape

    @property
    def setting(self) -> Setting:
        return Setting(self.dataset, self.combination, self.protocol)

    @property
    def title(self) -> str:
        return f"{self.setting.title}{', SYNTHETIC' if self.synthetic else ''}"

    @cached_property
    def by_label(self) -> Mapping[str, Row]:
        return {row.label: row for row in self.rows}


@dataclass(frozen=True)
class OverallRow:
    """One method over all settings of one kind. Means are None unless every setting has a score."""

    label: str
    method: str
    preset: str
    role: str
    synthetic: bool
    settings: int  # in which it has trials
    complete: bool
    n: int
    planned: int
    mean_rank: float | None
    mean: float | None
    gap_closed: float | None
    noise_auc: float | None  # mean over curves
    drop: float | None
    rises: int  # steps of curves where the score rises with the noise beyond chance
    scores: Mapping[str, float]  # by setting
    cost: Mapping[str, float | None]
    audit: str
    flags: tuple[str, ...]
    place: Place | None = None
    verified: str = ""  # what came of verifying it, if it was sent in
    pareto: str = ""
    tied: tuple[str, ...] = ()  # methods with the same mean rank: their order is that of their names

    @property
    def hp(self) -> str:
        return hp_of(self.label)

    @property
    def is_bold(self) -> bool:
        return self.place is not None and self.place.best and self.complete


@dataclass(frozen=True)
class Overall:
    """All methods over all settings of one kind, best mean rank first, floor and ceiling at the end."""

    synthetic: bool
    settings: tuple[SettingTable, ...]
    curves: tuple[Curve, ...]
    rows: tuple[OverallRow, ...]
    across: Across | None  # None with fewer than two methods that were tried in every setting
    mixed: str  # what is mixed in them that forbids tests over settings
    timed: bool
    unit: str = ""  # of its scores, where others on the board are in another

    @property
    def metric(self) -> str:
        """What its scores are, in a word: the metric of all settings, or `score` where they have several."""
        return one_metric(self.settings)

    @property
    def what(self) -> str:
        return what_of(self.synthetic, self.unit)

    @property
    def called(self) -> str:
        """What a heading adds: what tells these settings from others on the board."""
        return (", SYNTHETIC data" if self.synthetic else "") + (f", {self.unit}" if self.unit else "")

    @property
    def datasets(self) -> tuple[str, ...]:
        """Each once, whatever its options, and those that hold the same data once."""
        return tuple(dict.fromkeys(setting.question[0] for setting in self.settings))

    @property
    def distinct(self) -> list[list[SettingTable]]:
        """The settings, those together that are one under two names of the same data."""
        return one_question_each(self.settings)


@dataclass(frozen=True)
class Board:
    """Everything a leaderboard shows."""

    suite: Suite
    settings: tuple[SettingTable, ...]
    overall: tuple[Overall, ...]  # real settings, then synthetic ones, each unit of scores by itself; never mixed
    failures: tuple[tuple[str, str], ...]  # (trial, reason)
    warnings: tuple[str, ...]
    provenance: str
    commands: tuple[str, ...]
    printed: tuple[Printed, ...] = ()  # numbers that others printed, which stand beside rows of ours
    folder: str = ""  # of a published board, as a reader of the repository names it
    winners: tuple[Winner, ...] = ()  # of `bench tune`, those that have rows here
    withheld: bool = False  # published without predictions
    cut: tuple[str, ...] = ()  # files of its folder that lie in pieces
    salted: tuple[str, ...] = ()  # datasets whose ids of samples were hashed to be published

    @cached_property
    def files(self) -> Files:
        """The files that show it, in a published folder."""
        keys: list[Key] = [(name, kind.what) for kind in self.overall for name in ("intervals", "ranks", "cost")]
        keys += [key for curve in self.curves for key in curve.pictures]
        keys += [(name, *setting.setting) for setting in self.settings for name in ("forest", "surface", "more")]
        return Files.of((setting.dataset for setting in self.settings), keys)

    @property
    def metric(self) -> str:
        """What its scores are, in a word: the metric of all settings, or `score` where they have several."""
        return one_metric(self.settings) or self.suite.metric

    @property
    def own_metrics(self) -> dict[str, str]:
        """The metric of each dataset, where they have several; else empty."""
        return {s.dataset: s.metric for s in self.settings} if self.metric == SEVERAL else {}

    @property
    def levels(self) -> Levels:
        return self.suite.levels

    @property
    def has_sent_in(self) -> bool:
        """Whether a row was sent in by somebody and verified."""
        return any(row.verified for setting in self.settings for row in setting.rows)

    @property
    def curves(self) -> tuple[Curve, ...]:
        return tuple(curve for overall in self.overall for curve in overall.curves)

    @property
    def families(self) -> tuple[Family, ...]:
        """Every family of tests on the board."""
        over = [family for kind in self.overall if kind.across for family in kind.across.families]
        of_settings = [setting.tests for setting in self.settings if setting.tests]
        return (*over, *of_settings, *(curve.tests for curve in self.curves))

    def as_json(self) -> dict[str, object]:
        """The documented shape: {"settings": [...], "overall": [...]}; NaN becomes null."""
        settings = []
        for setting in self.settings:
            rows = [_row_json(row) for row in setting.rows]
            head = {"dataset": setting.dataset, "combination": setting.combination, "protocol": setting.protocol, "noise": setting.noise}
            head |= {"metric": setting.metric} if self.own_metrics else {}
            bounds = {
                "floor": setting.floor,
                "beats_floor": setting.beats_floor,
                "ceiling": setting.ceiling,
                "synthetic": setting.synthetic,
                "mixed": setting.mixed or None,
            }
            printed = [
                {"method": one.method, "mean": one.score, "sd": one.spread, "source": one.source}
                for one in of_setting(self.printed, setting.setting)
            ]
            surface = asdict(setting.surface) if setting.surface else None
            by = {"groups": [found.as_json() for found in setting.groups]} if setting.groups else {}
            settings.append({**head, **bounds, "rows": rows, "surface": surface, "printed": printed, **by})
        overall = [_row_json(row) for kind in self.overall for row in kind.rows]
        return finite({"metric": self.metric, "settings": settings, "overall": overall, "warnings": list(self.warnings)})


def _row_json(row: Row | OverallRow) -> dict[str, object]:
    named = {key: value._asdict() for key in ("place", "versus") if (value := getattr(row, key, None)) is not None}
    return {**asdict(row), **named}


def what_of(synthetic: bool, unit: str) -> str:
    """Settings that are looked at together, in words: what families of tests over them are called by."""
    return ("synthetic" if synthetic else "real") + (f" {unit}" if unit else "")


def one_metric(settings: Iterable[SettingTable]) -> str:
    """The metric of settings in a word; empty without any setting."""
    names = {setting.metric for setting in settings}
    return SEVERAL if len(names) > 1 else next(iter(names), "")


def by_dataset(settings: Iterable[SettingTable], key: str, first: str) -> str:
    """What settings are ranked or selected by (`key`), and which dataset by what else: `accuracy; auroc on eicu-demo`.

    The suite's own, `first`, needs no datasets beside it.
    """
    of: dict[str, dict[str, None]] = {}
    for setting in settings:
        of.setdefault(getattr(setting, key), {})[setting.dataset] = None
    if len(of) < 2:
        return next(iter(of), first)
    order = sorted(of, key=lambda name: name != first)
    return "; ".join(name if name == first else f"{name} on {', '.join(of[name])}" for name in order)


def hp_of(label: str) -> str:
    """`tuned` where a label says so, else `default`."""
    return "tuned" if own_label(label) != label else "default"


def one_question_each(settings: Iterable[SettingTable]) -> list[list[SettingTable]]:
    """Settings by what they ask: each alone, unless its data have two names."""
    found: dict[tuple[str, ...], list[SettingTable]] = {}
    for setting in settings:
        found.setdefault(setting.question, []).append(setting)
    return list(found.values())
