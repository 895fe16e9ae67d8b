"""bench/training/loader.py: gathered batches are those of the whole, in whatever thread, and errors come out where they are used."""

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.grammar import parse_protocol
from bench.data.parts import build_parts
from bench.datasets.base import Dataset, as_batch
from bench.training.loader import Rows, batches_of, gathered_ahead, rows_on
from bench.training.loop import row_batches

CPU = torch.device("cpu")


@pytest.fixture
def train(make_samples, monkeypatch):
    monkeypatch.setattr("bench.data.parts.SMALL", 0)
    samples = make_samples(n=60)
    return build_parts(Dataset(), samples, samples.schema.combination, parse_protocol("mcar(0.4)"), 0, 0, "training").train.samples


def same(one, other):
    for name in other.inputs:
        torch.testing.assert_close(one.inputs[name], other.inputs[name], rtol=0, atol=0, equal_nan=True)
    assert one.lengths.keys() == other.lengths.keys()
    pairs = [(one.observed, other.observed), (one.target, other.target), (one.index, other.index)]
    return all(torch.equal(a, b) for a, b in [*pairs, *((one.lengths[name], other.lengths[name]) for name in other.lengths)])


@pytest.mark.parametrize("serve", [batches_of, gathered_ahead], ids=["as-asked", "ahead"])
def test_gathered_batches_are_those_of_the_whole(train, serve):
    data, whole = rows_on(train, CPU), as_batch(train.held())
    assert isinstance(data, Rows)
    assert len(data) == len(whole)
    index = list(row_batches(data, 7, np.random.default_rng(0)))
    found = list(serve(data, iter(index)))
    assert [len(batch) for batch in found] == [len(rows) for rows in index]
    assert all(same(batch, whole.rows(rows)) for batch, rows in zip(found, index, strict=True))


def test_whole_on_a_device_is_what_its_rows_are(train):
    assert same(Rows(train, CPU).moved(), as_batch(train.held()))


def test_labels_stay_away_where_they_are_not_wanted(train):
    for samples in (train, train.held()):
        data = rows_on(samples, CPU, is_labelled=False)
        assert all((batch.target == -1).all() for batch in batches_of(data, row_batches(data, 9)))
    assert (Rows(train, CPU, is_labelled=False).moved().target == -1).all()


def test_error_of_the_gathering_thread_is_raised_where_batches_are_used(train):
    data = Rows(train, CPU)
    broken = data.values.then(lambda name, array, rows: array if 3 not in rows else 1 / 0)
    data.values = broken
    batches = gathered_ahead(data, torch.arange(20).split(2))
    assert next(batches).index.tolist() == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(batches)


def test_thread_ends_with_whoever_asked(train):
    before = threading.active_count()
    batches = gathered_ahead(Rows(train, CPU), torch.arange(40).split(2))
    next(batches)
    assert threading.active_count() == before + 1
    batches.close()
    assert threading.active_count() == before


def test_gathering_runs_ahead_and_no_further(train):
    asked = []
    data = Rows(train, CPU)
    data.values = data.values.then(lambda name, array, rows: asked.append(name) or array)
    batches = gathered_ahead(data, torch.arange(40).split(2))
    next(batches)
    deadline = threading.Event()
    deadline.wait(0.3)
    assert asked.count(next(iter(data.values))) == 1 + 2 + 1  # given, waiting, and one in the thread's hand
    batches.close()


def test_rows_hold_no_values_of_others(train):
    batch = Rows(train, CPU).rows(torch.tensor([2]))
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in batch.inputs.values())
    assert replace(batch).index.tolist() == [2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("room", [0.0, 0.5])
def test_gpu_gets_the_same_batches_whether_all_fits_or_not(train, monkeypatch, room):
    monkeypatch.setattr("bench.training.loader.ROOM", room)
    device = torch.device("cuda")
    data, whole = rows_on(train, device), as_batch(train.held())
    assert isinstance(data, Rows) is (room == 0)
    index = list(row_batches(data, 7))
    assert all(same(batch.to("cpu"), whole.rows(rows.cpu())) for batch, rows in zip(batches_of(data, index), index, strict=True))


@pytest.mark.slow
def test_data_larger_than_memory_train():
    """1.3 GB where neither driver, server nor trial may take 1 GB; `benchmarks/data_path.py` does it with 8 GB and 4."""
    file = Path(__file__).parents[2] / "benchmarks" / "data_path.py"
    options = ["--larger-than-memory", "--gigabytes", "1.3", "--memory", "1", "--method", "dropout-transformer"]
    done = subprocess.run([sys.executable, file, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["gigabytes"] > 1.25 * found["memory_limit_gb"]
    assert found["trial_memory_mb"] < 500
    assert found["driver_memory_mb"] < 1000
