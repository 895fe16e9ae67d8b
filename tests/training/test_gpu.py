"""What only a GPU can show: `pytest -m gpu` on a machine that has one; `benchmarks/gpu_check.py` runs it with all else that needs one."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import registry
from bench.inspection.profile import profiles, trials_of
from bench.methods.base import Method
from bench.methods.catalog import METHODS
from bench.question.machine import Machine
from bench.training.trial import run_trial

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

DATA = f"{Path(__file__).parents[1] / 'support' / 'kinds.py'}:Kinds[kinds=vector-sequence-image-volume]"
SMALL = {"width": 16, "tokens": 2, "hidden": 16, "n_experts": 6, "layers": 2}
DROPOUTS = ("dropout", "decoder_dropout", "residual_dropout", "attention_dropout", "inner_dropout")
CASES = [
    (name, preset) for name in METHODS if issubclass(registry.method_class(name), Method) for preset in registry.method_class(name).presets
]
every_case = pytest.mark.parametrize("case", CASES, ids="-".join)


def trial_of(name, preset, dropout):
    known = {field.name for field in fields(registry.method_class(name).Config)}
    sizes = {key: value for key, value in SMALL.items() if key in known} | {key: dropout for key in DROPOUTS if key in known}
    chosen = ",".join(f"{key}={value}" for key, value in sizes.items())
    return trials_of([f"{name}@{preset}[{chosen}]"], DATA, noise=0.2, training={"epochs": 2, "batch_size": 25})[0]


@every_case
def test_a_gpu_trains_evaluates_and_records(case, tmp_path):
    record, predictions = run_trial(trial_of(*case, dropout=0.25), Machine("cuda"), traces=tmp_path / "traces.npz")
    assert (record.status, record.provenance.device) == ("done", "cuda")
    assert record.provenance.torch_device == torch.cuda.get_device_name()
    assert record.cost["peak_memory_mb"] > 0
    assert np.isfinite(predictions.outputs).all()


@every_case
def test_an_untrained_method_predicts_on_a_gpu_as_on_the_cpu(case):
    """Its parameters are drawn on the CPU, the same for both; noise of gates alone is of the device."""
    trial = replace(trial_of(*case, dropout=0.0), training={"epochs": 1, "batch_size": 25, "learning_rate": 1e-12})
    if case == ("fusemoe", "as_released"):
        pytest.skip("its gate noise acts in evaluation too, and is drawn on the device")
    near, far = (run_trial(trial, Machine(device))[1].outputs for device in ("cpu", "cuda"))
    np.testing.assert_allclose(far, near, atol=1e-3)  # a GPU multiplies in other orders, in TF32 where it is allowed


@every_case
def test_the_same_seed_gives_the_same_scores_on_a_gpu(case):
    trial = trial_of(*case, dropout=0.25)
    first, again = (run_trial(trial, Machine("cuda"))[1].outputs for _ in range(2))
    np.testing.assert_allclose(first, again, atol=1e-3)  # sums of scattered rows have no fixed order there


@pytest.mark.parametrize("name", dict(CASES))
def test_launches_and_waits_counted_on_a_cpu_are_those_counted_on_a_gpu(name):
    """What `bench profile` counts on a CPU it counts on the GPU, up to copies that the layout of a result asks for."""
    trial = trial_of(name, next(iter(registry.method_class(name).presets)), dropout=0.25)
    (near,), (far,) = (list(profiles([trial], device)) for device in ("cpu", "cuda"))
    assert far.reason is None
    assert far.cost["synchronisations"] == near.cost["synchronisations"]
    assert far.cost["launches"] == pytest.approx(near.cost["launches"], rel=0.05)
