"""A closer look: audits, costs, traces, data, and trials again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.asking import DEFAULT_OUT, how_of, place_for
from bench.names import Value, path_of, words_of

if TYPE_CHECKING:
    import pandas

    from bench.grid.places import Place
    from bench.inspection.reproduction import Repeat
    from bench.inspection.tables import Analysis
    from bench.question.assemble import Names
    from bench.question.suite import Suite


def audit(
    methods: Names = "all", *, out: str | Path = DEFAULT_OUT, jobs: int | None = None, place: str | Place = "local", quiet: bool = False
) -> pandas.DataFrame:
    """One row per check of each method: whether it does what no method may do, as `bench audit` tries it.

    `methods` takes groups too; what is found is stored in the results folder `out`. `place` and `jobs` are those of
    `bench.run`.
    Raises: UsageError on bad input.
    """
    from dataclasses import asdict

    import pandas

    from bench.inspection.audit import expand, run_audits
    from bench.question.assemble import names_of

    with place_for(place, jobs) as where:
        found = run_audits(expand(names_of(methods)), out, how_of(where, quiet))
    return pandas.DataFrame([asdict(finding) for finding in found])


def profile(
    methods: Names = "paper",
    dataset: str = "digits",
    *,
    combination: str = "all",
    protocol: str | None = None,
    noise: float | None = None,
    seed: int = 0,
    training: Mapping[str, Value] | None = None,
    depth: int = 1,
    device: str = "auto",
    threads: int = 1,
) -> pandas.DataFrame:
    """What methods cost, as `bench profile` measures it in one setting; nothing is trained.

    For each method rows with its cost over the test part (`observed` is "test") and over each observed combination (its letters),
    in all (`component` is "all") and for each component, nested `depth` levels. A method that fails has one row with its `reason`.
    Raises: UsageError on bad input.
    """
    import pandas

    from bench.data.loading import loaded_once
    from bench.inspection import profile as profiling

    threads, depth = int(threads), int(depth)
    with loaded_once():
        trials = profiling.trials_of(
            methods, dataset, combination=combination, protocol=protocol, noise=noise, seed=seed, training=training, device=device,
            threads=threads,
        )  # fmt: skip
        return pandas.DataFrame(profiling.tidy(profiling.profiles(trials, device, threads, depth)))


def analyze(
    what: str,
    methods: Names | None = None,
    *,
    suite: str | Path | Suite | None = None,
    datasets: Names | None = None,
    noise: float | str | Iterable[float] | None = None,
    seeds: int | str | Iterable[int] | None = None,
    training: Mapping[str, Value] | None = None,
    out: str | Path = DEFAULT_OUT,
    figures: str | Path | None = None,
    formats: str | Iterable[str] = ("png",),
    jobs: int = 1,
    quiet: bool = False,
    **options: object,
) -> Analysis:
    """What methods did inside, as `bench analyze` tells it: routing, gradients, embeddings, supports or cost.

    `.summary`, `.rows` and `.points` are pandas tables. Trials that have no traces in the results folder `out` yet are trained; without
    a suite it asks about digits at missing rate 0.3, seed 0. With `figures`, a folder, tables and figures are written there and
    `.files` names them; `options` are further suite keys (combinations, protocols, ...).
    Raises: UsageError on bad input.
    """
    from functools import partial

    from bench.grid.progress import Lines
    from bench.inspection.analysis import analyse, write
    from bench.inspection.figures import check_formats

    wanted = check_formats(words_of(formats))
    given = {"methods": methods, "datasets": datasets, "noise": noise, "seeds": seeds, "training": training, **options}
    found = analyse(
        what, suite, given, out, how_of(place_for("local", jobs), quiet, partial(Lines, "accuracy"), command="bench.analyze(...)")
    )
    if figures is not None:
        write(found, path_of(figures), wanted)
    return found


def check_data(names: Names) -> pandas.DataFrame:
    """One row per concern about each dataset, as `bench data check` finds them: dataset, check, level (serious or note), text.

    `names` are names, files or classes, as `datasets` of `run` takes them; without a concern there is no row. Raises: UsageError.
    """
    from dataclasses import asdict

    import pandas

    from bench.data.checkup import check_data as checked
    from bench.data.loading import loaded_once
    from bench.question.assemble import names_of

    with loaded_once():
        found = [checked(name) for name in names_of(names)]
    rows = [{"dataset": one.dataset, **asdict(concern)} for one in found for concern in one.concerns]
    return pandas.DataFrame(rows, columns=["dataset", "check", "level", "text"])


def reproduce(trial: str, out: str | Path = DEFAULT_OUT, *, published: str | Path | None = None, salt: str | Path | None = None) -> Repeat:
    """Run a stored trial again and compare bit for bit, as `bench reproduce` does; `.same` says whether every bit came again.

    `trial` is an id or the beginning of one; nothing is stored. `salt` is the results folder that `published` came from: rows under salted
    ids are then put side by side by id, else compared as a set. Raises: UsageError on bad input.
    """
    from bench.inspection.reproduction import reproduce as again
    from bench.records.folder import opened, salt_of

    with opened(out, published) as source:
        return again(source, trial, salt=salt_of(salt))
