"""The pages in markdown: one over all settings, one a dataset. What matters first; details fold away."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bench import paper
from bench.leaderboard.board import TIMINGS, UNRANKED, Board, Overall, OverallRow, Row, SettingTable, base_of
from bench.leaderboard.origin import ranges
from bench.leaderboard.robustness import Curve
from bench.leaderboard.significance import Across, Family
from bench.leaderboard.text import (
    NA,
    cost_text,
    count,
    interval_text,
    listed,
    p_equals,
    percent,
    picture,
    rank_set,
    signed,
    table,
    versus_text,
)
from bench.metrics import HIGHER_IS_BETTER
from bench.spec import Suite
from bench.stats import nemenyi
from bench.stats.levels import Levels
from bench.surface import Surface

LEFT = ("Method", "Group", "Verdict", "Pareto", "Audit", "Flags", "Trials, in seed order", "Rises", "Worst combination")
COST_HEAD = {
    "gflops_per_sample": "GFLOPs",
    "parameters": "Parameters",
    "active_parameters": "Active",
    "latency_ms_64": "ms/sample",
    "peak_memory_mb": "Peak MB",
    "train_seconds": "Train s",
}
PAGE_END = "\nHow to read this, and where it comes from: [README.md](README.md).\n"


def markdown(board: Board) -> str:
    """Everything on one page without what folds away, for a terminal."""
    lines = _head(board)
    for kind in board.overall:
        lines += _overall(board, kind, folded=False)
    for setting in board.settings:
        lines += _setting(board, setting, folded=False)
    lines += [line for curve in board.curves for line in _curve(curve)]
    return "\n".join([*lines, *_failures(board, folded=False), *_how(board), *_notes(board, folded=False), *_origin(board)])


def pages(board: Board, plots: Sequence[str] = ()) -> dict[str, str]:
    """File name -> page. `plots` are the pictures that lie in the folder; those there are shown."""
    lines = _head(board)
    for kind in board.overall:
        lines += _overall(board, kind, folded=True, plots=plots)
    lines += [*_failures(board, folded=True), *_how(board), *_notes(board, folded=True), *_origin(board)]
    found = {"README.md": "\n".join(lines)}
    for page in dict.fromkeys(setting.page for setting in board.settings):
        found[page] = _dataset_page(board, page, plots)
    return found


def _head(board: Board) -> list[str]:
    return [f"# {board.suite.title or board.suite.name}", "", *_banner(board)]


def _how(board: Board) -> list[str]:
    suite = board.suite
    direction = "" if HIGHER_IS_BETTER[suite.metric] else ", lower is better"
    said = f"Primary metric: **{suite.metric}** x 100{direction}. Checkpoint: best validation {suite.selection}. {_varies(suite)}"
    return ["## How it was run", "", f"{said} Budget: {_budget(suite)}.", "", *board.tuning]


def _banner(board: Board) -> list[str]:
    lines = [f"> **Warning:** {warning}." for warning in board.warnings]
    if any(kind.mixed for kind in board.overall):
        lines.append(
            "> **No significance is claimed over settings**, nor in a setting that mixes such records: they are not one experiment."
        )
    return ["\n>\n".join(lines), ""] if lines else []


def _overall(board: Board, kind: Overall, folded: bool, plots: Sequence[str] = ()) -> list[str]:
    title = "## Overall" + (", SYNTHETIC data" if kind.synthetic else "")
    if len(kind.settings) < 2 and not folded:
        return []
    lines = [*_in_short(board, kind), title, "", _overall_table(board, kind), "", *_overall_footer(kind, board.levels)]
    what = "synthetic" if kind.synthetic else "real"
    pictures = {picture("ranks", what): "mean ranks; a bar joins methods within the critical difference"}
    lines += _pictures(plots, {**pictures, picture("cost", what): f"mean {board.suite.metric} against GFLOPs, with the Pareto front"})
    lines += ["### Scores" + (", SYNTHETIC data" if kind.synthetic else ""), "", *_scores(kind, folded)]
    if folded:
        lines += _folded("Cost", [_cost_table(kind.rows, kind.timed)])
        if kind.curves:
            lines += _folded("Robustness: score over noise", _robustness_table(kind))
    return lines


def _in_short(board: Board, kind: Overall) -> list[str]:
    """What a reader takes away, in words."""
    ranked = [row for row in kind.rows if row.role not in UNRANKED.values()]
    n, planned = sum(row.n for row in kind.rows), sum(row.planned for row in kind.rows)
    seeds = sorted({seed for setting in kind.settings for seed in setting.seeds})
    metric, lower = board.suite.metric, "" if HIGHER_IS_BETTER[board.suite.metric] else ", lower is better"
    said = [
        f"**In short.** {count(len(ranked), 'method')}, {count(len(kind.settings), 'setting')} on "
        f"{count(len(kind.datasets), 'SYNTHETIC dataset' if kind.synthetic else 'real dataset')}, {count(len(seeds), 'seed')}; {n:,} of "
        f"{planned:,} trials gave a score ({metric} x 100{lower})."
    ]
    over = kind.across
    if over is None:
        return [*said, ""]
    by_rank = [row.label for row in ranked if row.mean_rank is not None]
    said.append(f"{by_rank[0]} has the best mean rank.")
    if kind.mixed:
        return [*said, "No significance is claimed, see the warning.", ""]
    if over.over_settings.reason:
        said.append(
            f"Over {count(len(over.settings), 'setting')} no test can tell methods apart ({over.over_settings.reason}): the order is "
            "descriptive. The tests inside each setting are on the pages of the datasets."
        )
        return [*said, *_reference_in_settings(kind), ""]
    if over.over_settings.gate > board.levels.alpha:
        said.append(f"The methods do not differ detectably (Friedman's test, {p_equals(over.over_settings.gate)}).")
        return [*said, ""]
    best = [label for label in by_rank if over.places[label].best]
    top = [label for label in by_rank if over.places[label].top]
    if best:
        said.append(f"On these settings **{best[0]}** is significantly better than every other method.")
    elif len(top) == 1:
        said.append(f"Only {top[0]} (●) has no method that is significantly better, but it is not significantly better than all others.")
    else:
        said.append(f"No method is significantly better than all others. At the top (●: nobody is significantly better): {listed(top)}.")
    said += _against_reference(kind, by_rank, board.levels)
    return [*said, _other_datasets(over, board.levels), ""]


def _against_reference(kind: Overall, by_rank: Sequence[str], levels: Levels) -> list[str]:
    """What the published methods add to the best simple one."""
    assert kind.across is not None
    role = {row.label: row.role for row in kind.rows}
    simple = next((label for label in by_rank if role[label] == "reference"), None)
    published = [label for label in by_rank if role[label] == "paper"]
    if simple is None or not published:
        return []
    tests = [test for label in published if (test := kind.across.over_settings.between(label, simple)) is not None]
    better = [test.a for test in tests if test.p_adjusted <= levels.alpha and test.effect > 0]
    worse = [test.a for test in tests if test.p_adjusted <= levels.alpha and test.effect < 0]
    return [
        f"Against the best simple method, {simple}: of {count(len(published), 'published one')}, {_some(better, 'better')} and "
        f"{_some(worse, 'worse')}."
    ]


def _reference_in_settings(kind: Overall) -> list[str]:
    """In how many settings a published method is significantly better than every simple one."""
    won, tested = 0, 0
    for setting in kind.settings:
        role = {row.label: row.role for row in setting.rows}
        family = setting.tests
        simple = [label for label in (family.labels if family else ()) if role[label] == "reference"]
        published = [label for label in (family.labels if family else ()) if role[label] == "paper"]
        if family is None or family.reason or not simple or not published:
            continue
        tested += 1
        won += any(all(_is_better(family, a, b) for b in simple) for a in published)
    if not tested:
        return []
    return [f"In {won} of {count(tested, 'setting')} a published method is significantly better than every simple one."]


def _is_better(family: Family, a: str, b: str) -> bool:
    test = family.between(a, b)
    return test is not None and test.p_adjusted <= family.levels.alpha and test.difference > 0


def _some(names: Sequence[str], word: str) -> str:
    said = f"{len(names) or 'none'} {'are' if len(names) > 1 else 'is'} significantly {word}"
    return f"{said} ({listed(names)})" if names else said


def _other_datasets(over: Across, levels: Levels) -> str:
    """The claim over datasets, in words."""
    d, family = over.over_datasets.n, over.over_datasets
    if d < 2:
        return "One dataset: nothing is said about others."
    found = sum(test.p_adjusted <= levels.alpha for test in family.tests)
    return f"As a claim about other datasets than these {d}: {found or 'none'} of {family.size} pairs differ significantly."


def _over_datasets(over: Across, levels: Levels) -> list[str]:
    """Tests on one mean a dataset."""
    family, flips = over.over_datasets, over.sign_flips
    if family.n < 2:
        return ["One dataset: nothing is said about others."]
    found, exact = (sum(test.p_adjusted <= levels.alpha for test in tests.tests) for tests in (family, flips))
    return [
        f"Over datasets: {found or 'none'} of {family.size} pairs (t on one mean a dataset, Holm). Exact sign flips: "
        + (f"{NA} ({flips.reason})." if flips.reason else f"{exact or 'none'} of {flips.size} pairs after Holm.")
        + f" No exact test over {count(family.n, 'dataset')} can give a p below {over.minimum_p:.3g}, before correction."
    ]


def _overall_table(board: Board, kind: Overall) -> str:
    head = [
        "Ranks", "Method", "Group", "Mean rank", f"Mean {board.suite.metric}", "Gap closed %", "Noise-AUC", "Drop", "Scored", "HP",
        "GFLOPs", "Pareto", "Audit", "Flags",
    ]  # fmt: skip
    tuned = any(row.hp == "tuned" for row in kind.rows)
    body = []
    for row in kind.rows:
        unranked = row.label in UNRANKED
        rank = "" if unranked else f"{row.mean_rank:.2f}" if row.mean_rank is not None else f"{NA} ({row.settings} of {len(kind.settings)})"
        curves = [percent(row.noise_auc), _drop(row)] if kind.curves else ["", ""]
        body.append(
            [
                row.role if unranked else rank_set(row.place), _name(row), row.place.letters if row.place else "", rank,
                _bold(percent(row.mean), row.is_bold), percent(row.gap_closed, 0), *curves, f"{row.n}/{row.planned}", row.hp * tuned,
                cost_text(row.cost, "gflops_per_sample"), _pareto(row), row.audit, ", ".join(row.flags),
            ]
        )  # fmt: skip
    return table(head, body, LEFT)


def _drop(row: OverallRow) -> str:
    return percent(row.drop) + (f" ({row.rises} rises)" if row.rises else "")


def _overall_footer(kind: Overall, levels: Levels) -> list[str]:
    """Test, family, n, seeds, the text critical-difference line, the dataset line, the sensitivity line."""
    over = kind.across
    if over is None:
        return []
    lines = []
    family = over.over_settings
    if kind.mixed:
        lines.append(f"No test: {kind.mixed}.")
    elif family.reason:
        lines.append(f"Ranks {NA}: {family.test} over {count(family.n, 'setting')}, {family.reason}.")
    else:
        gate = f"Friedman's test (Iman-Davenport F) first, {p_equals(family.gate)}; then " if over.friedman else ""
        lines.append(
            f"{gate}{family.test} on setting means, Holm over {count(family.size, 'pair')}, {count(family.n, 'setting')}. It speaks of "
            "the listed settings, which share data within a dataset."
        )
    if not kind.mixed:
        lines += _over_datasets(over, levels)
    if over.filled:
        lines.append(
            f"Without a score in some setting, and there ranked last at the lower of floor and worst score: {listed(over.filled)}."
        )
    if over.left_out:
        lines.append(f"Left out, for no method has a score: {'; '.join(over.left_out)}.")
    if over.complete is not None:
        part = over.complete
        order = [part.labels[i] for i in np.argsort(part.mean_ranks, kind="stable")[:3]]
        pairs = sum(test.p_adjusted <= levels.alpha for test in part.over_settings.tests)
        lines.append(
            f"Only the {count(len(part.settings), 'setting')} where every trial gave a score: lowest mean ranks {listed(order)}; "
            + (f"{NA} ({part.over_settings.reason})." if part.over_settings.reason else f"{pairs} significant pairs.")
        )
    text = [" ".join(lines), ""]
    line = cd_line(over.labels, over.mean_ranks, len(over.settings))
    return [*text, *(["```", line, "```", ""] if line and not kind.mixed else [])]


def cd_line(labels: Sequence[str], mean_ranks: np.ndarray, n: int) -> str:
    """Nemenyi's critical difference as text: each segment is a largest group of neighbours within it; empty for fewer than three."""
    if len(labels) < 3 or n < 2:
        return ""
    difference = nemenyi(mean_ranks, n).critical_difference
    text = [f"CD(.05)={difference:.2f}"]
    for first, last in cd_groups(mean_ranks, difference):
        text.append(" ===== ".join(f"{mean_ranks[i]:.2f} {labels[i]}" for i in dict.fromkeys((first, last))))
    return " | ".join(text)


def cd_groups(mean_ranks: np.ndarray, difference: float) -> list[tuple[int, int]]:
    """Best and worst member of each largest run of methods within the critical difference, in rank order."""
    order = np.argsort(mean_ranks, kind="stable")
    groups: list[tuple[int, int]] = []
    reach = -1
    for start, method in enumerate(order):
        end = int(np.flatnonzero(mean_ranks[order] <= mean_ranks[method] + difference)[-1])
        if end > reach:
            groups.append((int(method), int(order[end])))
            reach = end
        if start == end == len(order) - 1:
            break
    return groups


def _scores(kind: Overall, folded: bool) -> list[str]:
    """Means by dataset, each a link to its page; settings too, folded away if they are many."""
    every = [_matrix(kind, [(f"{s.dataset} {s.protocol}", [s.title]) for s in kind.settings])]
    links = [
        (f"[{name}]({name}.md)" if folded else name, [s.title for s in kind.settings if base_of(s.dataset) == name])
        for name in kind.datasets
    ]
    intro = "Means over the settings of each dataset; the pages of the datasets have spreads, intervals and tests."
    if not folded:
        return [*every, ""]
    return [intro, "", _matrix(kind, links), "", *_folded(f"All {len(kind.settings)} settings", every)]


def _matrix(kind: Overall, columns: Sequence[tuple[str, Sequence[str]]]) -> str:
    body = [[_name(row, mark=False), *(percent(_mean(row.scores, titles)) for _, titles in columns)] for row in kind.rows]
    return table(["Method", *(title for title, _ in columns)], body, LEFT)


def _mean(scores: Mapping[str, float], titles: Sequence[str]) -> float:
    return float(np.mean([scores.get(title, math.nan) for title in titles]))


def _cost_table(rows: Sequence[OverallRow | Row], timed: bool) -> str:
    names = [name for name in COST_HEAD if timed or name not in TIMINGS]
    body = [[_name(row, mark=False), *(cost_text(row.cost, name) for name in names)] for row in rows]
    return table(["Method", *(COST_HEAD[name] for name in names)], body, LEFT)


def _robustness_table(kind: Overall) -> list[str]:
    lines = []
    for curve in kind.curves:
        head = ["Method", *(f"{noise:g}" for noise in curve.noise), "Noise-AUC", "Drop"]
        body = [[row.label, *map(percent, row.scores), percent(row.area), percent(row.drop)] for row in curve.rows]
        lines += [
            f"**[{curve.dataset}]({base_of(curve.dataset)}.md)** ({curve.combination}), {curve.family}",
            "",
            table(head, body, LEFT),
            "",
        ]
    return lines


def _dataset_page(board: Board, page: str, plots: Sequence[str]) -> str:
    settings = [setting for setting in board.settings if setting.page == page]
    curves = [curve for curve in board.curves if f"{base_of(curve.dataset)}.md" == page]
    name = page.removesuffix(".md")
    synthetic = ", SYNTHETIC data" if any(setting.synthetic for setting in settings) else ""
    lines = [f"# {name}{synthetic}", "", f"A page of [{board.suite.title or board.suite.name}](README.md).", "", *_banner(board)]
    for setting in settings:
        lines += _setting(board, setting, folded=True)
        lines += _pictures(plots, {picture("surface", *setting.key): f"{board.suite.metric} of each trained model under each test rule"})
    for curve in curves:
        name = picture("noise", curve.dataset, curve.combination, curve.family)
        lines += [*_curve(curve), *_pictures(plots, {name: f"{board.suite.metric} over the missing rate, a panel a method"})]
    return "\n".join(lines) + PAGE_END


def _pictures(plots: Sequence[str], texts: Mapping[str, str]) -> list[str]:
    """Pictures that lie in the folder, each with a text for who cannot see it."""
    shown = [f"![{text}]({name})" for name, text in texts.items() if name in plots]
    return ["\n\n".join(shown), ""] if shown else []


def _setting(board: Board, setting: SettingTable, folded: bool) -> list[str]:
    lines = [
        f"## {setting.title}",
        "",
        *_in_words(setting, board.levels),
        _setting_table(board, setting),
        "",
        *_setting_footer(board, setting),
    ]
    if folded:
        others = sorted({name for row in setting.rows for name in row.others})
        head = ["Method", *others, "Audit"]
        body = [[_name(row, mark=False), *(percent(row.others[name]) for name in others), row.audit] for row in setting.rows]
        lines += _folded("Cost, further metrics and audit", [_cost_table(setting.rows, setting.timed), "", table(head, body, LEFT)])
        lines += _folded("Trials behind each row", _trials(board, setting))
    if setting.surface is not None:
        lines += ["### Response surface", "", *_surface(setting.surface, setting.by_label), ""]
    return lines


def _in_words(setting: SettingTable, levels: Levels) -> list[str]:
    """What the tests of the setting come to."""
    family = setting.tests
    ranked = [row for row in setting.rows if row.place is not None]
    if family is None or family.reason or len(ranked) < 2:
        return []
    best = ranked[0].label
    bold = [row.label for row in ranked if row.is_bold]
    if bold:
        return [f"**{bold[0]}** is significantly better than every other method here.", ""]
    found: dict[str, list[str]] = {"worse": [], "equivalent": [], "undecided": []}
    for row in ranked[1:]:
        if row.versus is not None:
            found[row.versus.verdict.rstrip("*")].append(row.label)
    said = [f"{best} has the best mean."]
    said += [f"Significantly worse: {listed(found['worse'])}."] if found["worse"] else ["No method is significantly worse."]
    margin = "a point" if levels.margin == "1 point" else levels.margin
    said += [f"Practically equal, within {margin}: {listed(found['equivalent'])}."] if found["equivalent"] else []
    said += [f"Not decided by these data: {listed(found['undecided'])}."] if found["undecided"] else []
    return [" ".join(said), ""]


def _setting_table(board: Board, setting: SettingTable) -> str:
    metric = board.suite.metric
    printed = paper.printed(setting.dataset, setting.combination, setting.protocol, metric) if board.paper else {}
    head = [
        "Ranks", "Method", f"{metric}, mean ± SD (n)", "95 % interval", "vs best: difference [95 %], Holm p", "Verdict", "Above floor",
        "Gap closed %", "Pareto", "Flags", "Paper",
    ]  # fmt: skip
    body = []
    for row in setting.rows:
        place = row.role if row.label in UNRANKED else rank_set(row.place)
        versus = "" if row.versus is None else versus_text(row.versus)
        floor = ["", ""] if row.role == "floor" else [signed(row.above_floor), percent(row.gap_closed, 0)]
        cells = [_bold(_spread(row), row.is_bold), interval_text(row.interval), versus, _verdict(setting, row), *floor]
        body.append([place, _name(row), *cells, _pareto(row), ", ".join(row.flags), printed.get(row.label, "")])
    return table(head, body, LEFT)


def _verdict(setting: SettingTable, row: Row) -> str:
    if row.label in UNRANKED or setting.tests is None or setting.tests.reason:
        return ""
    if not row.n:
        return "not run" if row.rank is None else "no score"
    letters = f", {row.place.letters}" if row.place else ""
    return (row.versus.verdict if row.versus else "best") + letters


def _setting_footer(board: Board, setting: SettingTable) -> list[str]:
    said = []
    family = setting.tests
    if family is None or family.reason:
        said.append(f"No test: {family.reason if family else 'nothing to compare'}.")
    else:
        said.append(
            f"Test: {family.test}, Holm over {count(family.size, 'pair')} of this setting, ROPE ± {board.levels.margin}; intervals of "
            "differences are not adjusted."
        )
    rows = f"{setting.test_rows} test samples" if setting.test_rows is not None else ""
    missing = f"{100 * setting.missing:.1f} % of their modalities are missing" if setting.missing is not None else ""
    said.append(f"{'; '.join(text for text in (rows, missing) if text)}." if rows or missing else "")
    said.append(f"Seeds {ranges(setting.seeds)}.")
    floor = f"Floor: `constant`, {percent(setting.floor)}. " if not math.isnan(setting.floor) else "Floor: not run. "
    said.append(f"{floor}Ceiling: {setting.ceiling_source}.")
    said += [f"Scores without a value: {reason}." for reason in setting.reasons]
    if board.paper and paper.printed(setting.dataset, setting.combination, setting.protocol, board.suite.metric):
        said.append(paper.FOOTNOTE)
    return [" ".join(text for text in said if text), ""]


def _trials(board: Board, setting: SettingTable) -> list[str]:
    body = [[row.label, " ".join(id_[:8] for id_ in row.trials)] for row in setting.rows]
    folder = board.folder or f"leaderboards/{board.suite.name}"
    said = (
        f"`bench reproduce ID --from {folder}` trains one again and compares the predictions; its record is the line of `records.jsonl` "
        "with that id."
    )
    return [said, "", table(["Method", "Trials, in seed order"], body, LEFT), "", setting.provenance]


def _curve(curve: Curve) -> list[str]:
    """Noise-AUC and what is lost, best first."""
    best = next((row.label for row in curve.rows if row.label in curve.tests.labels), "")
    head = [
        "Method", f"Noise-AUC {curve.span}", "95 % interval", "vs best: difference [95 %], BH p", f"Drop {curve.span}", "Relative %",
        "Retention %", "Rises",
    ]  # fmt: skip
    body = []
    for row in curve.rows:
        test = curve.tests.between(row.label, best) if not curve.tests.reason and row.label != best else None
        numbers = [percent(row.area), interval_text(row.area_interval), versus_text(test) if test else ""]
        losses = [
            percent(row.drop),
            percent(row.relative_drop),
            percent(row.retention, 0),
        ]
        body.append([row.label, *numbers, *losses, ", ".join(row.rises)])
    family = curve.tests
    said = f"Test: {family.test} on the areas, Benjamini-Hochberg over {count(family.size, 'pair')}, {family.n} test samples: exploratory."
    if family.reason:
        said = f"No test: {family.reason}."
    return [f"## Robustness: {curve.title}{', SYNTHETIC' * curve.synthetic}", "", table(head, body, LEFT), "", said, ""]


def _failures(board: Board, folded: bool) -> list[str]:
    if not board.failures:
        return []
    lines = [f"- {trial}: {reason}" for trial, reason in board.failures]
    title = f"Trials without a score: {len(lines)}"
    return _folded(title, lines) if folded else [f"## {title}", "", *lines, ""]


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    return ["<details>", f"<summary>{title}</summary>", "", *lines, "", "</details>", ""]


NOTES = (
    "- *Ranks*: the ranks that a method may have, from 1 + the methods significantly better to K - those significantly worse; with Holm's",
    "  correction they hold for all methods at once. *Group*: methods that share a letter cannot be told apart. ●: no method is",
    "  significantly better. **Bold**: significantly better than every other method. A mean rank alone is no test of a difference.",
    "- `mean ± SD (n)`: over n seeds, ddof 1; `(2/3)`: two of three planned trials gave a score. 95 % intervals hold the variance of seeds",
    "  and of test samples (crossed components, t quantile), so they are wider than the SD suggests.",
    "- *Verdict* against the best row: `worse` by the adjusted p (`*`: the whole interval lies beyond ± {rope}), `equivalent` if the 90 %",
    "  interval lies inside ± {rope}, else `undecided`, which is not `equal`. In n settings tested alone, 5 % may hold a false claim.",
    "- *Floor* (`constant`: training class shares) and *ceiling* (`bayes`: exact posterior, synthetic data alone) are not ranked. *Above",
    "  floor* in points. *Gap closed*: (score - floor) / (ceiling - floor) in %, the ceiling being `bayes` or else a perfect score.",
    "- *Noise-AUC*: area under the score over the missing rate, divided by the range. *Drop*: score at the lowest rate less that at the",
    "  highest; small too where a method starts at the floor. *Retention*: share of what stands above the floor that is left. *Rises*: the",
    "  score rises beyond chance though more is missing.",
    "- GFLOPs: 1e9 floating-point operations of a forward pass, mean over the test mask, multiply-add = 2; n/a: cannot be counted.",
    "  ms: median forward time of a batch of 64 divided by 64; comparable within one hardware id alone. *Pareto* `front`: nobody scores at",
    "  least as high for fewer operations; `~`: only methods that are not significantly better do.",
    "- Audit (`bench audit`): the method's code, as it ran here, was tried for what no method may do, such as reading hidden values.",
    "  *n declared*: dependences on other rows that it states; *not audited*: nobody has audited this version of it.",
    "- Flags: `collapsed k/n`: k trials predict one class for every sample; `k failed`: k trials gave no score, reasons above.",
)
SURFACE_NOTES = (
    "- *Response surface*: each trained model, chosen as before, scored once more on the same test samples under each further rule;",
    "  means over seeds. *Area*: the score over the missing rate by trapezoids, divided by the range of rates, with a 95 % interval over",
    "  seeds and samples. *Drop*: score at the lowest rate less that at the highest; of combinations, score with all modalities less that",
    "  with the worst combination; a loss is positive whatever the metric. *Retention*: share of what stands above the floor (the score",
    "  of `constant`) that the drop leaves; n/a where the interval of what stands there holds the floor. *Shapley*: gain in score by a",
    "  modality, averaged over all orders in which modalities may come in; they sum to the score with all modalities less the floor.",
)


def _notes(board: Board, folded: bool) -> list[str]:
    notes = [
        *(note.replace("{rope}", board.levels.margin) for note in NOTES),
        *(SURFACE_NOTES if any(setting.surface for setting in board.settings) else ()),
    ]
    return _folded("How to read this", notes) if folded else ["## How to read this", "", *notes, ""]


def _origin(board: Board) -> list[str]:
    lines = ["## Where it comes from", "", board.provenance, ""]
    lines += ["```", *board.commands, "```", ""] if board.commands else []
    if board.folder:
        lines += [
            "Question: `suite.toml`. Answers: `records.jsonl`, one trial a line, and `predictions.npz`. Rendered from them, and compared "
            "by `bench leaderboard --check`: these pages, `table.csv`, `table.tex`, and every test in `significance.json`.",
            "",
        ]
    return lines


def _surface(surface: Surface, rows: Mapping[str, Row]) -> list[str]:
    """Scores under every rule, then what they come to."""
    names = [_name(rows[row.label], mark=False) for row in surface.rows]
    scores = [[name, *(percent(row.scores[rule]) for rule in surface.rules)] for name, row in zip(names, surface.rows, strict=True)]
    head, columns = ["Method"], [names]
    if len(surface.rates) > 1:
        low, high = f"{surface.rates[0]:g}", f"{surface.rates[-1]:g}"
        head += [f"Area {low}-{high}", "95 % interval", f"Drop {low} to {high}", f"Retention at {high}"]
        columns += [[percent(row.area) for row in surface.rows], [interval_text(row.area_interval) for row in surface.rows]]
        columns += [[percent(row.noise_drop) for row in surface.rows], [percent(row.noise_retention) for row in surface.rows]]
    if surface.combinations:
        head += ["Worst combination", "Score", "Drop", "Retention"]
        columns += [[row.worst or NA for row in surface.rows], [percent(row.worst_score) for row in surface.rows]]
        columns += [[percent(row.drop) for row in surface.rows], [percent(row.retention) for row in surface.rows]]
    if len(surface.combinations) == 2 ** len(surface.combination) - 1:
        head += [f"Shapley {letter}" for letter in surface.combination]
        columns += [[percent(row.shapley[letter]) for row in surface.rows] for letter in surface.combination]
    tables = [table(["Method", *surface.rules], scores, LEFT)]
    if len(head) > 1:
        tables += ["", table(head, [list(row) for row in zip(*columns, strict=True)], LEFT)]
    return tables


def _name(row: OverallRow | Row, mark: bool = True) -> str:
    """The method, with what it is and where it stands."""
    text = f"*{row.label}*" if row.label in UNRANKED else row.label + " (reference)" * (row.role == "reference")
    if not mark or row.place is None:
        return text
    return _bold(text, row.is_bold) + " ●" * row.place.top


def _pareto(row: OverallRow | Row) -> str:
    return row.pareto or (NA if row.cost.get("gflops_per_sample") is None and row.role != "ceiling" else "")


def _bold(text: str, is_bold: bool) -> str:
    return f"**{text}**" if is_bold else text


def _spread(row: Row) -> str:
    if not row.n:
        return f"{NA} (0/{row.planned})"
    return f"{percent(row.mean)} ± {percent(row.sd)} ({row.n if row.is_complete else f'{row.n}/{row.planned}'})"


def _varies(suite: Suite) -> str:
    if suite.vary == "split":
        return "Each seed draws its own split, masks, initialisation and batch order."
    return "Split and test masks are the same for every method and seed; seeds vary initialisation, batch order and training mask."


def _budget(suite: Suite) -> str:
    shared = ", ".join(f"{key} = {value}" for key, value in sorted(suite.training.items()))
    own = [
        f"{name} with " + ", ".join(f"{key} = {value}" for key, value in sorted(config.items()))
        for name, config in [*suite.configs.items(), *((f"on {dataset} all", budget) for dataset, budget in suite.budgets.items())]
        if config  # an option of the command line may have taken its place
    ]
    hp = "tuned where a row says so, else untuned (default hp)" if suite.tuned else "untuned (default hp)"
    text = f"one for all methods, {hp}, {shared}" if shared else "each method's published settings (default hp)"
    return "; ".join([text, *(["but " + "; ".join(own)] if own else [])])
