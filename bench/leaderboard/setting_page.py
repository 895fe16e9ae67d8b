"""The page of a dataset in markdown, one section a setting, and what it shares with the front page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.leaderboard.origin import ranges
from bench.leaderboard.printed import FILE, cells_of, footnote, of_setting
from bench.leaderboard.robustness import Curve
from bench.leaderboard.rows import TIMINGS, Board, OverallRow, Row, SettingTable, page_of
from bench.leaderboard.significance import rank_set, versus_text
from bench.leaderboard.surface import Surface
from bench.methods.catalog import UNRANKED
from bench.question.suite import Suite
from bench.stats.levels import Levels
from bench.stats.metrics import METRICS
from bench.text import NA, cost_text, count, interval_text, listed, percent, picture, signed, table

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


def _head(board: Board) -> list[str]:
    return [f"# {board.suite.title or board.suite.name}", "", *_banner(board)]


def _how(board: Board) -> list[str]:
    suite = board.suite
    direction = "" if METRICS[suite.metric].higher_is_better else ", lower is better"
    said = f"Primary metric: **{suite.metric}** x 100{direction}. Checkpoint: best validation {suite.selection}. {_varies(suite)}"
    return ["## How it was run", "", f"{said} Budget: {_budget(suite)}.", ""]


def _banner(board: Board) -> list[str]:
    lines = [f"> **Warning:** {warning}." for warning in board.warnings]
    if any(kind.mixed for kind in board.overall):
        lines.append(
            "> **No significance is claimed over settings**, nor in a setting that mixes such records: they are not one experiment."
        )
    return ["\n>\n".join(lines), ""] if lines else []


def _cost_table(rows: Sequence[OverallRow | Row], timed: bool) -> str:
    names = [name for name in COST_HEAD if timed or name not in TIMINGS]
    body = [[_name(row, mark=False), *(cost_text(row.cost, name) for name in names)] for row in rows]
    return table(["Method", *(COST_HEAD[name] for name in names)], body, LEFT)


def _dataset_page(board: Board, page: str, plots: Sequence[str]) -> str:
    settings = [setting for setting in board.settings if setting.page == page]
    curves = [curve for curve in board.curves if page_of(curve.dataset) == page]
    name = page.removesuffix(".md")
    synthetic = ", SYNTHETIC data" if any(setting.synthetic for setting in settings) else ""
    lines = [f"# {name}{synthetic}", "", f"A page of [{board.suite.title or board.suite.name}](README.md).", "", *_banner(board)]
    for setting in settings:
        lines += _setting(board, setting, folded=True)
        lines += _pictures(
            plots, {picture("surface", *setting.setting): f"{board.suite.metric} of each trained model under each test rule"}
        )
    for curve in curves:
        name = picture("noise", curve.dataset, curve.combination, curve.shape)
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
    printed = cells_of(of_setting(board.printed, setting.setting))
    head = [
        "Ranks", "Method", f"{metric}, mean ± SD (n)", "95 % interval", "vs best: difference [95 %], Holm p", "Verdict", "Above floor",
        "Gap closed %", "Pareto", "Flags", "Printed",
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
    said.append(footnote(of_setting(board.printed, setting.setting)))
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
        beside = f" Printed numbers: `{FILE}`." if board.printed else ""
        lines += [
            "Question: `suite.toml`. Answers: `records.jsonl`, one trial a line, and `predictions.npz`. Rendered from them, and compared "
            "by `bench leaderboard --check`: these pages, `table.csv`, `table.tex`, and every test in `significance.json`."
            f"{beside}",
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
