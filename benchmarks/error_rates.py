"""How often each default decision errs where there is nothing to find: nominal 5 %. Prints JSON.

    python benchmarks/error_rates.py --draws 1000                                 # every decision, simulated; about half an hour
    python benchmarks/error_rates.py --only "noise" --seeds 3,5                   # some of them
    python benchmarks/error_rates.py --boards leaderboards/*/ --draws 0           # each method of published boards against itself
    python benchmarks/error_rates.py ... --update docs/sources/error_rates.json   # puts what was found into the file, beside what is there

Nothing to find means: two methods whose next seed on the next sample is equally good. Samples are of unlike difficulty for both and for
each method; seeds of a method are of unlike quality.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import stats
from bench.comparison.aa import self_test
from bench.errors import UsageError
from bench.records.folder import answers_of
from bench.stats.groups import group_test, largest_gap, least_side
from bench.stats.metrics import METRICS

ALPHA, SAMPLES, ROPE = 0.05, 656, 0.01
SEEDS = (3, 5, 10)
NOISE = np.array([0.1, 0.3, 0.5])
Rng = np.random.Generator


class Decision(NamedTuple):
    """A decision that may err: `errs` draws one study of so many seeds and says whether it did."""

    errs: Callable[[Rng, int], bool]
    seeds: tuple[int, ...] = SEEDS
    at_most: bool = False  # whether it errs less often than it says: its p are coarse
    slow: bool = False  # more than 20 ms a draw at 10 seeds
    times: int = 1  # as many studies as of others: of cheap ones more can be had


def rate(decision: Decision, seeds: int, draws: int) -> float:
    """Share of so many studies, times `decision.times`, in which it errs."""
    rng = np.random.default_rng(seeds)
    return float(np.mean([decision.errs(rng, seeds) for _ in range(draws * decision.times)]))


# --- methods that are equally good


def scores_of(rng: Rng, target: np.ndarray, shared: np.ndarray, seeds: int, gain: float = 0.9) -> np.ndarray:
    """Class probabilities of one method: two classes, seed SD about 3 points of accuracy. Shapes: (S, N, 2)."""
    own, quality = rng.normal(0, 0.6, len(target)), gain + rng.normal(0, 0.12, (seeds, 1))
    logits = quality * (2 * target - 1) + shared + own + rng.normal(0, 0.6, (seeds, len(target)))
    positive = 1 / (1 + np.exp(-2 * logits))
    return np.stack([1 - positive, positive], 2)


def two_methods(rng: Rng, seeds: int, samples: int = SAMPLES) -> tuple[np.ndarray, list[np.ndarray]]:
    target, shared = (rng.random(samples) < 0.42).astype(int), rng.normal(0, 0.8, samples)
    return target, [scores_of(rng, target, shared, seeds) for _ in range(2)]


def labels_of(rng: Rng, target: np.ndarray, shared: np.ndarray, seeds: int) -> np.ndarray:
    """Probabilities of four labels of one method. Shapes: (S, N, L)."""
    own, quality = rng.normal(0, 0.6, target.shape), 0.9 + rng.normal(0, 0.12, (seeds, 1, 1))
    logits = quality * (2 * (target == 1) - 1) + shared + own + rng.normal(0, 0.6, (seeds, *target.shape))
    return 1 / (1 + np.exp(-2 * logits))


def values_near(rng: Rng, target: np.ndarray, shared: np.ndarray, seeds: int) -> np.ndarray:
    """Numbers of one method, whose seeds shrink by unlike factors. Shapes: (S, N, 1)."""
    own, quality = rng.normal(0, 0.5, len(target)), 0.8 + rng.normal(0, 0.04, (seeds, 1))
    return (quality * target + shared + own + rng.normal(0, 0.5, (seeds, len(target))))[:, :, None]


def values_of(metric: str, target: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Shapes: (S, N, C) -> pseudo-values (S, N), scores (S,)."""
    return np.stack([stats.pseudo_values(metric, target, seed) for seed in scores]), [METRICS[metric].of(target, seed) for seed in scores]


def setting_means(rng: Rng, seeds: int, settings: int = 12, methods: int = 6, tau: float = 2.0) -> np.ndarray:
    """Mean scores in points: settings of unlike difficulty, true gaps that differ by setting and are 0 on average, seed noise."""
    difficulty, gaps = rng.normal(60, 8, (settings, 1)), rng.normal(0, tau, (settings, methods))
    return difficulty + gaps + rng.normal(0, 1.7 / np.sqrt(seeds), (settings, methods))


# --- decisions


def crossed_of_classes(rng: Rng, seeds: int, metric: str) -> bool:
    target, (a, b) = two_methods(rng, seeds)
    (a, a_scores), (b, b_scores) = values_of(metric, target, a), values_of(metric, target, b)
    return stats.crossed_test(a, b, a_scores, b_scores).p <= ALPHA


def crossed_of_labels(rng: Rng, seeds: int, metric: str) -> bool:
    target = (rng.random((300, 4)) < (0.15, 0.3, 0.4, 0.5)).astype(np.int64)
    shared = rng.normal(0, 0.8, (300, 1)) + rng.normal(0, 0.4, target.shape)
    known = np.where(np.arange(target.size).reshape(target.shape) % 11 == 0, -1, target)  # the same for both
    (a, a_scores), (b, b_scores) = (values_of(metric, known, labels_of(rng, target, shared, seeds)) for _ in range(2))
    return stats.crossed_test(a, b, a_scores, b_scores).p <= ALPHA


def crossed_of_values(rng: Rng, seeds: int, metric: str) -> bool:
    target, shared = rng.gamma(4, 0.5, 300), rng.normal(0, 0.6, 300)
    (a, a_scores), (b, b_scores) = (values_of(metric, target, values_near(rng, target, shared, seeds)) for _ in range(2))
    return stats.crossed_test(a, b, a_scores, b_scores).p <= ALPHA


def holm_over_settings(rng: Rng, seeds: int) -> bool:
    """Four settings, tested and corrected together."""
    found = []
    for _ in range(4):
        target, methods = two_methods(rng, seeds)
        a, b = ((scores.argmax(2) == target).astype(float) for scores in methods)
        found.append(stats.crossed_test(a, b).p)
    return bool((stats.holm(found) <= ALPHA).any())


def gap_p(metric: str, target: np.ndarray, scores: np.ndarray, sizes: tuple[int, ...]) -> float:
    """p of the largest gap among groups of these sizes, whose rows are all drawn alike."""
    group, sign, outputs = np.repeat(np.arange(len(sizes)), sizes), METRICS[metric].sign, scores.shape[2]
    values, means, sides = [], [], []
    for k in range(len(sizes)):
        of_seeds, own = values_of(metric, target[group == k], scores[:, group == k])
        values.append(sign * of_seeds)
        means.append(sign * np.array(own))
        sides.append(least_side(metric, target[group == k], outputs))
    pairs = combinations(range(len(sizes)), 2)
    tests = {(i, j): group_test(values[i], values[j], means[i], means[j], (sides[i], sides[j])) for i, j in pairs}
    return largest_gap([float(mean.mean()) for mean in means], tests).p


def gap_between_groups(rng: Rng, seeds: int, metric: str, sizes: tuple[int, ...]) -> bool:
    """A method is equally good in all groups; its seeds are of unlike quality, and its samples of unlike difficulty."""
    n = sum(sizes)
    if metric == "mae":
        target = rng.gamma(4, 0.5, n)
        return gap_p(metric, target, values_near(rng, target, rng.normal(0, 0.6, n), seeds), sizes) <= ALPHA
    if metric == "label_auroc":
        target = (rng.random((n, 4)) < (0.2, 0.3, 0.4, 0.5)).astype(np.int64)
        shared = rng.normal(0, 0.8, (n, 1)) + rng.normal(0, 0.4, target.shape)
        return gap_p(metric, target, labels_of(rng, target, shared, seeds), sizes) <= ALPHA
    target = (rng.random(n) < 0.42).astype(int)
    return gap_p(metric, target, scores_of(rng, target, rng.normal(0, 0.8, n), seeds), sizes) <= ALPHA


def noise_area(rng: Rng, seeds: int) -> bool:
    """The same samples and seeds at every level; what a level hides lowers the scores of both methods."""
    target, shared = (rng.random(300) < 0.42).astype(int), rng.normal(0, 0.8, 300)
    right = []
    for _ in range(2):
        own, quality = rng.normal(0, 0.6, 300), rng.normal(0, 0.12, (seeds, 1))
        logits = (1.2 - NOISE[:, None, None] + quality) * (2 * target - 1) + shared + own + rng.normal(0, 0.6, (3, seeds, 300))
        right.append(((logits > 0) == target).astype(float))
    a, b = right
    return stats.noise_auc_test(NOISE, a, b, a.mean(2), b.mean(2)).p <= ALPHA


def equivalence(rng: Rng, seeds: int) -> bool:
    """Two methods that differ by exactly the margin are called equivalent."""
    sample, spread = rng.normal(0, 0.05, 400), 0.004
    a, b = (rng.normal(0, spread, (seeds, 1)) + sample + rng.normal(0, 0.01, 400) + rng.normal(0, 0.02, (seeds, 400)) for _ in range(2))
    return stats.crossed_test(a + ROPE, b).verdict(ROPE) == "equivalent"


def two_models(rng: Rng, _: int, test: str) -> bool:
    """Two fixed models, equally good on the next sample: what these two tests speak of."""
    target, shared = (rng.random(SAMPLES) < 0.42).astype(int), rng.normal(0, 0.8, SAMPLES)
    a, b = (0.9 * (2 * target - 1) + shared + rng.normal(0, 0.8, SAMPLES) for _ in range(2))
    if test == "DeLong":
        return stats.delong(target, a, b).p <= ALPHA
    a_right, b_right = (a > 0) == target, (b > 0) == target
    return stats.mcnemar((a_right & ~b_right).sum(), (b_right & ~a_right).sum()) <= ALPHA


def _over_settings(test: Callable[[np.ndarray, Rng], bool]) -> Callable[[Rng, int], bool]:
    return lambda rng, seeds: test(setting_means(rng, seeds), rng)


GROUPS = {"two groups": (200, 120), "three groups": (150, 130, 110)}
DECISIONS: Mapping[str, Decision] = {
    **{
        f"crossed test, {metric}": Decision(partial(crossed_of_classes, metric=metric))
        for metric in ("accuracy", "f1_macro", "auroc", "auprc")
    },
    **{
        f"crossed test, {metric}": Decision(partial(crossed_of_labels, metric=metric), slow=metric.startswith("label_au"))
        for metric in ("label_auroc", "label_auroc_micro", "label_auprc", "label_f1", "label_brier")
    },
    **{
        f"crossed test, {metric}": Decision(partial(crossed_of_values, metric=metric))
        for metric in ("mae", "rmse", "r2", "pearson", "concordance")
    },
    "crossed test after Holm over four settings, accuracy": Decision(holm_over_settings),
    **{
        f"gap between {words}, {metric}": Decision(partial(gap_between_groups, metric=metric, sizes=sizes), slow=metric == "label_auroc")
        for words, sizes in GROUPS.items()
        for metric in ("accuracy", "auroc", "label_auroc", "mae")
    },
    "noise-AUC test": Decision(noise_area),
    "equivalence at its margin": Decision(equivalence),
    "signed rank over settings": Decision(_over_settings(lambda means, _: stats.signed_rank(means[:, 0] - means[:, 1]).p <= ALPHA)),
    "Friedman over settings": Decision(_over_settings(lambda means, _: stats.friedman(stats.rank_matrix(means)).p <= ALPHA)),
    "t on dataset means": Decision(_over_settings(lambda means, _: stats.resampled_t(means[:, 0] - means[:, 1]).p <= ALPHA)),
    "sign flip of dataset means": Decision(_over_settings(lambda means, rng: stats.sign_flip(means[:, 0] - means[:, 1], rng).p <= ALPHA)),
    "signed rank on all 15 pairs after Holm": Decision(
        _over_settings(lambda means, _: bool(stats.all_pairs(means).better.any())), at_most=True
    ),
    "McNemar, two trained models": Decision(partial(two_models, test="McNemar"), seeds=(1,), times=5),
    "DeLong, two trained models": Decision(partial(two_models, test="DeLong"), seeds=(1,), times=5),
}


# --- the command


def self_tests(folder: Path) -> dict[str, Any]:
    """Each method of a published board against itself. Raises: UsageError if no setting has four seeds of a method."""
    answers = answers_of("runs", folder)
    found = self_test(answers, sorted({record.trial.label for record in answers.records}))
    return {"board": folder.name, **{name: value for name, value in found.as_json().items() if name not in ("found", "left_out")}}


def updated(held: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What the file holds, with what was found in the place of what it held of the same."""
    rates = {(line["decision"], line["seeds"]): line for line in (*held.get("rates", ()), *found["rates"])}
    boards = {line["board"]: line for line in (*held.get("boards", ()), *found["boards"])}
    order = {name: place for place, name in enumerate(DECISIONS)}
    return {
        "rates": sorted(rates.values(), key=lambda line: (order.get(line["decision"], len(order)), line["seeds"])),
        "boards": sorted(boards.values(), key=lambda line: line["board"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="studies of each decision; 0: none (default: 1000)")
    parser.add_argument("--seeds", default="3,5,10", help="numbers of seeds of a study (default: 3,5,10)")
    parser.add_argument("--only", default="", metavar="TEXT", help="decisions whose name holds this")
    parser.add_argument("--boards", nargs="*", type=Path, default=[], metavar="FOLDER", help="published boards")
    parser.add_argument("--update", type=Path, metavar="FILE", help="put what was found into this file")
    given = parser.parse_args()
    wanted = {int(number) for number in given.seeds.split(",")}
    rates = []
    for name, decision in DECISIONS.items():
        for seeds in decision.seeds if given.draws and given.only in name else ():
            if seeds in wanted or seeds == 1:
                found_rate = rate(decision, seeds, given.draws)
                rates.append({"decision": name, "seeds": seeds, "draws": given.draws * decision.times, "rate": found_rate})
                sys.stderr.write(f"{name}, {seeds} seeds: {rates[-1]['rate']:.3f}\n")
    boards = []
    for folder in given.boards:
        try:
            boards.append(self_tests(folder))
            sys.stderr.write(f"{folder.name}: {boards[-1]['significant']} of {boards[-1]['tests']}\n")
        except UsageError as error:
            sys.stderr.write(f"{folder.name}: {error}\n")
    found = {"rates": rates, "boards": boards}
    if given.update:
        held = json.loads(given.update.read_text(encoding="utf-8")) if given.update.exists() else {}
        found = updated(held, found)
        given.update.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
