"""What the pages of a board have in common: banner, cells, notes and where the numbers come from, in markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce

from bench.leaderboard.printed import FILE
from bench.leaderboard.rows import TIMINGS, Board, OverallRow, Row, SettingTable, by_dataset
from bench.leaderboard.widths import fitted
from bench.methods.catalog import UNRANKED
from bench.names import Value
from bench.question import budgets
from bench.question.suite import Suite
from bench.stats.metrics import METRICS
from bench.text import NA, and_list, cost_text, in_page, listed, points, times

LEFT = ("Method", "Group", "Verdict", "Pareto", "Audit", "Verified", "Flags", "Trials, in seed order", "Rises", "Worst combination")
NOT_DRAWN = "No picture: this folder was written without matplotlib; `pip install 'missing-modality-bench[plot]'`, then publish it anew."
COST_HEAD = {
    "gflops_per_sample": "GFLOPs",
    "parameters": "Parameters",
    "active_parameters": "Active",
    "latency_ms_64": "ms/sample",
    "peak_memory_mb": "Peak MB",
    "train_seconds": "Train s",
}


def head_of(board: Board) -> list[str]:
    return [f"# {board.suite.title or board.suite.name}", "", *banner(board), *about_data(board.settings)]


def how_it_was_run(board: Board) -> list[str]:
    suite = board.suite
    direction = "" if METRICS[suite.metric].higher_is_better else ", lower is better"
    first, *own = by_dataset(board.settings, "metric", suite.metric).split("; ")
    metric = "; ".join([f"**{first}**", *own])
    selection = by_dataset(board.settings, "selection", suite.selection)
    said = f"Primary metric: {metric}{times()}{direction}. Checkpoint: best validation {selection}. {_varies(suite)}"
    lines = ["## How it was run", "", f"{said} Budget: {_budget(suite)}.", ""]
    chosen = [in_page(f"- {key} = {reason}.") for key, reason in suite.by_default.items()]
    return [*lines, "Chosen for these data, for nobody said otherwise:", "", *chosen, ""] if chosen else lines


def banner(board: Board) -> list[str]:
    lines = [f"> **Warning:** {warning}." for warning in board.warnings]
    if any(kind.mixed for kind in board.overall):
        lines.append(
            "> **No significance is claimed over settings**, nor in a setting that mixes such records: they are not one experiment."
        )
    return ["\n>\n".join(lines), ""] if lines else []


def about_data(settings: Iterable[SettingTable]) -> list[str]:
    """A box with what a checkup found in data from outside; empty without any."""
    found: dict[str, dict[str, None]] = {}
    for setting in settings:
        found.setdefault(setting.dataset, {}).update(dict.fromkeys(setting.concerns))
    lines = [f"> - {in_page(name)}: {in_page(concern)}." for name, concerns in found.items() for concern in concerns]
    return ["> **About these data** (`bench data check`):", ">", *lines, ""] if lines else []


def is_flat(setting: SettingTable) -> bool:
    """Whether no method is significantly better than the constant predictor, and every one was tested."""
    return setting.beats_floor == ()


def flat_line(settings: SettingTable | Sequence[SettingTable], metric: str, where: str = "here") -> str:
    """That nothing beats the constant predictor there, and what follows."""
    several = [settings] if isinstance(settings, SettingTable) else settings
    floors = listed([points(floor) for floor in dict.fromkeys(setting.floor for setting in several)])
    what = "the largest class" if METRICS[metric].by_class else "a constant prediction"
    return f"nothing beats {what} ({floors}): {metric} cannot tell methods apart {where}"


def cost_table(rows: Sequence[OverallRow | Row], timed: bool) -> list[str]:
    names = [name for name in COST_HEAD if timed or name not in TIMINGS]
    body = [[name_of(row, mark=False), *(cost_text(row.cost, name) for name in names)] for row in rows]
    return fitted(["Method", *(COST_HEAD[name] for name in names)], body, LEFT)


def flagged(rows: Sequence[OverallRow | Row]) -> list[str]:
    """What a reader must know of single methods though the columns that say it are folded away; empty without any."""
    odd = [f"{row.label}: {', '.join(row.flags)}" for row in rows if row.flags]
    failed = [f"{row.label}: {row.audit}" for row in rows if row.audit.startswith("FAILED")]
    said = [f"Flags: {'; '.join(odd)}."] * bool(odd) + [f"Audit: {'; '.join(failed)}."] * bool(failed)
    return [in_page(" ".join(said)), ""] if said else []


def shown_pictures(plots: Sequence[str], texts: Mapping[str, str]) -> list[str]:
    """Pictures that lie in the folder, each with a text for who cannot see it."""
    shown = [f"![{text}]({name})" for name, text in texts.items() if name in plots]
    return ["\n\n".join(shown), ""] if shown else []


def failures_section(board: Board, folded: bool) -> list[str]:
    if not board.failures:
        return []
    lines = [f"- {in_page(trial)}: {in_page(reason)}" for trial, reason in board.failures]
    title = f"Trials without a score: {len(lines)}"
    return folded_away(title, lines) if folded else [f"## {title}", "", *lines, ""]


def folded_away(title: str, lines: Sequence[str]) -> list[str]:
    return ["<details>", f"<summary>{title}</summary>", "", *lines, "", "</details>", ""]


NOTES = (
    "- *Ranks*: the ranks that a method may have, from 1 + the methods significantly better to K - those significantly worse; with Holm's",
    "  correction they hold for all methods at once. *Group*: methods that share a letter cannot be told apart. ●: no method is",
    "  significantly better. **Bold**: significantly better than every other method. A mean rank alone is no test of a difference.",
    "- `mean ± SD (n)`: over n seeds, ddof 1; `(2/3)`: two of three planned trials gave a score. 95 % intervals hold the variance of seeds",
    "  and of test samples (crossed components, t quantile), so they are wider than the SD suggests.",
    "- *Verdict* against the best row: `worse` by the adjusted p (`*`: the whole interval lies beyond ± {rope}), `equivalent` if the 90 %",
    "  interval of the pair alone lies inside ± {rope}, else `undecided`, which is not `equal`. The 95 % interval of a difference holds",
    "  for all pairs of the setting at once (Bonferroni; where a later step of Holm's claims the pair, its end towards 0 is of that",
    "  step): it leaves out 0 beside `worse` and holds it beside `undecided`. In n settings tested alone, 5 % may hold a false claim.",
    "- *Floor* (`constant`: {floor}) and *ceiling* (`bayes`: exact posterior, synthetic data alone) are not ranked. *Above",
    "  floor* in {points}. *Gap closed*: (score - floor) / (ceiling - floor) in %, the ceiling being `bayes` or else a perfect score.",
    "- *Noise-AUC*: area under the score over the missing rate, divided by the range. *Drop*: score at the lowest rate less that at the",
    "  highest; small too where a method starts at the floor. *Retention*: share of what stands above the floor that is left. *Rises*: the",
    "  score rises beyond chance though more is missing.",
    "- GFLOPs: 1e9 floating-point operations of a forward pass, mean over the test mask, multiply-add = 2; n/a: cannot be counted.",
    "  ms: median forward time of a batch of 64 divided by 64; comparable within one hardware id alone. *Pareto* `front`: nobody scores at",
    "  least as high for fewer operations; `~`: only methods that are not significantly better do.",
    "- Audit (`bench audit`): the method's code, as it ran here, was tried for what no method may do, such as reading hidden values.",
    "  *n declared*: dependences on other rows that it states; *not audited*: nobody has audited this version of it.",
    "- Flags: `collapsed k/n`: k trials {collapsed}; `k failed`: k trials gave no score, reasons above.",
)


VERIFIED_NOTES = (
    "- *Verified* (`bench verify`): what was sent in by others, beside what this board ran itself. `re-scored`: masks, splits, labels and",
    "  every score were worked out anew from the data and the predictions. `reproduced k of K`: of K trials, drawn at random and trained",
    "  again, k gave the same. Costs and times of such rows are as their senders state them. Who verified what: `verification.json`.",
)


SURFACE_NOTES = (
    "- *Response surface*: each trained model, chosen as before, scored once more on the same test samples under each further rule;",
    "  means over seeds. *Area*: the score over the missing rate by trapezoids, divided by the range of rates, with a 95 % interval over",
    "  seeds and samples. *Drop*: score at the lowest rate less that at the highest; of combinations, score with all modalities less that",
    "  with the worst combination; a loss is positive whatever the metric. *Retention*: share of what stands above the floor (the score",
    "  of `constant`) that the drop leaves; n/a where the interval of what stands there holds the floor. *Shapley*: gain in score by a",
    "  modality, averaged over all orders in which modalities may come in; they sum to the score with all modalities less the floor.",
    "- *More is worse*: `V of K (raw R %)`. K pairs of combinations of which one lies inside the other, on the test samples that have all",
    "  of the larger one, with the same seeds and models. V: the larger scores lower beyond chance (one-sided crossed test, Holm over the",
    "  K pairs); R: it scores lower by whatever amount, about half of the pairs where more changes nothing. Marks need 5 seeds up to 12",
    "  pairs, 10 above. V = 0 proves nothing: with 656 samples and 10 seeds, half of studies find a loss of 4 points in 3 of 12 pairs.",
    "  *Harm*: share of samples right with fewer and wrong with more; *help*: the reverse. *Harmful*: modalities whose joining costs",
    "  score on average, Holm over modalities. `-`: more modalities change nothing.",
)


FLOORS = {  # what the constant predictor says, by kind of target
    "classes": "training class shares",
    "labels": "how frequent each label is in training",
    "value": "mean of the training rows, or median where mae selects",
}


SAME = {True: "predict one class for every sample", False: "give every sample the same scores, to four digits"}  # of a collapsed trial


def how_to_read(board: Board, folded: bool) -> list[str]:
    metric = METRICS[board.suite.metric]
    same = " or, by another metric, ".join(
        dict.fromkeys(SAME[METRICS[name].by_class] for name in [setting.metric for setting in board.settings] or [metric.name])
    )
    said = {
        "{rope}": board.levels.margin, "{collapsed}": same, "{floor}": FLOORS[metric.kind],
        "{points}": "the unit of the target" if metric.in_unit else "points",
    }  # fmt: skip
    notes = [
        *(reduce(lambda text, key: text.replace(key, said[key]), said, note) for note in NOTES),
        *(VERIFIED_NOTES if board.has_sent_in else ()),
        *(SURFACE_NOTES if any(setting.surface for setting in board.settings) else ()),
    ]
    return folded_away("How to read this", notes) if folded else ["## How to read this", "", *notes, ""]


WITH = (
    "Question: `suite.toml`. Answers: `records.jsonl`, one trial a line, and `predictions.npz`. Rendered from them, and compared by "
    "`bench leaderboard --check`: these pages, `table.csv`, `table.tex`, and every test in `significance.json`."
)
WITHOUT = (
    "Question: `suite.toml`. Answers: `records.jsonl`, one trial a line. **Predictions are not published.** So this can be checked: that "
    "records and pages are those that were published (`bench leaderboard --check` compares their hashes). This cannot: that the scores are "
    "those of the predictions, any test of `significance.json`, other pairs or metrics than those shown, and a trial trained again bit for "
    "bit. Whoever holds the results folder can check it all."
)


def where_from(board: Board) -> list[str]:
    lines = ["## Where it comes from", "", board.provenance, ""]
    lines += ["```", *board.commands, "```", ""] if board.commands else []
    if board.folder:
        beside = f" Printed numbers: `{FILE}`." if board.printed else ""
        cut = [
            f"`{name.removesuffix('.gz')}` is {'compressed and ' * name.endswith('.gz')}cut into numbered pieces, "
            f"`{name.partition('.')[0]}/001.{name.partition('.')[2]}` and on."
            for name in board.cut
        ]
        lines += [" ".join([f"{WITHOUT if board.withheld else WITH}{beside}", *cut]), ""]
    if board.salted and not board.withheld:
        said = "stand under salted hashes of their ids, in the order of these; the salt is not published."
        lines += [f"Samples of {and_list(board.salted)} {said}", ""]
    return lines


def name_of(row: OverallRow | Row, mark: bool = True) -> str:
    """The method, with what it is and where it stands."""
    text = f"*{row.label}*" if row.label in UNRANKED else row.label + " (reference)" * (row.role == "reference")
    if not mark or row.place is None:
        return text
    return in_bold(text, row.is_bold) + " ●" * row.place.top


def first_place(ranked: Sequence[OverallRow | Row]) -> list[str]:
    """The methods at the top of rows that are in order of rank: one, or all that share its rank."""
    return sorted([ranked[0].label, *ranked[0].tied])


def shared_ranks(ranked: Sequence[OverallRow | Row]) -> str:
    """The ties behind the first place, of rows that are in order of rank: `b and c share rank 3`; empty without any."""
    first = set(first_place(ranked)) if ranked else set()
    place_of = {row.label: place for place, row in reversed(list(enumerate(ranked, 1)))}
    groups = {tuple(sorted([row.label, *row.tied])): None for row in ranked if row.tied and row.label not in first}
    return "; ".join(f"{listed(group)} share rank {min(place_of[label] for label in group)}" for group in groups)


def pareto_of(row: OverallRow | Row) -> str:
    return row.pareto or (NA if row.cost.get("gflops_per_sample") is None and row.role != "ceiling" else "")


def verified_of(row: OverallRow | Row, has_sent_in: bool) -> str:
    """What came of verifying a row that was sent in; a board without one has no such column."""
    return (row.verified or ("" if row.label in UNRANKED else "own run")) if has_sent_in else ""


def in_bold(text: str, is_bold: bool) -> str:
    return f"**{text}**" if is_bold else text


def _varies(suite: Suite) -> str:
    if suite.vary == "split":
        return "Each seed draws its own split, masks, initialisation and batch order."
    return "Split and test masks are the same for every method and seed; seeds vary initialisation, batch order and training mask."


def _budgets_told(suite: Suite) -> Iterator[tuple[str, Mapping[str, Value]]]:
    """What [budgets] say, each table after whom it is for."""
    for dataset, table in suite.budgets.items():
        yield f"on {dataset} all", budgets.of_all(table)
        yield from ((f"on {dataset} {method}", own) for method, own in budgets.of_methods(table).items())


def _budget(suite: Suite) -> str:
    shared = ", ".join(f"{key} = {value}" for key, value in sorted(suite.training.items()))
    own = [
        f"{name} with " + ", ".join(f"{key} = {value}" for key, value in sorted(config.items()))
        for name, config in [*suite.configs.items(), *_budgets_told(suite)]
        if config  # an option of the command line may have taken its place
    ]
    hp = "tuned where a row says so, else untuned (default hp)" if suite.tuned else "untuned (default hp)"
    text = f"one for all methods, {hp}, {shared}" if shared else "each method's published settings (default hp)"
    return "; ".join([text, *(["but " + "; ".join(own)] if own else [])])
