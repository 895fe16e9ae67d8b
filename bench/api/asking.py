"""What is asked: runs and tunings, and datasets of one's own frames."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.names import Value, Words, path_of, plain, words_of

if TYPE_CHECKING:
    import pandas

    from bench.datasets.described.dataset import Framed
    from bench.grid.hooks import Hook
    from bench.grid.how import How
    from bench.grid.places import Place
    from bench.grid.progress import Progress
    from bench.question.assemble import Names
    from bench.question.suite import Suite


DEFAULT_OUT = "runs"


def run(
    suite: str | Path | Suite = "quick",
    *,
    methods: Names | None = None,
    datasets: Names | None = None,
    combinations: str | Iterable[str] | None = None,
    protocols: str | Iterable[str] | None = None,
    noise: float | str | Iterable[float] | None = None,
    seeds: int | str | Iterable[int] | None = None,
    training: Mapping[str, Value] | None = None,
    configs: Words | None = None,
    tuned_for: str | None = None,
    out: str | Path = DEFAULT_OUT,
    jobs: int | None = None,
    per_gpu: int = 1,
    place: str | Place = "local",
    shard: str | None = None,
    retry_failed: bool = False,
    quiet: bool = False,
    is_traced: bool = False,
    keep_weights: bool = False,
    hooks: Sequence[Hook] = (),
    **options: object,
) -> pandas.DataFrame:
    """One row per trial of a suite that has ended, after running those that have no record yet, as `bench run` does.

    `methods`, `datasets`, `combinations`, `protocols`, `noise` and `seeds` take the place of the suite's, `training` changes fields of
    every method's Config. `configs` names what runs: "default", "tuned" (by `bench.tune`), a file of tuned ones, or several of these;
    tuned ones are trained where they were found, or with `tuned_for="dataset"` under every protocol of their dataset.
    `out` is the results folder; `place` where trials run, as `--on` takes it (or a `Place`), and `jobs` how many at once: by default one on
    the cores of this machine, and as many as its GPUs (`per_gpu` on each) or another place take. `shard`, such as "3/16", runs one part
    of the trials alone, for `bench.merge`. `retry_failed` runs failed trials again, `is_traced` also writes what methods did inside,
    `keep_weights` the chosen checkpoints (for `load_weights`). Each of `hooks` is called with every
    record that this run adds, as plain values. `options` are further suite keys (test_noise, test_combinations, metric, selection, vary,
    device, minutes, until_resolved, max_seeds, ...).
    Raises: UsageError on bad input.
    """
    from functools import partial

    from bench.data.loading import loaded_once
    from bench.grid.progress import Lines
    from bench.question.assemble import assemble
    from bench.question.shards import shard_of
    from bench.records.export import tidy
    from bench.studies.looks import resolve

    asked: dict[str, object] = {"methods": methods, "datasets": datasets, "combinations": combinations, "protocols": protocols}
    asked |= {"noise": noise, "seeds": seeds, "training": training, **options}
    with loaded_once():
        chosen, out = assemble(suite, asked, configs, out, tuned_for=tuned_for), path_of(out)
        kept = {"is_traced": is_traced, "keeps_weights": keep_weights, "shard": shard_of(shard)}
        where = place_for(place, jobs, chosen, per_gpu)
        how = how_of(where, quiet, partial(Lines, chosen.metric_on), retry_failed=retry_failed, hooks=tuple(hooks), **kept)
        with where:
            return tidy(resolve(chosen, out, how).records)


def tune(
    suite: str | Path | Suite = "quick",
    *,
    methods: Names | None = None,
    datasets: Names | None = None,
    combinations: str | Iterable[str] | None = None,
    protocols: str | Iterable[str] | None = None,
    noise: float | str | Iterable[float] | None = None,
    training: Mapping[str, Value] | None = None,
    suggestions: int = 20,
    budget_gflops: float | None = None,
    budget_minutes: float | None = None,
    sampler: str = "random",
    pruner: str = "median",
    seeds: int | str | Iterable[int] = 0,
    fix: Names | None = None,
    study: str | None = None,
    out: str | Path = DEFAULT_OUT,
    jobs: int | None = None,
    per_gpu: int = 1,
    place: str | Place = "local",
    quiet: bool = False,
    plot: str | Path | None = None,
    **options: object,
) -> pandas.DataFrame:
    """One row per method and setting of a tuning on validation alone, as `bench tune` does it.

    Columns hold the default and the best validation score, the best options, what was spent, importances and curves; `attrs["file"]`
    is the file of winners, for `bench.run(configs=...)`. Each method gets `suggestions` in each setting, less where a budget ends
    first; `seeds` are those of the tuning, `fix` fields of search spaces that are not tuned, `study` names its folder, `plot` a file for
    curves and importances. `place` and `jobs` are those of `bench.run`.
    Raises: UsageError on bad input.
    """
    from functools import partial

    import pandas

    from bench.data.loading import loaded_once
    from bench.drawing import check_plot
    from bench.grid.progress import SuggestionLines
    from bench.question.assemble import assemble, seeds_of
    from bench.studies.curves_plot import plot as draw
    from bench.studies.study import Budget
    from bench.studies.tuning import tune as run_tuning

    asked = {"methods": methods, "datasets": datasets, "combinations": combinations, "protocols": protocols, "noise": noise}
    drawn = None if plot is None else path_of(plot)
    if drawn is not None:
        check_plot(drawn)
    budget = Budget(*map(plain, (suggestions, budget_gflops, budget_minutes)))
    with loaded_once():
        chosen = assemble(suite, {**asked, "training": training, **options}, splits=False)
        where = place_for(place, jobs, chosen, per_gpu)
        how = how_of(where, quiet, partial(SuggestionLines, chosen.selection), command="bench.tune(...)")
        with where:
            found = run_tuning(chosen, out, budget, sampler, pruner, seeds_of(seeds), study, how, fixed=words_of(fix))
    if drawn is not None:
        draw(found.results, drawn)
    frame = pandas.DataFrame([result.as_json() for result in found.results])
    frame.attrs["file"] = str(found.file)
    return frame


def dataset(
    modalities: Mapping[str, pandas.DataFrame],
    target: pandas.Series | pandas.DataFrame | Mapping[Any, Any],
    name: str,
    *,
    kind: str = "classes",
    unit: str = "",
    groups: pandas.Series | Mapping[Any, Any] | None = None,
    split: pandas.Series | Mapping[Any, Any] | None = None,
    title: str = "",
    rows: str = "one",
    indicators: bool = True,
    public_ids: bool = False,
    attributes: Sequence[str] | pandas.DataFrame | None = None,
    public_attributes: bool = False,
) -> Framed:
    """A dataset of your own pandas frames, for `bench.run(datasets=...)` and the other functions that take datasets.

    Each frame is a modality, its index the ids; an id that a frame lacks, or whose row is empty, misses this modality. Numbers are read
    as such, times as days since 1970, ordered categoricals as their places, other texts as categories, learnt on training rows; a frame
    with two levels of index, id and order, is a sequence. `target`, `groups` (rows of one are never parted) and `split` (train, valid,
    test) are series or mappings by id; an id without a label is left out. `kind` says what `target` is: "classes"; "value", numbers in a
    `unit`; or "labels", a frame of yes and no, a column each, in which a missing cell is not known. Several rows of an id are refused
    (`rows` = "one"), averaged ("mean") or kept as samples ("samples"). Columns with single gaps get `indicators`. Values are written
    once, to the data root.
    `attributes` tell scores apart by groups (sex, age band, site) and reach no method: names of columns of these frames, or a frame of
    their own by id; numbers are cut first (`pandas.cut`), and a missing cell is not known.
    Published are salted hashes of the ids, or with `public_ids` the ids themselves; attributes, and scores by their groups, with
    `public_attributes` alone.
    Raises: UsageError on bad input.
    """
    from bench import registry
    from bench.datasets.base import DataError
    from bench.datasets.described.frames import framed
    from bench.errors import UsageError

    try:
        made = framed(
            modalities, target, name, kind=kind, unit=unit, groups=groups, split=split, title=title, rows=rows, indicators=indicators,
            public_ids=public_ids, attributes=attributes, public_attributes=public_attributes,
        )  # fmt: skip
    except DataError as error:
        raise UsageError(str(error)) from None
    registry.give(made)
    return made


def place_for(place: str | Place, jobs: int | None, suite: Suite | None = None, per_gpu: int = 1) -> Place:
    """The place that was asked for in Python: on the cores of this machine one task at a time, unless `jobs` says more.

    Raises: UsageError.
    """
    from bench.grid.places import Place, place_of
    from bench.grid.slots import gpus_for
    from bench.question.machine import Machine

    if isinstance(place, Place):
        return place
    machine, memory = (Machine("cpu"), None) if suite is None else (suite.machine, suite.limits.memory)
    is_one = jobs is None and place == "local" and not gpus_for(machine.device)
    return place_of(place, 1 if is_one else jobs, machine, per_gpu, memory)


def how_of(place: Place, quiet: bool, shown: Callable[[], Progress] | None = None, **given: Any) -> How:
    """How what was asked for in Python is done: where, and what it says on stderr; `given` are further fields of `How`."""
    from bench.grid.how import How
    from bench.grid.progress import Progress

    progress = Progress if quiet or shown is None else shown
    return How(place=place, progress=progress, say=lambda line: None if quiet else print(line, file=sys.stderr, flush=True), **given)
