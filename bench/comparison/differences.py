"""A comparison as values: difference, effect, looks and patterns of a setting, the sum over settings, and their JSON."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from bench import stats
from bench.leaderboard import Row, SettingTable
from bench.leaderboard.rows import one_metric
from bench.seeds import stream
from bench.stats.levels import ALPHA, Levels
from bench.stats.metrics import METRICS
from bench.text import finite


@dataclass(frozen=True)
class Pattern:
    """Test samples that observe the same modalities. A wins a sample if it tells it better, a mean over its seeds.

    How well is told by the kind of target: whether the class is right, the share of labels that are, or the absolute error.
    """

    observed: str  # letters, empty: nothing
    n: int
    wins: int
    losses: int
    difference: float  # in how well they are told, A - B

    @property
    def ties(self) -> int:
        return self.n - self.wins - self.losses


@dataclass(frozen=True)
class Effect:
    """How large the difference is in terms of seeds; NaN where there are too few of them."""

    a12: float  # chance that a seed of A beats a seed of B
    cliffs_delta: float
    magnitude: str
    hedges_g: float
    outperforms: float  # chance that A beats B on the same seed
    outperforms_interval: tuple[float, float]


@dataclass(frozen=True)
class Look:
    """What was seen at a planned number of seeds."""

    seeds: int
    estimate: stats.Estimate
    spent: float  # alpha spent up to this look
    level: float  # p at or below which this look is significant


@dataclass(frozen=True)
class Looks:
    """All looks so far, where seeds were added until the pair was resolved. Their p allow for every planned look."""

    taken: tuple[Look, ...]
    sizes: tuple[int, ...]  # planned numbers of seeds
    alpha: float  # spent over all of them together

    @property
    def fractions(self) -> tuple[float, ...]:
        return tuple(n / self.sizes[-1] for n in self.sizes)

    @cached_property
    def p(self) -> float:
        return stats.sequential_p(self.fractions, [look.estimate.p for look in self.taken])

    def interval(self, level: float) -> tuple[float, float]:
        """What the repeated intervals of all looks so far leave, `level` being spent over all planned looks; NaN if they leave nothing.

        It leaves out 0 if and only if `p` is at most `level`. Source: Jennison and Turnbull 2000, chapter 9.
        """
        levels = stats.look_levels(self.fractions, level).tolist()
        ends = np.array([look.estimate.interval(1 - own) for look, own in zip(self.taken, levels, strict=False)])
        low, high = float(np.fmax.reduce(ends[:, 0])), float(np.fmin.reduce(ends[:, 1]))
        return (low, high) if low <= high else (math.nan, math.nan)

    def equivalence(self, rope: float) -> float:
        return stats.sequential_p(self.fractions, [min(1.0, 2 * look.estimate.equivalence(rope)) for look in self.taken]) / 2

    @property
    def next_size(self) -> int | None:
        """Seeds of the next look; None after the last."""
        return self.sizes[len(self.taken)] if len(self.taken) < len(self.sizes) else None

    def as_json(self) -> dict[str, object]:
        looks = [
            {"seeds": x.seeds, "difference": x.estimate.difference, "p": x.estimate.p, "level": x.level, "alpha_spent": x.spent}
            for x in self.taken
        ]
        return {"looks": looks, "planned": list(self.sizes), "alpha": self.alpha, "p": self.p}


@dataclass(frozen=True)
class Difference:
    """A against B in one setting, turned so that above 0 A is better. Fractions."""

    table: SettingTable
    a: Row
    b: Row
    estimate: stats.Estimate
    levels: Levels
    effect: Effect | None = None
    patterns: tuple[Pattern, ...] = ()
    p_adjusted: float = math.nan
    tests: int = 0  # it was adjusted with
    looks: Looks | None = None  # where seeds were added until the pair was resolved; `estimate` is then of the last look
    board_p: float = math.nan  # adjusted for every pair of a board of these results; NaN where it has no other pair, or no test of this one
    board_pairs: int = 0  # it was adjusted with
    near: float = ALPHA  # error level of the interval's end towards 0, adjusted as p is
    far: float = ALPHA  # of its other end

    @property
    def p(self) -> float:
        """Two-sided p before adjustment; allows for all looks where there were several."""
        return self.looks.p if self.looks else self.estimate.p

    @property
    def p_equivalence(self) -> float:
        return self.looks.equivalence(self.levels.rope) if self.looks else self.estimate.equivalence(self.levels.rope)

    @property
    def interval(self) -> tuple[float, float]:
        """At 95 % for all settings of the comparison at once: it leaves out 0 if and only if the adjusted p is at most alpha.

        NaN where nothing is tested.
        """
        (low, high), (near_low, near_high) = self._interval(self.far), self._interval(self.near)
        if not self.p_adjusted <= self.levels.alpha:
            return min(low, 0.0), max(high, 0.0)  # by binary noise alone is it ever moved
        return (near_low, high) if self.estimate.difference > 0 else (low, near_high)

    @property
    def alone(self) -> tuple[float, float]:
        """The 95 % interval of this setting alone, not adjusted for the others; a repeated one where there were several looks."""
        return self._interval(self.levels.alpha)

    def _interval(self, level: float) -> tuple[float, float]:
        if math.isnan(self.p):
            return math.nan, math.nan
        return self.looks.interval(level) if self.looks else self.estimate.interval(1 - level)

    @property
    def verdict(self) -> str:
        if self.p_equivalence <= self.levels.alpha:
            return "equivalent"
        if self.p_adjusted <= self.levels.alpha:
            return "better" if self.estimate.difference > 0 else "worse"
        return "undecided"

    @property
    def beyond_rope(self) -> bool:
        """Whether the whole interval lies beyond what is practically equal."""
        low, high = self.interval
        return low > self.levels.rope or high < -self.levels.rope

    @property
    def is_futile(self) -> bool:
        """Whether the test samples alone keep an undecided pair undecided, however many seeds are added.

        So it is if even the largest difference that the seeds allow (two standard errors off) lies within what the samples blur, and
        the smallest is not surely within the margin. It decides what is run, not what is claimed.
        """
        parts = self.estimate.parts
        if self.verdict != "undecided" or "seed_a" not in parts:
            return False
        blur, of_seeds = math.sqrt(max(parts["sample"], 0.0)), 2 * math.sqrt(parts["seed_a"] + parts["seed_b"])
        difference = abs(self.estimate.difference)
        return difference + of_seeds < 1.96 * blur and max(difference - of_seeds, 0.0) + 1.645 * blur > self.levels.rope

    @property
    def seeds_needed(self) -> tuple[int | None, str]:
        """Seeds of each method that would settle an undecided pair with 80 % power if the difference is what it seems, and as what.

        `difference` at the first step of Holm, or `equivalence`, whichever takes fewer; (None, "") if no number up to 1000 does.
        """
        parts = self.estimate.parts
        if self.verdict != "undecided" or "seed_a" not in parts:
            return None, ""
        spread = (self.a.sd, self.b.sd, max(parts["sample"], 0.0))
        difference = abs(self.estimate.difference)
        found = {
            "difference": stats.seeds_needed(difference, *spread, alpha=self.levels.alpha / max(self.tests, 1)),
            "equivalence": stats.seeds_for_equivalence(difference, *spread, rope=self.levels.rope, alpha=self.levels.alpha),
        }
        settled = {name: seeds for name, seeds in found.items() if seeds is not None}
        name = min(settled, key=lambda name: settled[name], default="")
        return settled.get(name), name

    def as_json(self) -> dict[str, object]:
        table, estimate = self.table, self.estimate
        needed, needed_for = self.seeds_needed
        return {
            "dataset": table.dataset,
            "combination": table.combination,
            "protocol": table.protocol,
            "noise": table.noise,
            "synthetic": table.synthetic,
            "metric": table.metric,
            "test_rows": table.test_rows,
            "a": _side(self.a),
            "b": _side(self.b),
            "difference": estimate.difference,
            "interval": list(self.interval),
            "interval_unadjusted": list(self.alone),
            "interval_90_unadjusted": list(self._interval(2 * self.levels.alpha)),
            "effect": asdict(self.effect) if self.effect else None,
            "test": estimate.test,
            "p": self.p,
            "p_adjusted": self.p_adjusted,
            "family": self.tests,
            "p_board": self.board_p,
            "board_pairs": self.board_pairs,
            "p_equivalence": self.p_equivalence,
            "verdict": self.verdict,
            "beyond_rope": self.beyond_rope,
            "seeds_needed": needed,
            "seeds_needed_for": needed_for or None,
            "sequential": self.looks.as_json() if self.looks else None,
            "reason": not_applicable(estimate.reason),
            "patterns": [{**asdict(pattern), "ties": pattern.ties} for pattern in self.patterns],
        }


def _side(row: Row) -> dict[str, object]:
    return {"mean": row.mean, "sd": row.sd, "n": row.n, "planned": row.planned, "interval": list(row.interval), "flags": list(row.flags)}


@dataclass(frozen=True)
class Across:
    """A against B over settings: one value a setting, and one a dataset. Synthetic and real settings are never mixed."""

    synthetic: bool
    differences: Mapping[tuple[str, str], float]  # (dataset, setting) -> difference of means, failures filled
    complete: tuple[float, ...]  # of the settings where every planned trial of both gave a score
    filled: tuple[str, ...]  # settings where a method without any score was filled
    left_out: tuple[str, ...]  # settings where nothing could be filled
    levels: Levels
    reason: str = ""  # why nothing is tested over settings

    @cached_property
    def values(self) -> np.ndarray:
        return np.round(list(self.differences.values()), 10)

    @cached_property
    def signed_rank(self) -> stats.SignedRank:
        return stats.signed_rank(self.values)

    @cached_property
    def regions(self) -> stats.Regions:
        """Chances for a further setting; NaN where a signed-rank test could not be significant either."""
        if stats.minimum_p(len(self.values)) > self.levels.alpha:
            return stats.Regions(math.nan, math.nan, math.nan)
        return stats.bayesian_signed_rank(self.values, self.levels.rope, self._stream("regions"))

    @cached_property
    def of_datasets(self) -> np.ndarray:
        """Mean difference of each dataset. Shapes: (D,)."""
        values: dict[str, list[float]] = defaultdict(list)
        for (dataset, _), value in self.differences.items():
            values[dataset].append(value)
        return np.array([np.mean(found) for found in values.values()])

    @cached_property
    def over_datasets(self) -> stats.Estimate:
        return stats.resampled_t(self.of_datasets)

    @cached_property
    def sign_flip(self) -> stats.SignFlip:
        return stats.sign_flip(self.of_datasets, self._stream("sign flip"))

    def _stream(self, name: str) -> np.random.Generator:
        return stream(0, "statistics", name, *(setting for _, setting in self.differences))

    @property
    def verdict(self) -> str:
        """Within the listed settings: practically equal, else what the signed-rank test says."""
        if self.reason or math.isnan(self.signed_rank.p):
            return "undecided"
        if self.regions.decision() == "equivalent":
            return "equivalent"
        if self.signed_rank.p <= self.levels.alpha:
            return "better" if self.signed_rank.effect > 0 else "worse"
        return "undecided"

    def as_json(self) -> dict[str, object]:
        head = {
            "synthetic": self.synthetic,
            "settings": len(self.values),
            "wins": int((self.values > 0).sum()),
            "losses": int((self.values < 0).sum()),
            "difference": float(self.values.mean()) if len(self.values) else math.nan,
            "verdict": self.verdict,
            "filled": list(self.filled),
            "left_out": list(self.left_out),
            "reason": not_applicable(self.reason),
        }
        if self.reason:
            return head
        over, flip = self.over_datasets, self.sign_flip
        complete = stats.signed_rank(np.array(self.complete)) if 0 < len(self.complete) < len(self.values) else None
        return head | {
            "wilcoxon": _signed_rank_json(self.signed_rank),
            "complete_case": _signed_rank_json(complete) if complete else None,
            "bayes": {**self.regions._asdict(), "rope": self.levels.rope, "decision": self.regions.decision()},
            "datasets": {
                "n": flip.n,
                "difference": flip.mean,
                "t": {"p": over.p, "interval": list(over.interval()), "freedom": over.freedom, "reason": not_applicable(over.reason)},
                "sign_flip": {"p": flip.p, "minimum_p": flip.minimum_p, "reason": not_applicable(flip.reason)},
            },
        }


def _signed_rank_json(test: stats.SignedRank) -> dict[str, object]:
    found = {"n": test.n, "p": test.p, "rank_sum_a": test.plus, "rank_sum_b": test.minus, "effect": test.effect}
    return {**found, "minimum_p": stats.minimum_p(test.n), "reason": not_applicable(test.reason)}


def not_applicable(reason: str) -> str | None:
    """`n/a (needs n >= 6)`, or None where there is a result."""
    return f"n/a ({reason})" if reason else None


@dataclass(frozen=True)
class Comparison:
    """What `bench compare` answers."""

    a: str
    b: str
    metric: str  # of all settings; where datasets have their own, the one of the others
    levels: Levels
    correction: str  # Holm, or Benjamini-Hochberg for a metric that is not the suite's: exploratory
    differences: tuple[Difference, ...]
    across: tuple[Across, ...]  # real settings, then synthetic ones
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]
    provenance: str
    notes: tuple[str, ...] = ()
    summary: str = ""  # the answer in one or two sentences that need no statistics to read
    text: str = ""  # the whole page

    @property
    def exploratory(self) -> bool:
        return self.correction != "Holm"

    @property
    def measured(self) -> str:
        """What every score says; where datasets have metrics of their own, for each of them."""
        of: dict[str, dict[str, None]] = {}
        for difference in self.differences:
            of.setdefault(difference.table.metric, {})[difference.table.dataset] = None
        if len(of) < 2:
            return METRICS[self.metric].meaning
        told = [f"{', '.join(datasets)} by {METRICS[name].meaning}" for name, datasets in of.items()]
        return f"each dataset's own metric: {'; '.join(told)}"

    @property
    def word(self) -> str:
        """What a difference over all settings is in: the one metric, or `score` of each dataset's own."""
        return one_metric(difference.table for difference in self.differences) or self.metric

    @property
    def higher_is_better(self) -> bool:
        return METRICS[self.metric].higher_is_better

    def __str__(self) -> str:
        return self.text

    def as_json(self) -> dict[str, object]:
        """The documented shape: {"settings": [...], "across": {...}}, with `across_synthetic` if both kinds are there; NaN becomes null."""
        across = {"across": self.across[0].as_json(), **({"across_synthetic": self.across[1].as_json()} if len(self.across) > 1 else {})}
        head = {"a": self.a, "b": self.b, "metric": self.word, "higher_is_better": self.higher_is_better, "rope": self.levels.rope}
        rules = {"alpha": self.levels.alpha, "correction": self.correction, "exploratory": self.exploratory}
        notes = {
            "summary": self.summary,
            "left_out": list(self.left_out),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "provenance": self.provenance,
        }
        return finite({**head, **rules, "settings": [found.as_json() for found in self.differences], **across, **notes})
