"""One method under two names: does the comparison call it better than itself more often than it should? Prints JSON.

    python benchmarks/aa_run.py --methods moe-retriever --datasets breast-cancer,digits --noise 0.1,0.3,0.5 --seeds 0-9 --out runs/aa
    python benchmarks/aa_run.py --from leaderboards/real                    # every method of a published board, nothing is trained

Half of the finished seeds stand under the method's name, half under another; each setting gives one test at 5 %. Exit code 1 if more
are significant than 95 of 100 such runs would show.
"""

from __future__ import annotations

import argparse
import json
import sys

from bench.comparison.aa import SelfTest, self_test
from bench.errors import UsageError
from bench.names import parse_options
from bench.question.suite import read_suite, with_options
from bench.records.folder import answers_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="published", metavar="FOLDER", help="a published board")
    parser.add_argument("--out", default="runs/aa", metavar="DIR", help="results folder to run in")
    parser.add_argument("--suite", default="quick", help="suite that gives the budget")
    parser.add_argument("--methods", help="methods to run and to test; of a published board: to test")
    for name in ("datasets", "noise", "protocols", "seeds", "metric"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--halvings", type=int, default=20, help="ways to halve the seeds")
    parser.add_argument("-j", "--jobs", type=int, default=1)
    given = parser.parse_args()
    try:
        found = run(given)
    except UsageError as error:
        sys.exit(f"Error: {error}")
    print(json.dumps(found.as_json(), indent=2))
    sys.exit(not found.passed)


def run(given: argparse.Namespace) -> SelfTest:
    if given.published is None:
        from bench.grid.engine import execute
        from bench.grid.how import How
        from bench.grid.places import Local
        from bench.grid.progress import Lines

        options = {name: getattr(given, name) for name in ("methods", "datasets", "noise", "protocols", "seeds", "metric")}
        suite = with_options(read_suite(given.suite), {**options, "training": parse_options(given.sets) or None})
        how = How(place=Local(given.jobs), progress=lambda: Lines(suite.metric), command="benchmarks/aa_run.py")
        execute(suite, given.out, how)
    answers = answers_of(given.out, given.published)
    names = given.methods.split(",") if given.methods else sorted({record.trial.label for record in answers.records})
    return self_test(answers, names, given.halvings)


if __name__ == "__main__":
    main()
