"""What the tables of the MoE-Retriever paper show and do not show, by the suite's own tests.

Every number is computed from `moe_retriever_tables.csv`.

python docs/sources/paper_report.py     writes docs/evidence/paper-under-test.md
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tabulate import tabulate

from bench import stats
from bench.stats.levels import ALPHA
from bench.stats.pairs import Estimate
from moe_retriever_tables import METHODS, Cell, cells

PAGE = Path(__file__).resolve().parent.parent / "evidence" / "paper-under-test.md"
OWN = "MoE-Retriever"
RUNS = 3  # behind every printed mean
COMPARED = ("1", "2", "4", "5")  # tables of cells where all six methods stand, apart from 6, which repeats the runs of 5
TEST_ROWS = {"CMU-MOSI": 656, "ADNI": 357, "MIMIC": 1350, "ENRICO": 292}  # non-neutral standard test part; 15 %; 15 %; 20 %
MOSI_TEST = {"negative": 379, "positive": 277}  # labels of the 656
BINOMIAL = 0.07  # points within which a printed SD counts as sqrt(p (1 - p) / n)
Block = Mapping[str, Cell]  # method -> cell

VIEWS: Mapping[str, Callable[[Cell], bool]] = {
    "accuracy, tables 1 and 2": lambda cell: cell.table in ("1", "2") and cell.metric == "accuracy",
    "macro F1, table 1": lambda cell: cell.table == "1" and cell.metric == "f1_macro",
    "macro F1, table 1, and accuracy, table 2": lambda cell: (cell.table, cell.metric) in (("1", "f1_macro"), ("2", "accuracy")),
    "accuracy under noise, table 4": lambda cell: cell.table == "4",
    "AUROC, table 5": lambda cell: cell.table == "5",
}  # fmt: skip


def blocks(chosen: Callable[[Cell], bool]) -> list[Block]:
    """The settings of a view: one cell a method each."""
    found: dict[tuple, dict[str, Cell]] = defaultdict(dict)
    for cell in cells():
        if chosen(cell):
            found[cell.key][cell.method] = cell
    return list(found.values())


@dataclass(frozen=True)
class View:
    """MoE-Retriever against its five rivals over the settings of some tables."""

    n: int
    ranks: Mapping[str, float]  # mean rank, best first
    critical_difference: float
    beaten: tuple[str, ...]  # by Nemenyi's test
    adjusted: Mapping[str, float]  # Wilcoxon against each rival, Holm over five; NaN where n is too small
    wins: Mapping[str, int]
    reason: str


def view(name: str) -> View:
    settings = blocks(VIEWS[name])
    methods = list(METHODS)
    scores = np.array([[block[method].mean for method in methods] for block in settings])
    mean_ranks = stats.rank_matrix(scores).mean(0)
    found = stats.nemenyi(mean_ranks, len(scores))
    own, rivals = methods.index(OWN), [method for method in methods if method != OWN]
    tests = [stats.signed_rank(scores[:, own] - scores[:, methods.index(rival)]) for rival in rivals]
    return View(
        len(scores),
        {methods[i]: float(mean_ranks[i]) for i in np.argsort(mean_ranks, kind="stable")},
        found.critical_difference,
        tuple(
            rival for rival in rivals if found.p[own, methods.index(rival)] <= ALPHA and mean_ranks[own] < mean_ranks[methods.index(rival)]
        ),
        dict(zip(rivals, stats.holm(np.array([test.p for test in tests])).tolist(), strict=True)),
        {rival: int((scores[:, own] > scores[:, methods.index(rival)]).sum()) for rival in rivals},
        next((test.reason for test in tests if test.reason), ""),
    )


def welch(a: Cell, b: Cell, population: bool = False) -> Estimate:
    """Two printed means; `population`: the printed SD divides by n instead of n - 1."""
    factor = math.sqrt(RUNS / (RUNS - 1)) if population else 1.0
    return stats.welch(a.mean, factor * a.std, RUNS, b.mean, factor * b.std, RUNS)


@dataclass(frozen=True)
class Rivalry:
    """MoE-Retriever against each rival in each setting of tables 1, 2, 4 and 5, one test a pair."""

    rivals: tuple[str, ...]  # of each pair
    setting: tuple[int, ...]
    difference: np.ndarray  # points
    p: np.ndarray  # NaN where neither SD varies

    @classmethod
    def of(cls, population: bool = False) -> Rivalry:
        pairs = [
            (number, rival, welch(block[OWN], cell, population))
            for number, block in enumerate(blocks(lambda cell: cell.table in COMPARED))
            for rival, cell in block.items()
            if rival != OWN
        ]
        numbers, rivals, tests = zip(*pairs, strict=True)
        return cls(rivals, numbers, np.array([test.difference for test in tests]), np.array([test.p for test in tests]))

    def significant(self, p: np.ndarray) -> np.ndarray:
        return (p <= ALPHA) & (self.difference > 0)

    @property
    def holm_in_settings(self) -> np.ndarray:
        """Holm over the five rivals of each setting."""
        adjusted = np.empty(len(self.p))
        for number in set(self.setting):
            own = np.array(self.setting) == number
            adjusted[own] = stats.holm(self.p[own])
        return adjusted

    def only(self, keep: np.ndarray) -> Rivalry:
        rows = np.flatnonzero(keep)
        return Rivalry(tuple(self.rivals[i] for i in rows), tuple(self.setting[i] for i in rows), self.difference[rows], self.p[rows])


def against_best() -> list[tuple[Block, Cell, Estimate]]:
    """In each setting the best rival, and MoE-Retriever less it."""
    found = []
    for block in blocks(lambda cell: cell.table in COMPARED):
        best = max((cell for cell in block.values() if cell.method != OWN), key=lambda cell: cell.mean)
        found.append((block, best, welch(block[OWN], best)))
    return found


def page() -> str:
    """The whole page as markdown."""
    parts = [HEAD, *_views(), *_rank_sets(), *_pairs(), *_ablation(), *_oddities()]
    return "\n\n".join(parts) + "\n"


HEAD = f"""# The paper's tables under test

Generated by `python docs/sources/paper_report.py` from `moe_retriever_tables.csv` beside it, the {len(cells())} numbers that Yun et al.
(MoE-Retriever, 2025) print in tables 1 to 7; a test compares the two. Nothing below is typed in: each number comes from the printed
means and SDs through the tests of `bench.stats`. It says what those tables can and cannot support, not what a method is worth: for that,
run it. Printed means are of {RUNS} runs; whether an SD divides by n or n - 1 is not stated, and n - 1 is assumed unless said otherwise."""


def _views() -> list[str]:
    rows = []
    for name in VIEWS:
        found = view(name)
        (first, rank), (second, next_rank) = list(found.ranks.items())[:2]
        if found.reason:
            verdict = f"n/a ({found.reason}; the smallest p of {found.n} is {stats.minimum_p(found.n):.3g})"
        else:
            verdict = ", ".join(f"{rival} {_p(p)}" for rival, p in sorted(found.adjusted.items(), key=lambda item: item[1]))
        wins = ", ".join(f"{rival} {won}" for rival, won in found.wins.items())
        rows.append([name, found.n, f"{first} {rank:.2f} ({second} {next_rank:.2f})", f"{found.critical_difference:.2f}: "
                     f"{', '.join(found.beaten) or 'nobody'}", verdict, wins])  # fmt: skip
    head = [
        "settings",
        "N",
        "best mean rank (next)",
        "Nemenyi's critical difference: beaten",
        "p of Wilcoxon's test, Holm over 5",
        "wins of N",
    ]
    return ["## Over settings", f"{OWN} against its five rivals, one mean a setting.", _table(head, rows)]


def _rank_sets() -> list[str]:
    settings = blocks(VIEWS["accuracy under noise, table 4"])
    methods = list(METHODS)
    scores = np.array([[block[method].mean for method in methods] for block in settings])
    pairs, ranks = stats.all_pairs(scores), stats.rank_matrix(scores).mean(0)
    found = stats.standing(pairs.better, ranks)
    rows = [
        [f"{found.low[i]}-{found.high[i]}", methods[i], found.letters[i], f"{ranks[i]:.2f}", f"{scores[:, i].mean():.1f}"]
        for i in np.argsort(ranks, kind="stable")
    ]
    bold = [methods[i] for i in np.flatnonzero(found.best)]
    said = f"{bold[0]} is significantly better than every other method." if bold else "No method is significantly better than every other."
    return [
        "## Ranks that table 4 supports",
        f"Every pair, Wilcoxon's test, Holm over {pairs.tests}: the ranks a method may have, and letters that methods share "
        f"which cannot be "
        f"told apart. {said}",
        _table(["ranks", "method", "group", "mean rank", "mean accuracy"], rows),
    ]


def _pairs() -> list[str]:
    found, population = Rivalry.of(), Rivalry.of(population=True)
    n = len(found.p)
    wins, losses = int((found.difference > 0).sum()), int((found.difference < 0).sum())
    rest = found.only(np.array(found.rivals) != "MUSE")
    best = against_best()
    p = np.array([test.p for *_, test in best])
    won = np.array([test.difference > 0 for *_, test in best])
    raw = [(block, cell, test) for block, cell, test in best if test.difference > 0 and test.p <= ALPHA]
    named = "; ".join(f"{_where(cell)} against {cell.method}, p = {test.p:.3f}" for _, cell, test in raw)
    after = int(((stats.holm(p) <= ALPHA) & won).sum())
    held = found.significant(found.holm_in_settings)
    full = sum(held[np.array(found.setting) == number].all() for number in set(found.setting))
    rows = []
    for rival in METHODS:
        own = found.only(np.array(found.rivals) == rival)
        if len(own.p):
            rows.append([rival, own.significant(own.p).sum(), (own.difference > 0).sum(), len(own.p)])
    lines = [
        f"- {n} comparisons of {OWN} with a rival in a setting (tables {', '.join(COMPARED)}): {wins} wins, {losses} losses by the mean.",
        f"- Welch's test from mean, SD and n = {RUNS}: {found.significant(found.p).sum()} wins have p < {ALPHA} "
        f"({population.significant(population.p).sum()} if the printed SD divides by n), "
        f"{int(((found.p <= ALPHA) & (found.difference < 0)).sum())} losses do.",
        f"- Corrected: Holm inside each setting {found.significant(found.holm_in_settings).sum()}; Benjamini and Hochberg over all "
        f"{found.significant(stats.benjamini_hochberg(found.p)).sum()}; Holm over all {found.significant(stats.holm(found.p)).sum()}.",
        f"- Settings in which all rivals fall after Holm: {full} of {len(best)}.",
        f"- Against the *best* rival of each setting: {int(won.sum())} wins of {len(best)}, {len(raw)} with raw p < {ALPHA} ({named}), "
        f"{after or 'none'} after Holm over {len(best)}.",
        f"- Without MUSE, whose SD looks like none of seeds (below): {int((rest.difference > 0).sum())} wins of {len(rest.p)}, "
        f"{rest.significant(rest.p).sum()} with p < {ALPHA}.",
    ]
    head = ["rival", f"wins with p < {ALPHA}", "wins", "settings"]
    datasets = len({cell.dataset for cell in cells()})
    conclusion = (
        f"The direction is consistent over settings; almost no single cell is resolved by {RUNS} runs; {datasets} datasets support no "
        f"claim over datasets (no exact test of {datasets} can give a p below {stats.minimum_p(datasets):.3g})."
    )
    return ["## Cell by cell", "\n".join(lines), _table(head, rows), conclusion]


def _ablation() -> list[str]:
    lines = []
    for metric in ("accuracy", "f1_macro"):
        block = blocks(lambda cell, metric=metric: cell.table == "3" and cell.metric == metric)[0]  # type: ignore[misc]
        whole = next(cell for name, cell in block.items() if name.lower().startswith(("full", "moe-retriever", "ours")))
        tests = {name: welch(whole, cell) for name, cell in block.items() if cell is not whole}
        name = min(tests, key=lambda name: tests[name].p)
        below = sum(test.p <= ALPHA for test in tests.values())
        lines.append(
            f"- {metric}: of {len(tests)} variants, {below or 'none'} differs from the full model with p < {ALPHA}; the smallest "
            f"raw p is "
            f"{tests[name].p:.2f} ({name})."
        )
    return ["## Ablation (table 3)", "\n".join(lines)]


def _oddities() -> list[str]:
    return [
        "## What a reader of the tables should know",
        "\n".join([*_muse(), *_constant(), *_majority(), *_twice(), *_repeated(), *_search()]),
    ]


def _muse() -> list[str]:
    """SDs that are those of a proportion on the test part."""
    near: dict[str, list[bool]] = defaultdict(list)
    worst = 0.0
    for cell in cells():
        if cell.table in ("1", "2", "4") and cell.metric == "accuracy":
            p = cell.mean / 100
            gap = abs(cell.std - 100 * math.sqrt(p * (1 - p) / TEST_ROWS[cell.dataset]))
            near[cell.method].append(gap <= BINOMIAL)
            worst = max(worst, gap) if cell.method == "MUSE" else worst
    muse, others = near.pop("MUSE"), [hit for hits in near.values() for hit in hits]
    return [
        f"- **MUSE's ± looks like a sampling error, not an SD of seeds.** In {sum(muse)} of {len(muse)} accuracy cells it lies "
        f"within {BINOMIAL} points of sqrt(p (1 - p) / n), the sampling error of one run on n test samples "
        f"({', '.join(f'{name} {rows}' for name, rows in TEST_ROWS.items())}); the largest gap is {worst:.2f}. For the other "
        f"methods it does in {sum(others)} of {len(others)}."
    ]


def _constant() -> list[str]:
    """CMU-MOSI against the constant predictors."""
    n = sum(MOSI_TEST.values())
    collapse, floor = (100 * MOSI_TEST[label] / n for label in ("positive", "negative"))
    frozen = [cell for cell in cells() if cell.dataset == "CMU-MOSI" and abs(cell.mean - collapse) < 0.005 and cell.std == 0]
    said = []
    for table in ("2", "4"):
        own = [cell for cell in cells() if cell.table == table and cell.dataset == "CMU-MOSI" and cell.metric == "accuracy"]
        said.append(f"{sum(cell.mean < floor for cell in own)} of {len(own)} cells of table {table}")
    weak = [cell for cell in cells() if (cell.dataset, cell.modality, cell.metric) == ("CMU-MOSI", "V+A", "accuracy")]
    below = sum(cell.mean < floor for cell in weak)
    return [
        f"- **{collapse:.2f} ± 0.00 is what a constant prediction scores.** {len(frozen)} cells of CMU-MOSI print it: "
        f"{MOSI_TEST['positive']} of {n} test labels are positive, the majority of the training part. The other constant scores "
        f"{floor:.2f} (if the standard test part was used), and "
        f"{' and '.join(said)} lie below it, among them {below} of {len(weak)} with V+A."
    ]


def _majority() -> list[str]:
    """MIMIC accuracies against a constant predictor."""
    rows = [cell for cell in cells() if cell.table == "1" and cell.dataset == "MIMIC" and cell.metric == "accuracy"]
    still = [cell for cell in rows if cell.method == "mmFormer"]
    level = still[0].mean
    same = sum(cell.mean == level for cell in still)
    f1 = 100 * (level / 100) / (1 + level / 100)
    own = ("1", "MIMIC", "f1_macro", "mmFormer")
    printed = {cell.mean for cell in cells() if (cell.table, cell.dataset, cell.metric, cell.method) == own}
    best = max(cell.mean for cell in rows)
    return [
        f"- **mmFormer on MIMIC scores what a constant prediction does.** Accuracy {level:.2f} in {same} of {len(still)} settings; the "
        f"macro F1 of a constant at that accuracy is {f1:.2f}, printed is "
        f"{', '.join(f'{value:.2f}' for value in sorted(printed))}. The best "
        f"accuracy of any method there is {best:.2f}, {best - level:.2f} above: accuracy tells nothing apart on MIMIC."
    ]


def _twice() -> list[str]:
    """Rows that are printed twice."""
    found = []
    for dataset in ("ADNI", "MIMIC"):
        for method in METHODS:
            by_modality: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
            for cell in cells():
                if cell.table == "1" and cell.dataset == dataset and cell.method == method:
                    by_modality[cell.modality][cell.metric] = (cell.mean, cell.std)
            names = list(by_modality)
            found += [
                f"{method} on {dataset}, {a} and {b} ({by_modality[a]['accuracy'][0]:.2f}, {by_modality[a]['f1_macro'][0]:.2f})"
                for i, a in enumerate(names)
                for b in names[i + 1 :]
                if by_modality[a] == by_modality[b] and method != "mmFormer"
            ]
    return [f"- **Identical rows** of different modalities, SDs included, mmFormer's constants aside: {'; '.join(found) or 'none'}."]


def _repeated() -> list[str]:
    """The one setting that two tables print."""
    second = {(cell.modality, cell.method): cell for cell in cells() if cell.table == "2" and cell.dataset == "CMU-MOSI"}
    fourth = {(cell.modality, cell.method): cell for cell in cells() if cell.table == "4" and float(cell.noise) == 0.3}
    shared = [key for key in second if key in fourth]
    gaps = np.array([abs(second[key].mean - fourth[key].mean) for key in shared])
    worst = shared[int(gaps.argmax())]
    equal = sum(second[key].mean == fourth[key].mean for key in shared)
    both = sum(second[key][-2:] == fourth[key][-2:] for key in shared)
    return [
        f"- **Tables 2 and 4 print the same setting (CMU-MOSI, noise 0.3) with other numbers.** Over {len(shared)} cells the "
        f"means differ "
        f"by {gaps.mean():.1f} points on average, median {np.median(gaps):.1f}, at most {gaps.max():.1f} ({worst[1]} {worst[0]}: "
        f"{second[worst].mean:.2f} and {fourth[worst].mean:.2f}); {equal} means agree, {both} with their SD."
    ]


def _search() -> list[str]:
    """A small search of the rival's settings."""
    own = next(cell for cell in cells() if cell.table == "2" and cell.modality == "V+A+T" and cell.method == OWN)
    searched = [cell for cell in cells() if cell.table == "7" and cell.metric == "accuracy"]
    best = max(searched, key=lambda cell: cell.mean)
    return [
        f"- **With {len(searched)} settings tried, ShaSpec comes within {own.mean - best.mean:.2f} points.** {best.method} reaches "
        f"{best.mean:.2f} ± {best.std:.2f} (table 7), {OWN} {own.mean:.2f} ± {own.std:.2f} (table 2): p = "
        f"{welch(own, best).p:.2f}. Tables 1 "
        "and 2 do not say that the rivals were tuned."
    ]


def _where(cell: Cell) -> str:
    noise = f" at {cell.noise}" if cell.noise else ""
    return f"{cell.dataset} {cell.modality}{noise}, {cell.metric} (table {cell.table})"


def _p(p: float) -> str:
    return f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return tabulate([[str(value) for value in row] for row in rows], head, tablefmt="pipe", disable_numparse=True)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
