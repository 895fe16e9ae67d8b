"""Records: one format, off by default, and no bit of a prediction changes when they are on."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bench import registry
from bench.datasets.base import as_batch
from bench.methods.base import Method
from bench.methods.catalog import PAPER
from bench.methods.tracing import MaskCount, Tracer, read_traces, tracing

SMALL = {"width": 16, "tokens": 2, "batch_size": 8, "heads": 2, "layers": 1, "hidden": 16, "n_experts": 6}
TABLES = {
    "moe-retriever": {"routing", "supports", "embeddings"},
    "fusemoe": {"routing", "embeddings"},
    "flexmoe": {"routing", "embeddings"},
    "simmlm": {"routing"},
    "m3care": {"supports", "embeddings"},
    "shaspec": {"embeddings"},
    "mmformer": set(),
    "muse": set(),
    "healnet": {"updates"},
    "i2m2": {"terms", "embeddings"},
    "mfm": {"embeddings"},
}


def build(name, samples) -> Method:
    from bench.names import Choice

    cls = registry.method_class(name)
    torch.manual_seed(0)
    method = cls(samples.schema, registry.config_of(cls, Choice(name), SMALL))
    method.seed(0)
    method.prepare(samples)
    return method


def trained_step(method, batch):
    method.train()
    method.on_epoch(1, 2)
    torch.manual_seed(1)
    prediction = method(batch)
    loss = F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())
    loss.backward()
    return loss


@torch.no_grad()
def evaluated(method, batch):
    method.eval()
    method.on_evaluate()
    return method(batch).logits


@pytest.mark.parametrize("name", PAPER)
def test_recording_changes_no_bit(name, make_samples):
    samples = make_samples(n=24, missing=0.4)
    losses, logits = [], []
    for is_traced in (False, True):
        method = build(name, samples)
        if is_traced:
            method.tracer = Tracer()
        losses.append(trained_step(method, as_batch(samples)))
        logits.append(evaluated(method, as_batch(samples)))
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("name", PAPER)
def test_evaluation_gives_the_documented_tables(name, make_samples):
    samples = make_samples(n=24, missing=0.4)
    method, batch = build(name, samples), as_batch(samples)
    trained_step(method, batch)
    with tracing(method) as tracer:
        evaluated(method, batch)
    assert set(tracer.names()) == TABLES[name]
    assert method.tracer is None
    for table in tracer.names():
        assert set(np.unique(tracer.table(table)["sample"])) <= set(range(len(samples)))


@pytest.mark.parametrize("name", [name for name, tables in TABLES.items() if "supports" in tables])
def test_supports_observe_the_modality_they_fill(name, make_samples):
    samples = make_samples(n=24, missing=0.4)
    method = build(name, samples)
    with tracing(method) as tracer:
        evaluated(method, as_batch(samples))
    supports = tracer.table("supports")
    assert len(supports["support"])
    assert samples.observed[supports["support"], supports["target"]].all()
    assert not samples.observed[supports["sample"], supports["target"]].any()
    assert (supports["weight"] > 0).all()


@pytest.mark.parametrize("name", [name for name, tables in TABLES.items() if "routing" in tables])
def test_routing_names_what_the_unit_observes(name, make_samples):
    samples = make_samples(n=24, missing=0.4)
    method = build(name, samples)
    with tracing(method) as tracer:
        evaluated(method, as_batch(samples))
    routing = tracer.table("routing")
    own = ~routing["supported"]
    assert np.array_equal(routing["source"][own], samples.observed[routing["sample"][own]])
    of_row = routing["modality"] < 0  # a unit that stands for its whole row
    rows = np.flatnonzero(~of_row)
    assert np.array_equal(routing["source"][rows, routing["modality"][rows]], ~routing["filled"][rows])
    assert not routing["filled"][of_row].any()
    assert routing["experts"].shape == routing["gates"].shape


@pytest.mark.parametrize("name", [name for name, tables in TABLES.items() if "embeddings" in tables])
def test_embeddings_before_completion_are_zero_where_missing(name, make_samples):
    samples = make_samples(n=24, missing=0.4)
    method = build(name, samples)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.01)  # what stands in for a missing modality may start at zero
    with tracing(method) as tracer:
        evaluated(method, as_batch(samples))
    found = tracer.table("embeddings")
    assert np.array_equal(found["observed"], samples.observed)
    assert (found["before"][~found["observed"]] == 0).all()
    assert (found["after"][~found["observed"]] != 0).any()


@pytest.mark.parametrize("name", PAPER)
def test_every_method_gives_gradient_cosines(name, make_samples):
    samples = make_samples(n=24, missing=0.4)
    method = build(name, samples)
    with tracing(method) as tracer:
        tracer.epoch = 3
        trained_step(method, as_batch(samples))
    found = tracer.table("gradients")
    assert list(zip(found["first"].tolist(), found["second"].tolist(), strict=True)) == [(0, 1), (0, 2), (1, 2)]
    assert (found["epoch"] == 3).all()
    assert np.isfinite(found["cosine"]).all()
    assert (np.abs(found["cosine"]) <= 1 + 1e-9).all()


def test_cosine_is_that_of_the_formula():
    tracer = Tracer()
    gradient = torch.tensor([[[1.0, 0.0], [1.0, 1.0]], [[0.0, 2.0], [5.0, 0.0]]])  # (2 rows, 2 modalities, 2)
    tracer.gradients(gradient, torch.tensor([[True, True], [True, False]]))
    found = tracer.table("gradients")
    assert found["rows"].tolist() == [1]
    assert found["cosine"][0] == pytest.approx(1 / (math.sqrt(5) * math.sqrt(27)))
    assert found["cosine_both"][0] == pytest.approx(1 / math.sqrt(2))
    assert (found["norm_first"][0], found["norm_second"][0]) == pytest.approx((math.sqrt(5), math.sqrt(2)))  # where each is observed


def test_pair_never_observed_together_has_no_cosine_of_both():
    tracer = Tracer()
    tracer.gradients(torch.ones(2, 2, 3), torch.tensor([[True, False], [False, True]]))
    assert np.isnan(tracer.table("gradients")["cosine_both"]).all()


def test_saved_records_read_back(tmp_path):
    tracer = Tracer()
    tracer.add("supports", sample=torch.tensor([0, 1]), weight=torch.tensor([0.5, 1.0]))
    tracer.add("supports", sample=torch.tensor([2]), weight=torch.tensor([0.25]))
    tracer.save(tmp_path / "some" / "records.npz")
    tables = read_traces(tmp_path / "some" / "records.npz")
    assert tables["supports"]["sample"].tolist() == [0, 1, 2]
    assert tables["supports"]["weight"].tolist() == [0.5, 1.0, 0.25]


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ("rooting", {"sample": torch.zeros(1)}, "goes to one of routing, supports, embeddings, gradients, .*, got 'rooting'"),
        ("supports", {"target": torch.zeros(1)}, "has the columns sample, got target"),
        ("routing", {"sample": torch.zeros(1), "layer": torch.zeros(2)}, "must have one length"),
        ("routing", {"sample": [0, 1]}, "column sample of routing must be a tensor with a row for each entry, got list"),
        ("routing", {"sample": np.zeros(2)}, "must be a tensor with a row for each entry, got ndarray"),
        ("routing", {"sample": torch.tensor(1)}, "must be a tensor with a row for each entry, got a single number"),
        ("supports", {"sample": torch.zeros(1, 2)}, r"rows of sample of supports have shape \(\), got \(2,\)"),
    ],
    ids=["table", "columns", "length", "list", "array", "number", "shape"],
)
def test_record_out_of_format_is_refused(table, columns, message):
    tracer = Tracer()
    tracer.add("supports", sample=torch.zeros(1))
    with pytest.raises(ValueError, match=message):
        tracer.add(table, **columns)


# ---- masks of a method's own


def test_masks_are_counted_before_and_after_a_draw():
    count = MaskCount()
    assert count.shares("AB") == {}
    observed = torch.tensor([[True, True], [True, False], [True, True], [False, True]])
    count.add(observed, torch.tensor([[True, True], [True, False], [False, True], [False, True]]))
    count.add(observed, observed)
    found = count.shares("AB")
    assert found["missing"] == pytest.approx([0.25, 5 / 16])
    assert found["complete"] == pytest.approx([0.5, 3 / 8])
    assert found["by_modality"] == {"A": pytest.approx([0.25, 3 / 8]), "B": pytest.approx([0.25, 0.25])}


DROPPING = {
    "dropout-transformer": {}, "simmlm": {"expert_share": 0.0}, "muse": {}, "mmformer": {"modality_dropout": "subset"},
    "shaspec": {"modality_dropout": "uniform_k"}, "flexmoe": {"modality_dropout": "uniform_k"},
}  # fmt: skip


@pytest.mark.parametrize("name", DROPPING)
def test_every_modality_dropout_of_a_method_is_counted(name, make_samples):
    samples = make_samples(n=24, missing=0.3)
    cls = registry.method_class(name)
    known = {field.name for field in dataclasses.fields(cls.Config)}
    method = cls(samples.schema, cls.Config(**{key: value for key, value in SMALL.items() if key in known} | DROPPING[name]))
    method.prepare(samples)
    method.on_epoch(9, 10)
    method.masks = MaskCount()
    method.train()(as_batch(samples))
    before, after = method.masks.shares("ABG")["missing"]
    assert before == pytest.approx(1 - samples.observed.mean())
    assert after > before
    counted = method.masks.shares("ABG")
    method.eval()(as_batch(samples)) if name != "muse" else None
    assert method.masks.shares("ABG") == counted
