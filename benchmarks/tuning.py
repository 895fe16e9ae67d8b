"""What a tuning costs beside training: the share of its time that trains nothing. Prints JSON.

    python benchmarks/tuning.py [--methods paper] [--suggestions 20] [--jobs 1]

It tunes on `digits` at missing rate 0.3 under the budget of suite `quick`, into a folder that is thrown away. Training is what
each suggestion and default configuration spends on epochs and their validation, up to its end or to the decision to prune it;
the rest is the start of the driver and of each process, loading, counting FLOPs, the samplers, the journal, and workers that
wait. The share falls with the number of suggestions, for the driver starts once. Times are of this machine at this moment: on a
busy one both kinds grow.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time

from bench.grid.how import How
from bench.grid.places import Local
from bench.question.suite import read_suite, with_options
from bench.studies.study import Budget
from bench.studies.tuning import tune


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", default="paper")
    parser.add_argument("--suggestions", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    suite = with_options(read_suite("quick"), {"methods": given.methods, "datasets": "digits", "noise": "0.3"})
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        results = tune(suite, out, Budget(given.suggestions), how=How(place=Local(given.jobs))).results
    wall = time.perf_counter() - begin
    tracks = [track for result in results for track in result.tracks]
    ended = [suggestion for track in tracks for suggestion in (track.default, *track.suggestions) if suggestion is not None]
    training, processes = (sum(getattr(suggestion, name) for suggestion in ended) for name in ("train_seconds", "seconds"))
    worked = wall * given.jobs
    figures = {
        "methods": len(results),
        "suggestions": sum(suggestion.number is not None for suggestion in ended),
        "pruned": sum(suggestion.status == "pruned" for suggestion in ended),
        "jobs": given.jobs,
        "wall_seconds": round(wall, 1),
        "training_seconds": round(training, 1),
        "overhead": round(1 - training / worked, 4),
        "overhead_in_processes": round((processes - training) / worked, 4),
        "overhead_in_driver": round(1 - processes / worked, 4),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
