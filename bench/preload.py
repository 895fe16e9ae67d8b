"""Imported once by the fork server: what every trial needs is loaded before the first one starts and shared with all of them."""

from __future__ import annotations

import os

import sklearn.linear_model
import torch._dynamo  # the optimiser imports it at its first step, which would cost every trial a second

import bench.trial
from bench.loader import preload
from bench.provenance import provenance
from bench.spec import split_list

VARIABLE = "BENCH_PRELOAD_DATASETS"  # how the driver tells the fork server which datasets a run uses
LOADED = (sklearn.linear_model, torch._dynamo, bench.trial)

provenance()
for name in split_list(os.environ.get(VARIABLE, "")):
    preload(name)
