"""The page of a dataset in markdown, one section a setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.leaderboard.files import base_of
from bench.leaderboard.group_page import group_notes, group_table
from bench.leaderboard.origin import ranges
from bench.leaderboard.page_parts import (
    LEFT,
    about_data,
    banner,
    cost_table,
    first_place,
    flagged,
    flat_line,
    folded_away,
    in_bold,
    is_flat,
    name_of,
    pareto_of,
    shared_ranks,
    shown_pictures,
    verified_of,
)
from bench.leaderboard.printed import cells_of, footnote, of_setting
from bench.leaderboard.robustness import Curve
from bench.leaderboard.rows import Board, Row, SettingTable
from bench.leaderboard.significance import rank_set, versus_text
from bench.leaderboard.surface import Surface, more_text
from bench.leaderboard.widths import fitted
from bench.methods.catalog import UNRANKED
from bench.stats.kinds import KINDS
from bench.stats.levels import Levels
from bench.stats.metrics import METRICS, in_its_unit
from bench.text import NA, agreeing, count, end_of_interval, in_page, interval_text, listed, percent, points, signed

MOST_NOTES = 8  # on the samples and splits of a setting
PAGE_END = "\nHow to read this, and where it comes from: [README.md](README.md).\n"


def dataset_page(board: Board, page: str, plots: Sequence[str]) -> str:
    settings = [setting for setting in board.settings if setting.page == page]
    curves = [curve for curve in board.curves if board.files.page(curve.dataset) == page]
    name = in_page(base_of(settings[0].dataset))
    synthetic = ", SYNTHETIC data" if any(setting.synthetic for setting in settings) else ""
    lines = [
        f"# {name}{synthetic}",
        "",
        f"A page of [{board.suite.title or board.suite.name}](README.md).",
        "",
        *banner(board),
        *about_data(settings),
    ]
    for setting in settings:
        lines += setting_section(board, setting, folded=True, plots=plots)
        if setting.surface is not None and setting.surface.knows_more:
            more = board.files.picture("more", *setting.setting)
            lines += shown_pictures(plots, {more: f"What each further modality adds to the {setting.metric} of one trained model"})
        surface = board.files.picture("surface", *setting.setting)
        lines += shown_pictures(plots, {surface: f"{setting.metric} of each trained model under each test rule"})
    for curve in curves:
        metric = next(setting.metric for setting in settings if setting.dataset == curve.dataset)
        text = f"{metric} over the missing rate, a panel a method"
        lines += [*curve_section(curve), *shown_pictures(plots, {board.files.picture(*key): text for key in curve.pictures})]
    return "\n".join(lines) + PAGE_END


def setting_section(board: Board, setting: SettingTable, folded: bool, plots: Sequence[str] = ()) -> list[str]:
    standing, further = _setting_tables(board, setting, folded)
    forest = board.files.picture("forest", *setting.setting)
    lines = [
        f"## {in_page(setting.title)}",
        "",
        *in_words(setting, board.levels),
        *standing,
        "",
        *_setting_footer(board, setting),
        *(flagged(setting.rows) if folded else ()),
        *shown_pictures(plots, {forest: f"mean {setting.metric} of each method with its 95 % interval, floor and ceiling"}),
    ]
    if folded:
        others = sorted({name for row in setting.rows for name in row.others})
        head = ["Method", *others, "Audit", "Verified"]
        body = [
            [name_of(row, mark=False), *(_other(name, row.others[name]) for name in others), row.audit, verified_of(row, board.has_sent_in)]
            for row in setting.rows
        ]
        lines += folded_away("Intervals, floor, Pareto front and flags", further)
        lines += folded_away("Cost, further metrics and audit", [*cost_table(setting.rows, setting.timed), "", *fitted(head, body, LEFT)])
        lines += folded_away("Trials behind each row", _trials(board, setting))
    else:
        lines += [*further, ""]
    for found in setting.groups:
        shown = group_table(found)
        head = [in_page(title) for title in shown.head]
        body = [[in_page(cell) for cell in row] for row in shown.body]
        lines += [f"### By {in_page(found.attribute)}", "", *fitted(head, body, (*LEFT, *shown.left), breaks=folded), ""]
        lines += [" ".join(group_notes(found, board.levels.alpha)), ""]
    if setting.surface is not None:
        lines += ["### Response surface", "", *_surface(setting.metric, setting.surface, setting.by_label, folded), ""]
    return lines


@in_its_unit(lambda name, score: name)
def _other(name: str, score: float) -> str:
    """A score by a further metric, as that one is shown."""
    return points(score)


def in_words(setting: SettingTable, levels: Levels) -> list[str]:
    """What the tests of the setting come to."""
    family, flat = setting.tests, [f"In short, {flat_line(setting, setting.metric)}."] if is_flat(setting) else []
    ranked = [row for row in setting.rows if row.place is not None]
    if family is None or family.reason or len(ranked) < 2:
        return [*flat, ""] if flat else []
    best = ranked[0].label
    bold = [row.label for row in ranked if row.is_bold]
    if bold:
        return [" ".join([*flat, f"**{bold[0]}** is significantly better than every other method here."]), ""]
    found: dict[str, list[str]] = {"worse": [], "equivalent": [], "undecided": []}
    for row in ranked[1:]:
        if row.versus is not None:
            found[row.versus.verdict.rstrip("*")].append(row.label)
    said = [
        *flat,
        f"{listed(firsts)} share rank 1, with the same mean." if (firsts := first_place(ranked))[1:] else f"{best} has the best mean.",
    ]
    said += [f"Significantly worse: {listed(found['worse'])}."] if found["worse"] else ["No method is significantly worse."]
    margin = "a point" if levels.margin == "1 point" else levels.margin
    said += [f"Practically equal, within {margin}: {listed(found['equivalent'])}."] if found["equivalent"] else []
    said += [f"Not decided by these data: {listed(found['undecided'])}."] if found["undecided"] else []
    return [" ".join(said), ""]


def _setting_tables(board: Board, setting: SettingTable, folded: bool) -> tuple[list[str], list[str]]:
    """Where the methods stand, and all else of them."""
    printed = cells_of(of_setting(board.printed, setting.setting))
    head = ["Ranks", "Method", f"{setting.metric}, mean ± SD (n)", "vs best: difference [95 %], Holm p", "Verdict", "Printed"]
    more = ["Method", "95 % interval", "Above floor", "Gap closed %", "Pareto", "Flags"]
    body, further = [], []
    for row in setting.rows:
        place = row.role if row.label in UNRANKED else rank_set(row.place)
        versus = "" if row.versus is None else versus_text(row.versus)
        floor = ["", ""] if row.role == "floor" else [signed(row.above_floor), percent(row.gap_closed, 0)]
        cells = [in_bold(spread_of(row), row.is_bold), versus, verdict_of(setting, row), printed.get(row.label, "")]
        body.append([place, name_of(row), *cells])
        further.append([name_of(row, mark=False), interval_text(row.interval), *floor, pareto_of(row), ", ".join(row.flags)])
    return fitted(head, body, LEFT, 2, breaks=folded), fitted(more, further, LEFT, breaks=folded)


def verdict_of(setting: SettingTable, row: Row) -> str:
    if row.label in UNRANKED or setting.tests is None or setting.tests.reason:
        return ""
    if not row.n:
        return "not run" if row.rank is None else "no score"
    letters = f", {row.place.letters}" if row.place else ""
    if row.rank == min(other.rank for other in setting.rows if other.rank is not None):
        return "best" + ", tied" * bool(row.tied) + letters
    return (row.versus.verdict if row.versus else "best") + letters


def _setting_footer(board: Board, setting: SettingTable) -> list[str]:
    said = []
    family = setting.tests
    if family is None or family.reason:
        said.append(f"No test: {family.reason if family else 'nothing to compare'}.")
    else:
        said.append(
            f"Test: {family.test}, Holm over {count(family.size, 'pair')} of this setting, ROPE ± {board.levels.margin}; intervals of "
            "differences hold for all of them at once."
        )
    rows = count(setting.test_rows, "test sample") if setting.test_rows is not None else ""
    missing = f"{100 * setting.missing:.1f} % of their modalities are missing" if setting.missing is not None else ""
    said.append(f"{'; '.join(text for text in (rows, missing) if text)}." if rows or missing else "")
    said.append(f"Seeds {ranges(setting.seeds)}.")
    ties = shared_ranks([row for row in setting.rows if row.n and row.rank is not None])
    said += [f"Of the same mean: {ties}."] if ties else []
    said.append(f"{_floor(setting)} Ceiling: {setting.ceiling_source}.")
    said += [in_page(f"Scores without a value: {reason}.") for reason in setting.reasons]
    shown = setting.notes[:MOST_NOTES]
    said += [in_page(f"{note[0].upper()}{note[1:]}.") for note in shown]
    more = len(setting.notes) - len(shown)
    said += [f"{count(more, 'more such note')} {agreeing(more, 'is', 'are')} in the records."] if more else []
    said.append(footnote(of_setting(board.printed, setting.setting)))
    return [" ".join(text for text in said if text), ""]


def _floor(setting: SettingTable) -> str:
    """The floor, or why there is none."""
    if not math.isnan(setting.floor):
        return f"Floor: `constant`, {points(setting.floor)}."
    if not setting.floor_reason:
        return "Floor: not run."
    return f"No floor: {setting.floor_reason}; what stands above it, and the gap closed, cannot be said."


def _trials(board: Board, setting: SettingTable) -> list[str]:
    body = [[row.label, " ".join(id_[:8] for id_ in row.trials)] for row in setting.rows]
    folder = board.folder or f"leaderboards/{board.suite.name}"
    again = "" if board.withheld else f"`bench reproduce ID --from {folder}` trains one again and compares the predictions; its"
    said = f"{again or 'Its'} record is the line of `records.jsonl` with that id."
    return [said, "", *fitted(["Method", "Trials, in seed order"], body, LEFT), "", setting.provenance]


def curve_section(curve: Curve, folded: bool = True) -> list[str]:
    """Noise-AUC and what is lost, best first."""
    best = next((row.label for row in curve.rows if row.label in curve.tests.labels), "")
    head = ["Method", f"Noise-AUC {curve.span}", "95 % interval", "vs best: difference [95 %], BH p"]
    losses = ["Method", f"Drop {curve.span}", "Relative %", "Retention %", "Rises"]
    body, lost = [], []
    for row in curve.rows:
        test = curve.tests.between(row.label, best) if not curve.tests.reason and row.label != best else None
        body.append([row.label, points(row.area), interval_text(row.area_interval), versus_text(test) if test else ""])
        lost.append([row.label, points(row.drop), percent(row.relative_drop), percent(row.retention, 0), ", ".join(row.rises)])
    family = curve.tests
    said = f"Test: {family.test} on the areas, Benjamini-Hochberg over {family.over}: exploratory."
    if family.reason:
        said = f"No test: {family.reason}."
    tables = [*fitted(head, body, LEFT, breaks=folded), "", *fitted(losses, lost, LEFT, breaks=folded)]
    return [f"## Robustness: {curve.title}{', SYNTHETIC' * curve.synthetic}", "", *tables, "", said, ""]


def _surface(metric: str, surface: Surface, rows: Mapping[str, Row], folded: bool) -> list[str]:
    """Scores under every rule, then what they come to."""
    names = [name_of(rows[row.label], mark=False) for row in surface.rows]
    scores = [[name, *(points(row.scores[rule]) for rule in surface.rules)] for name, row in zip(names, surface.rows, strict=True)]
    head, columns = ["Method"], [names]
    if len(surface.rates) > 1:
        low, high = f"{surface.rates[0]:g}", f"{surface.rates[-1]:g}"
        head += [f"Area {low}-{high}", "95 % interval", f"Drop {low} to {high}", f"Retention at {high}"]
        columns += [[points(row.area) for row in surface.rows], [interval_text(row.area_interval) for row in surface.rows]]
        columns += [[points(row.noise_drop) for row in surface.rows], [percent(row.noise_retention) for row in surface.rows]]
    if surface.combinations:
        head += ["Worst combination", "Score", "Drop", "Retention"]
        columns += [[row.worst or NA for row in surface.rows], [points(row.worst_score) for row in surface.rows]]
        columns += [[points(row.drop) for row in surface.rows], [percent(row.retention) for row in surface.rows]]
    if len(surface.combinations) == 2 ** len(surface.combination) - 1:
        head += [f"Shapley {letter}" for letter in surface.combination]
        columns += [[points(row.shapley[letter]) for row in surface.rows] for letter in surface.combination]
    if surface.knows_more:
        head.append("More is worse")
        columns.append([more_text(row) for row in surface.rows])
    tables = fitted(["Method", *surface.rules], scores, LEFT, breaks=folded)
    if len(head) > 1:
        tables += ["", *fitted(head, [list(row) for row in zip(*columns, strict=True)], LEFT, breaks=folded)]
    if surface.knows_more:
        tables += ["", *_more_is_worse(metric, surface, names, folded)]
    return tables


def _more_is_worse(metric: str, surface: Surface, names: Sequence[str], folded: bool) -> list[str]:
    """What stands behind the column: harm and help of further modalities, the worst pair, and which modalities cost score."""
    by = f"By {KINDS[METRICS[metric].kind].loss}"
    head = ["Method", "Gain", "Harm", "95 % interval", "Help", "Worst pair", "Its difference", "95 % interval", "Harmful", by]
    body = []
    for name, row in zip(names, surface.rows, strict=True):
        found = row.more_is_worse
        if found is None or found.worst is None:
            body.append([name, *[NA] * (len(head) - 1)])
            continue
        worst = found.worst
        ends = NA if math.isnan(worst.interval[0]) else f"[{', '.join(map(end_of_interval, worst.interval))}]"
        by_loss = f"{100 * found.loss_raw:.0f} % raw" if found.loss_sure is None else f"{found.loss_sure} of {found.pairs}"
        body.append([
            name, signed(found.gain), percent(found.harm), interval_text(found.harm_interval), percent(found.help),
            f"{worst.fewer} to {worst.more}", signed(worst.difference), ends, ", ".join(found.harmful) or "none", by_loss,
        ])  # fmt: skip
    return fitted(head, body, (*LEFT, "Worst pair", "Harmful", by), breaks=folded)


def spread_of(row: Row) -> str:
    if not row.n:
        return f"{NA} (0/{row.planned})"
    return f"{points(row.mean)} ± {points(row.sd)} ({row.n if row.is_complete else f'{row.n}/{row.planned}'})"
