"""The page over all settings in markdown, and the list of all pages. What matters first; details fold away."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bench.leaderboard.files import FRONT, base_of
from bench.leaderboard.page_parts import (
    LEFT,
    NOT_DRAWN,
    cost_table,
    failures_section,
    first_place,
    flagged,
    flat_line,
    folded_away,
    head_of,
    how_it_was_run,
    how_to_read,
    in_bold,
    is_flat,
    name_of,
    pareto_of,
    shared_ranks,
    shown_pictures,
    verified_of,
    where_from,
)
from bench.leaderboard.plots import Main, main_of
from bench.leaderboard.rows import SEVERAL, Board, Overall, OverallRow, by_dataset
from bench.leaderboard.setting_page import curve_section, dataset_page, setting_section
from bench.leaderboard.significance import Across, Family, rank_set
from bench.leaderboard.widths import fitted
from bench.methods.catalog import UNRANKED
from bench.question.winners import Winner
from bench.stats import cd_groups, nemenyi
from bench.stats.levels import Levels
from bench.stats.metrics import METRICS, in_its_unit
from bench.text import NA, agreeing, and_list, cost_text, count, listed, p_equals, percent, points, times

SEVERAL_METRICS = (
    "Settings are ranked each by its own metric, so ranks and the gap closed compare what can be compared; mean scores, and tests on "
    "differences, take a point of one metric as a point of another."
)
RANKS = "mean ranks; a bar joins methods within the critical difference"


@in_its_unit(lambda board: board.suite.metric)
def markdown(board: Board) -> str:
    """Everything on one page without what folds away, for a terminal."""
    lines = head_of(board)
    for kind in board.overall:
        lines += _overall(board, kind, folded=False)
    for setting in board.settings:
        lines += setting_section(board, setting, folded=False)
    lines += [line for curve in board.curves for line in curve_section(curve, folded=False)]
    return "\n".join(
        [
            *lines,
            *failures_section(board, folded=False),
            *how_it_was_run(board),
            *tuning_lines(board.winners, folded=False),
            *how_to_read(board, folded=False),
            *where_from(board),
        ]
    )


@in_its_unit(lambda board, plots=(): board.suite.metric)
def pages(board: Board, plots: Sequence[str] = ()) -> dict[str, str]:
    """File name -> page. `plots` are the pictures that lie in the folder; those there are shown."""
    lines = head_of(board)
    for kind in board.overall:
        lines += _overall(board, kind, folded=True, plots=plots)
    lines += [
        *failures_section(board, folded=True),
        *how_it_was_run(board),
        *tuning_lines(board.winners),
        *how_to_read(board, folded=True),
        *where_from(board),
    ]
    found = {FRONT: "\n".join(lines)}
    for page in dict.fromkeys(setting.page for setting in board.settings):
        found[page] = dataset_page(board, page, plots)
    return found


def _overall(board: Board, kind: Overall, folded: bool, plots: Sequence[str] = ()) -> list[str]:
    title = f"## Overall{kind.called}"
    if len(kind.settings) < 2 and not folded:
        return []
    tables = _overall_tables(board, kind, folded)
    lines = [*in_short(board, kind), title, "", *tables[0], "", *_overall_footer(kind, board.levels)]
    critical = _critical(kind)
    if folded:
        lines += [*flagged(kind.rows), *_pictures(board, kind, plots), *folded_away("Noise, cost, audit and flags", tables[1])]
        picture = shown_pictures(plots, {board.files.picture("ranks", kind.what): RANKS})
        lines += folded_away("Mean ranks, with Nemenyi's critical difference", [*critical, *picture][:-1]) if critical or picture else []
    else:
        lines += [*tables[1], "", *critical]
    lines += [f"### Scores{kind.called}", "", *_scores(board, kind, folded)]
    if folded:
        lines += folded_away("Cost", cost_table(kind.rows, kind.timed))
        if kind.curves:
            lines += folded_away("Robustness: score over noise", _robustness_table(board, kind))
    return lines


def _pictures(board: Board, kind: Overall, plots: Sequence[str]) -> list[str]:
    """The picture of the main answer and what else is drawn, or why nothing is."""
    main, files = main_of(kind), board.files
    if not main.keys:
        return [f"No picture: {main.reason}.", ""]
    if not any(files.picture(*key) in plots for key in main.keys):
        return [NOT_DRAWN, ""]
    texts = {files.picture(*key): _text_of(board, key) for key in main.keys}
    lines = shown_pictures(plots, texts)
    lines += [_not_all(main), ""] if main.left_out else []
    lines += shown_pictures(plots, {files.picture("cost", kind.what): f"mean {kind.metric} against GFLOPs, with the Pareto front"})
    return lines


def _text_of(board: Board, key: Sequence[str]) -> str:
    """What a picture shows, for who cannot see it."""
    if key[0] == "intervals":
        return "ranks that each method may have: a bar from the best to the worst, a mark at the mean rank"
    setting = next(setting for setting in board.settings if setting.setting == tuple(key[1:]))
    return f"{setting.title}: mean {setting.metric} of each method with its 95 % interval, floor and ceiling"


def _not_all(main: Main) -> str:
    return f"Of {count(main.left_out, 'more setting')} the pages of the datasets have the tables, and no picture."


def in_short(board: Board, kind: Overall) -> list[str]:
    """What a reader takes away, in words."""
    ranked = [row for row in kind.rows if row.role not in UNRANKED.values()]
    n, planned = sum(row.n for row in kind.rows), sum(row.planned for row in kind.rows)
    seeds = sorted({seed for setting in kind.settings for seed in setting.seeds})
    metric = by_dataset(kind.settings, "metric", board.suite.metric)
    lower = "" if METRICS[board.suite.metric].higher_is_better else ", lower is better"
    unit = f", {kind.unit}" if kind.unit else ""
    said = [
        f"**In short{unit}.** {count(len(ranked), 'method')}, {count(len(kind.distinct), 'setting')} on "
        f"{count(len(kind.datasets), 'SYNTHETIC dataset' if kind.synthetic else 'real dataset')}, {count(len(seeds), 'seed')}; {n:,} of "
        f"{planned:,} {agreeing(planned, 'trial', 'trials')} gave a score ({metric}{times()}{lower})."
    ]
    over = kind.across
    said += _flat(kind)
    if over is None:
        return [*said, ""]
    placed = [row for row in ranked if row.mean_rank is not None]
    by_rank = [row.label for row in placed]
    firsts = first_place(placed)
    said.append(f"{listed(firsts)} share rank 1, with the same mean rank." if firsts[1:] else f"{firsts[0]} has the best mean rank.")
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


def _flat(kind: Overall) -> list[str]:
    """That in some settings nothing beats the constant predictor, by metric."""
    flat = [setting for setting in kind.settings if is_flat(setting)]
    if len(flat) == len(kind.settings) == 1:
        return [f"But {flat_line(flat, flat[0].metric)}."]
    of = {metric: [setting for setting in flat if setting.metric == metric] for metric in dict.fromkeys(s.metric for s in flat)}
    whole = count(len(kind.settings), "setting")
    return [f"In {len(found)} of {whole} {flat_line(found, metric, 'there')}." for metric, found in of.items()]


def _against_reference(kind: Overall, by_rank: Sequence[str], levels: Levels) -> list[str]:
    """What the published methods add to the best simple one."""
    assert kind.across is not None
    row_of = {row.label: row for row in kind.rows}
    best = next((label for label in by_rank if row_of[label].role == "reference"), None)
    published = [label for label in by_rank if row_of[label].role == "paper"]
    if best is None or not published:
        return []
    simple = sorted([best, *(label for label in row_of[best].tied if row_of[label].role == "reference")])
    tests = {label: [kind.across.over_settings.between(label, one) for one in simple] for label in published}
    signs = {
        label: {float(np.sign(test.effect)) if test is not None and test.p_adjusted <= levels.alpha else 0.0 for test in own}
        for label, own in tests.items()
    }
    better, worse = ([label for label in published if signs[label] == {sign}] for sign in (1.0, -1.0))
    which = f"best simple method, {simple[0]}" if len(simple) == 1 else f"best simple methods, {listed(simple)} (tied)"
    return [f"Against the {which}: of {count(len(published), 'published one')}, {_some(better, 'better')} and {_some(worse, 'worse')}."]


def _reference_in_settings(kind: Overall) -> list[str]:
    """In how many settings a published method is significantly better than every simple one."""
    won, tested = 0, 0
    for setting in (one[0] for one in kind.distinct):
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
    pairs = f"{found or 'none'} of {count(family.size, 'pair')} {agreeing(found, 'differs', 'differ')}"
    return f"As a claim about other datasets than these {d}: {pairs} significantly."


def _over_datasets(over: Across, levels: Levels) -> list[str]:
    """Tests on one mean a dataset."""
    family, flips = over.over_datasets, over.sign_flips
    if family.n < 2:
        return ["One dataset: nothing is said about others."]
    found, exact = (sum(test.p_adjusted <= levels.alpha for test in tests.tests) for tests in (family, flips))
    return [
        f"Over datasets: {found or 'none'} of {count(family.size, 'pair')} (t on one mean a dataset, Holm). Exact sign flips: "
        + (f"{NA} ({flips.reason})." if flips.reason else f"{exact or 'none'} of {count(flips.size, 'pair')} after Holm.")
        + f" No exact test over {count(family.n, 'dataset')} can give a p below {over.minimum_p:.3g}, before correction."
    ]


def _overall_tables(board: Board, kind: Overall, folded: bool) -> tuple[list[str], list[str]]:
    """Where the methods stand, and all else of them."""
    head = ["Ranks", "Method", "Group", "Mean rank", f"Mean {kind.metric}", "Gap closed %"]
    more = ["Method", "Noise-AUC", "Drop", "Scored", "HP", "GFLOPs", "Pareto", "Audit", "Verified", "Flags"]
    tuned = any(row.hp == "tuned" for row in kind.rows)
    body, further = [], []
    for row in kind.rows:
        unranked = row.label in UNRANKED
        rank = "" if unranked else f"{row.mean_rank:.2f}" if row.mean_rank is not None else f"{NA} ({row.settings} of {len(kind.settings)})"
        curves = [points(row.noise_auc), _drop(row)] if kind.curves else ["", ""]
        place = [row.role if unranked else rank_set(row.place), name_of(row), row.place.letters if row.place else "", rank]
        body.append([*place, in_bold(points(row.mean), row.is_bold), percent(row.gap_closed, 0)])
        cost = [cost_text(row.cost, "gflops_per_sample"), pareto_of(row)]
        marks = [row.audit, verified_of(row, board.has_sent_in), ", ".join(row.flags)]
        further.append([name_of(row, mark=False), *curves, f"{row.n}/{row.planned}", row.hp * tuned, *cost, *marks])
    return fitted(head, body, LEFT, 2, breaks=folded), fitted(more, further, LEFT, breaks=folded)


def _drop(row: OverallRow) -> str:
    return points(row.drop) + (f" ({count(row.rises, 'rise')})" if row.rises else "")


def _overall_footer(kind: Overall, levels: Levels) -> list[str]:
    """Test, family, n, seeds, the dataset line, the sensitivity line."""
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
        order = lowest_ranks(part.labels, part.mean_ranks)
        pairs = sum(test.p_adjusted <= levels.alpha for test in part.over_settings.tests)
        lines.append(
            f"Only the {count(len(part.settings), 'setting')} where every trial gave a score: lowest mean ranks {listed(order)}; "
            + (f"{NA} ({part.over_settings.reason})." if part.over_settings.reason else f"{count(pairs, 'significant pair')}.")
        )
    ties = shared_ranks([row for row in kind.rows if row.mean_rank is not None and row.label not in UNRANKED])
    lines += [f"Of the same mean rank: {ties}."] if ties else []
    lines += _without_floor(kind)
    lines += [SEVERAL_METRICS] if kind.metric == SEVERAL else []
    return [" ".join(lines), ""]


def _critical(kind: Overall) -> list[str]:
    """Nemenyi's critical difference as text."""
    over = kind.across
    line = cd_line(over.labels, over.mean_ranks, len(over.settings)) if over is not None else ""
    return ["```", line, "```", ""] if line and not kind.mixed else []


def _without_floor(kind: Overall) -> list[str]:
    """Settings in which the floor was asked for and cannot be computed, and with it what is stated relative to it."""
    found: dict[str, list[str]] = {}
    for setting in kind.settings:
        if setting.floor_reason:
            found.setdefault(setting.floor_reason, []).append(setting.title)
    return [f"No floor in {listed(titles)}: {reason}; the gap closed is {NA}." for reason, titles in found.items()]


def lowest_ranks(labels: Sequence[str], mean_ranks: np.ndarray, wanted: int = 3) -> list[str]:
    """The methods with the lowest mean ranks, so many and those that share the last one's; of equal ones each is marked as tied."""
    ranks = np.round(mean_ranks, 10)
    order = [i for i in np.argsort(ranks, kind="stable") if ranks[i] <= np.sort(ranks)[:wanted][-1]]
    return [labels[i] + " (tied)" * bool((ranks == ranks[i]).sum() > 1) for i in order]


def cd_line(labels: Sequence[str], mean_ranks: np.ndarray, n: int) -> str:
    """Nemenyi's critical difference as text: each segment is a largest group of neighbours within it; empty for fewer than three."""
    if len(labels) < 3 or n < 2:
        return ""
    difference = nemenyi(mean_ranks, n).critical_difference
    text = [f"CD(.05)={difference:.2f}"]
    for first, last in cd_groups(mean_ranks, difference):
        text.append(" ===== ".join(f"{mean_ranks[i]:.2f} {labels[i]}" for i in dict.fromkeys((first, last))))
    return "\n".join(text)


def _scores(board: Board, kind: Overall, folded: bool) -> list[str]:
    """Means by dataset, each a link to its page; settings too, folded away if they are many."""
    every = _matrix(kind, [(f"{s.dataset} {s.protocol}", [s.title]) for s in kind.settings], folded)
    if not folded:
        return [*every, ""]
    links = [
        (f"[{name}]({board.files.page(name)})", [s.title for s in kind.settings if base_of(s.dataset) == name])
        for name in dict.fromkeys(base_of(setting.dataset) for setting in kind.settings)
    ]
    intro = "Means over the settings of each dataset; the pages of the datasets have spreads, intervals and tests."
    lines = [intro, "", *_matrix(kind, links, folded), ""]
    return [*lines, *folded_away(f"All {len(kind.settings)} settings", every)] if len(kind.settings) > len(links) else lines


def _matrix(kind: Overall, columns: Sequence[tuple[str, Sequence[str]]], folded: bool) -> list[str]:
    body = [[name_of(row, mark=False), *(points(_mean(row.scores, titles)) for _, titles in columns)] for row in kind.rows]
    return fitted(["Method", *(title for title, _ in columns)], body, LEFT, breaks=folded)


def _mean(scores: Mapping[str, float], titles: Sequence[str]) -> float:
    return float(np.mean([scores.get(title, math.nan) for title in titles]))


def _robustness_table(board: Board, kind: Overall) -> list[str]:
    lines = []
    for curve in kind.curves:
        head = ["Method", *(f"{noise:g}" for noise in curve.noise), "Noise-AUC", "Drop"]
        body = [[row.label, *map(points, row.scores), points(row.area), points(row.drop)] for row in curve.rows]
        lines += [
            f"**[{curve.dataset}]({board.files.page(curve.dataset)})** ({curve.combination}), {curve.shape}",
            "",
            *fitted(head, body, LEFT),
            "",
        ]
    return lines


def tuning_lines(winners: Sequence[Winner], folded: bool = True) -> list[str]:
    """The section on the winners that have rows on the board; empty without any."""
    if not winners:
        return []
    head = ["Method", "Setting", "Suggestions", "GFLOPs, minutes", "Validation, default → tuned", "Configuration"]
    body = [
        [
            winner.method,
            " ".join(winner.setting),
            f"{winner.suggestions} {winner.sampler} ({winner.pruned} pruned, {winner.failed} failed)",
            f"{NA if winner.gflops is None else f'{winner.gflops:.4g}'}, {winner.seconds / 60:.1f}",
            f"{points(winner.default)} → {points(winner.valid)} {winner.selection}",
            ", ".join(f"{key}={value}" for key, value in sorted(winner.options.items())),
        ]
        for winner in winners
    ]
    texts = [title for title in head if title != "GFLOPs, minutes"]
    fixed = sorted({name for winner in winners for name in winner.fixed})
    untuned = f" Not tuned, but as the suite or the method has them: {and_list([f'`{name}`' for name in fixed])}." if fixed else ""
    return [
        "### Tuning", "",
        "Rows named *tuned* are the configuration with the best validation score among the default one and the suggestions, trained "
        "again on the seeds of this board. All other rows have default hyper-parameters. GFLOPs and minutes are of all suggestions."
        f"{untuned}", "",
        *fitted(head, body, texts, 2, breaks=folded), "",
    ]  # fmt: skip
