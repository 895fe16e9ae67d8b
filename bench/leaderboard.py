"""Tables from records alone: boards, their markdown and CSV, and published folders that re-render byte for byte. Free of torch."""

from __future__ import annotations

import csv
import io
import json
import math
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from bench import registry
from bench.errors import UsageError
from bench.metrics import HIGHER_IS_BETTER
from bench.protocol import parse_protocol, point_of
from bench.spec import Choice, Finding, Record, Suite, Trial, audit_summary, suite_from
from bench.stats import crossed_interval, pseudo_values, ranks
from bench.store import Arrays
from bench.surface import Surface, evaluations_of, surface_of

RENDERED = ("README.md", "table.csv")
FLOOR = "constant"
UNRANKED = {FLOOR: "floor", "bayes": "ceiling"}
COST_HEAD = ("GFLOPs", "Parameters", "ms/sample")
NOT_AUDITED = "not audited"
EXTRA_METRICS = ("accuracy", "f1_macro", "auroc")


@dataclass(frozen=True)
class Row:
    """One method in one setting. Scores are fractions, NaN where no trial gave one; `interval` holds seed and sample variance."""

    label: str
    method: str
    preset: str
    role: str  # paper, reference, outside, floor or ceiling; floor and ceiling are not ranked
    n: int  # trials done
    planned: int
    mean: float
    sd: float
    interval: tuple[float, float]
    rank: float | None
    flags: tuple[str, ...]
    others: Mapping[str, float]  # means of further metrics
    cost: Mapping[str, float | None]  # means over trials
    audit: str  # what `bench audit` found in the version that ran: passed, FAILED: checks, or not audited


@dataclass(frozen=True)
class SettingTable:
    """All methods in one setting, best first, floor and ceiling at the end."""

    dataset: str
    combination: str
    protocol: str
    synthetic: bool
    test_rows: int | None
    missing: float | None  # realised share of missing cells in the test part
    rows: tuple[Row, ...]
    surface: Surface | None = None  # scores under further rules, where trials have some

    @property
    def noise(self) -> float | None:
        return parse_protocol(self.protocol).noise

    @property
    def title(self) -> str:
        return f"{self.dataset} ({self.combination}), {self.protocol}{', SYNTHETIC' if self.synthetic else ''}"


@dataclass(frozen=True)
class Board:
    """Everything a leaderboard page shows."""

    suite: Suite
    settings: tuple[SettingTable, ...]
    failures: tuple[tuple[str, str], ...]  # (trial, reason)
    warnings: tuple[str, ...]
    provenance: str
    commands: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The documented shape: {"settings": [...], "overall": [...]}; NaN becomes null."""
        settings = []
        for setting in self.settings:
            rows = [{**asdict(row), "interval": list(row.interval), "flags": list(row.flags)} for row in setting.rows]
            head = {"dataset": setting.dataset, "combination": setting.combination, "protocol": setting.protocol, "noise": setting.noise}
            surface = asdict(setting.surface) if setting.surface else None
            settings.append({**head, "synthetic": setting.synthetic, "rows": rows, "surface": surface})
        overall = [row for synthetic in (False, True) for row in overall_rows(self, synthetic)]
        return _finite({"metric": self.suite.metric, "settings": settings, "overall": overall, "warnings": list(self.warnings)})


def build(
    suite: Suite, records: Sequence[Record], predictions: Mapping[str, Arrays], commands: Iterable[str] = (), audits: Iterable[Finding] = ()
) -> Board:
    """The board of these records. Trials planned and not ended count as missing and are flagged."""
    audited = _audited(audits)
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.trial.dataset_label, record.trial.combination, record.trial.protocol].append(record)
    settings = [_setting_table(suite.metric, *key, group, predictions, audited) for key, group in groups.items()]
    settings.sort(
        key=lambda table: (table.synthetic, table.dataset, table.combination, parse_protocol(table.protocol).family, table.noise or 0.0)
    )
    failures = [(record, record.reason or "") for record in records if record.status in ("failed", "skipped")]
    done = [record for record in records if record.status == "done"]
    return Board(
        suite,
        tuple(settings),
        tuple((f"{r.trial.label} on {r.trial.dataset_label}, {r.trial.protocol}, seed {r.trial.seed}", reason) for r, reason in failures),
        tuple(_warnings(done)),
        _provenance_line(done),
        tuple(commands),
    )


def _setting_table(
    metric: str, dataset: str, combination: str, protocol: str, records: Sequence[Record], predictions: Mapping[str, Arrays],
    audited: Mapping[tuple[str, str], str],
) -> SettingTable:  # fmt: skip
    by_label: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_label[record.trial.label].append(record)
    done = [record for record in records if record.status == "done"]
    scores = {label: _scores(metric, group) for label, group in by_label.items()}
    ranked = {label: float(np.mean(values)) if len(values) else math.nan for label, values in scores.items() if label not in UNRANKED}
    rank_of = ranks(ranked, metric) if ranked else {}
    rows = [_row(metric, label, group, rank_of.get(label), predictions, audited) for label, group in by_label.items()]
    rows.sort(key=lambda row: (row.rank is None, row.rank if row.rank is not None else list(UNRANKED).index(row.label), row.label))
    facts = done[0].facts if done else {}
    shares, sizes = facts.get("missing"), facts.get("rows")
    return SettingTable(
        dataset,
        combination,
        protocol,
        synthetic=any(bool(record.facts.get("synthetic")) for record in done),
        test_rows=sizes["test"] if isinstance(sizes, Mapping) else None,
        missing=shares["test"] if isinstance(shares, Mapping) else None,
        rows=tuple(rows),
        surface=surface_of(metric, combination, [row.label for row in rows], records, predictions, FLOOR),
    )


def _scores(metric: str, records: Sequence[Record]) -> np.ndarray:
    """Scores of the trials that have one, in seed order."""
    done = sorted((record for record in records if record.status == "done"), key=lambda record: record.trial.seed)
    values = np.array([record.metrics[metric] for record in done], dtype=float)
    return values[np.isfinite(values)]


def _audited(audits: Iterable[Finding]) -> dict[tuple[str, str], str]:
    """What was found in each audited method, by label and version."""
    findings: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in audits:
        findings[finding.label, finding.version].append(finding)
    return {key: audit_summary(group) for key, group in findings.items()}


def _worst_audit(texts: Iterable[str]) -> str:
    """One text for several: a failure, then no audit, then the most declared."""
    return max(texts, key=lambda text: (text.startswith("FAILED"), text == NOT_AUDITED, text))


def _row(
    metric: str, label: str, records: Sequence[Record], rank: float | None, predictions: Mapping[str, Arrays],
    audited: Mapping[tuple[str, str], str],
) -> Row:  # fmt: skip
    done = sorted((record for record in records if record.status == "done"), key=lambda record: record.trial.seed)
    scores, trial = _scores(metric, records), records[0].trial
    flags = []
    collapsed = sum(record.collapsed for record in done)
    if collapsed and label not in UNRANKED:
        flags.append(f"collapsed {collapsed}/{len(done)}")
    for status, word in (("failed", "failed"), ("skipped", "skipped"), ("planned", "not run")):
        count = sum(record.status == status for record in records)
        if count:
            flags.append(f"{count} {word}")
    if len(done) > len(scores):
        flags.append(f"{len(done) - len(scores)} without {metric}")
    return Row(
        label,
        str(Choice(trial.method, "", trial.options)),
        trial.preset,
        UNRANKED.get(label, registry.role(trial.method)),
        n=len(scores),
        planned=len(records),
        mean=float(scores.mean()) if len(scores) else math.nan,
        sd=float(scores.std(ddof=1)) if len(scores) > 1 else math.nan,
        interval=_interval(metric, done, scores, predictions),
        rank=rank,
        flags=tuple(flags),
        others={name: _mean([record.metrics.get(name, math.nan) for record in done]) for name in EXTRA_METRICS if name != metric},
        cost={
            name: _mean_cost([record.cost.get(name) for record in done]) for name in sorted({key for record in done for key in record.cost})
        },
        audit=_worst_audit(audited.get((label, record.trial.version), NOT_AUDITED) for record in records),
    )


def _interval(metric: str, done: Sequence[Record], scores: np.ndarray, predictions: Mapping[str, Arrays]) -> tuple[float, float]:
    """95 % interval from stored predictions, inside [0, 1]; (NaN, NaN) with fewer than two seeds or predictions that do not match."""
    arrays = [predictions[record.trial.id] for record in done if record.trial.id in predictions]
    if len(arrays) < 2 or len(arrays) != len(scores) or any(not np.array_equal(a.ids, arrays[0].ids) for a in arrays):
        return math.nan, math.nan
    values = np.stack([pseudo_values(metric, a.target, a.scores.astype(float)) for a in arrays])
    low, high = crossed_interval(values, scores)
    return max(low, 0.0), min(high, 1.0) if metric != "brier" else high


def overall_rows(board: Board, synthetic: bool = False) -> list[dict[str, object]]:
    """One row a method over all settings of one kind, best mean rank first; the mean is None unless every setting has a score.

    Synthetic and real settings are never averaged together.
    """
    settings = [setting for setting in board.settings if setting.synthetic == synthetic]
    found: dict[str, dict[str, Row]] = defaultdict(dict)
    for setting in settings:
        for row in setting.rows:
            found[row.label][setting.title] = row
    rows = []
    for label, by_setting in found.items():
        here = list(by_setting.values())
        complete = len(here) == len(settings) and all(row.n == row.planned for row in here)
        ranked = [row.rank for row in here if row.rank is not None]
        rows.append(
            {
                "method": here[0].method,
                "preset": here[0].preset,
                "label": label,
                "role": here[0].role,
                "synthetic": synthetic,
                "settings": len(here),
                "complete": complete,
                "mean_rank": float(np.mean(ranked)) if ranked and len(here) == len(settings) else None,
                "scores": {title: row.mean for title, row in by_setting.items()},
                "audit": _worst_audit(row.audit for row in here),
                "flags": sorted({flag for row in here for flag in row.flags}),
                "cost": {
                    name: _mean_cost([row.cost.get(name) for row in here]) for name in ("gflops_per_sample", "parameters", "latency_ms_64")
                },
            }
        )
    order = list(UNRANKED)
    return sorted(rows, key=lambda row: (row["label"] in order, row["mean_rank"] is None, row["mean_rank"] or 0.0, str(row["label"])))


def markdown(board: Board) -> str:
    """The whole page."""
    suite = board.suite
    direction = "" if HIGHER_IS_BETTER[suite.metric] else ", lower is better"
    lines = [f"# {suite.title or suite.name}", ""]
    lines += [f"> **Warning:** {warning}" for warning in board.warnings] + ([""] if board.warnings else [])
    lines += [
        f"Primary metric: **{suite.metric}** x 100{direction}. Checkpoint: best validation {suite.selection}. "
        f"{_varies(suite)} Budget: {_budget(suite)}.",
        "",
    ]
    for synthetic in (False, True):
        settings = [setting for setting in board.settings if setting.synthetic == synthetic]
        if len(settings) > 1:
            lines += ["## Overall" + (", SYNTHETIC data" if synthetic else ""), "", _overall_table(board, settings, synthetic), ""]
    for setting in board.settings:
        lines += [f"## {setting.title}", "", _setting_markdown(setting, suite.metric), ""]
        if setting.test_rows is not None and setting.missing is not None:
            lines += [f"{setting.test_rows} test samples; {100 * setting.missing:.1f} % of their modalities are missing.", ""]
        if setting.surface is not None:
            lines += ["### Response surface", "", *_surface_markdown(setting.surface, {row.label: row.role for row in setting.rows}), ""]
    if board.failures:
        lines += ["## Trials without a score", "", *(f"- {trial}: {reason}" for trial, reason in board.failures), ""]
    notes = (*NOTES, *(SURFACE_NOTES if any(setting.surface for setting in board.settings) else ()))
    lines += ["## How to read this", "", *notes, "", "## Where it comes from", "", board.provenance, ""]
    lines += ["```", *board.commands, "```", ""] if board.commands else []
    return "\n".join(lines)


NOTES = (
    "- `mean ± SD (n)`: over n seeds, ddof 1; `(2/3)`: two of three planned trials gave a score. The 95 % interval holds the variance",
    "  of seeds and of test samples (crossed components, t quantile), so it is wider than the SD suggests. Ranks order the means; they are",
    "  no test of a difference.",
    "- *Floor* (`constant`: training class shares) and *ceiling* (`bayes`: exact posterior, synthetic data alone) are not ranked.",
    "- GFLOPs: 1e9 floating-point operations of a forward pass, mean over the test mask, multiply-add = 2; n/a: cannot be counted.",
    "  ms: median forward time of a batch of 64 divided by 64; comparable within one hardware id alone.",
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


def _overall_table(board: Board, settings: Sequence[SettingTable], synthetic: bool) -> str:
    head = ["Mean rank", "Method", *(f"{s.dataset} {s.protocol}" for s in settings), *COST_HEAD, "Audit", "Flags"]
    body = []
    for row in overall_rows(board, synthetic):
        scores, cost, rank = row["scores"], row["cost"], row["mean_rank"]
        assert isinstance(scores, dict)
        assert isinstance(cost, dict)
        assert isinstance(row["flags"], list)
        place = (
            f"{rank:.2f}"
            if isinstance(rank, float)
            else str(row["role"])
            if row["label"] in UNRANKED
            else f"n/a ({row['settings']} of {len(settings)})"
        )
        cells = [_percent(scores.get(setting.title, math.nan)) for setting in settings]
        last = [str(row["audit"]), ", ".join(row["flags"])]
        body.append([place, _name(str(row["label"]), str(row["role"])), *cells, *_cost_cells(cost), *last])
    return _table(head, body)


def _setting_markdown(setting: SettingTable, metric: str) -> str:
    others = [name for name in EXTRA_METRICS if name != metric]
    head = ["Rank", "Method", f"{metric}, mean ± SD (n)", "95 % interval", *others, *COST_HEAD, "Audit", "Flags"]
    body = []
    for row in setting.rows:
        place = row.role if row.rank is None else f"{row.rank:g}"
        cells = [_spread(row), _interval_text(row.interval), *(_percent(row.others[name]) for name in others)]
        body.append([place, _name(row.label, row.role), *cells, *_cost_cells(row.cost), row.audit, ", ".join(row.flags)])
    return _table(head, body)


def _surface_markdown(surface: Surface, roles: Mapping[str, str]) -> list[str]:
    """Scores under every rule, then what they come to."""
    names = [_name(row.label, roles[row.label]) for row in surface.rows]
    scores = [[name, *(_percent(row.scores[rule]) for rule in surface.rules)] for name, row in zip(names, surface.rows, strict=True)]
    head, columns = ["Method"], [names]
    if len(surface.rates) > 1:
        low, high = f"{surface.rates[0]:g}", f"{surface.rates[-1]:g}"
        head += [f"Area {low}-{high}", "95 % interval", f"Drop {low} to {high}", f"Retention at {high}"]
        columns += [[_percent(row.area) for row in surface.rows], [_interval_text(row.area_interval) for row in surface.rows]]
        columns += [[_percent(row.noise_drop) for row in surface.rows], [_percent(row.noise_retention) for row in surface.rows]]
    if surface.combinations:
        head += ["Worst combination", "Score", "Drop", "Retention"]
        columns += [[row.worst or "n/a" for row in surface.rows], [_percent(row.worst_score) for row in surface.rows]]
        columns += [[_percent(row.drop) for row in surface.rows], [_percent(row.retention) for row in surface.rows]]
    if len(surface.combinations) == 2 ** len(surface.combination) - 1:
        head += [f"Shapley {letter}" for letter in surface.combination]
        columns += [[_percent(row.shapley[letter]) for row in surface.rows] for letter in surface.combination]
    tables = [_aligned(["Method", *surface.rules], scores, ["left", *["right"] * len(surface.rules)])]
    if len(head) > 1:
        tables += ["", _aligned(head, [list(row) for row in zip(*columns, strict=True)], ["left", *["right"] * (len(head) - 1)])]
    return tables


def _table(head: list[str], body: list[list[str]]) -> str:
    return _aligned(head, body, ["left" if name in ("Method", "Audit", "Flags") else "right" for name in head])


def _aligned(head: list[str], body: list[list[str]], align: list[str]) -> str:
    """A table in markdown; a bar inside a cell is escaped."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *body)]
    return tabulate(cells[1:], cells[0], tablefmt="pipe", colalign=align, disable_numparse=True)


def _name(label: str, role: str) -> str:
    return f"*{label}*" if role in ("floor", "ceiling") else f"**{label}**" if role == "paper" else label


def _percent(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{100 * value:.1f}"


def _spread(row: Row) -> str:
    if not row.n:
        return f"n/a (0/{row.planned})"
    count = str(row.n) if row.n == row.planned else f"{row.n}/{row.planned}"
    return f"{_percent(row.mean)} ± {_percent(row.sd)} ({count})"


def _interval_text(interval: tuple[float, float]) -> str:
    return "n/a" if math.isnan(interval[0]) else f"{_percent(interval[0])}-{_percent(interval[1])}"


def _cost_cells(cost: Mapping[str, float | None]) -> list[str]:
    gflops, parameters, latency = (cost.get(name) for name in ("gflops_per_sample", "parameters", "latency_ms_64"))
    return [
        "n/a" if gflops is None else f"{gflops:.3g}",
        "n/a" if parameters is None else f"{parameters:,.0f}",
        "n/a" if latency is None else f"{latency / 64:.2g}",
    ]


def _varies(suite: Suite) -> str:
    if suite.vary == "split":
        return "Each seed draws its own split, masks, initialisation and batch order."
    return "Split and test masks are the same for every method and seed; seeds vary initialisation, batch order and training mask."


def _budget(suite: Suite) -> str:
    shared = ", ".join(f"{key} = {value}" for key, value in sorted(suite.training.items()))
    own = [
        f"{name} with " + ", ".join(f"{key} = {value}" for key, value in sorted(config.items()))
        for name, config in [*suite.configs.items(), *((f"on {dataset} all", budget) for dataset, budget in suite.budgets.items())]
    ]
    text = f"one for all methods, untuned, {shared}" if shared else "each method's published settings"
    return "; ".join([text, *(["but " + "; ".join(own)] if own else [])])


def _warnings(done: Sequence[Record]) -> list[str]:
    """What forbids reading the board as one experiment."""
    warnings = []
    if any(record.provenance.get("dirty") for record in done):
        warnings.append("some records come from a checkout with uncommitted changes.")
    for key, what in (("commit", "commits"), ("hardware_id", "hardware ids"), ("device", "devices")):
        values = {str(record.provenance.get(key)) for record in done}
        if len(values) > 1:
            warnings.append(f"records come from {len(values)} {what}; timings and last digits may differ between them.")
    masks: dict[tuple, set[str]] = defaultdict(set)
    for record in done:
        shares = record.facts.get("masks")
        if isinstance(shares, Mapping) and record.trial.vary == "training":
            setting = (record.trial.dataset_label, record.trial.combination, record.trial.protocol)
            masks[setting].add(str(shares["test"]))
            for rule, facts in evaluations_of(record).items():
                masks[*setting, rule].add(str(facts["mask"]))
    if any(len(found) > 1 for found in masks.values()):
        warnings.append("methods of one setting were scored on different test masks; they cannot be compared.")
    return warnings


def _provenance_line(done: Sequence[Record]) -> str:
    """One line: commit, data, seeds, versions, hardware, date."""
    if not done:
        return "no finished trial"

    def values(key: str) -> str:
        return ", ".join(sorted({str(record.provenance.get(key)) for record in done}))

    commits = sorted({str(record.provenance.get("commit"))[:10] for record in done})
    state = "dirty" if any(record.provenance.get("dirty") for record in done) else "clean"
    data = sorted({f"{record.trial.dataset_label} {record.trial.fingerprint[:8]}" for record in done})
    masks = sorted({str(shares["test"]) for record in done if isinstance(shares := record.facts.get("masks"), Mapping)})
    packages = [record.provenance.get("packages") for record in done]
    torch = sorted({str(found["torch"]) for found in packages if isinstance(found, Mapping)})
    dates = sorted({str(record.facts.get("ended"))[:10] for record in done})
    parts = [
        f"commit {', '.join(commits)} ({state})",
        f"data {', '.join(data)}",
        f"test masks {', '.join(masks)}",
        f"seeds {_ranges({record.trial.seed for record in done})}",
        f"torch {', '.join(torch)} {values('device')}, {values('threads')} thread a trial",
        f"hardware {values('hardware_id')} ({values('hardware')})",
        f"bench {values('bench')}",
        f"UTC {dates[0]}" + (f" to {dates[-1]}" if len(dates) > 1 else ""),
    ]
    return " | ".join(parts)


def _ranges(seeds: Iterable[int]) -> str:
    """Seeds as ranges: 0-4, 7."""
    texts: list[list[int]] = []
    for seed in sorted(seeds):
        if texts and texts[-1][1] == seed - 1:
            texts[-1][1] = seed
        else:
            texts.append([seed, seed])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in texts)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _mean_cost(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _finite(value: object):
    """The same structure with NaN as None, which JSON can say."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table_csv(board: Board) -> str:
    """One line a method and setting, fractions unrounded."""
    stream = io.StringIO()
    columns = [
        "dataset",
        "combination",
        "protocol",
        "noise",
        "synthetic",
        "method",
        "preset",
        "role",
        "n",
        "planned",
        "rank",
        "mean",
        "sd",
        "low",
        "high",
    ]
    costs = ["gflops_per_sample", "parameters", "active_parameters", "latency_ms_1", "latency_ms_64", "peak_memory_mb", "train_seconds"]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*columns, *(name for name in EXTRA_METRICS if name != board.suite.metric), *costs, "audit", "flags"])
    for setting in board.settings:
        for row in setting.rows:
            head = [
                setting.dataset,
                setting.combination,
                setting.protocol,
                setting.noise,
                setting.synthetic,
                row.method,
                row.preset,
                row.role,
            ]
            numbers = [
                row.n,
                row.planned,
                row.rank,
                row.mean,
                row.sd,
                *row.interval,
                *row.others.values(),
                *(row.cost.get(name) for name in costs),
            ]
            writer.writerow(
                [*head, *("" if value is None or value != value else value for value in numbers), row.audit, "; ".join(row.flags)]
            )
    return stream.getvalue()


def surface_csv(board: Board) -> str:
    """One line a method, setting and further rule, fractions unrounded."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [
            "dataset",
            "combination",
            "protocol",
            "synthetic",
            "method",
            "preset",
            "evaluation",
            "test_rate",
            "test_combination",
            "n",
            "mean",
            "sd",
        ]
    )
    for setting in board.settings:
        by_label = {row.label: row for row in setting.rows}
        for row in setting.surface.rows if setting.surface else ():
            head = [
                setting.dataset,
                setting.combination,
                setting.protocol,
                setting.synthetic,
                by_label[row.label].method,
                by_label[row.label].preset,
            ]
            for rule, mean in row.scores.items():
                numbers = [*point_of(rule), row.n, mean, row.sds[rule]]
                writer.writerow([*head, rule, *("" if value is None or value != value else value for value in numbers)])
    return stream.getvalue()


def publish(
    folder: Path, suite: Suite, records: Sequence[Record], predictions: Mapping[str, Arrays], commands: Sequence[str],
    audits: Sequence[Finding] = (),
) -> list[Path]:  # fmt: skip
    """Write question, answers and rendered pages into a leaderboard folder; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.toml").write_text(suite.to_toml(), encoding="utf-8")
    lines = [json.dumps(_as_dict(record), sort_keys=True) for record in records]
    lines.append(json.dumps({"commands": list(commands)}))
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shown = {(record.trial.label, record.trial.version) for record in records}
    entries = [json.dumps(asdict(finding)) for finding in audits if (finding.label, finding.version) in shown]
    (folder / "audit.json").write_text("[\n" + ",\n".join(entries) + "\n]\n", encoding="utf-8")
    arrays: dict[str, Any] = {}
    for id_, found in predictions.items():
        arrays |= found.named(f"{id_}/")
    np.savez_compressed(folder / "predictions.npz", **arrays)
    for name, text in render(folder).items():
        (folder / name).write_text(text, encoding="utf-8")
    return sorted(folder.iterdir())


def _as_dict(record: Record) -> dict[str, object]:
    return {key: _finite(value) for key, value in asdict(record).items()} | {"id": record.trial.id, "trial": record.trial.as_dict()}


def render(folder: Path) -> dict[str, str]:
    """The rendered files of a published folder, from its question and answers alone. Raises: UsageError if one is absent or broken."""
    try:
        suite = suite_from(folder.name, tomllib.loads((folder / "suite.toml").read_text(encoding="utf-8")))
        lines = [json.loads(line) for line in (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()]
        records, commands = [], []
        for line in lines:
            if "commands" in line:
                commands = line["commands"]
                continue
            line.pop("id")
            metrics = {name: math.nan if value is None else value for name, value in line.pop("metrics").items()}
            records.append(Record(Trial(**line.pop("trial")), metrics=metrics, **line))
        with np.load(folder / "predictions.npz", allow_pickle=False) as arrays:
            by_id: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
            for key in arrays:
                id_, _, name = key.partition("/")
                by_id[id_][name] = arrays[key]
            predictions = {id_: Arrays.of(named) for id_, named in by_id.items()}
        path = folder / "audit.json"  # absent where it was published before there were audits
        audits = [Finding(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"leaderboard folder {folder} cannot be read: {type(error).__name__}: {error}; publish it again") from None
    board = build(suite, records, predictions, commands, audits)
    further = {"surface.csv": surface_csv(board)} if any(setting.surface for setting in board.settings) else {}
    return {"README.md": markdown(board), "table.csv": table_csv(board), **further}


def stale_files(folder: Path) -> list[Path]:
    """Rendered files of a published folder whose bytes differ from a fresh rendering."""
    found = []
    for name, text in render(folder).items():
        path = folder / name
        if not path.exists() or path.read_bytes() != text.encode():
            found.append(path)
    return found
