"""The same numbers for other programs: CSV, LaTeX, and every test as JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence

from bench.data.grammar import evaluated_at
from bench.leaderboard.groups import GroupTable
from bench.leaderboard.rows import COSTS, EXTRA_METRICS, Board, Overall, OverallRow, Row, SettingTable
from bench.leaderboard.significance import Family, rank_set
from bench.methods.catalog import UNRANKED
from bench.stats.metrics import METRICS, in_its_unit
from bench.text import NA, count, finite, percent, points, times

DIGITS = 10  # of a number in CSV
TEST_DIGITS = 6  # of a number in significance.json: what differs between machines lies far behind them
HEAD = (
    "dataset", "combination", "protocol", "noise", "synthetic", "method", "preset", "role", "hp", "n", "planned", "rank", "rank_low",
    "rank_high", "letters", "mean", "sd", "low", "high", "above_floor", "gap_closed", "difference_to_best", "difference_low",
    "difference_high", "p_holm", "verdict", "pareto",
)  # fmt: skip


def table_csv(board: Board) -> str:
    """One line a method and setting; fractions, not points."""
    others = [name for name in EXTRA_METRICS[METRICS[board.suite.metric].kind] if name != board.metric]
    ranked_by = ["metric"] * bool(board.own_metrics)
    sent_in = ["verified"] * board.has_sent_in
    rows = []
    for setting in board.settings:
        for row in setting.rows:
            place, test = row.place, row.versus
            versus = [test.difference, test.low, test.high, test.p_adjusted, test.verdict] if test else [None, None, None, None, ""]
            rows.append(
                [
                    *_where(setting), row.method, row.preset, row.role, row.hp, row.n, row.planned, row.rank,
                    *((place.low, place.high, place.letters) if place else (None, None, "")), row.mean, row.sd, *row.interval,
                    row.above_floor, row.gap_closed, *versus, row.pareto, *(row.others.get(name, row.mean) for name in others),
                    *(row.cost.get(name) for name in COSTS), row.audit, "; ".join(row.flags),
                    *[row.verified] * len(sent_in), *[setting.metric] * len(ranked_by),
                ]
            )  # fmt: skip
    return _csv([*HEAD, *others, *COSTS, "audit", "flags", *sent_in, *ranked_by], rows)


def surface_csv(board: Board) -> str:
    """One line a method, setting and rule of an evaluation; fractions, not points."""
    rows = []
    for setting in board.settings:
        for found in setting.surface.rows if setting.surface else ():
            row = setting.by_label[found.label]
            for rule, mean in found.scores.items():
                where = [setting.dataset, setting.combination, setting.protocol, setting.synthetic, row.method, row.preset]
                rows.append([*where, rule, *evaluated_at(rule), found.n, mean, found.sds[rule]])
    head = ["dataset", "combination", "protocol", "synthetic", "method", "preset", "evaluation", "test_rate", "test_combination"]
    return _csv([*head, "n", "mean", "sd"], rows)


def _where(setting: SettingTable) -> list[object]:
    return [setting.dataset, setting.combination, setting.protocol, setting.noise, setting.synthetic]


def _csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return stream.getvalue()


def _cell(value: object) -> object:
    """Empty for what is not known; floats to DIGITS digits."""
    if isinstance(value, float):
        return "" if math.isnan(value) else _rounded(value, DIGITS)
    return "" if value is None else value


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else value


def significance_json(board: Board) -> str:
    """Every test of the board: families, then one test a line."""
    families = [_family_json(family) for family in board.families]
    tests = [
        {"family": family.name, **_test_json(test._asdict()), "n": family.n}
        for family in board.families
        for test in family.tests
    ]  # fmt: skip
    friedman = [_friedman_json(kind) for kind in board.overall if kind.across and kind.across.friedman]
    by = {"metrics": board.own_metrics} if board.own_metrics else {}
    head = {"metric": board.metric, **by, "alpha": board.levels.alpha, "rope": board.levels.rope}
    lines = ["{"]
    lines += [f'  "{key}": {json.dumps(value)},' for key, value in head.items()]
    by_group = [_groups_json(setting, found) for setting in board.settings for found in setting.groups]
    tables = {"friedman": friedman, "families": families, "tests": tests} | ({"groups": by_group} if by_group else {})
    for key, entries in tables.items():
        rows = ",\n".join(f"    {json.dumps(entry)}" for entry in entries)
        lines.append(f'  "{key}": [\n{rows}\n  ]' + ("," if key != list(tables)[-1] else ""))
    return "\n".join([*lines, "}"]) + "\n"


def _groups_json(setting: SettingTable, found: GroupTable) -> dict[str, object]:
    """A method's gaps between groups of an attribute, with every score behind them."""
    return finite(_all_rounded({"setting": setting.title, **found.as_json()}))


def _all_rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _all_rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_all_rounded(item) for item in value]
    return _rounded(value, TEST_DIGITS) if isinstance(value, float) else value


def _family_json(family: Family) -> dict[str, object]:
    head = {"name": family.name, "test": family.test, "unit": family.unit, "n": family.n, "size": family.size}
    rules = {"correction": family.correction, "exploratory": family.exploratory, "effect": family.effect}
    return {**head, **rules, "methods": list(family.labels), "reason": family.reason or None}


def _test_json(test: dict[str, object]) -> dict[str, object]:
    found = {key: _rounded(value, TEST_DIGITS) if isinstance(value, float) else value for key, value in test.items()}
    low, high = found.pop("low"), found.pop("high")
    alone, within = ([_rounded(value, TEST_DIGITS) for value in test[key]] for key in ("alone", "within"))  # type: ignore[attr-defined]
    reason = found.pop("reason")
    kept = {key: value for key, value in found.items() if key not in ("alone", "within")}
    own = {"interval_unadjusted": alone, "interval_90_unadjusted": within}
    return finite({**kept, "interval": [low, high], **own, "reason": reason or None})


def _friedman_json(kind: Overall) -> dict[str, object]:
    assert kind.across is not None
    assert kind.across.friedman is not None
    found = kind.across.friedman
    head = {"kind": kind.what, "n": found.n, "methods": list(kind.across.labels)}
    ranks = {"mean_ranks": [_rounded(float(rank), TEST_DIGITS) for rank in found.mean_ranks]}
    numbers = {"chi2": found.chi2, "p_chi2": found.p_chi2, "f": found.f, "p": found.p}
    return finite({**head, **ranks, **{key: _rounded(value, TEST_DIGITS) for key, value in numbers.items()}})


LATEX_HEAD = r"""% Rendered by `bench leaderboard`; needs booktabs. Bold: significantly better than every other method after Holm's
% correction. Letters: methods that share one cannot be told apart. Floor and ceiling are not ranked.
"""


@in_its_unit(lambda board: board.suite.metric)
def table_tex(board: Board) -> str:
    """LaTeX: one table over all settings of a kind, one a setting."""
    tables = [_overall_tex(board, kind) for kind in board.overall if len(kind.settings) > 1]
    return LATEX_HEAD + "\n".join([*tables, *(_setting_tex(board, setting) for setting in board.settings)])


def _overall_tex(board: Board, kind: Overall) -> str:
    head = ["Ranks", "Method", "Mean rank", f"Mean {kind.metric}", "Scored", "GFLOPs"]
    rows = []
    for row in kind.rows:
        rank = "" if row.label in UNRANKED else NA if row.mean_rank is None else f"{row.mean_rank:.2f}"
        gflops = row.cost["gflops_per_sample"]
        cells = [_place(row), _letters(row), rank, _strong(points(row.mean), row.is_bold), f"{row.n}/{row.planned}"]
        rows.append([*cells, NA if gflops is None else f"{gflops:.3g}"])
    over = kind.across.over_settings if kind.across else None
    caption = f"{board.suite.title or board.suite.name}: {kind.what} data, {count(len(kind.settings), 'setting')}."
    return _tabular(head, rows, "llrrrr", f"{caption} {_test(over)}", f"tab:{board.suite.name}-{kind.what}")


def _setting_tex(board: Board, setting: SettingTable) -> str:
    head = ["Ranks", "Method", setting.metric, "95\\,\\% interval", "Gap closed"]
    rows = []
    for row in setting.rows:
        mean = f"{points(row.mean)} $\\pm$ {points(row.sd)} ({row.n if row.is_complete else f'{row.n}/{row.planned}'})"
        interval = NA if math.isnan(row.interval[0]) else f"{points(row.interval[0])}--{points(row.interval[1])}"
        gap = "" if row.role == "floor" else percent(row.gap_closed, 0)
        rows.append([_place(row), _letters(row), _strong(mean, row.is_bold), interval, gap])
    label = f"tab:{board.suite.name}-{setting.dataset}-{setting.combination}-{setting.protocol}"
    return _tabular(
        head, rows, "llrrr", f"{setting.title}: mean $\\pm$ SD (seeds){times().replace(' x', ', x')}. {_test(setting.tests)}", label
    )


def _test(family: Family | None) -> str:
    if family is None or family.reason:
        return "No test."
    return f"Test: {family.test}, Holm over {family.over}."


def _tabular(head: Sequence[str], rows: Sequence[Sequence[str]], columns: str, caption: str, label: str) -> str:
    safe = "".join(letter if letter.isalnum() or letter in ":-" else "-" for letter in label)
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{_latex(caption)}}}", rf"\label{{{safe}}}", rf"\begin{{tabular}}{{{columns}}}"]
    lines += [r"\toprule", " & ".join(map(_latex, head)) + r" \\", r"\midrule"]
    lines += [" & ".join(map(_latex, row)) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _place(row: OverallRow | Row) -> str:
    return row.role if row.label in UNRANKED else rank_set(row.place).replace("-", "--")


def _letters(row: OverallRow | Row) -> str:
    name = row.label if row.label not in UNRANKED else rf"\emph{{{row.label}}}"
    return _strong(name, row.is_bold) + (rf"\textsuperscript{{{row.place.letters}}}" if row.place else "")


def _strong(text: str, is_bold: bool) -> str:
    return rf"\textbf{{{text}}}" if is_bold else text


def _latex(text: str) -> str:
    """Escapes what LaTeX would read, but not the commands written here."""
    for letter in "%&#_":
        text = text.replace(letter, f"\\{letter}").replace(f"\\\\{letter}", f"\\{letter}")
    return text.replace("±", r"$\pm$").replace("->", r"$\to$").replace("<", r"$<$")
