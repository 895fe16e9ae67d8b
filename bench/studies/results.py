"""What a tuning found: best score against budget with a band, importances, a table. Free of torch and Optuna.

A curve is the best validation score that a budget of suggestions, GFLOPs or seconds buys. Several seeds: the median of the tunings,
the band from the lowest to the highest. One seed of random search: its suggestions are exchangeable, so the curve is the
median over bootstrap draws of them, the band holds 90 % of the draws (the curve on suggestions is that of Dodge et al. 2019,
arXiv:1909.03004, by simulation). One seed of another sampler: one path, no band.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.errors import UsageError
from bench.names import Choice, Value
from bench.question.trial import Trial
from bench.question.winners import Winner
from bench.seeds import stream
from bench.stats.metrics import METRICS, in_its_unit
from bench.text import agreeing, count, points, terminal_table

DRAWS = 1000
BAND = (0.05, 0.95)
GRID = 41  # budgets at which a curve on GFLOPs or seconds is drawn
BUDGETS = {"suggestions": "suggestions", "gflops": "training GFLOPs", "seconds": "seconds"}  # with the label of an axis


@dataclass(frozen=True)
class Suggestion:
    """One configuration that was tried, or the default one. The score is the validation metric with its sign turned so that larger wins."""

    number: int | None  # None: the default configuration, which is no suggestion
    options: Mapping[str, Value]
    status: str  # done, pruned, failed or running
    score: float | None  # of a done one
    gflops: float | None  # counted training GFLOPs spent on it
    seconds: float  # wall time of its process
    train_seconds: float  # of these, training and validation
    reason: str | None = None


@dataclass(frozen=True)
class Track:
    """The tuning of one method in one setting from one seed, suggestions in the order in which they were made."""

    seed: int
    default: Suggestion | None
    suggestions: tuple[Suggestion, ...]
    has_ended: bool  # the budget is spent or the space exhausted
    importances: Mapping[str, float]


@dataclass(frozen=True)
class Result:
    """Everything a tuning found for one method in one setting."""

    trial: Trial  # the method at its default configuration
    study: str
    sampler: str
    pruner: str
    size: int  # configurations in the search space, besides the default one
    tracks: tuple[Track, ...]
    fixed: tuple[str, ...] = ()  # fields of search spaces that were not tuned

    @property
    def suggestions(self) -> list[Suggestion]:
        return [suggestion for track in self.tracks for suggestion in track.suggestions if suggestion.status != "running"]

    def count(self, status: str) -> int:
        return sum(suggestion.status == status for suggestion in self.suggestions)

    @property
    def has_ended(self) -> bool:
        return all(track.has_ended for track in self.tracks)

    @property
    def gflops(self) -> float | None:
        """Of all suggestions; None if none was counted, as for a method that fits itself."""
        counted = [suggestion.gflops for suggestion in self.suggestions if suggestion.gflops is not None]
        return sum(counted) if counted else None

    @property
    def seconds(self) -> float:
        return sum(suggestion.seconds for suggestion in self.suggestions)

    def shown(self, score: float | None) -> float | None:
        """A score as the metric itself."""
        return None if score is None else METRICS[self.trial.selection].sign * score

    @cached_property
    def default(self) -> float | None:
        """Best score of the default configuration, over seeds."""
        scores = [track.default.score for track in self.tracks if track.default and track.default.score is not None]
        return max(scores, default=None)

    def best(self) -> Suggestion:
        """The winner: of equal scores the default configuration, then the earliest suggestion.

        Raises: UsageError if nothing was trained to its end.
        """
        defaults = [track.default for track in self.tracks if track.default]
        scored = [candidate for candidate in [*defaults, *self.suggestions] if candidate.score is not None]
        if not any(candidate.number is not None for candidate in scored):
            raise UsageError(self._nothing())
        return max(scored, key=lambda candidate: candidate.score if candidate.score is not None else -math.inf)

    def _nothing(self) -> str:
        """Why there is no winner, and the way on."""
        where = f"{self.trial.label} on {self.trial.dataset_label} {self.trial.protocol}"
        total, pruned, failed = len(self.suggestions), self.count("pruned"), self.count("failed")
        if not total:
            return f"no suggestion for {where} has ended; the same command continues"
        if pruned == total:
            all_of = "the only suggestion" if total == 1 else f"all {total} suggestions"
            why = f"{agreeing(total, 'was', 'were')} pruned ({self.suggestions[0].reason})"
            return f"{all_of} for {where} {why}; give --pruner none or a larger budget"
        reason = next(suggestion.reason for suggestion in self.suggestions if suggestion.status == "failed")
        return f"no suggestion for {where} gave a score ({failed} of {total} failed: {reason}); mend that and give another --study"

    def winner(self) -> Winner:
        """Raises: UsageError if nothing was trained to its end."""
        best, trial = self.best(), self.trial
        shown = self.shown(best.score)
        assert shown is not None
        return Winner(
            method=trial.label, **trial.setting._asdict(), study=self.study,
            sampler=self.sampler, pruner=self.pruner, suggestions=len(self.suggestions), pruned=self.count("pruned"),
            failed=self.count("failed"), seconds=round(self.seconds, 3), selection=trial.selection, valid=shown,
            seeds=tuple(training_seed(track.seed) for track in self.tracks), fixed_seed=trial.fixed_seed, fingerprint=trial.fingerprint,
            version=trial.version, harness=trial.harness, options=dict(best.options), training=dict(trial.training), gflops=self.gflops,
            default=self.shown(self.default), fixed=self.fixed,
        )  # fmt: skip

    @property
    def importances(self) -> dict[str, float]:
        """Share of the variance of scores that each field explains (fANOVA), mean over seeds, largest first; empty where unknown."""
        known = [track.importances for track in self.tracks if track.importances]
        means = {name: float(np.mean([shares[name] for shares in known])) for name in (known[0] if known else {})}
        return dict(sorted(means.items(), key=lambda item: -item[1]))

    def as_json(self) -> dict[str, object]:
        trial = self.trial
        try:
            best: Suggestion | None = self.best()
        except UsageError:
            best = None
        return {
            "method": str(Choice(trial.method, "", trial.options)), "preset": trial.preset, "dataset": trial.dataset_label,
            "combination": trial.combination, "protocol": trial.protocol, "noise": trial.noise, "metric": trial.selection,
            "default": self.shown(self.default), "best": self.shown(best.score) if best else None,
            "options": dict(best.options) if best else None, "reason": None if best else self._nothing(),
            "suggestions": {
                "ended": len(self.suggestions), **{status: self.count(status) for status in ("done", "pruned", "failed")},
                "space": self.size,
            },
            "fixed": list(self.fixed), "has_ended": self.has_ended, "gflops": self.gflops, "seconds": self.seconds,
            "train_seconds": sum(suggestion.train_seconds for suggestion in self.suggestions),
            "importances": self.importances, "curves": {by: curve(self, by).as_json() for by in BUDGETS if is_counted(self, by)},
        }  # fmt: skip


def training_seed(seed: int) -> int:
    """The seed that every suggestion of a tuning is trained with: far from those of any run."""
    return int(stream(seed, "tune", "training").integers(2**30, 2**31))


@dataclass(frozen=True)
class Curve:
    """Best score a budget buys, as the metric itself. Shapes: all (K,); NaN where no suggestion has ended, or there is no band."""

    by: str
    budget: np.ndarray
    best: np.ndarray
    low: np.ndarray
    high: np.ndarray
    band: str  # what the band is

    def as_json(self) -> dict[str, object]:
        return {"band": self.band} | {key: getattr(self, key).tolist() for key in ("budget", "best", "low", "high")}

    def at(self, budget: float) -> tuple[float, float, float]:
        """Best, low and high at the largest budget drawn that is not above this one."""
        place = max(0, int(np.searchsorted(self.budget, budget, side="right")) - 1)
        return float(self.best[place]), float(self.low[place]), float(self.high[place])


def is_counted(result: Result, by: str) -> bool:
    return by != "gflops" or result.gflops is not None


def curve(result: Result, by: str = "suggestions") -> Curve:
    """The best score that each budget buys, and its band. A pruned or failed suggestion costs and gives nothing."""
    tracks = [_costs_and_scores(track, by) for track in result.tracks]
    total = max((costs.sum() for costs, _, _ in tracks), default=0.0)
    budget = np.arange(int(total) + 1, dtype=float) if by == "suggestions" else np.linspace(0, total, GRID)
    if len(tracks) > 1:
        paths = np.stack([_path(*track, budget) for track in tracks])
        low, middle, high = (_order_statistic(paths, share) for share in (0.0, 0.5, 1.0))
        band = f"lowest and highest of {count(len(tracks), 'seed')}"
    elif result.sampler == "random" and len(tracks[0][0]):
        costs, scores, floor = tracks[0]
        generator = stream(result.tracks[0].seed, "tune", "curve", result.trial.label)
        drawn = generator.integers(len(costs), size=(DRAWS, 2 * len(costs)))  # cheap draws need more of them to spend a budget
        if by == "suggestions":
            drawn = drawn[:, : len(costs)]
        paths = np.stack([_path(costs[rows], scores[rows], floor, budget) for rows in drawn])
        low, middle, high = (_order_statistic(paths, share) for share in (BAND[0], 0.5, BAND[1]))
        band = f"90 % of {DRAWS} bootstrap draws of the suggestions"
    else:
        middle = _path(*tracks[0], budget)
        low = high = np.full(len(budget), np.nan)
        band = "none: one path; several seeds (--seed 0-2) or --sampler random give one"
    if not METRICS[result.trial.selection].higher_is_better:
        low, middle, high = -high, -middle, -low
    middle, low, high = (np.where(np.isfinite(line), line, np.nan) for line in (middle, low, high))
    return Curve(by, budget, middle, low, high, band)


def _costs_and_scores(track: Track, by: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Costs (S,), scores (S,), -inf where there is none, and the score that costs nothing: the default configuration's."""
    ended = [suggestion for suggestion in track.suggestions if suggestion.status != "running"]
    costs = np.array([1.0 if by == "suggestions" else getattr(suggestion, by) or 0.0 for suggestion in ended])
    scores = np.array([-math.inf if suggestion.score is None else suggestion.score for suggestion in ended])
    floor = track.default.score if track.default and track.default.score is not None else -math.inf
    return costs, scores, floor


def _path(costs: np.ndarray, scores: np.ndarray, floor: float, budget: np.ndarray) -> np.ndarray:
    """Best score within each budget, taking suggestions in this order. Shapes: (S,), (S,), (K,) -> (K,)."""
    best = np.maximum.accumulate(np.append(floor, scores))
    return best[np.searchsorted(np.cumsum(costs), budget * (1 + 1e-12), side="right")]


def _order_statistic(paths: np.ndarray, share: float) -> np.ndarray:
    """The lower quantile over paths: always a score that was seen. Shapes: (P, K) -> (K,)."""
    return np.sort(paths, axis=0)[max(0, math.ceil(share * len(paths)) - 1)]


WORDS = ("method", "setting", "curve: best [band] after n suggestions", "suggestions", "matters most")
LEAST_ASKED = ("matters most", "curve: best [band] after n suggestions", "seconds", "GFLOPs", "suggestions")  # go first without width


def table(results: Sequence[Result], width: int | None = None) -> str:
    """One line a method and setting: default against best, the curve at a few budgets, what was spent. It fits the `width`."""
    rows = [_row(result) for result in results]
    return terminal_table(rows, WORDS, width, spare=LEAST_ASKED, kept=("method", "best"))


@in_its_unit(lambda result: result.trial.selection)
def _row(result: Result) -> dict[str, str]:
    trial, path = result.trial, curve(result)
    steps = sorted({1, math.ceil(path.budget[-1] / 4), int(path.budget[-1])} - {0})
    try:
        best = points(result.shown(result.best().score))
    except UsageError:
        best = "none"
    importances = [f"{name} {100 * share:.0f} %" for name, share in result.importances.items()][:2]
    return {
        "method": trial.label,
        "setting": " ".join(trial.setting),
        f"{trial.selection}: default": points(result.shown(result.default)),
        "best": best,
        "curve: best [band] after n suggestions": "  ".join(f"{n}: {_with_band(*path.at(n))}" for n in steps),
        "suggestions": _counts(result),
        "GFLOPs": "n/a" if result.gflops is None else f"{result.gflops:.4g}",
        "seconds": f"{result.seconds:.0f}",
        "matters most": ", ".join(importances) or "n/a",
    }


def _counts(result: Result) -> str:
    text = f"{result.count('done')} done, {result.count('pruned')} pruned, {result.count('failed')} failed"
    exhausted = result.has_ended and all(len(track.suggestions) == result.size for track in result.tracks)
    return f"{text} (whole space)" if exhausted else text


def _with_band(best: float, low: float, high: float) -> str:
    return points(best) if math.isnan(low) else f"{points(best)} [{points(low)}-{points(high)}]"
