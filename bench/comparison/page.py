"""A comparison in words: a paragraph a setting that needs no statistics to read, a table with all of them, and the sum over settings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from bench import stats
from bench.comparison.differences import Across, Comparison, Difference, Looks, Pattern, not_applicable
from bench.leaderboard import Row
from bench.leaderboard.rows import SEVERAL
from bench.leaderboard.widths import fitted
from bench.stats.metrics import METRICS, in_its_unit
from bench.text import Table, and_list, count, end_of_interval, factor, p_equals, p_text, points, showing, signed, times

NOTES = (
    "- Differences are {a} - {b} {counted}{turned}: above 0, {a} is better.",
    "- The 95 % interval and p hold for other training runs (seeds) and other test samples alike: crossed seed x sample test, or the",
    "  corrected resampled t-test where each seed drew its own split. p adjusted: {correction} over the settings of one kind of data.",
    "  The interval is adjusted with it: it leaves out 0 where p adjusted is at most {alpha}, and nowhere else.",
    "  Three training runs reproduce, five are the least for an interval over runs alone, ten carry a claim.",
    "- Verdict: `equivalent` if the 90 % interval lies within {margin}, else `better` or `worse` if p adjusted is at most {alpha},",
    "  else `undecided`, which does not mean equal; *: the whole 95 % interval lies beyond {margin}. Equivalence is judged setting by",
    "  setting, by an interval without correction, so that the one shown may reach beyond {margin}.",
    "- Effect: Cliff's delta over seeds, from -1 to 1. Seeds to settle: of each method, with 80 % power, if the difference is what it",
    "  seems.",
)


NOTES_ON_LOOKS = (
    "- Where seeds were added until the pair was resolved, the numbers of seeds at which it is looked at were planned ahead, and alpha is",
    "  spent over them (O'Brien-Fleming-type, Lan and DeMets 1983): p is the smallest alpha at which some look so far would have been",
    "  significant, and the interval is a repeated one, which holds at all looks at once and is wide at early ones.",
)


ON_BOARD = (
    "*p on the board* is adjusted for every pair of methods that has results in the setting, as it must be for a pair that was picked "
    "after looking at them; p is that of a pair named before anyone looked, so it is never the larger one."
)


@in_its_unit(lambda found: found.metric)
def markdown(found: Comparison) -> str:
    """The whole page, as `Comparison.text` holds it."""
    lines = [f"# {found.a} against {found.b}", "", opening(found), ""]
    lines += [f"> **Warning:** {warning}." for warning in found.warnings] + ([""] if found.warnings else [])
    lines += [f"Measured by {found.measured}{times().replace(' x', '; x')}.", ""]
    if found.exploratory:
        lines += [f"**Exploratory**: {found.word} is not the primary metric of these results; treat what it shows as a question.", ""]
    lines += [ON_BOARD, ""] if any(difference.board_pairs for difference in found.differences) else []
    for difference in found.differences:
        lines += [paragraph(found, difference), ""]
        if difference.patterns:
            lines += [*_folded(patterns_of(found, difference.patterns)), ""]
    lines += ["## All settings", ""]
    for across in found.across:
        lines += [over_settings(found, across), ""]
    lines += ["## Numbers", "", *_folded(numbers(found)), ""]
    if found.left_out:
        lines += ["Not compared:", "", *(f"- {setting}" for setting in found.left_out), ""]
    lines += [*(f"- {note}" for note in found.notes), ""] if found.notes else []
    lines += ["## How to read this", "", *notes_on(found), "", found.provenance, ""]
    return "\n".join(lines)


def notes_on(found: Comparison) -> list[str]:
    """How to read a comparison, line by line."""
    turned = "" if found.higher_is_better else ", turned because lower is better"
    words = {
        "a": found.a,
        "b": found.b,
        "turned": turned,
        "counted": "in the unit of the target" if factor() == 1 else "in points (hundredths)",
        "correction": found.correction,
        "margin": found.levels.margin,
        "alpha": found.levels.alpha,
    }
    notes = [note.format(**words) for note in NOTES]
    return [*notes, *(NOTES_ON_LOOKS if any(difference.looks for difference in found.differences) else ())]


@in_its_unit(lambda found: found.metric)
def opening(found: Comparison) -> str:
    """The answer in one or two sentences for someone who reads no statistics."""
    if len(found.differences) == 1:
        return _opening_of_one(found, found.differences[0])
    return " ".join(_opening_of_many(found, across) for across in found.across)


def _opening_of_one(found: Comparison, difference: Difference) -> str:
    estimate, verdict = difference.estimate, difference.verdict
    size = _size(found, estimate.difference, difference.table.metric)
    where = f"On {difference.table.title}"
    if math.isnan(estimate.difference):
        return f"{where} {found.a} and {found.b} cannot be compared, for there are no scores to compare."
    if verdict == "equivalent":
        return f"{where} {found.a} and {found.b} are equally good for practical purposes: {size}."
    if verdict == "undecided":
        return (
            f"{where} these runs do not tell whether {found.a} or {found.b} is better: {size}, which "
            "can be chance. That does not make them equal."
        )
    winner, loser = (found.a, found.b) if verdict == "better" else (found.b, found.a)
    doubt = "" if difference.beyond_rope else " Whether the difference is large enough to matter is not certain."
    return f"{where} {winner} is better than {loser}: {size}, more than chance would explain.{doubt}"


def _opening_of_many(found: Comparison, across: Across) -> str:
    own = [difference for difference in found.differences if difference.table.synthetic == across.synthetic]
    here = {difference.table.question: difference for difference in own}  # one under two names of the same data counts once
    counts = Counter(difference.verdict for difference in here.values())
    n = len(here)
    clauses = {
        "better": f"{found.a} is reliably better in",
        "worse": f"{found.b} is reliably better in",
        "equivalent": "they are equally good for practical purposes in",
        "undecided": "these runs do not tell which is better in",
    }
    said = [f"{clause} {_how_many(counts[verdict], n, verdict)}" for verdict, clause in clauses.items() if counts[verdict]]
    kind = "synthetic setting" if across.synthetic else "setting"
    first = f"Over {count(n, kind)}, each a dataset under one rule of what is missing, {and_list(said)}."
    if not len(across.values):
        return first
    if across.reason:
        low, high = _points(across.values.min()), _points(across.values.max())
        return f"{first} The differences run from {low} to {high}{_word()} (above 0, {found.a} is ahead)."
    size = _size(found, float(across.values.mean()), found.word)
    if across.signed_rank.reason:
        return f"{first} On average {size}; so few settings do not tell whether that would hold in others."
    if across.verdict == "equivalent":
        return f"{first} On average {size}, and in a further setting of this kind they would be as good as equal."
    if across.verdict == "undecided":
        chance = p_equals(across.signed_rank.p)
        return f"{first} On average {size}, not consistently enough over these settings to rule out chance ({chance})."
    consistent = f"a lead too consistent over these settings to be chance ({p_equals(across.signed_rank.p)})"
    return f"{first} On average {size}, {consistent}; {_for_other_datasets(across)}."


def _for_other_datasets(across: Across) -> str:
    """Settings of one dataset share its data: what a lead over settings says about other datasets."""
    test = across.sign_flip
    if test.n < 2:
        return "all of them share one dataset, so that nothing follows for others"
    if test.reason:
        return f"{test.n} datasets are too few to say whether it holds on others"
    held = "it holds over" if test.p <= across.levels.alpha else "it may be chance over"
    return f"{held} the {test.n} datasets, one value each ({p_equals(test.p)})"


def _size(found: Comparison, difference: float, metric: str) -> str:
    """How large, in samples of 100 where the metric counts samples."""
    leader, other = (found.a, found.b) if difference > 0 else (found.b, found.a)
    if abs(difference) < _too_small():
        return f"{found.a} and {found.b} score the same"
    size = points(abs(difference))
    if factor() == 1:
        return f"{leader} is ahead of {other} by {size} of {metric}"
    word = "point" if size == "1.0" else "points"
    if metric == "accuracy":
        return f"{leader} is right on {size} more of 100 samples than {other}"
    return f"{leader} is ahead of {other} by {size} {word} of {metric}"


def _how_many(found: int, n: int, verdict: str) -> str:
    return str(found) if found < n else "any" if verdict == "undecided" else "all"


def paragraph(found: Comparison, difference: Difference) -> str:
    """One setting in plain words."""
    estimate, a, b = difference.estimate, difference.a, difference.b
    where = f"**{difference.table.title}.**"
    if math.isnan(a.mean) or math.isnan(b.mean):
        failed = " and ".join(name for name, row in ((found.a, a), (found.b, b)) if math.isnan(row.mean))
        return f"{where} No score of {failed}, so nothing can be compared: {not_applicable(estimate.reason)}."
    rows = difference.table.test_rows
    on = f"On {count(rows, 'test sample')} " if rows else ""
    scored = f"{found.a} scored {points(a.mean)} and {found.b} {points(b.mean)}"
    runs = f"means of {count(a.n, 'training run')} each" if a.n == b.n else f"means of {a.n} and {count(b.n, 'training run')}"
    lines = [f"{where} {on}{scored} ({runs}): {_lead(found, estimate.difference)}."]
    if estimate.reason:
        return (
            f"{lines[0]} Whether that is chance cannot be told from these runs: {not_applicable(estimate.reason)}. Verdict: **undecided**."
        )
    low, high = map(end_of_interval, difference.interval)
    at_once = f", for all {difference.tests} settings at once" if difference.tests > 1 else ""
    lines.append(
        "Other training runs and other test samples would have given other numbers; allowing for both, the true difference may lie "
        f"anywhere from {low} to {high}{_word()} (95 % interval{at_once}; above 0, {found.a} is better)."
    )
    if difference.looks:
        lines.append(_looks(difference.looks))
    lines.append(_chance(difference))
    lines.append(_conclusion(found, difference))
    if min(a.n, b.n) < 3:
        lines.append("Two training runs of a method are too few to take a small p at its word; run three or more.")
    return " ".join([*lines, *_flags(found, difference)])


def _flags(found: Comparison, difference: Difference) -> list[str]:
    return [f"Flags of {name}: {', '.join(row.flags)}." for name, row in ((found.a, difference.a), (found.b, difference.b)) if row.flags]


def _lead(found: Comparison, difference: float) -> str:
    if abs(difference) < _too_small():
        return "no difference to speak of"
    return f"{found.a if difference > 0 else found.b} leads by {points(abs(difference))}{_word()}"


def _chance(difference: Difference) -> str:
    p, adjusted = difference.p, difference.p_adjusted
    times = f"{100 * p:.0f} of 100" if p >= 0.0095 else f"{1000 * p:.0f} of 1,000" if p >= 0.00095 else "fewer than 1 of 1,000"
    corrected = f"; {p_equals(adjusted)} after correction for {difference.tests} settings" if difference.tests > 1 else ""
    what = "a gap this clear at any of the looks" if difference.looks else "a gap at least this large"
    board = f"; {p_equals(difference.board_p)} on the board, of {difference.board_pairs} pairs" if difference.board_pairs else ""
    return f"Were the two equally good, {what} would turn up in {times} such studies ({p_equals(p)}{corrected}{board})."


def _looks(looks: Looks) -> str:
    """What was looked at when, for a pair that got seeds until it was resolved."""
    seen = ", ".join(str(look.seeds) for look in looks.taken)
    spent = looks.taken[-1].spent
    used = f"{spent:.2g}" if spent >= 1e-4 else "next to none"
    return (
        f"Seeds were added while this pair was undecided: looks at {seen} seeds of at most {looks.sizes[-1]}, {used} of alpha "
        f"{looks.alpha} spent; interval and p allow for every planned look."
    )


def _conclusion(found: Comparison, difference: Difference) -> str:
    margin, verdict = found.levels.margin, difference.verdict
    if verdict == "equivalent":
        real = " A gap this small is real all the same, by the test." if difference.p_adjusted <= found.levels.alpha else ""
        return f"Verdict: **equivalent**, for the difference is smaller than the {margin} that would matter.{real}"
    if verdict in ("better", "worse"):
        winner, loser = (found.a, found.b) if verdict == "better" else (found.b, found.a)
        size = "by more than" if difference.beyond_rope else "though perhaps by less than"
        return f"Verdict: {found.a} is **{verdict}**: {winner} beats {loser} here, {size} the {margin} that would matter."
    seeds, what = difference.seeds_needed
    more = ""
    if seeds is not None:
        shown = "that the two are equivalent" if what == "equivalence" else "a difference"
        more = f" If the difference is what it seems, about {seeds} training runs of each would settle it, showing {shown}."
    elif "sample" in difference.estimate.parts:
        more = " More training runs alone would not settle it; it takes more test samples."
    return f"Verdict: **undecided**; these data do not tell which is better, and that does not make them equal.{more}"


def over_settings(found: Comparison, across: Across) -> str:
    kind = "synthetic setting" if across.synthetic else "setting"
    n = len(across.values)
    if across.reason:
        return f"Over {count(n, kind)}: {not_applicable(across.reason)}."
    wins, losses = int((across.values > 0).sum()), int((across.values < 0).sum())
    equal = f", and they score the same in {n - wins - losses}" if wins + losses < n else ""
    ahead = f"{found.a} is ahead in {wins} and behind in {losses}, by {_points(across.values.mean())}{_word()} on average{equal}"
    test = across.signed_rank
    lines = [f"Over {count(n, kind)}, {ahead}."]
    if test.reason:
        lines.append(f"Wilcoxon's signed-rank test: {not_applicable(test.reason)}; a consistent lead over so few settings can be chance.")
    else:
        region = across.regions
        lines.append(
            f"Within these settings: {p_equals(test.p)} (Wilcoxon's signed-rank test, exact; rank-biserial effect {test.effect:+.2f}), "
            f"verdict **{across.verdict}**. In a further setting like these {found.a} would be better with a chance of "
            f"{region.better:.0%}, worse with {region.worse:.0%}, practically equal with {region.equal:.0%}."
        )
    if across.filled or len(across.complete) < n:
        lines.append(_complete_case(across))
    lines.append(_over_datasets(across))
    if across.filled:
        lines.append(f"A method without any score counts as the lower of the floor and the worst score in: {'; '.join(across.filled)}.")
    if across.left_out:
        lines.append(f"Left out, for nothing has a score there: {'; '.join(across.left_out)}.")
    return " ".join(lines)


def _complete_case(across: Across) -> str:
    """The same test without the settings where some trial gave no score."""
    n = len(across.complete)
    if not n:
        return "In no setting did every planned trial give a score."
    test = stats.signed_rank(np.array(across.complete))
    said = not_applicable(test.reason) or f"{p_equals(test.p)}, effect {test.effect:+.2f}"
    return f"Counting only the {n} where every planned trial of both gave a score: {said}."


def _over_datasets(across: Across) -> str:
    """Settings of one dataset share its data, so that a claim about datasets rests on one value each."""
    over, flip = across.over_datasets, across.sign_flip
    if flip.n < 2:
        return "All settings share one dataset: nothing follows for others."
    low, high = map(end_of_interval, over.interval())
    by_t = not_applicable(over.reason) or f"t-test {p_equals(over.p)}, 95 % interval {low} to {high}"
    by_flip = not_applicable(flip.reason) or p_equals(flip.p)
    return f"Over {flip.n} datasets, one value each: mean difference {_points(flip.mean)}{_word()}; {by_t}; sign flips {by_flip}."


def numbers(found: Comparison) -> Table:
    """One row a setting."""
    on_board = any(difference.board_pairs for difference in found.differences)
    head = [
        "Setting",
        f"{found.a} (n)",
        f"{found.b} (n)",
        "A - B [95 %]",
        "Effect",
        "p",
        "p adjusted",
        *(["p on the board"] if on_board else []),
        "Verdict",
        "Seeds to settle",
        "Test n",
    ]
    body = []
    for difference in found.differences:
        estimate, effect = difference.estimate, difference.effect
        title = difference.table.title + (f", {difference.table.metric}" if found.word == SEVERAL else "")
        low, high = difference.interval
        span = "" if math.isnan(low) else f" [{end_of_interval(low)}, {end_of_interval(high)}]"
        seeds, what = difference.seeds_needed
        star = "*" if difference.verdict in ("better", "worse") and difference.beyond_rope else ""
        body.append(
            [
                title, _spread(difference.a), _spread(difference.b), _points(estimate.difference) + span,
                f"{effect.cliffs_delta:+.2f} {effect.magnitude}" if effect else "n/a",
                not_applicable(estimate.reason) or p_text(difference.p), p_text(difference.p_adjusted),
                *([p_text(difference.board_p)] if on_board else []), difference.verdict + star,
                f"{seeds} ({what})" if seeds else "", str(difference.table.test_rows or "n/a"),
            ]
        )  # fmt: skip
    spare = ("Test n", "Effect", "p", "Seeds to settle", "p on the board", *head[1:3])
    return Table(head, body, (head[0], "Effect", "Verdict", "Seeds to settle"), spare, kept=("A - B [95 %]", "Verdict"), whole=True)


def _folded(table: Table) -> list[str]:
    """A table as a page shows it."""
    return fitted(table.head, table.body, table.left, whole=table.whole, breaks=False)


PATTERN_HEADS = {  # kind of target -> what winning a sample is, a tie, and by what
    "classes": ("right more often", "Equally often", "Accuracy A - B"),
    "labels": ("right on more labels", "On as many", "Share of labels right A - B"),
    "value": ("closer", "Equally close", "Absolute error B - A"),
}


def patterns_of(found: Comparison, patterns: Sequence[Pattern]) -> Table:
    """Who is right, or closer to a value, where so much is observed, one row a pattern."""
    kind = METRICS[found.metric].kind
    won, tied, by = PATTERN_HEADS[kind]
    head = ["Observed", "Samples", f"{found.a} {won}", f"{found.b} {won}", tied, by]
    with showing(in_unit=kind == "value"):
        body = [[p.observed or "nothing", str(p.n), str(p.wins), str(p.losses), str(p.ties), _points(p.difference)] for p in patterns]
    return Table(head, body, head[:1], whole=True)


def _spread(row: Row) -> str:
    runs = str(row.n) if row.n == row.planned else f"{row.n}/{row.planned}"
    return f"{points(row.mean)} ± {points(row.sd)} ({runs})" if row.n else f"n/a ({runs})"


def _too_small() -> float:
    """What no page shows of a difference."""
    return 0.0005 if factor() != 1 else 5e-9


def _word() -> str:
    """What differences are counted in, behind a number."""
    return " points" if factor() != 1 else ""


def _points(value: float) -> str:
    """A signed difference in points, or in the unit of the target; a zero has no minus."""
    if factor() == 1:
        return signed(value)
    return "n/a" if math.isnan(value) else f"{round(100 * value, 1) + 0.0:+.1f}"
