"""The encoders of every modality kind: shapes, formulas, and nothing of a hidden cell or another row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.datasets.base import Batch, Modality, Samples, Schema, as_batch
from bench.methods.encoders import (
    ENCODERS,
    Encoders,
    ImageEncoder,
    PatchEmbedding,
    SequenceEncoder,
    VectorEncoder,
    VolumeEncoder,
    rows_by_modality,
)

SCHEMA = Schema(
    (
        Modality("table", "T", "vector", (7,)), Modality("signal", "S", "sequence", (9, 3)),
        Modality("photo", "P", "image", (2, 8, 8)), Modality("scan", "V", "volume", (1, 8, 8, 8)),
    ),
    ("no", "yes"),
)  # fmt: skip
ROWS, WIDTH = 6, 8
every_kind = pytest.mark.parametrize("m", range(4), ids=[modality.kind for modality in SCHEMA])


def close(ours, expected) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.fixture
def batch() -> Batch:
    """Each modality observed in some rows; the last row observes nothing."""
    rng = np.random.default_rng(0)
    values = {modality.name: rng.normal(size=(ROWS, *modality.shape)).astype(np.float32) for modality in SCHEMA}
    observed = rng.random((ROWS, 4)) < 0.6
    observed[0], observed[-1] = True, False
    return as_batch(Samples(SCHEMA, values, observed, np.zeros(ROWS, dtype=np.int64), np.array(list("abcdef"))))


@pytest.fixture
def make_encoders():
    def make(tokens: int = 4) -> Encoders:
        torch.manual_seed(0)
        return Encoders(SCHEMA, tokens, WIDTH)

    return make


def complete(batch: Batch) -> Batch:
    return replace(batch, inputs={n: x.nan_to_num(0.3) for n, x in batch.inputs.items()}, observed=torch.ones_like(batch.observed))


# patches


@pytest.mark.parametrize(("features", "tokens", "patch"), [(12, 4, 3), (10, 4, 3), (3, 4, 1), (1, 5, 1), (7, 1, 7)])
def test_patches_are_padded_with_zeros_at_the_end(features, tokens, patch):
    torch.manual_seed(0)
    layer, x = PatchEmbedding(features, tokens, WIDTH), torch.randn(5, features)
    padded = torch.cat([x, torch.zeros(5, tokens * patch - features)], 1)
    expected = torch.stack([layer.linear(padded[:, t * patch : (t + 1) * patch]) for t in range(tokens)], 1)
    assert layer.linear.in_features == patch
    close(layer(x), expected)


def test_whole_padded_patch_is_the_bias():
    layer = PatchEmbedding(3, 5, WIDTH)
    close(layer(torch.randn(2, 3))[:, 3:], layer.linear.bias.expand(2, 2, WIDTH))


@pytest.mark.parametrize("features", [10, 16, 3])
def test_patches_equal_the_released_code(parity, features):
    case = parity("moe_retriever_as_released", f"patch_F{features}")
    layer = PatchEmbedding(features, 4, 16)
    layer.linear.load_state_dict({"weight": case["W"], "bias": case["b"]})
    torch.testing.assert_close(layer(case["x"]).detach(), case["out"], rtol=1e-5, atol=1e-5)


# each kind


@every_kind
@pytest.mark.parametrize("tokens", [1, 4, 6, 16])
def test_every_kind_gives_tokens_of_one_shape(batch, make_encoders, m, tokens):
    encoders = make_encoders(tokens)
    x = complete(batch).inputs[SCHEMA.names[m]]
    assert encoders.encode(m, x).shape == (ROWS, tokens, WIDTH)
    assert encoders.encode(m, x[:1]).shape == (1, tokens, WIDTH)
    assert encoders.modality(m, batch, batch.observed[:, m].nonzero().squeeze(1)).shape == (ROWS, tokens, WIDTH)


def test_smallest_inputs_are_accepted():
    shapes = {"vector": (1,), "sequence": (1, 1), "image": (1, 1, 1), "volume": (1, 1, 1, 1)}
    assert shapes.keys() == ENCODERS.keys()
    for kind, shape in shapes.items():
        encoder = ENCODERS[kind](Modality("tiny", "T", kind, shape), 4, 2)
        tokens = encoder(torch.randn(3, *shape))
        assert tokens.shape == (3, 4, 2)
        assert tokens.isfinite().all()


def test_vector_encoder_equals_its_formula():
    torch.manual_seed(0)
    x = torch.randn(3, 7)
    for tokens in (1, 4):
        encoder = VectorEncoder(SCHEMA.modalities[0], tokens, WIDTH)
        first, second = encoder.perceptron[0], encoder.perceptron[2]
        h = (x @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
        linear = None if tokens == 1 else encoder.patches.linear
        expected = h.unsqueeze(1) if tokens == 1 else h.clamp(min=0).reshape(3, 4, 2) @ linear.weight.T + linear.bias
        close(encoder(x), expected)


def test_sequence_tokens_are_means_over_stretches():
    torch.manual_seed(0)
    encoder, x = SequenceEncoder(SCHEMA.modalities[1], 3, WIDTH), torch.randn(2, 9, 3)
    outputs, _ = encoder.gru(x)
    close(encoder(x), outputs.reshape(2, 3, 3, WIDTH).mean(2))


def test_image_tokens_are_means_over_cells():
    torch.manual_seed(0)
    encoder, x = ImageEncoder(Modality("photo", "P", "image", (2, 16, 32)), 2, WIDTH), torch.randn(2, 2, 16, 32)
    grid = encoder.convolutions(x)  # (2, D, 2, 4)
    close(encoder(x), torch.stack([grid[:, :, :, j : j + 2].mean((2, 3)) for j in (0, 2)], 1))


@pytest.mark.parametrize(
    ("shape", "channels", "grid"),
    [
        ((3, 256, 128), [8, 16, 32, 32, 64, 64, 64, 64], (8, 4)),
        ((3, 64, 64), [8, 16, 32, 32, 64, 64, 64, 64], (2, 2)),
        ((1, 8, 8), [32, 64], (2, 2)),
        ((1, 1, 5), [64], (1, 3)),
    ],
    ids=["screen", "photo", "digit", "line"],
)
def test_image_encoder_is_vgg11_as_far_as_the_image_has_room(shape, channels, grid):
    encoder = ImageEncoder(Modality("photo", "P", "image", shape), 4, 64)
    layers = [layer for layer in encoder.convolutions if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in layers] == channels
    assert encoder.convolutions(torch.randn(1, *shape)).shape == (1, 64, *grid)


def test_image_signal_survives_all_layers():
    torch.manual_seed(0)
    encoder = ImageEncoder(Modality("screen", "S", "image", (3, 256, 128)), 4, 64)
    x = torch.randn(2, 3, 256, 128).requires_grad_()
    tokens = encoder(x)
    (gradient,) = torch.autograd.grad(tokens.square().sum(), x)
    assert 0.1 < tokens.std() < 10
    assert (gradient.abs() > 1e-8).float().mean() > 0.05


def test_volume_tokens_are_means_over_slabs():
    torch.manual_seed(0)
    encoder, x = VolumeEncoder(Modality("scan", "V", "volume", (1, 16, 8, 8)), 2, WIDTH), torch.randn(2, 1, 16, 8, 8)
    grid = encoder.convolutions(x)  # (2, D, 2, 1, 1)
    close(encoder(x), torch.stack([grid[:, :, slab].mean((2, 3)) for slab in range(2)], 1))


LENGTHS = torch.tensor([9, 1, 4, 7, 2])


def padded(fill: float) -> torch.Tensor:
    """Five sequences of different lengths whose padding holds `fill`."""
    x = torch.randn(5, 9, 3, generator=torch.Generator().manual_seed(1))
    x[torch.arange(9) >= LENGTHS.unsqueeze(1)] = fill
    return x


@pytest.mark.parametrize("tokens", [1, 2, 4, 12])
def test_padded_sequence_equals_the_sequence_without_padding(tokens):
    torch.manual_seed(0)
    encoder = SequenceEncoder(SCHEMA.modalities[1], tokens, WIDTH)
    together, x = encoder(padded(torch.nan), LENGTHS), padded(torch.nan)
    pool = torch.nn.AdaptiveAvgPool1d(tokens)
    for row, length in enumerate(LENGTHS):
        alone = x[row : row + 1, :length]
        close(together[row], encoder(alone)[0])
        close(together[row], pool(encoder.gru(alone)[0].transpose(1, 2)).transpose(1, 2)[0])


def test_padding_content_changes_no_token_and_no_gradient():
    torch.manual_seed(0)
    encoder, found = SequenceEncoder(SCHEMA.modalities[1], 4, WIDTH), []
    for fill in (torch.nan, torch.inf, 0.0, -1e30):
        encoder.zero_grad()
        tokens = encoder(padded(fill), LENGTHS)
        tokens.square().sum().backward()
        found.append([tokens, *(parameter.grad.clone() for parameter in encoder.parameters())])
    assert all(tensor.isfinite().all() for tensor in found[0])
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_steps_beyond_every_length_cost_nothing():
    encoder, seen = SequenceEncoder(SCHEMA.modalities[1], 2, WIDTH), []
    encoder.gru.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[1]))
    encoder(padded(torch.nan)[1:3], LENGTHS[1:3])
    assert seen == [4]


def test_batch_lengths_reach_the_encoder_of_their_modality(make_encoders):
    encoders, lengths = make_encoders(), np.array([9, 3, 1, 5, 0, -4])
    rng = np.random.default_rng(0)
    values = {modality.name: rng.normal(size=(ROWS, *modality.shape)).astype(np.float32) for modality in SCHEMA}
    observed = np.ones((ROWS, 4), dtype=bool)
    observed[4:, 1] = False  # lengths say nothing there
    samples = Samples(SCHEMA, values, observed, np.zeros(ROWS, dtype=np.int64), np.array(list("abcdef")), lengths={"signal": lengths})
    partial = as_batch(samples)
    tokens = encoders(partial)
    for row in range(4):
        close(tokens[row, 1], encoders.encode(1, torch.from_numpy(values["signal"][row : row + 1, : lengths[row]]))[0])
    close(encoders(partial.rows(torch.arange(4))), tokens[:4])  # every row observed: the other path
    close(encoders.encode_rows(1, partial, torch.tensor([2, 0])), tokens[[2, 0], 1])
    tokens.square().sum().backward()
    assert not tokens[4:, 1].any()
    assert all(parameter.grad.isfinite().all() for parameter in encoders.parameters())


def test_sequence_encoder_reads_the_order_of_steps():
    torch.manual_seed(0)
    encoder, x = SequenceEncoder(SCHEMA.modalities[1], 1, WIDTH), torch.randn(2, 9, 3)
    assert (encoder(x) - encoder(x.flip(1))).abs().max() > 1e-3


# missing modalities


def test_unobserved_rows_are_exactly_zero(batch, make_encoders):
    tokens = make_encoders()(batch)
    assert tokens.shape == (ROWS, 4, 4, WIDTH)
    assert torch.equal(tokens.abs().sum((2, 3)) > 0, batch.observed)


@every_kind
def test_observed_rows_equal_their_encoding(batch, make_encoders, m):
    encoders = make_encoders()
    rows = batch.observed[:, m]
    close(encoders(batch)[rows, m], encoders.encode(m, batch.inputs[SCHEMA.names[m]][rows]))


def test_nan_in_hidden_cells_is_harmless(batch, make_encoders):
    assert all(x[~batch.observed[:, m]].isnan().all() for m, x in enumerate(batch.inputs.values()))
    encoders = make_encoders()
    tokens = encoders(batch)
    tokens.square().sum().backward()
    assert tokens.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in encoders.parameters())


def test_numbers_in_hidden_cells_change_nothing(batch, make_encoders):
    encoders = make_encoders()
    other = replace(batch, inputs={name: x.nan_to_num(1e6) for name, x in batch.inputs.items()})
    assert torch.equal(encoders(batch), encoders(other))


@every_kind
def test_rows_are_independent_of_batch_mates(batch, make_encoders, m):
    encoders = make_encoders()
    together = encoders(batch)[:, m]
    for row in range(ROWS):
        close(encoders(batch.rows(torch.tensor([row])))[0, m], together[row])
    x = complete(batch).inputs[SCHEMA.names[m]].requires_grad_()
    (gradient,) = torch.autograd.grad(encoders.encode(m, x)[2].square().sum(), x)
    reached = gradient.flatten(1).abs().sum(1) > 0
    assert reached.tolist() == [row == 2 for row in range(ROWS)]


@pytest.mark.parametrize("m", range(4), ids=[modality.kind for modality in SCHEMA])
def test_modality_nobody_observes_is_zero_without_gradient(batch, make_encoders, m):
    encoders = make_encoders()
    observed = torch.ones_like(batch.observed)
    observed[:, m] = False
    full = complete(batch)
    inputs = {name: torch.full_like(x, torch.nan) if name == SCHEMA.names[m] else x for name, x in full.inputs.items()}
    tokens = encoders(replace(full, inputs=inputs, observed=observed))
    tokens.sum().backward()
    assert not tokens[:, m].any()
    assert all(parameter.grad is None for parameter in encoders[m].parameters())
    assert all(parameter.grad is not None for n in range(4) if n != m for parameter in encoders[n].parameters())


def test_batch_that_observes_everything_equals_the_partial_path(batch, make_encoders):
    encoders, full = make_encoders(), complete(batch)
    close(encoders(full)[batch.observed], encoders(batch)[batch.observed])


def test_modalities_keep_schema_order(batch, make_encoders):
    encoders = make_encoders()
    assert encoders.names == SCHEMA.names
    assert [type(encoder) for encoder in encoders] == [VectorEncoder, SequenceEncoder, ImageEncoder, VolumeEncoder]
    tokens = encoders(batch)
    for m, rows in enumerate(rows_by_modality(batch.observed)):
        assert torch.equal(rows, batch.observed[:, m].nonzero().squeeze(1))
        close(tokens[:, m], encoders.modality(m, batch, rows))


def test_one_seed_gives_one_encoder(batch, make_encoders):
    assert torch.equal(make_encoders()(batch), make_encoders()(batch))


def test_encoders_follow_their_precision(batch, make_encoders):
    encoders = make_encoders().double()
    inputs = {name: x.double() for name, x in batch.inputs.items()}
    assert encoders(replace(batch, inputs=inputs)).dtype == torch.float64
