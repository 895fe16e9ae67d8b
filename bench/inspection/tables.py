"""The tables of `bench analyze`: from what methods handed over to rows, summaries and points, with intervals.

Experts have no order that two trainings share, so routing is a table of each seed; a figure shows the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import NearestNeighbors

from bench import registry
from bench.data.parts import Parts
from bench.datasets.target import Target, target_from
from bench.question.parts import parts_of
from bench.question.trial import Trial
from bench.records.record import Record
from bench.training.opened import open_trial

ABOUT = ["method", "dataset", "combination", "protocol", "seed"]
SETTING = ["dataset", "combination", "protocol"]
DRAWS = 2000  # of a bootstrap
NEIGHBOURS = 10
POINTS = 500  # rows of a t-SNE picture at most
FEWEST = 10  # rows without which no separation of classes is measured


@dataclass(frozen=True)
class Source:
    """One trial with what its method handed over, and what stands behind its rows.

    Shapes: tables[name][column] (rows, ...), see bench.methods.tracing; target (N,) classes of the test rows, which `sample` counts; of
    labels and values their strata (`Target.strata`).
    """

    trial: Trial
    record: Record
    tables: dict[str, dict[str, np.ndarray]]
    told: np.ndarray  # the targets themselves

    @cached_property
    def asked(self) -> Target | None:
        """What is to be told of a row, where that is no class."""
        return target_from(self.record.facts.target) if self.record.facts.target else None

    @cached_property
    def target(self) -> np.ndarray:
        return self.coded(self.told)

    def coded(self, told: np.ndarray) -> np.ndarray:
        """Targets of some rows as classes: these, or strata, of a value by the fifths of the test rows. Shapes: -> (N,) int64."""
        return told if self.asked is None else self.asked.strata(told, self.told)[0]

    @property
    def about(self) -> dict[str, object]:
        trial = self.trial
        names = (trial.label, *trial.setting, trial.seed)
        return dict(zip(ABOUT, names, strict=True))

    @property
    def classes(self) -> np.ndarray:
        if self.asked is not None:
            return np.array(self.asked.strata(self.told)[1])
        return np.array(self.record.facts.classes or np.unique(self.target).astype(str))

    def combinations(self, observed: np.ndarray) -> np.ndarray:
        """Letters of what each row observes, "-" where that is nothing. Shapes: (N, M) bool -> (N,) str."""
        codes, place = np.unique(observed, axis=0, return_inverse=True)
        names = np.array(["".join(np.array(list(self.trial.combination))[row]) or "-" for row in codes])
        return names[place.reshape(-1)]

    def parts(self) -> Parts:
        """The parts of the dataset as the method saw them."""
        return parts_of(self.trial)[1]

    def specialisation(self) -> Callable[[np.ndarray, np.ndarray], float] | None:
        """The rate that the method's class has for its own routing, from `source` and `experts` of a trace; None of other methods.

        It may rest on what training rows observe, which the method is shown again; nothing is trained.
        """
        if not hasattr(registry.method_class(self.trial.method), "specialisation"):
            return None
        import torch

        from bench.training.loop import build_method

        opened = open_trial(self.trial, test=False)
        method = build_method(opened.cls, opened.config, opened.parts.train.samples, self.trial.seed, torch.device("cpu"))
        return cast(Callable[[np.ndarray, np.ndarray], float], method.specialisation)


@dataclass
class Analysis:
    """Tables of one analysis: `rows` is what the figures show, `summary` what to read first, `points` where there is a picture of rows."""

    what: str
    rows: pd.DataFrame
    summary: pd.DataFrame
    points: pd.DataFrame = field(default_factory=pd.DataFrame)
    absent: tuple[str, ...] = ()  # methods that ran and handed nothing over, or failed, with the reason
    files: list[Path] = field(default_factory=list)
    interrupted: bool = False

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that have rows, by what the name of their file ends in."""
        found = {"": self.rows, "-summary": self.summary, "-points": self.points}
        return {ending: frame for ending, frame in found.items() if len(frame)}


# Routing


def expert_names(source: Source) -> list[str]:
    """Experts as figures call them: those of a target modality by its letter, shared ones as sh1, sh2, ..; else e1, e2, .."""
    known = source.record.facts.config
    if {"n_target_experts", "n_shared"} <= known.keys():
        own = [f"{letter}{i + 1}" for letter in source.trial.combination for i in range(int(known["n_target_experts"]))]
        return own + [f"sh{i + 1}" for i in range(int(known["n_shared"]))]
    used = int(source.tables["routing"]["experts"].max()) + 1
    return [f"e{i + 1}" for i in range(max(used, int(known.get("n_experts", 0))))]


def routing_analysis(sources: Sequence[Source]) -> Analysis:
    """Tokens of each observed combination at each expert, by layer, kind of token and modality being filled.

    Where every token visits all experts, it counts at each by its gate, which says how much. `specialisation` stands in the summary
    of methods that have a rate of their own: of Flex-MoE, the share of incomplete rows' tokens that reach their combination's expert.
    """
    rows, summaries = [], []
    for source in sources:
        table, rate = source.tables["routing"], source.specialisation()
        kept = table["experts"].shape[1]
        letters = np.array([*source.trial.combination, "-"])  # -1 is the last
        kind = np.select([table["supported"], table["filled"]], ["support", "stand-in"], "own")
        names = np.array(expert_names(source))
        columns = {
            "layer": table["layer"] + 1, "kind": kind, "target": letters[table["target"]], "modality": letters[table["modality"]],
            "observed": source.combinations(table["source"]),
        }  # fmt: skip
        frame = pd.DataFrame({name: np.repeat(column, kept) for name, column in columns.items()})
        frame["expert"], frame["gate"] = names[table["experts"].reshape(-1)], table["gates"].reshape(-1).astype(float)
        counted = frame.groupby([*columns, "expert"], sort=True)["gate"].agg(tokens="size", gate="sum").reset_index()
        weighs = kept == len(names)
        if weighs:
            counted["tokens"] = counted["gate"]
        counted["place"] = counted["expert"].map({name: place for place, name in enumerate(names)})
        rows.append(counted.assign(**source.about))
        for layer, part in counted.groupby("layer"):
            cells = part.pivot_table(index="observed", columns="expert", values="tokens", aggfunc="sum", fill_value=0).to_numpy(float)
            spread, bits, most = _information(cells)
            here = table["layer"] + 1 == layer
            summaries.append({
                **source.about, "layer": layer, "tokens": round(cells.sum()) // (1 if weighs else kept), "experts_kept": kept,
                "experts": len(names),
                "experts_used": cells.shape[1], "effective_experts": spread, "bits_about_observed": bits, "bits_at_most": most,
                **({} if rate is None else {"specialisation": rate(table["source"][here], table["experts"][here])}),
            })  # fmt: skip
    frame = _with_shares(pd.concat(rows, ignore_index=True)) if rows else pd.DataFrame()
    return Analysis("routing", frame, pd.DataFrame(summaries))


def _with_shares(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds what share of the combination's tokens, and of the expert's tokens, a row of the table holds."""
    by = [*ABOUT, "layer"]
    frame["share_of_observed"] = frame["tokens"] / frame.groupby([*by, "observed"])["tokens"].transform("sum")
    frame["share_of_expert"] = frame["tokens"] / frame.groupby([*by, "expert"])["tokens"].transform("sum")
    return frame[
        [*by, "observed", "expert", "place", "kind", "target", "modality", "tokens", "gate", "share_of_observed", "share_of_expert"]
    ]


def _information(cells: np.ndarray) -> tuple[float, float, float]:
    """Effective number of columns in use, what a column says about the row in bits, and the most it could. Shapes: cells (R, E) counts."""
    joint = cells / cells.sum()

    def entropy(p: np.ndarray) -> float:
        p = p[p > 0]
        return float(-(p * np.log2(p)).sum())

    rows, columns = entropy(joint.sum(1)), entropy(joint.sum(0))
    return 2**columns, max(0.0, rows + columns - entropy(joint.reshape(-1))), min(rows, columns)


# Gradients

NORMS = ("norm_first", "norm_second")  # of the modalities of a pair, in its order


def gradients_analysis(sources: Sequence[Source]) -> Analysis:
    """Mean cosine between the gradients of two modalities in each epoch: over all rows of a batch, and over those that observe both.

    Beside them the mean norm of each one's gradient, over the rows that observe it: where one is far larger, the other waits.
    """
    rows = []
    for source in sources:
        letters = np.array(list(source.trial.combination))
        table = dict(source.tables["gradients"])
        table["pair"] = np.char.add(np.char.add(letters[table.pop("first")], "-"), letters[table.pop("second")])
        columns = {
            "rows": ("rows", "sum"),
            "batches": ("rows", "size"),
            "cosine": ("cosine", "mean"),
            "cosine_both": ("cosine_both", "mean"),
        }
        columns |= {name: (name, "mean") for name in NORMS if name in table}  # traces of before lack them
        frame = pd.DataFrame(table).assign(negative=lambda found: found["cosine"] < 0)
        grouped = frame.groupby(["epoch", "pair"], sort=False).agg(**columns, negative_batches=("negative", "mean")).reset_index()
        rows.append(grouped.assign(**source.about))
    if not any(map(len, rows)):
        return Analysis("gradients", pd.DataFrame(), pd.DataFrame())
    frame = pd.concat(rows, ignore_index=True)
    known = [name for name in NORMS if name in frame]
    frame = frame[[*ABOUT, "epoch", "pair", "rows", "batches", "cosine", "cosine_both", *known, "negative_batches"]]
    last = frame["epoch"] == frame.groupby(ABOUT)["epoch"].transform("max")
    parts = {"first_epoch": frame[frame["epoch"] == 1], "last_epoch": frame[last], "all_epochs": frame}
    by = [*ABOUT[:-1], "pair"]
    means = {name: part.groupby(by, sort=False)["cosine"].mean() for name, part in parts.items()}
    means["negative_batches"] = frame.groupby(by, sort=False)["negative_batches"].mean()
    means |= {name: frame.groupby(by, sort=False)[name].mean() for name in known}
    means["seeds"] = frame.groupby(by, sort=False)["seed"].nunique()
    return Analysis("gradients", frame, pd.DataFrame(means).reset_index())


# Embeddings


def embeddings_analysis(sources: Sequence[Source]) -> Analysis:
    """How well classes separate before and after completion, on all rows and on those that miss something, and a t-SNE of the latter."""
    rows, points = [], []
    for source in sources:
        table = source.tables["embeddings"]
        order = np.argsort(table["sample"], kind="stable")
        observed, target = table["observed"][order], source.target[table["sample"][order]]
        stages = {stage: table[stage][order].reshape(len(order), -1).astype(float) for stage in ("before", "after")}  # (N, M * D)
        missing = ~observed
        groups = {"all": np.ones(len(target), dtype=bool), "complete": ~missing.any(1), "incomplete": missing.any(1)}
        groups |= {f"missing {letter}": missing[:, m] for m, letter in enumerate(source.trial.combination)}
        for name, chosen in groups.items():
            measured = separation({stage: x[chosen] for stage, x in stages.items()}, target[chosen], source.trial.seed)
            rows += [{**source.about, "rows": name, "n": int(chosen.sum()), **found} for found in measured]
        chosen = np.flatnonzero(missing.any(1))
        chosen = chosen[np.linspace(0, len(chosen) - 1, min(POINTS, len(chosen))).astype(int)] if len(chosen) else chosen
        if len(chosen) >= FEWEST:
            for stage, x in stages.items():
                places = tsne(x[chosen])
                points.append(pd.DataFrame({
                    **source.about, "stage": stage, "sample": table["sample"][order][chosen], "class": source.classes[target[chosen]],
                    "observed": source.combinations(observed[chosen]), "x": places[:, 0], "y": places[:, 1],
                }))  # fmt: skip
    frame = pd.DataFrame(rows)
    summary = frame[frame["rows"] == "incomplete"].reset_index(drop=True) if len(frame) else frame
    return Analysis("embeddings", frame, summary, pd.concat(points, ignore_index=True) if points else pd.DataFrame())


def tsne(x: np.ndarray) -> np.ndarray:
    """Two dimensions for a picture. Shapes: (N, F) -> (N, 2)."""
    if not np.ptp(x):
        return np.zeros((len(x), 2))
    perplexity = min(30.0, (len(x) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="random", random_state=0, n_jobs=1).fit_transform(x.astype(np.float32))


def separation(stages: dict[str, np.ndarray], target: np.ndarray, seed: int = 0) -> list[dict[str, object]]:
    """Silhouette of the classes and accuracy of the 10 nearest other rows, before and after completion, and the paired difference.

    Intervals are 95 %, by a bootstrap over rows: they hold for other rows of this trained model. Classes of one row are left out.
    Shapes: stages "before" and "after" (N, F), target (N,). Returns nothing where fewer than 10 rows or 2 classes are left.
    """
    often = np.isin(target, np.flatnonzero(np.bincount(target) > 1)) if len(target) else np.zeros(0, dtype=bool)
    target = target[often]
    if len(target) < FEWEST or len(np.unique(target)) < 2:
        return []
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(target), np.full(len(target), 1 / len(target)), size=DRAWS) / len(target)  # (draws, N)
    found = []
    for measure, of_rows in (("silhouette", _silhouettes), (f"accuracy of {NEIGHBOURS} neighbours", _neighbours_right)):
        before, after = (of_rows(stages[stage][often], target) for stage in ("before", "after"))
        numbers: dict[str, object] = {"measure": measure}
        for name, values in (("before", before), ("after", after), ("gain", after - before)):
            low, high = np.quantile(weights @ values, (0.025, 0.975))
            numbers |= {name: float(values.mean()), f"{name}_low": float(low), f"{name}_high": float(high)}
        found.append(numbers)
    return found


def _silhouettes(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    return silhouette_samples(x, target)


def _neighbours_right(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Whether the most frequent class among the nearest other rows is the row's own; ties go to the first class. Shapes: -> (N,) 0/1."""
    k = min(NEIGHBOURS, len(x) - 1)
    near = NearestNeighbors(n_neighbors=k).fit(x).kneighbors(return_distance=False)  # (N, k), without the row itself
    votes = np.eye(int(target.max()) + 1)[target[near]].sum(1)  # (N, C)
    return (votes.argmax(1) == target).astype(float)


# Supports


def supports_analysis(sources: Sequence[Source]) -> Analysis:
    """Which classes and observed combinations support which. The weights of each filled modality of a row are made to sum to 1."""
    rows, summaries = [], []
    for source in sources:
        table, parts = source.tables["supports"], source.parts()
        train, test = parts.train.samples, parts.test.samples
        wanted = source.coded(train.target)  # (N,) of the training rows
        sample, support = table["sample"], table["support"]
        filled, place = np.unique(np.stack([sample, table["target"]]), axis=1, return_inverse=True)  # (2, F) sample and target modality
        place = place.reshape(-1)
        share = table["weight"].astype(float) / np.bincount(place, table["weight"])[place]
        frame = pd.DataFrame({
            "target": np.array(list(source.trial.combination))[table["target"]],
            "class": source.classes[source.target[sample]], "support_class": source.classes[wanted[support]],
            "observed": source.combinations(test.observed)[sample], "support_observed": source.combinations(train.observed)[support],
            "share": share,
        })  # fmt: skip
        keys = [name for name in frame.columns if name != "share"]
        rows.append(frame.groupby(keys)["share"].agg(links="size", weight="sum").reset_index().assign(**source.about))
        own = np.bincount(place, share * (source.target[sample] == wanted[support]))  # (F,) weight of the row's own class
        chance = np.array(
            [_class_shares(wanted[train.observed[:, m]], len(source.classes)) for m in range(len(source.trial.combination))]
        )  # (M, C)
        expected = chance[filled[1], source.target[filled[0]]]
        low, high, gain_low, gain_high = _cluster_intervals(filled[0], own, own - expected, source.trial.seed)
        summaries.append({
            **source.about, "filled": len(own), "links_per_filled": len(sample) / len(own), "same_class": float(own.mean()),
            "same_class_low": low, "same_class_high": high, "by_chance": float(expected.mean()),
            "gain": float((own - expected).mean()), "gain_low": gain_low, "gain_high": gain_high,
        })  # fmt: skip
    columns = [*ABOUT, "target", "class", "support_class", "observed", "support_observed", "links", "weight"]
    return Analysis("supports", pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(), pd.DataFrame(summaries))


def _class_shares(observing: np.ndarray, classes: int) -> np.ndarray:
    """Shares of the classes among training rows that observe a modality: what supports drawn blindly would have. Shapes: (n,) -> (C,)."""
    counts = np.bincount(observing, minlength=classes)
    return counts / max(1, counts.sum())


def _cluster_intervals(sample: np.ndarray, own: np.ndarray, gain: np.ndarray, seed: int) -> tuple[float, float, float, float]:
    """95 % bootstrap intervals of two means, drawing rows with all their filled modalities. Shapes: sample, own, gain (F,)."""
    _, row = np.unique(sample, return_inverse=True)
    rng, count = np.random.default_rng(seed), np.bincount(row)
    weights = rng.multinomial(len(count), np.full(len(count), 1 / len(count)), size=DRAWS)  # (draws, rows)
    sums = np.stack([np.bincount(row, value) for value in (own, gain)], axis=1)
    means = (weights @ sums) / (weights @ count)[:, None]  # (draws, 2)
    (own_low, gain_low), (own_high, gain_high) = np.quantile(means, (0.025, 0.975), axis=0)
    return float(own_low), float(own_high), float(gain_low), float(gain_high)


def labels_of(frame: pd.DataFrame) -> Iterable[str]:
    from bench.names import method_label, parse_choice

    for method, preset in zip(frame["method"], frame["preset"], strict=True):
        choice = parse_choice(method)
        yield method_label(choice.name, preset, choice.options)


def at_setting(analysis: Analysis, setting: Sequence[object], by: Sequence[str]) -> Analysis:
    """The part of an analysis that is about one setting."""

    def part(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[(frame[list(by)] == list(setting)).all(axis=1)] if len(frame) else frame

    return Analysis(analysis.what, part(analysis.rows), part(analysis.summary), part(analysis.points))
