"""The commands as Python functions, for notebooks: `bench.run`, `bench.results`, `bench.board`, and one for each further command.

What is natural comes first and may go by position, everything else by name. Suites are names, files or `Suite` values; methods are names,
`file.py:Class` or classes; lists may be text with commas or any iterable; numbers and texts may be numpy's or pandas'; paths are texts or
`Path`, and `~` is a home folder. Bad input raises UsageError, a ValueError.

`asking`: runs, tunings, datasets. `reading`: records, boards, comparisons, tables, weights. `looking`: audits, costs, traces, data, trials
again. `sharing`: bundles, folders that become one.
"""

from bench.api.asking import dataset, run, tune
from bench.api.looking import analyze, audit, check_data, profile, reproduce
from bench.api.reading import board, compare, evaluations, export, load_weights, page_of, results, show, stored
from bench.api.sharing import bundle, merge, verify

__all__ = [
    "analyze", "audit", "board", "bundle", "check_data", "compare", "dataset", "evaluations", "export", "load_weights", "merge", "page_of",
    "profile", "reproduce", "results", "run", "show", "stored", "tune", "verify",
]  # fmt: skip
