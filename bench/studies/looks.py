"""Seeds where they are needed: a suite is run, and pairs that are undecided get more seeds, look by look. Free of torch.

The looks are planned before the first of them (`stats.look_sizes`), and alpha is spent over them (`stats.sequential`), so that looking
again and again errs no more often than one test would. In each setting a pair gets seeds until `comparison.compare` calls it better,
worse or equivalent, until no number of seeds could settle it on these test samples, or until the suite's `max_seeds`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import stats
from bench.comparison.belonging import called
from bench.comparison.compare import compare
from bench.comparison.differences import Comparison, Difference
from bench.data.loading import forget, loaded_once
from bench.errors import UsageError
from bench.grid.engine import Summary, execute
from bench.grid.how import How
from bench.names import method_label, parse_choice, path_of
from bench.question.plan import attributes_of, budget_key, concerns_of, notices, plan
from bench.question.suite import Suite, with_one_name
from bench.question.trial import Trial
from bench.records.answers import like
from bench.records.database import Store
from bench.text import count


@dataclass(frozen=True)
class PlannedLook:
    """A planned look at a pair."""

    seeds: int
    spent: float  # alpha spent up to it
    level: float  # p at or below which it is significant, before Holm's adjustment over settings


@dataclass
class Resolution:
    """What came of a pair: its last comparison, and why its undecided settings got no more seeds."""

    comparison: Comparison
    open: list[tuple[Difference, str]] = field(default_factory=list)


def planned_looks(suite: Suite) -> list[PlannedLook]:
    sizes = stats.look_sizes(len(suite.seeds), suite.max_seeds)
    fractions = [n / sizes[-1] for n in sizes]
    alpha = suite.levels.alpha
    rows = zip(sizes, stats.spent_alpha(fractions, alpha).tolist(), stats.look_levels(fractions, alpha).tolist(), strict=True)
    return [PlannedLook(*row) for row in rows]


def further_trials(suite: Suite, trials: Sequence[Trial]) -> list[Trial]:
    """Every trial that may be added to `trials`, the plan of the suite, in the order of looks.

    Raises: UsageError if a method of a pair is not in the suite's methods.
    """
    labels = {_label(name) for pair in suite.looks.pairs for name in pair}
    planned = {trial.label for trial in trials}
    for label in sorted(labels - planned):
        raise UsageError(f"until_resolved names {label!r}, which is not among the methods of this run: {', '.join(sorted(planned))}")
    order = suite.looks.seed_order()
    later = replace(suite, methods=tuple(sorted(labels)), seeds=order[len(suite.seeds) :], until_resolved=(), max_seeds=0)
    later = replace(later, tuned=(), untuned=True)  # a tuned method that a pair names is there by its options
    return [trial for trial in plan(later) if trial.label in labels]


def resolve(suite: Suite, out: Path | str, how: How | None = None) -> Summary:
    """Run a suite as `engine.execute` does; if it names pairs to resolve, add their seeds where they are undecided.

    The same call after an interruption goes on where it stopped: looks are read from what is stored. `how.say` gets a line a look.
    Raises: UsageError on bad input, also if these pairs were planned otherwise in this folder before.
    """
    how, suite = how or How(), with_one_name(suite)
    if suite.until_resolved and not how.shard.is_whole:
        raise UsageError(
            f"shard {how.shard} and until_resolved exclude each other: a look at a pair needs all of its results; run the shards without "
            "it, merge them, and give it then"
        )
    with loaded_once():
        trials, concerns, attributes = plan(suite), concerns_of(suite), attributes_of(suite)
        for line in notices(suite, concerns):
            how.say(line)
        further = further_trials(suite, trials) if suite.until_resolved else []
        forget()
    if further:
        _check_plan(suite, out)
    if not how.shard.is_whole:
        how.say(f"shard {how.shard}: {sum(map(how.shard.holds, trials))} of {count(len(trials), 'trial')}")
    summary = execute(suite, out, how, trials=trials, concerns=concerns, attributes=attributes)
    said: set[str] = set()
    while further and not summary.interrupted and not summary.lost:
        resolutions, wanted = _look(suite, out, further)
        lines = [line for line in map(_line, resolutions) if line not in said]
        said.update(lines)
        for line in lines:
            how.say(line)
        if not wanted:
            break
        added = execute(suite, out, how, trials=wanted, concerns=concerns)
        summary = Summary(
            summary.planned + added.planned,
            out,
            summary.ran + added.ran,
            summary.reused + added.reused,
            added.interrupted,
            [*summary.ended, *added.ended],
            added.lost,
        )
    return summary


def _label(name: str) -> str:
    choice = parse_choice(name)
    return method_label(choice.name, choice.preset, choice.options)


def _check_plan(suite: Suite, out: Path | str) -> None:
    """A plan that could be changed after a look would spend alpha twice. Raises: UsageError."""
    if not (path_of(out) / "bench.db").exists():
        return
    with Store(out, create=False) as store:
        earlier = store.plans_to_resolve(budget_key(suite))
    now = (suite.seeds, suite.max_seeds, suite.metric, suite.metrics, suite.rope)
    for found in earlier:
        if (found.seeds, found.max_seeds, found.metric, found.metrics, found.rope) != now:
            seeds = ",".join(map(str, found.seeds))
            own = f" (and the tables of [metrics] of {', '.join(found.metrics)})" if found.metrics else ""
            raise UsageError(
                f"pairs in {out} are being resolved with --seeds {seeds} --max-seeds {found.max_seeds} --metric {found.metric}{own} "
                f"--rope {found.rope:g}; a plan stays as it is once it was looked at: use these, or another --out"
            )


def _look(suite: Suite, out: Path | str, further: Sequence[Trial]) -> tuple[list[Resolution], list[Trial]]:
    """Compare every pair, and choose the trials of the next looks."""
    with Store(out, create=False) as store:
        answers = store.answers()
    further = like(further, answers.records)
    settings = {trial.setting for trial in further}
    asked = answers.of([record for record in answers.records if record.setting in settings])
    order, resolutions = suite.looks.seed_order(), []
    wanted: dict[str, Trial] = {}
    for pair in suite.looks.pairs:
        a, b = (called(name, answers.records) for name in pair)
        resolution = Resolution(compare(asked, a, b, allow=("protocols", "commits", "hardware")))
        for difference in resolution.comparison.differences:
            size, why = next_look(difference)
            if size is not None:
                seen = 0 if difference.looks is None else difference.looks.taken[-1].seeds
                wanted |= {trial.id: trial for trial in _of(further, difference, (a, b), order[seen:size])}
            if difference.verdict == "undecided":
                resolution.open.append((difference, why))
        resolutions.append(resolution)
    return resolutions, list(wanted.values())


def next_look(difference: Difference) -> tuple[int | None, str]:
    """Seeds of the next look at an undecided pair; None, and why, if there is none."""
    if difference.verdict != "undecided" or difference.looks is None:
        return None, difference.estimate.reason
    if difference.estimate.reason:
        return None, difference.estimate.reason
    if difference.looks.next_size is None:
        return None, f"{difference.looks.sizes[-1]} seeds were not enough"
    if difference.is_futile:
        return None, "more seeds would not settle it: it takes more test samples"
    return difference.looks.next_size, f"goes on to {difference.looks.next_size} seeds"


def _of(further: Iterable[Trial], difference: Difference, labels: tuple[str, str], seeds: Sequence[int]) -> list[Trial]:
    here = difference.table.setting
    return [trial for trial in further if trial.label in labels and trial.seed in seeds and trial.setting == here]


def _line(resolution: Resolution) -> str:
    """One look at a pair in words."""
    found = resolution.comparison
    settled = len(found.differences) - len(resolution.open)
    lines = [f"{found.a} against {found.b}: {settled} of {count(len(found.differences), 'setting')} resolved"]
    for difference, why in resolution.open:
        looks = difference.looks
        state = f"{looks.taken[-1].seeds} seeds, p = {difference.p:.3g} allowing for all looks" if looks else "no look"
        lines.append(f"  undecided: {difference.table.title} ({state}): {why}")
    return "\n".join(lines)
