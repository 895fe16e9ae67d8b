"""Two methods, A and B, from records and predictions alone: setting by setting, and over all settings, in numbers and in words.

Free of torch. The rules: one declared metric, of a dataset where the suite says so; the crossed seed x sample test in each setting; Holm
over the settings (Benjamini and Hochberg for any other metric, marked exploratory); Wilcoxon's test over settings, one value a dataset
for claims about datasets; nothing is tested that the data cannot answer; records that do not belong together are refused unless the
caller accepts it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench import stats
from bench.comparison.belonging import ALLOW, called, check_together, in_settings, label_of, shared_settings
from bench.comparison.differences import Across, Comparison, Difference, Effect, Look, Looks, Pattern
from bench.comparison.page import markdown, opening
from bench.data.grammar import parse_protocol
from bench.errors import UsageError, unknown
from bench.leaderboard import SettingTable, build
from bench.leaderboard.rows import SEVERAL, one_metric, one_question_each
from bench.leaderboard.standing import families_of
from bench.methods.catalog import FLOOR, UNRANKED
from bench.names import Setting
from bench.question.suite import Suite, with_options
from bench.records.answers import Answers, by_setting
from bench.records.predictions import Predictions
from bench.records.record import Record
from bench.seeds import stream
from bench.stats.kinds import kind_of
from bench.stats.levels import Levels
from bench.stats.metrics import METRICS
from bench.text import agreeing, count


def compare(
    answers: Answers,
    a: str,
    b: str,
    *,
    metric: str | None = None,
    settings: Iterable[str] = (),
    rope: float | None = None,
    allow: Iterable[str] = (),
    observed: Mapping[str, np.ndarray] | None = None,
    notes: Iterable[str] = (),
) -> Comparison:
    """A against B in every setting where both were run.

    Other methods' records serve to fill failures. `settings` picks some: each item is words that are a dataset, a combination or a
    protocol. `rope`, a fraction, is the largest difference that does not matter, by default the suite's. `allow` names what may be
    mixed (see ALLOW). `observed` maps hashes of test masks to the masks (N, M), in the order of the stored test rows; where it has a
    setting's mask, wins and losses are counted by observed pattern. `notes` join those of the comparison itself.
    Where the suite added seeds until this pair was resolved, its planned looks are tested, every p and interval allows for them, and
    trials beyond the last complete look are left out by name.
    Without a `metric`, each dataset is scored by its own where the suite has one for it.
    Raises: UsageError if a method or metric is not known, no setting has both, records that do not belong together are mixed, or
    the two were scored on different test samples.
    """
    suite, records = answers.suite, answers.records
    if metric is not None and metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    asked = suite if metric is None else with_options(suite, {"metric": metric})
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
    shared, left_out = shared_settings(chosen, a, b)
    own = [record for record in chosen if record.trial.label in (a, b) and record.setting in shared]
    check_together(own, allowed, suite)
    pairs = [{called(name, records) for name in pair} for pair in suite.looks.pairs]
    sizes = _planned_looks(suite, pairs, a, b)
    own, left_over = _up_to_last_look(own, suite, sizes, (a, b)) if sizes else (own, [])
    here = answers.of(own)
    board = build(replace(here, suite=replace(asked, until_resolved=(), max_seeds=0), audits=()))
    found, of_setting = [], by_setting(own)
    for table in board.settings:
        one = here.of(of_setting[table.setting])
        pair = _Pair(table.metric, a, b, levels, one.records, one.predictions, observed or {})
        found.append(_with_looks(pair, table, suite, sizes) if sizes else _difference(pair, table))
    found = _beside_board(found, replace(answers.of([record for record in chosen if record.setting in shared]), suite=board.suite))
    word = one_metric(board.settings)
    metric = asked.metric if word == SEVERAL else word
    confirmatory = all(asked.on(name).metric == suite.on(name).metric for name in {record.trial.dataset_choice for record in own})
    correction = "Holm" if confirmatory else "Benjamini-Hochberg"
    correct = stats.holm if confirmatory else stats.benjamini_hochberg
    differences: list[Difference] = []
    across: list[Across] = []
    for synthetic in (False, True):
        group = [difference for difference in found if difference.table.synthetic == synthetic]
        if len(units := dict.fromkeys(difference.table.unit for difference in group)) > 1:
            first = group[0].table.dataset
            raise UsageError(
                f"{metric} is in the unit of each target ({', '.join(units)}), so nothing can be said over all of them; take one at a "
                f"time, such as --settings '{first}'"
            )
        if group:
            p = np.array([difference.p for difference in group])
            tests = int((~np.isnan(p)).sum())
            adjusted = zip(group, correct(p).tolist(), *stats.interval_levels(p, levels.alpha, correction), strict=True)
            group = [
                replace(difference, p_adjusted=q, tests=tests, near=float(near), far=float(far)) for difference, q, near, far in adjusted
            ]
            differences += group
            across.append(_across(group, chosen, levels, synthetic, "protocols" in allowed))
    warnings = (*board.warnings, *_grown(pairs, a, b))
    result = Comparison(
        a, b, metric, levels, correction, tuple(differences), tuple(across), tuple(left_out), warnings, board.provenance,
        (*left_over, *answers.left_out, *notes),
    )  # fmt: skip
    return replace(result, summary=opening(result), text=markdown(result))


def _beside_board(found: Sequence[Difference], answers: Answers) -> list[Difference]:
    """The differences with the p that a board of all methods gives them: whoever picked the pair from a board has looked at every pair.

    A pair with planned looks was named before them.
    """
    families = families_of(answers) if any(difference.looks is None for difference in found) else {}
    beside = []
    for difference in found:
        family = families.get(difference.table.setting)
        test = family.between(difference.a.label, difference.b.label) if family is not None and family.size > 1 else None
        if family is None or test is None or math.isnan(test.p_adjusted) or difference.looks is not None:
            beside.append(difference)
        else:
            beside.append(replace(difference, board_p=test.p_adjusted, board_pairs=family.size))
    return beside


def _planned_looks(suite: Suite, pairs: Sequence[set[str]], a: str, b: str) -> tuple[int, ...]:
    """Numbers of seeds at which this pair was planned to be looked at; none if seeds were not added for it."""
    return stats.look_sizes(len(suite.seeds), suite.max_seeds) if {a, b} in pairs else ()


def _grown(pairs: Sequence[set[str]], a: str, b: str) -> list[str]:
    """A method that got seeds for another pair's sake has a number of seeds that depends on its scores."""
    if {a, b} in pairs:
        return []
    grown = sorted({a, b} & {label for pair in pairs for label in pair})
    return [f"{' and '.join(grown)} got seeds until another pair was resolved; these tests take the number as fixed"] if grown else []


def _up_to_last_look(own: Sequence[Record], suite: Suite, sizes: Sequence[int], labels: tuple[str, str]) -> tuple[list[Record], list[str]]:
    """Records of the seeds of the last look that is complete in their setting, all before the first one; and what to note on them."""
    order = suite.looks.seed_order()
    ended: dict[Setting, dict[str, set[int]]] = defaultdict(lambda: {label: set() for label in labels})
    for record in own:
        if record.status != "planned":
            ended[record.setting][record.trial.label].add(record.trial.seed)
    last = {
        key: max((n for n in sizes if all(seeds.issuperset(order[:n]) for seeds in sides.values())), default=0)
        for key, sides in ended.items()
    }
    kept = [r for r in own if not last.get(r.setting) or r.trial.seed in order[: last[r.setting]]]
    beyond = Counter(record.setting for record in own) - Counter(record.setting for record in kept)
    notes = [
        f"{key.title}: {count(n, 'trial')} beyond the look at {last[key]} seeds {agreeing(n, 'is', 'are')} left out"
        for key, n in beyond.items()
    ]
    early = [key.title for key in ended if not last[key]]
    notes += [f"before the first planned look, at {sizes[0]} seeds, and tested as it stands: {'; '.join(early)}"] if early else []
    return kept, notes


@dataclass(frozen=True)
class _Pair:
    """What is compared, and with which records: those of one setting."""

    metric: str
    a: str
    b: str
    levels: Levels
    records: Sequence[Record]
    predictions: Mapping[str, Predictions]
    observed: Mapping[str, np.ndarray]


def _with_looks(pair: _Pair, table: SettingTable, suite: Suite, sizes: tuple[int, ...]) -> Difference:
    """The last complete look, with all before it; before the first one, what there is."""
    result, order = _difference(pair, table), suite.looks.seed_order()
    here = pair.records
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
    here = pair.records
    runs = [_scored(metric, [record for record in here if record.trial.label == label]) for label in (a, b)]
    arrays = [[pair.predictions[record.trial.id] for record in side if record.trial.id in pair.predictions] for side in runs]
    sign = METRICS[metric].sign
    scores = [sign * np.array([record.metrics[metric] for record in side]) for side in runs]
    result = Difference(table, rows[a], rows[b], stats.Estimate("none", math.nan, math.nan), pair.levels)
    if not len(scores[0]) or not len(scores[1]):
        reasons = {record.facts.metric_reasons[metric] for record in here if metric in record.facts.metric_reasons}
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
    values = [np.stack([sign * stats.pseudo_values(metric, x.target, x.scores) for x in side]) for side in arrays]
    masks = {record.test_mask for side in runs for record in side}
    patterns = _patterns(table, pair.observed[masks.pop()], arrays) if len(masks) == 1 and masks <= set(pair.observed) else ()
    estimate = stats.crossed_test(*values, *scores)
    if not all(np.isfinite(side).all() for side in values):
        first, names = arrays[0][0], runs[0][0].facts.classes
        estimate = replace(estimate, reason=kind_of(first.target).why_untested(first.target, first.scores.shape[1], names))
    return replace(result, estimate=estimate, patterns=patterns)


def _scored(metric: str, records: Sequence[Record]) -> list[Record]:
    """Trials that have a score, in seed order."""
    done = [record for record in records if record.status == "done" and math.isfinite(record.metrics.get(metric, math.nan))]
    return sorted(done, key=lambda record: record.trial.seed)


def _check_samples(table: SettingTable, arrays: Sequence[Predictions]) -> None:
    first = arrays[0]
    if not all(np.array_equal(x.ids, first.ids) and np.array_equal(x.target, first.target) for x in arrays):
        raise UsageError(f"the two methods were scored on different test samples or labels in {table.title}; run them on the same split")


def _over_splits(
    table: SettingTable, runs: list[list[Record]], scores: list[np.ndarray], arrays: list[list[Predictions]]
) -> stats.Estimate:
    """Each seed drew its own split: the corrected t-test over the seeds that both have."""
    seeds = [[record.trial.seed for record in side] for side in runs]
    both = sorted(set(seeds[0]) & set(seeds[1]))
    at = [[side.index(seed) for seed in both] for side in seeds]
    if all(len(found) == len(side) for found, side in zip(arrays, runs, strict=True)):
        for i, j in zip(*at, strict=True):
            _check_samples(table, [arrays[0][i], arrays[1][j]])
    sizes = [record.facts.rows for record in runs[0] if record.facts.rows]
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


def _patterns(table: SettingTable, observed: np.ndarray, arrays: list[list[Predictions]]) -> tuple[Pattern, ...]:
    """Wins and losses of A by observed modalities, most frequent pattern first. Shapes: observed (N, M) bool."""
    target = arrays[0][0].target
    if observed.shape != (len(target), len(table.combination)):
        expected = (len(target), len(table.combination))
        raise UsageError(f"the observed mask of {table.title} must be test rows x modalities {expected}, got {observed.shape}")
    kind = kind_of(target)
    right = [np.mean([kind.goodness(target, x.scores) for x in side], axis=0) for side in arrays]  # (N,) mean over seeds
    gap = np.round(right[0] - right[1], 10)
    kinds, of_kind, counts = np.unique(observed, axis=0, return_inverse=True, return_counts=True)
    wins, losses, sums = (np.bincount(of_kind.ravel(), weights, len(kinds)) for weights in (gap > 0, gap < 0, gap))
    found = [
        Pattern("".join(letter for letter, there in zip(table.combination, kind, strict=True) if there), int(n), int(won), int(lost), s / n)
        for kind, n, won, lost, s in zip(kinds, counts, wins, losses, sums.tolist(), strict=True)
    ]
    return tuple(sorted(found, key=lambda pattern: (-pattern.n, pattern.observed)))


def _across(group: Sequence[Difference], records: Sequence[Record], levels: Levels, synthetic: bool, mixed_protocols: bool) -> Across:
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    complete: dict[tuple[str, str], bool] = {}
    filled: list[str] = []
    left_out: list[str] = []
    asked = {id(table): one[0] for one in one_question_each(found.table for found in group) for table in one}
    for found in group:
        table = found.table
        first = asked[id(table)]  # under two names of the same data a setting has one value, their mean
        key = first.question[0], first.title
        a, b = METRICS[table.metric].sign * np.array([found.a.mean, found.b.mean])
        is_complete = not (math.isnan(a) or math.isnan(b)) and all(row.n == row.planned for row in (found.a, found.b))
        if math.isnan(a) or math.isnan(b):
            here = [record for record in records if record.setting == table.setting]
            a, b = _filled(table.metric, a, b, here)
            (left_out if math.isnan(a) else filled).append(table.title)
        if math.isfinite(a):
            values[key].append(float(a - b))
            complete[key] = complete.get(key, True) and is_complete
    differences = {key: float(np.mean(own)) for key, own in values.items()}
    shapes = sorted({parse_protocol(found.table.protocol).shape for found in group})
    reason = "" if differences else "needs a setting where some method has a score"
    if len(shapes) > 1 and not mixed_protocols:
        reason = f"mixed protocols: {', '.join(shapes)}; choose some with --settings, or accept it with --allow protocols"
    whole = tuple(value for key, value in differences.items() if complete[key])
    return Across(synthetic, differences, whole, tuple(filled), tuple(left_out), levels, reason)


def _filled(metric: str, a: float, b: float, here: Sequence[Record]) -> tuple[float, float]:
    """Higher-is-better means, a failed one (NaN) set to the lower of the floor and the worst valid mean; NaN if the setting has neither."""
    sign = METRICS[metric].sign
    of_methods: dict[str, list[float]] = defaultdict(list)
    for record in _scored(metric, here):
        of_methods[record.trial.label].append(sign * record.metrics[metric])
    means = {label: float(np.mean(values)) for label, values in of_methods.items()}
    floor = means.get(FLOOR, math.nan)
    others = [mean for label, mean in means.items() if label not in UNRANKED]
    if not others and math.isnan(floor):
        return math.nan, math.nan
    found = stats.fill_failures(np.array([[a, b, *others]]), np.array([floor]))[0]
    return float(found[0]), float(found[1])
