"""Two methods, A and B, from records and predictions alone: setting by setting, and over all settings, in numbers and in words.

Free of torch. The rules: one declared metric; the crossed seed x sample test in each setting; Holm over the settings (Benjamini and
Hochberg for any other metric, marked exploratory); Wilcoxon's test over settings, one value a dataset for claims about datasets;
nothing is tested that the data cannot answer; records that do not belong together are refused unless the caller accepts it.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np

from bench import stats
from bench.errors import UsageError, unknown
from bench.leaderboard import UNRANKED, Row, SettingTable, build, finite
from bench.leaderboard.origin import code_of
from bench.metrics import HIGHER_IS_BETTER
from bench.protocol import parse_protocol
from bench.seeds import stream
from bench.spec import METRIC_NAMES, Record, Suite, method_label, parse_choice
from bench.stats.levels import Levels
from bench.store import Arrays

ALLOW = ("protocols", "data", "commits", "hardware")  # what may be mixed if the caller says so
Key = tuple[str, str, str]  # dataset, combination, protocol


@dataclass(frozen=True)
class Pattern:
    """Test samples that observe the same modalities. A wins a sample if a larger share of its seeds is right."""

    observed: str  # letters, empty: nothing
    n: int
    wins: int
    losses: int
    difference: float  # of accuracy, A - B

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

    setting: SettingTable
    a: Row
    b: Row
    estimate: stats.Estimate
    levels: Levels
    effect: Effect | None = None
    patterns: tuple[Pattern, ...] = ()
    p_adjusted: float = math.nan
    family: int = 0  # tests it was adjusted with
    looks: Looks | None = None  # where seeds were added until the pair was resolved; `estimate` is then of the last look

    @property
    def p(self) -> float:
        """Two-sided p before adjustment; allows for all looks where there were several."""
        return self.looks.p if self.looks else self.estimate.p

    @property
    def p_equivalence(self) -> float:
        return self.looks.equivalence(self.levels.rope) if self.looks else self.estimate.equivalence(self.levels.rope)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval; a repeated one, which holds at all looks at once, where there were several."""
        return self.estimate.interval(1 - self.looks.taken[-1].level if self.looks else 0.95)

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
            "difference": stats.seeds_needed(difference, *spread, alpha=self.levels.alpha / max(self.family, 1)),
            "equivalence": stats.seeds_for_equivalence(difference, *spread, rope=self.levels.rope, alpha=self.levels.alpha),
        }
        settled = {name: seeds for name, seeds in found.items() if seeds is not None}
        name = min(settled, key=lambda name: settled[name], default="")
        return settled.get(name), name

    def as_json(self) -> dict[str, object]:
        setting, estimate = self.setting, self.estimate
        needed, needed_for = self.seeds_needed
        return {
            "dataset": setting.dataset,
            "combination": setting.combination,
            "protocol": setting.protocol,
            "noise": setting.noise,
            "synthetic": setting.synthetic,
            "test_rows": setting.test_rows,
            "a": _side(self.a),
            "b": _side(self.b),
            "difference": estimate.difference,
            "interval": list(self.interval),
            "effect": asdict(self.effect) if self.effect else None,
            "test": estimate.test,
            "p": self.p,
            "p_adjusted": self.p_adjusted,
            "family": self.family,
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
    metric: str
    levels: Levels
    correction: str  # Holm, or Benjamini-Hochberg for a metric that is not the suite's: exploratory
    differences: tuple[Difference, ...]
    across: tuple[Across, ...]  # real settings, then synthetic ones
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]
    provenance: str
    notes: tuple[str, ...] = ()

    @property
    def exploratory(self) -> bool:
        return self.correction != "Holm"

    @property
    def higher_is_better(self) -> bool:
        return HIGHER_IS_BETTER[self.metric]

    @property
    def summary(self) -> str:
        """The answer in one or two sentences that need no statistics to read."""
        from bench.comparison_page import opening

        return opening(self)

    def __str__(self) -> str:
        from bench.comparison_page import markdown

        return markdown(self)

    def as_json(self) -> dict[str, object]:
        """The documented shape: {"settings": [...], "across": {...}}, with `across_synthetic` if both kinds are there; NaN becomes null."""
        across = {"across": self.across[0].as_json(), **({"across_synthetic": self.across[1].as_json()} if len(self.across) > 1 else {})}
        head = {"a": self.a, "b": self.b, "metric": self.metric, "higher_is_better": self.higher_is_better, "rope": self.levels.rope}
        rules = {"alpha": self.levels.alpha, "correction": self.correction, "exploratory": self.exploratory}
        notes = {
            "summary": self.summary,
            "left_out": list(self.left_out),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "provenance": self.provenance,
        }
        return finite({**head, **rules, "settings": [found.as_json() for found in self.differences], **across, **notes})


def compare(
    suite: Suite,
    records: Sequence[Record],
    predictions: Mapping[str, Arrays],
    a: str,
    b: str,
    metric: str | None = None,
    settings: Iterable[str] = (),
    rope: float | None = None,
    allow: Iterable[str] = (),
    observed: Mapping[str, np.ndarray] | None = None,
) -> Comparison:
    """A against B in every setting where both were run.

    `records` and `predictions` as `leaderboard.build` takes them; other methods' records serve to fill failures. `settings` picks some:
    each item is words that are a dataset, a combination or a protocol. `rope`, a fraction, is the largest difference that does not
    matter, by default the suite's. `allow` names what may be mixed (see ALLOW). `observed` maps hashes of test masks to the masks
    (N, M), in the order of the stored test rows; where it has a setting's mask, wins and losses are counted by observed pattern.
    Where the suite added seeds until this pair was resolved, its planned looks are tested, every p and interval allows for them, and
    trials beyond the last complete look are left out by name.
    Raises: UsageError if a method or metric is not known, no setting has both, records that do not belong together are mixed, or
    the two were scored on different test samples.
    """
    metric = metric or suite.metric
    if metric not in METRIC_NAMES:
        raise unknown("metric", metric, METRIC_NAMES)
    levels = suite.levels if rope is None else replace(suite.levels, rope=rope)
    if not 0 < levels.rope < 1:
        raise UsageError(f"the margin that does not matter must be above 0 and below 100 points, got {100 * levels.rope:g}")
    allowed = list(allow)
    for name in allowed:
        if name not in ALLOW:
            raise unknown("kind of mixture to allow", name, ALLOW)
    a, b = (label_of(text, records) for text in (a, b))
    if a == b:
        raise UsageError(f"a comparison needs two methods, got {a!r} twice")
    chosen = in_settings(records, settings)
    shared, left_out = _shared(chosen, a, b)
    own = [record for record in chosen if record.trial.label in (a, b) and _key(record) in shared]
    _check(own, allowed)
    sizes = _planned_looks(suite, a, b)
    own, notes = _up_to_last_look(own, suite, sizes, (a, b)) if sizes else (own, [])
    board = build(replace(suite, metric=metric, until_resolved=(), max_seeds=0), own, predictions)
    pair = _Pair(metric, a, b, levels, own, predictions, observed or {})
    found = [_with_looks(pair, table, suite, sizes) if sizes else _difference(pair, table) for table in board.settings]
    confirmatory = metric == suite.metric
    correct = stats.holm if confirmatory else stats.benjamini_hochberg
    differences: list[Difference] = []
    across: list[Across] = []
    for synthetic in (False, True):
        group = [difference for difference in found if difference.setting.synthetic == synthetic]
        if group:
            p = np.array([difference.p for difference in group])
            family = int((~np.isnan(p)).sum())
            group = [replace(difference, p_adjusted=float(q), family=family) for difference, q in zip(group, correct(p), strict=True)]
            differences += group
            across.append(_across(metric, group, chosen, levels, synthetic, "protocols" in allowed))
    correction = "Holm" if confirmatory else "Benjamini-Hochberg"
    warnings = (*board.warnings, *_grown(suite, a, b))
    return Comparison(
        a, b, metric, levels, correction, tuple(differences), tuple(across), tuple(left_out), warnings, board.provenance, tuple(notes)
    )  # fmt: skip


def _key(record: Record) -> Key:
    return record.trial.dataset_label, record.trial.combination, record.trial.protocol


def _title(key: Key) -> str:
    return f"{key[0]} ({key[1]}), {key[2]}"


def _spelled(text: str) -> str:
    """A method's name as tables spell it."""
    choice = parse_choice(text)
    return method_label(choice.name, choice.preset, choice.options)


def label_of(text: str, records: Sequence[Record]) -> str:
    """The method as tables name it. Raises: UsageError if no record is of it."""
    label = _spelled(text)
    known = {record.trial.label for record in records}
    if label not in known:
        raise unknown("method in these results", label, known)
    return label


def in_settings(records: Sequence[Record], settings: Iterable[str]) -> list[Record]:
    """Records of the settings that an item of `settings` describes; all if there is none. Raises: UsageError if an item fits none."""
    wanted = list(settings)
    if not wanted:
        return list(records)
    keys = dict.fromkeys(map(_key, records))
    chosen: set[Key] = set()
    for item in wanted:
        fitting = {key for key in keys if all(word in key for word in item.split())}
        if not fitting:
            raise UsageError(f"no setting fits {item!r}; give its dataset, combination or protocol, of: {'; '.join(map(_title, keys))}")
        chosen |= fitting
    return [record for record in records if _key(record) in chosen]


def _shared(records: Sequence[Record], a: str, b: str) -> tuple[set[Key], list[str]]:
    """Settings that have trials of both, and those that have not, in words. Raises: UsageError if none has."""
    found = {label: dict.fromkeys(_key(record) for record in records if record.trial.label == label) for label in (a, b)}
    shared = {key for key in found[a] if key in found[b]}
    if not shared:
        where = " and ".join(f"{label} on {'; '.join(map(_title, keys)) or 'nothing'}" for label, keys in found.items())
        raise UsageError(f"no setting has trials of both methods: {where}; run both on the same data under the same protocol")
    return shared, [f"{_title(key)}: no trial of {other}" for label, other in ((a, b), (b, a)) for key in found[label] if key not in shared]


def _check(own: Sequence[Record], allowed: Sequence[str]) -> None:
    """Refuse duplicates, and records that do not belong together. Raises: UsageError."""
    done = [record for record in own if record.status == "done"]
    seen: set[tuple[str, Key, int]] = set()
    for record in done:
        trial = (record.trial.label, _key(record), record.trial.seed)
        if trial in seen:
            raise UsageError(f"two finished trials of {trial[0]}, seed {trial[2]}, on {_title(trial[1])}; keep one of them")
        seen.add(trial)
    ways = {(record.trial.selection, record.trial.vary, record.trial.fixed_seed, record.trial.harness) for record in own}
    commits = {code_of(record) for record in done}
    budgets: dict[tuple[str, Key], set[str]] = defaultdict(set)
    versions: dict[str, set[str]] = defaultdict(set)
    for record in done:
        budgets[record.trial.label, _key(record)].add(json.dumps(dict(record.trial.training), sort_keys=True))
        versions[record.trial.label].add(record.trial.version)
    hardware = {f"{record.provenance.get('hardware_id')} {record.provenance.get('device')}" for record in done}
    kinds: dict[str, tuple[set, str]] = {
        "protocols": (ways, "ways to run a trial"),
        "commits": (commits, "commits"),
        "hardware": (hardware, "kinds of hardware"),
    }
    problems = {name: f"{len(values)} {what}" for name, (values, what) in kinds.items() if len(values) > 1}
    for (label, key), found in budgets.items():
        if len(found) > 1:
            problems.setdefault("protocols", f"{len(found)} budgets of {label} in {_title(key)}")
    for label, found in versions.items():
        if len(found) > 1:
            problems.setdefault("commits", f"{len(found)} versions of the code of {label}")
    data: dict[tuple, set[tuple[str, str]]] = defaultdict(set)
    for record in done:
        data[_key(record), record.trial.seed if record.trial.vary == "split" else None].add((record.trial.fingerprint, _test_mask(record)))
    unlike = sorted({_title(key) for (key, _), values in data.items() if len(values) > 1})
    if unlike:
        problems["data"] = f"different data or test masks in {'; '.join(unlike)}"
    refused = [name for name in ALLOW if name in problems and name not in allowed]
    if refused:
        what = ", ".join(problems[name] for name in refused)
        raise UsageError(f"these records mix {what}; run both methods alike, or accept it with --allow {','.join(refused)}")


def _test_mask(record: Record) -> str:
    masks = record.facts.get("masks")
    return str(masks.get("test")) if isinstance(masks, Mapping) else ""


def _planned_looks(suite: Suite, a: str, b: str) -> tuple[int, ...]:
    """Numbers of seeds at which this pair was planned to be looked at; none if seeds were not added for it."""
    pairs = [{_spelled(name) for name in pair} for pair in suite.pairs]
    return stats.look_sizes(len(suite.seeds), suite.max_seeds) if {a, b} in pairs else ()


def _grown(suite: Suite, a: str, b: str) -> list[str]:
    """A method that got seeds for another pair's sake has a number of seeds that depends on its scores."""
    pairs = [{_spelled(name) for name in pair} for pair in suite.pairs]
    if {a, b} in pairs:
        return []
    grown = sorted({a, b} & {label for pair in pairs for label in pair})
    return [f"{' and '.join(grown)} got seeds until another pair was resolved; these tests take the number as fixed"] if grown else []


def _up_to_last_look(own: Sequence[Record], suite: Suite, sizes: Sequence[int], labels: tuple[str, str]) -> tuple[list[Record], list[str]]:
    """Records of the seeds of the last look that is complete in their setting, all before the first one; and what to note on them."""
    order = suite.seed_order()
    ended: dict[Key, dict[str, set[int]]] = defaultdict(lambda: {label: set() for label in labels})
    for record in own:
        if record.status != "planned":
            ended[_key(record)][record.trial.label].add(record.trial.seed)
    last = {
        key: max((n for n in sizes if all(seeds.issuperset(order[:n]) for seeds in sides.values())), default=0)
        for key, sides in ended.items()
    }
    kept = [r for r in own if not last.get(_key(r)) or r.trial.seed in order[: last[_key(r)]]]
    beyond = Counter(_key(record) for record in own) - Counter(_key(record) for record in kept)
    notes = [f"{_title(key)}: {n} trials beyond the look at {last[key]} seeds are left out" for key, n in beyond.items()]
    early = [_title(key) for key in ended if not last[key]]
    notes += [f"before the first planned look, at {sizes[0]} seeds, and tested as it stands: {'; '.join(early)}"] if early else []
    return kept, notes


@dataclass(frozen=True)
class _Pair:
    """What is compared, and with which records."""

    metric: str
    a: str
    b: str
    levels: Levels
    records: Sequence[Record]
    predictions: Mapping[str, Arrays]
    observed: Mapping[str, np.ndarray]


def _with_looks(pair: _Pair, table: SettingTable, suite: Suite, sizes: tuple[int, ...]) -> Difference:
    """The last complete look, with all before it; before the first one, what there is."""
    result, order = _difference(pair, table), suite.seed_order()
    here = [record for record in pair.records if _key(record) == (table.dataset, table.combination, table.protocol)]
    ended = [{r.trial.seed for r in here if r.trial.label == label and r.status != "planned"} for label in (pair.a, pair.b)]
    complete = [n for n in sizes if all(seeds.issuperset(order[:n]) for seeds in ended)]
    if not complete:
        return result
    fractions = [n / sizes[-1] for n in sizes]
    alpha = pair.levels.alpha
    spent, levels = stats.spent_alpha(fractions, alpha), stats.look_levels(fractions, alpha)
    taken = []
    for n, of_look, level in zip(complete, spent.tolist(), levels.tolist(), strict=False):
        seen = replace(pair, records=[record for record in here if record.trial.seed in order[:n]], observed={})
        estimate = result.estimate if n == complete[-1] else _difference(seen, table).estimate
        taken.append(Look(n, estimate, of_look, level))
    return replace(result, looks=Looks(tuple(taken), sizes, alpha))


def _difference(pair: _Pair, table: SettingTable) -> Difference:
    metric, a, b = pair.metric, pair.a, pair.b
    rows = {row.label: row for row in table.rows}
    here = [record for record in pair.records if _key(record) == (table.dataset, table.combination, table.protocol)]
    runs = [_scored(metric, [record for record in here if record.trial.label == label]) for label in (a, b)]
    arrays = [[pair.predictions[record.trial.id] for record in side if record.trial.id in pair.predictions] for side in runs]
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    scores = [sign * np.array([record.metrics[metric] for record in side]) for side in runs]
    result = Difference(table, rows[a], rows[b], stats.Estimate("none", math.nan, math.nan), pair.levels)
    if not len(scores[0]) or not len(scores[1]):
        reasons = {str(reason) for record in here if isinstance(why := record.facts.get("metric_reasons"), Mapping)
                   for name, reason in why.items() if name == metric}  # fmt: skip
        because = f": {'; '.join(sorted(reasons))}" if reasons else ""
        reason = f"needs 2 seeds of each method with a score, got {len(scores[0])} and {len(scores[1])}{because}"
        return replace(result, estimate=replace(result.estimate, reason=reason))
    result = replace(result, effect=_effect(f"{table.title} {a} {b}", runs, scores))
    if runs[0][0].trial.vary == "split":
        return replace(result, estimate=_over_splits(table, runs, scores, arrays))
    if any(len(found) < len(side) for found, side in zip(arrays, runs, strict=True)):
        reason = "needs the stored predictions of every trial"
        return replace(result, estimate=replace(result.estimate, difference=scores[0].mean() - scores[1].mean(), reason=reason))
    _check_samples(table, [*arrays[0], *arrays[1]])
    values = [np.stack([sign * stats.pseudo_values(metric, x.target, x.scores.astype(float)) for x in side]) for side in arrays]
    masks = {_test_mask(record) for side in runs for record in side}
    patterns = _patterns(table, pair.observed[masks.pop()], arrays) if len(masks) == 1 and masks <= set(pair.observed) else ()
    return replace(result, estimate=stats.crossed_test(*values, *scores), patterns=patterns)


def _scored(metric: str, records: Sequence[Record]) -> list[Record]:
    """Trials that have a score, in seed order."""
    done = [record for record in records if record.status == "done" and math.isfinite(record.metrics.get(metric, math.nan))]
    return sorted(done, key=lambda record: record.trial.seed)


def _check_samples(table: SettingTable, arrays: Sequence[Arrays]) -> None:
    first = arrays[0]
    if not all(np.array_equal(x.ids, first.ids) and np.array_equal(x.target, first.target) for x in arrays):
        raise UsageError(f"the two methods were scored on different test samples or labels in {table.title}; run them on the same split")


def _over_splits(table: SettingTable, runs: list[list[Record]], scores: list[np.ndarray], arrays: list[list[Arrays]]) -> stats.Estimate:
    """Each seed drew its own split: the corrected t-test over the seeds that both have."""
    seeds = [[record.trial.seed for record in side] for side in runs]
    both = sorted(set(seeds[0]) & set(seeds[1]))
    at = [[side.index(seed) for seed in both] for side in seeds]
    if all(len(found) == len(side) for found, side in zip(arrays, runs, strict=True)):
        for i, j in zip(*at, strict=True):
            _check_samples(table, [arrays[0][i], arrays[1][j]])
    sizes = [rows for record in runs[0] if isinstance(rows := record.facts.get("rows"), Mapping)]
    if not both or not sizes:
        return stats.Estimate("corrected resampled t", math.nan, math.nan, reason="needs 2 splits that both methods ran, with their sizes")
    ratio = float(np.mean([rows["test"] / rows["train"] for rows in sizes]))
    return stats.resampled_t(scores[0][at[0]] - scores[1][at[1]], ratio)


def _effect(key: str, runs: list[list[Record]], scores: list[np.ndarray]) -> Effect:
    delta = stats.cliffs_delta(*scores)
    shared = sorted({record.trial.seed for record in runs[0]} & {record.trial.seed for record in runs[1]})
    paired = [np.array([x for record, x in zip(side, values, strict=True) if record.trial.seed in shared])
              for side, values in zip(runs, scores, strict=True)]  # fmt: skip
    chance, low, high = stats.outperforms(paired[0], paired[1], stream(0, "statistics", key)) if shared else (math.nan,) * 3
    return Effect(stats.a12(*scores), delta, stats.magnitude(delta), stats.hedges_g(*scores), chance, (low, high))


def _patterns(table: SettingTable, observed: np.ndarray, arrays: list[list[Arrays]]) -> tuple[Pattern, ...]:
    """Wins and losses of A by observed modalities, most frequent pattern first. Shapes: observed (N, M) bool."""
    target = arrays[0][0].target
    if observed.shape != (len(target), len(table.combination)):
        expected = (len(target), len(table.combination))
        raise UsageError(f"the observed mask of {table.title} must be test rows x modalities {expected}, got {observed.shape}")
    right = [np.mean([x.scores.argmax(1) == target for x in side], axis=0) for side in arrays]  # (N,) share of seeds
    gap = np.round(right[0] - right[1], 10)
    kinds, of_kind, counts = np.unique(observed, axis=0, return_inverse=True, return_counts=True)
    wins, losses, sums = (np.bincount(of_kind.ravel(), weights, len(kinds)) for weights in (gap > 0, gap < 0, gap))
    found = [
        Pattern("".join(letter for letter, there in zip(table.combination, kind, strict=True) if there), int(n), int(won), int(lost), s / n)
        for kind, n, won, lost, s in zip(kinds, counts, wins, losses, sums.tolist(), strict=True)
    ]
    return tuple(sorted(found, key=lambda pattern: (-pattern.n, pattern.observed)))


def _across(
    metric: str, group: Sequence[Difference], records: Sequence[Record], levels: Levels, synthetic: bool, mixed_protocols: bool
) -> Across:
    differences: dict[tuple[str, str], float] = {}
    complete: list[float] = []
    filled: list[str] = []
    left_out: list[str] = []
    for found in group:
        setting = found.setting
        a, b = (1 if HIGHER_IS_BETTER[metric] else -1) * np.array([found.a.mean, found.b.mean])
        if math.isnan(a) or math.isnan(b):
            here = [record for record in records if _key(record) == (setting.dataset, setting.combination, setting.protocol)]
            a, b = _filled(metric, a, b, here)
            (left_out if math.isnan(a) else filled).append(setting.title)
        elif all(row.n == row.planned for row in (found.a, found.b)):
            complete.append(float(a - b))
        if math.isfinite(a):
            differences[setting.dataset, setting.title] = float(a - b)
    families = sorted({parse_protocol(found.setting.protocol).family for found in group})
    reason = "" if differences else "needs a setting where some method has a score"
    if len(families) > 1 and not mixed_protocols:
        reason = f"mixed protocols: {', '.join(families)}; choose some with --settings, or accept it with --allow protocols"
    return Across(synthetic, differences, tuple(complete), tuple(filled), tuple(left_out), levels, reason)


def _filled(metric: str, a: float, b: float, here: Sequence[Record]) -> tuple[float, float]:
    """Higher-is-better means, a failed one (NaN) set to the lower of the floor and the worst valid mean; NaN if the setting has neither."""
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    of_methods: dict[str, list[float]] = defaultdict(list)
    for record in _scored(metric, here):
        of_methods[record.trial.label].append(sign * record.metrics[metric])
    means = {label: float(np.mean(values)) for label, values in of_methods.items()}
    floor = means.get("constant", math.nan)
    others = [mean for label, mean in means.items() if label not in UNRANKED]
    if not others and math.isnan(floor):
        return math.nan, math.nan
    found = stats.fill_failures(np.array([[a, b, *others]]), np.array([floor]))[0]
    return float(found[0]), float(found[1])
