"""Imported once by the fork server: what every trial needs is loaded before the first one starts and shared with all of them.

The order matters: what has to see all that is loaded comes last.
"""

from __future__ import annotations

import gc
import importlib
import os
from contextlib import suppress

import sklearn.linear_model
import torch._dynamo  # the optimiser imports it at its first step, which would cost every trial a second

import bench.training.trial
from bench.data.loading import preload
from bench.names import split_list
from bench.records.provenance import provenance
from bench.training.threads import look_up

DATASETS = "BENCH_PRELOAD_DATASETS"  # how the driver tells the fork server which datasets a run uses,
MODULES = "BENCH_PRELOAD_MODULES"  # and which modules hold its methods and datasets
LOADED = (sklearn.linear_model, torch._dynamo, bench.training.trial)

provenance()
for name in split_list(os.environ.get(DATASETS, "")):
    preload(name)
for name in split_list(os.environ.get(MODULES, "")):
    with suppress(ImportError):  # left to the trial that needs it, which says so
        importlib.import_module(name)
look_up()
gc.freeze()  # nothing loaded here is ever garbage: a trial's collector need not go through it, nor copy its pages by marking them
