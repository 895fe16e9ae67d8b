"""A board on a terminal: tables that fit its width, then what they come to, last, where a reader looks.

Where there is no room, columns go in the order of `LEAST_ASKED`, first ones first; method, score and mean rank stay.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from bench.cli.screen import page
from bench.grid.lost import grouped
from bench.leaderboard.front_page import in_short, tuning_lines
from bench.leaderboard.group_page import group_notes, group_table
from bench.leaderboard.page_parts import first_place, head_of, how_it_was_run, how_to_read, pareto_of, verified_of, where_from
from bench.leaderboard.printed import cells_of, footnote, of_setting
from bench.leaderboard.robustness import Curve
from bench.leaderboard.rows import Board, Overall, OverallRow, Row, SettingTable, base_of
from bench.leaderboard.setting_page import in_words, spread_of, verdict_of
from bench.leaderboard.significance import rank_set, versus_text
from bench.leaderboard.surface import Surface, more_text
from bench.methods.catalog import UNRANKED
from bench.names import Setting
from bench.stats.metrics import in_its_unit
from bench.text import NA, Table, cost_text, count, interval_text, listed, percent, points, signed

LEAST_ASKED = (
    "Role", "Pareto", "Drop", "Noise-AUC", "HP", "Gap closed %", "Above floor", "Group", "GFLOPs", "vs best [95 %], Holm p", "Audit",
    "Verified", "95 % interval", "Printed", "Scored", "Flags", "Verdict", "Ranks",
)  # fmt: skip
WORDS = ("Method", "Role", "Group", "Verdict", "Pareto", "Audit", "Verified", "Flags", "Rises", "HP", "Worst combination")
FEW = 2  # settings of a run whose tables are shown in full
SOME = 6  # of which the scores are shown one by one


@in_its_unit(lambda board, columns, is_explained=False: board.suite.metric)
def view(board: Board, columns: int, is_explained: bool = False) -> str:
    """All of a board."""
    blocks: list[str | Table] = [*head_of(board), *how_it_was_run(board)]
    for setting in board.settings:
        blocks += [f"## {setting.title}", "", *_setting(board, setting), *in_words(setting, board.levels)]
        blocks += [*_surface(setting), *_groups(board, setting)]
    for curve in board.curves:
        blocks += [f"## Robustness: {curve.title}{', SYNTHETIC' * curve.synthetic}", "", _curve(curve), ""]
    for kind in board.overall:
        blocks += _overall(board, kind, by_setting=False)
    blocks += [*_tuning(board), *_failures(board)]
    blocks += [*how_to_read(board, folded=False), *where_from(board)] if is_explained else []
    return page([*blocks, *_way_on(is_explained), *_verdict(board, board.settings)], columns)


@in_its_unit(lambda board, columns, asked, is_explained=False: board.suite.metric)
def view_of_run(board: Board, columns: int, asked: Collection[Setting], is_explained: bool = False) -> str:
    """What a run asked: its settings if they are few, else their scores; and where it leaves the methods over all settings."""
    own = [setting for setting in board.settings if setting.setting in asked]
    blocks: list[str | Table] = [*head_of(board)]
    if len(own) <= FEW:
        for setting in own:
            blocks += [f"## {setting.title}", "", *_setting(board, setting)]
    for kind in board.overall:
        blocks += _overall(board, kind, by_setting=FEW < len(own) <= SOME)
    blocks += how_to_read(board, folded=False) if is_explained else []
    more = len(own) > FEW or len(own) < len(board.settings)
    every = f"`bench leaderboard` shows {count(len(board.settings), 'setting')} with intervals and tests" if more else ""
    return page([*blocks, *_way_on(is_explained, every), *_verdict(board, own)], columns)


def _way_on(is_explained: bool, every: str = "") -> list[str]:
    """Where the rest is, in one line."""
    more = [every] * bool(every) + ["--explain says how to read the columns"] * (not is_explained)
    return ["; ".join(more) + ".", ""] if more else []


def _verdict(board: Board, settings: Sequence[SettingTable]) -> list[str]:
    """What the tables come to: in each of a few settings, and over all of them."""
    said = ["## Verdict", ""]
    if len(settings) <= FEW:
        for setting in settings:
            words = in_words(setting, board.levels) or [_untested(setting)]
            said += [f"{setting.title}: {words[0]}" if len(board.settings) > 1 else words[0], ""]
    for kind in board.overall:
        said += in_short(board, kind) if len(kind.settings) > 1 else []
    return said


def _untested(setting: SettingTable) -> str:
    """The best mean, and why nothing is claimed of it."""
    ranked = [row for row in setting.rows if row.rank is not None and row.n]
    why = (setting.tests.reason if setting.tests else "") or "nothing to compare"
    first = f"{listed(first_place(ranked))} {'share' if ranked[0].tied else 'has'} the best mean; " if ranked else ""
    return f"{first}no difference is claimed ({why})."


def _overall(board: Board, kind: Overall, by_setting: bool) -> list[str | Table]:
    """All methods over all settings, with the scores by setting or by dataset. Nothing where there is one setting."""
    if len(kind.settings) < 2:
        return []
    parts = {
        (f"{one.dataset} {one.protocol}" if by_setting else base_of(one.dataset)): [
            other.title for other in kind.settings if other is one or (not by_setting and base_of(other.dataset) == base_of(one.dataset))
        ]
        for one in kind.settings
    }
    blocks: list[str | Table] = []
    if len(parts) > 1:
        what = "each setting" if by_setting else "each dataset, over its settings"
        body = [[row.label, *(points(_mean(row, titles)) for titles in parts.values())] for row in kind.rows]
        head = ["Method", *parts]
        blocks += [f"## Mean {kind.metric} in {what}{kind.called}", "", Table(head, body, WORDS, whole=True), ""]
    return [*blocks, f"## Over {count(len(kind.settings), 'setting')}{kind.called}", "", _overall_table(board, kind), ""]


def _overall_table(board: Board, kind: Overall) -> Table:
    score = f"Mean {kind.metric}"
    head = [
        "Ranks", "Method", "Role", "Group", "Mean rank", score, "Gap closed %", "Noise-AUC", "Drop", "Scored", "HP", "GFLOPs", "Pareto",
        "Audit", "Verified", "Flags",
    ]  # fmt: skip
    is_tuned = any(row.hp == "tuned" for row in kind.rows)
    body = []
    for row in kind.rows:
        is_ranked = row.label not in UNRANKED
        ranked = f"{NA} ({row.settings}/{len(kind.settings)})" if row.mean_rank is None else f"{row.mean_rank:.2f}"
        curves = [points(row.noise_auc), points(row.drop)] if kind.curves else ["", ""]
        body.append(
            [
                rank_set(row.place) if is_ranked else row.role, _name(row), _role(row), row.place.letters if row.place else "",
                ranked if is_ranked else "", points(row.mean), percent(row.gap_closed, 0), *curves, f"{row.n}/{row.planned}",
                row.hp * is_tuned,
                cost_text(row.cost, "gflops_per_sample"), pareto_of(row), row.audit,
                verified_of(row, board.has_sent_in), ", ".join(row.flags),
            ]
        )  # fmt: skip
    return Table(head, body, WORDS, LEAST_ASKED, kept=("Method", "Mean rank", score), bold=_bold(kind.rows))


def _setting(board: Board, setting: SettingTable) -> list[str | Table]:
    """A setting's table, and under it the test in one line."""
    printed = of_setting(board.printed, setting.setting)
    beside = cells_of(printed)
    score = f"{setting.metric} ± SD (n)"
    head = [
        "Ranks", "Method", "Role", score, "95 % interval", "Verdict", "vs best [95 %], Holm p", "Above floor", "Gap closed %", "GFLOPs",
        "Pareto", "Verified", "Flags", "Printed",
    ]  # fmt: skip
    body = []
    for row in setting.rows:
        gains = ["", ""] if row.role == "floor" else [signed(row.above_floor), percent(row.gap_closed, 0)]
        cells = [spread_of(row), interval_text(row.interval), verdict_of(setting, row), versus_text(row.versus) if row.versus else ""]
        cost = [cost_text(row.cost, "gflops_per_sample"), pareto_of(row), verified_of(row, board.has_sent_in)]
        rank = row.role if row.label in UNRANKED else rank_set(row.place)
        body.append([rank, _name(row), _role(row), *cells, *gains, *cost, ", ".join(row.flags), beside.get(row.label, "")])
    family, note = setting.tests, footnote(printed)
    tested = f"No test: {family.reason if family else 'nothing to compare'}."
    if family is not None and not family.reason:
        tested = f"Test: {family.test}, Holm over {family.over}."
    return [
        Table(head, body, WORDS, LEAST_ASKED, kept=("Method", score), bold=_bold(setting.rows)),
        "",
        tested,
        *([note] if note else []),
        "",
    ]


def _bold(rows: Iterable[Row | OverallRow]) -> tuple[int, ...]:
    """Rows that are significantly better than every other."""
    return tuple(i for i, row in enumerate(rows) if row.is_bold)


def _curve(curve: Curve) -> Table:
    head = ["Method", *(f"{noise:g}" for noise in curve.noise), "Noise-AUC", "Drop", "Rises"]
    body = [[row.label, *map(points, row.scores), points(row.area), points(row.drop), ", ".join(row.rises)] for row in curve.rows]
    return Table(head, body, WORDS, ("Rises", "Drop"), kept=("Noise-AUC",))


def _surface(setting: SettingTable) -> list[str | Table]:
    """Scores under every rule that trained models were tested at, and what they come to."""
    surface = setting.surface
    if surface is None:
        return []
    scores = [[row.label, *(points(row.scores[rule]) for rule in surface.rules)] for row in surface.rows]
    blocks: list[str | Table] = [
        f"### Response surface: {setting.title}",
        "",
        Table(["Method", *surface.rules], scores, WORDS, whole=True),
        "",
    ]
    summary = _surface_summary(surface)
    return [*blocks, summary, ""] if len(summary.head) > 1 else blocks


def _groups(board: Board, setting: SettingTable) -> list[str | Table]:
    """Scores by groups of test samples, where they were asked for."""
    blocks: list[str | Table] = []
    for found in setting.groups:
        blocks += [
            f"### By {found.attribute}: {setting.title}",
            "",
            group_table(found),
            "",
            " ".join(group_notes(found, board.levels.alpha)),
            "",
        ]
    return blocks


def _surface_summary(surface: Surface) -> Table:
    head, columns = ["Method"], [[row.label for row in surface.rows]]
    if len(surface.rates) > 1:
        head += [f"Area {surface.rates[0]:g}-{surface.rates[-1]:g}", "95 % interval"]
        columns += [[points(row.area) for row in surface.rows], [interval_text(row.area_interval) for row in surface.rows]]
        head += ["Drop over rates"]
        columns += [[points(row.noise_drop) for row in surface.rows]]
    if surface.combinations:
        head += ["Worst combination", "Its score", "Drop to it"]
        columns += [[row.worst or NA for row in surface.rows], [points(row.worst_score) for row in surface.rows]]
        columns += [[points(row.drop) for row in surface.rows]]
    if len(surface.combinations) == 2 ** len(surface.combination) - 1:
        head += [f"Shapley {letter}" for letter in surface.combination]
        columns += [[points(row.shapley[letter]) for row in surface.rows] for letter in surface.combination]
    if surface.knows_more:
        head.append("More is worse")
        columns.append([more_text(row) for row in surface.rows])
    return Table(head, [list(row) for row in zip(*columns, strict=True)], WORDS, whole=True)


def _tuning(board: Board) -> list[str | Table]:
    """What the rows named tuned rest on."""
    if not board.winners:
        return []
    head = ["Method", "Setting", "Validation, default", "tuned", "by", "Suggestions", "GFLOPs", "Minutes"]
    body = [
        [
            one.method, " ".join((one.dataset, one.combination, one.protocol)), points(one.default), points(one.valid), one.selection,
            str(one.suggestions), NA if one.gflops is None else f"{one.gflops:.4g}", f"{one.seconds / 60:.1f}",
        ]
        for one in board.winners
    ]  # fmt: skip
    said = [line for line in tuning_lines(board.winners)[:4] if line]
    return [*said[:1], "", *said[1:], "", Table(head, body, ("Method", "Setting", "by"), ("Minutes", "GFLOPs", "by", "Suggestions")), ""]


def _failures(board: Board) -> list[str]:
    """Trials without a score, those together that share a reason."""
    if not board.failures:
        return []
    lines = [f"- {count(len(group.names), 'trial')}: {group.text}" for group in grouped(board.failures)]
    told = "`bench show` lists them with their ids; `bench show ID` says all about one."
    return [f"## {count(len(board.failures), 'trial')} without a score", "", *lines, "", told, ""]


def _name(row: Row | OverallRow) -> str:
    """The method, and ● where nobody is significantly better."""
    return row.label + " ●" * (row.place is not None and row.place.top)


def _role(row: Row | OverallRow) -> str:
    """What a method is there for, where it is not one of those compared."""
    return row.role if row.role == "reference" else ""


def _mean(row: OverallRow, titles: Sequence[str]) -> float:
    return float(np.mean([row.scores.get(title, math.nan) for title in titles]))
