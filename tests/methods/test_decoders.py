"""Decoders by kind of modality: shapes, targets, and errors over what is real."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.datasets.base import Batch, Modality, Schema
from bench.methods.decoders import DECODERS, Decoders, SequenceDecoder

SHAPES = {"vector": (5,), "sequence": (6, 2), "image": (3, 20, 7), "volume": (1, 9, 4, 20)}


@pytest.mark.parametrize("kind", DECODERS)
def test_every_kind_is_reconstructed_in_the_shape_of_its_target(kind):
    torch.manual_seed(0)
    modality = Modality("m", "M", kind, SHAPES[kind])
    decoders = Decoders(Schema((modality,), ("0", "1")), 4, 8)
    x = torch.randn(5, *SHAPES[kind])
    batch = Batch({"m": x}, torch.ones(5, 1, dtype=torch.bool), torch.zeros(5, dtype=torch.int64), torch.arange(5))
    target, real = decoders.targets(0, batch, torch.tensor([4, 1]))
    factors = torch.randn(2, 4, requires_grad=True)
    assert decoders.decode(0, factors).shape == target.shape
    assert real is None
    decoders.error(0, factors, batch, torch.tensor([4, 1])).backward()
    assert factors.grad.abs().sum() > 0
    assert decoders.idle_parameters == sum(parameter.numel() for parameter in decoders.parameters())


def test_decoder_equals_the_cell_that_reads_its_own_state():
    torch.manual_seed(0)
    cell, modality = nn.LSTMCell(6, 6), Modality("s", "S", "sequence", (5, 2))
    decoder = SequenceDecoder(modality, 6, 6)
    decoder.code = nn.Identity()
    decoder.lstm.load_state_dict({
        "weight_ih_l0": cell.weight_ih, "weight_hh_l0": cell.weight_ih + cell.weight_hh, "bias_ih_l0": cell.bias_ih,
        "bias_hh_l0": cell.bias_hh,
    })  # fmt: skip
    code = torch.randn(4, 6)
    given, h, c, steps = code, torch.zeros(4, 6), torch.zeros(4, 6), []
    for _ in range(5):
        h, c = cell(given, (h, c))
        given = h
        steps.append(decoder.out(h))
    torch.testing.assert_close(decoder(code, 5), torch.stack(steps, 1), rtol=0, atol=1e-6)


def test_images_are_reconstructed_on_a_grid_and_sequences_over_real_steps():
    schema = Schema(
        (Modality("i", "I", "image", (1, 28, 28)), Modality("s", "S", "sequence", (6, 2)), Modality("v", "V", "volume", (1, 9, 4, 20))),
        ("0", "1"),
    )
    torch.manual_seed(0)
    decoders = Decoders(schema, 8, 16)
    x = {"i": torch.randn(4, 1, 28, 28), "s": torch.randn(4, 6, 2), "v": torch.randn(4, 1, 9, 4, 20)}
    lengths = torch.tensor([3, 1, 2, 3])
    batch = Batch(x, torch.ones(4, 3, dtype=torch.bool), torch.zeros(4, dtype=torch.int64), torch.arange(4), {"s": lengths})
    rows, factors = torch.arange(4), torch.randn(4, 8)
    assert decoders.targets(0, batch, rows)[0].shape == decoders.decode(0, factors).shape == (4, 1, 16, 16)
    assert decoders.targets(2, batch, rows)[0].shape == decoders.decode(2, factors).shape == (4, 1, 8, 4, 8)
    found = decoders.error(1, factors, batch, rows)
    guess = decoders.decode(1, factors, 3)
    expected = torch.stack([(guess[b, :n] - x["s"][b, :n]).square().mean() for b, n in enumerate(lengths.tolist())]).mean()
    torch.testing.assert_close(found, expected)
    padded = torch.where(torch.arange(6)[None, :, None] < lengths[:, None, None], x["s"], torch.nan)
    assert torch.equal(decoders.error(1, factors, replace(batch, inputs={**x, "s": padded}), rows), found)
    longer = F.pad(padded, (0, 0, 0, 3), value=torch.nan)
    assert torch.equal(decoders.error(1, factors, replace(batch, inputs={**x, "s": longer}), rows), found)
    assert decoders.error(0, factors[:0], batch, rows[:0]) == 0


def test_targets_are_cut_where_asked():
    decoders = Decoders(Schema((Modality("alpha", "A", "vector", (2,)),), ("0", "1")), 4, 8, clip=5.0)
    batch = Batch(
        {"alpha": torch.tensor([[9.0, -0.5]])}, torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, dtype=torch.int64), torch.arange(1)
    )
    assert decoders.targets(0, batch, torch.arange(1))[0].tolist() == [[5.0, -0.5]]
