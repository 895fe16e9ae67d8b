"""ShaSpec against its formulas, its edge cases, and the stored outputs of the released code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from bench import registry
from bench.datasets.base import Modality, Schema
from bench.methods.shaspec import Alignment, DomainClassifier, ShaSpec, ShaSpecConfig, first_available, mean_available
from bench.names import parse_choice

CASES = ("all", "modes_02", "modes_3", "modes_231_order")


def schema_of(modalities):
    names = ["alpha", "beta", "gamma", "delta"][:modalities]
    return Schema(tuple(Modality(name, name[0].upper(), "vector", (5,)) for name in names), ("0", "1", "2"))


def build(modalities=3, seed=0, **options):
    torch.manual_seed(seed)
    method = ShaSpec(schema_of(modalities), ShaSpecConfig(**{"width": 16, **options}))
    method.seed(0)
    return method


def hide(batch, observed):
    """The same batch with other cells observed, sealed again; a cell that was hidden before gets noise where it is wanted."""
    generator = torch.Generator().manual_seed(7)
    inputs = {}
    for m, (name, x) in enumerate(batch.inputs.items()):
        x = torch.where(x.isnan(), torch.randn(x.shape, generator=generator), x)
        inputs[name] = torch.where(observed[:, m].view(-1, *[1] * (x.dim() - 1)), x, torch.nan)
    return replace(batch, inputs=inputs, observed=observed)


def alignment(dao="l1", pairs="all", modalities=3, width=16):
    torch.manual_seed(1)
    return Alignment(ShaSpecConfig(width=width, dao=dao, pairs=pairs), modalities)


def cells(rows=6, modalities=3, width=16, seed=3):
    """Random features and a mask with every kind of row: complete, single, empty."""
    generator = torch.Generator().manual_seed(seed)
    observed = torch.rand(rows, modalities, generator=generator) < 0.6
    observed[0], observed[1], observed[2] = True, False, torch.arange(modalities) == 1
    return torch.randn(rows, modalities, width, generator=generator), observed


def test_forward_follows_the_formulas_row_by_row(make_batch):
    method, batch = build(tokens=2).eval(), make_batch(n=9, missing=0.4)
    logits = method(batch).logits
    for b in range(len(batch)):
        own = [m for m in range(3) if batch.observed[b, m]]
        r, s = {}, {}
        for m in own:
            x = batch.inputs[method.schema.names[m]][b : b + 1]
            h = method.stems.lifts[m](method.stems.encoders[m](x).mean(1))
            r[m], s[m] = method.shared(h)[0], method.specific[m](h)[0]
        mean = torch.stack(list(r.values())).mean(0)
        fused = [r[m] + method.project.weight @ torch.cat([r[m], s[m]]) if m in own else mean for m in range(3)]
        torch.testing.assert_close(logits[b], method.decoder(torch.cat(fused)))


def test_shape_and_penalties_of_training(make_batch):
    method, batch = build(), make_batch(n=7)
    prediction = method.train()(batch)
    assert prediction.logits.shape == (7, 3)
    assert set(prediction.penalties) == {"dao", "dco"}
    assert all(term.shape == () and term.isfinite() for term in prediction.penalties.values())


def test_evaluation_has_no_penalties(make_batch):
    batch = make_batch(n=7)
    assert not build().eval()(replace(batch, target=torch.full_like(batch.target, -1))).penalties


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_hidden_modality_never_reaches_logits(make_batch, training):
    method, batch = build(decoder_dropout=0.0).train(training), make_batch(n=11, missing=0.5)
    sealed = method(batch)
    for filler in (0.0, 1e30, torch.inf):
        opened = {name: torch.where(batch.observed[:, m, None], x, filler) for m, (name, x) in enumerate(batch.inputs.items())}
        other = method(replace(batch, inputs=opened))
        assert torch.equal(sealed.logits, other.logits)
        assert all(torch.equal(term, other.penalties[name]) for name, term in sealed.penalties.items())


def test_rows_do_not_depend_on_batch_mates(make_batch):
    method, batch = build(tokens=2).eval(), make_batch(n=1000)
    whole = method(batch).logits
    alone = torch.cat([method(batch.rows(torch.tensor([b]))).logits for b in range(0, 1000, 50)])
    torch.testing.assert_close(whole[::50], alone, rtol=0, atol=1e-6)


def test_row_without_modalities_is_finite_and_constant(make_batch):
    method, batch = build(decoder_dropout=0.0).train(), make_batch(n=4)
    empty = hide(batch, torch.zeros_like(batch.observed))
    prediction = method(empty)
    torch.testing.assert_close(prediction.logits, method.decoder(torch.zeros(4, 48)), rtol=0, atol=0)
    assert prediction.penalties["dao"] == 0
    assert prediction.penalties["dco"] == 0
    (F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())).backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in method.parameters())


@pytest.mark.parametrize("standin", ["mean", "first"])
def test_single_modality_stands_in_for_all_others(make_batch, standin):
    method, batch = build(standin=standin).train(), make_batch(n=5)
    batch = hide(batch, torch.tensor([[False, True, False]]).expand(5, 3))
    shared, specific = method.encode(batch)
    fused = method.fuse(shared, specific, batch.observed)
    assert torch.equal(fused[:, 0], shared[:, 1])
    assert torch.equal(fused[:, 2], shared[:, 1])
    assert method.align(shared, batch.observed) == 0
    expected = F.cross_entropy(method.recognise(specific[:, 1]), torch.ones(5, dtype=torch.int64))
    torch.testing.assert_close(method.recognise.loss(specific, batch.observed), expected)


@pytest.mark.parametrize("preset", list(ShaSpec.presets))
def test_batch_of_one_trains(make_batch, preset):
    method, batch = build(**ShaSpec.presets[preset]).train(), make_batch(n=1)
    prediction = method(batch)
    (F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())).backward()
    assert method.shared[0].weight.grad.isfinite().all()


def test_single_modality_dataset_trains(make_batch):
    for preset in ShaSpec.presets.values():
        prediction = build(modalities=1, **preset).train()(make_batch(n=6, modalities=1))
        assert prediction.logits.isfinite().all()
        assert prediction.penalties["dao"] == 0


def kept_by(method, batch):
    """What a training step keeps of the observed modalities, and the number of rows each encoder meets."""
    kept, met = [], []
    encode, stems = method.encode, method.stems.forward
    method.encode = lambda batch: kept.append(batch.observed) or encode(batch)
    method.stems.forward = lambda m, batch, rows: met.append(len(rows)) or stems(m, batch, rows)
    assert method.train()(batch).logits.isfinite().all()
    return kept[0], met


def test_modality_dropout_draws_every_size_equally_often(make_batch):
    batch = make_batch(n=4000, modalities=4, missing=0.0)
    kept, met = kept_by(build(modalities=4, modality_dropout="uniform_k"), batch)
    sizes = torch.bincount(kept.sum(1), minlength=5) / 4000
    torch.testing.assert_close(sizes, torch.tensor([0.0, 0.25, 0.25, 0.25, 0.25]), rtol=0, atol=0.03)
    torch.testing.assert_close(kept.float().mean(0), torch.full((4,), 0.625), rtol=0, atol=0.03)
    assert met == kept.sum(0).tolist()  # a dropped modality is not even encoded


def test_modality_dropout_stays_inside_what_is_observed(make_batch):
    batch = make_batch(n=200, missing=0.5)
    kept, _ = kept_by(build(modality_dropout="uniform_k"), batch)
    assert not (kept & ~batch.observed).any()
    assert kept.any(1).all()


def test_modality_dropout_waits_for_its_warmup():
    method = build(modality_dropout="uniform_k", dropout_warmup_frac=0.44)
    dropping = []
    for epoch in range(10):
        method.on_epoch(epoch, 10)
        dropping.append(method.is_dropping)
    assert dropping == [False] * 5 + [True] * 5


@pytest.mark.parametrize("option", [{}, {"modality_dropout": "uniform_k"}], ids=["none", "uniform_k"])
def test_evaluation_drops_nothing(make_batch, option):
    method, batch = build(**option).eval(), make_batch(n=20)
    before = method.generator.get_state()
    assert torch.equal(method(batch).logits, method(batch).logits)
    assert torch.equal(method.generator.get_state(), before)


@pytest.mark.parametrize("modalities", [2, 3])
def test_alignment_of_complete_rows_equals_the_ring(modalities):
    shared = cells(5, modalities)[0]
    observed = torch.ones(5, modalities, dtype=torch.bool)
    ring = sum((shared[:, m] - shared[:, (m + 1) % modalities]).abs().mean() for m in range(modalities))
    for pairs in ("all", "ring"):
        torch.testing.assert_close(alignment(pairs=pairs, modalities=modalities)(shared, observed), ring)


def test_alignment_of_four_modalities_keeps_the_scale_of_the_ring():
    shared, observed = torch.randn(200, 4, 16, generator=torch.Generator().manual_seed(0)), torch.ones(200, 4, dtype=torch.bool)
    ours, ring = (alignment(pairs=pairs, modalities=4)(shared, observed) for pairs in ("all", "ring"))
    assert ours / ring == pytest.approx(1, abs=0.02)  # six pairs against four


@pytest.mark.parametrize("pairs", ["all", "ring"])
@pytest.mark.parametrize("dao", ["l1", "mse", "kl"])
def test_alignment_equals_a_loop_over_rows_and_pairs(dao, pairs):
    module = alignment(dao, pairs, modalities=4)
    shared, observed = cells(8, 4)

    def distance(a, b):
        if dao == "kl":
            p, q = module.project(a).softmax(0), module.project(b).softmax(0)
            return (p * (p / q).log()).sum() + (q * (q / p).log()).sum()
        return (a - b).abs().mean() if dao == "l1" else ((a - b) ** 2).mean()

    def over_rows(i, j):
        return [distance(shared[b, i], shared[b, j]) for b in range(8) if observed[b, i] and observed[b, j]]

    if pairs == "all":
        terms = [d for i in range(4) for j in range(i + 1, 4) for d in over_rows(i, j)]
        expected = 4 * torch.stack(terms).mean()
    else:
        expected = sum(torch.stack(over_rows(m, (m + 1) % 4)).mean() for m in range(4))
    torch.testing.assert_close(module(shared, observed), expected)


def test_alignment_by_cross_entropy_equals_a_loop():
    module = alignment("ce")
    shared, observed = cells()
    terms = [-module.project(shared[b, m]).log_softmax(0).mean() for b in range(6) for m in range(3) if observed[b, m]]
    torch.testing.assert_close(module(shared, observed), torch.stack(terms).mean())


def test_alignment_is_zero_for_equal_features_and_scales_with_them():
    module = alignment()
    shared, observed = cells()
    assert module(shared[:, :1].expand(6, 3, 16), observed) == 0
    torch.testing.assert_close(module(-2.5 * shared, observed), 2.5 * module(shared, observed))


@pytest.mark.parametrize("dao", ["l1", "mse", "ce", "kl"])
def test_alignment_ignores_missing_cells(dao):
    module = alignment(dao)
    shared, observed = cells()
    other = torch.where(observed.unsqueeze(2), shared, 99.0)
    assert torch.equal(module(shared, observed), module(other, observed))


def test_modality_classifier_equals_a_loop():
    torch.manual_seed(0)
    module = DomainClassifier(16, 3)
    specific, observed = cells()
    terms = [F.cross_entropy(module(specific[b, m]), torch.tensor(m)) for b in range(6) for m in range(3) if observed[b, m]]
    torch.testing.assert_close(module.loss(specific, observed), torch.stack(terms).mean())


def test_first_stand_in_is_random_in_training_and_lowest_in_evaluation():
    method = build(standin="first")
    shared, observed = torch.arange(3.0).view(1, 3, 1).expand(3000, 3, 16), torch.tensor([[False, True, True]]).expand(3000, 3)
    shares = torch.bincount(method.train().stand_in(shared, observed)[:, 0].long(), minlength=3) / 3000
    torch.testing.assert_close(shares, torch.tensor([0.0, 0.5, 0.5]), rtol=0, atol=0.04)
    assert (method.eval().stand_in(shared, observed) == 1).all()


def test_stand_in_carries_gradient_to_the_shared_encoder(make_batch):
    method, batch = build(alpha=0.0, beta=0.0).train(), make_batch(n=6)
    batch = hide(batch, torch.tensor([[True, False, False]]).expand(6, 3))
    with torch.no_grad():
        method.decoder[0].weight[:, :16] = 0  # the decoder sees stand-ins alone
    F.cross_entropy(method(batch).logits, batch.target).backward()
    assert method.shared[0].weight.grad.abs().sum() > 0
    assert method.specific[0][0].weight.grad.abs().sum() == 0


@pytest.mark.parametrize("m", [0, 1, 2])
def test_shared_encoder_learns_from_every_modality(make_batch, m):
    method, batch = build(), make_batch(n=6)
    shared, _ = method.encode(hide(batch, torch.ones_like(batch.observed)))
    shared[:, m].sum().backward()
    assert method.shared[0].weight.grad.abs().sum() > 0


def test_absent_modality_leaves_its_own_modules_untouched(make_batch):
    method, batch = build().train(), make_batch(n=6)
    absent = [*method.specific[2].parameters(), *method.stems.lifts[2].parameters(), *method.stems.encoders[2].parameters()]
    before = [parameter.clone() for parameter in absent]
    optimiser = torch.optim.Adam(method.parameters(), weight_decay=1e-4)
    prediction = method(hide(batch, torch.tensor([[True, True, False]]).expand(6, 3)))
    (F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())).backward()
    assert all(parameter.grad is None for parameter in absent)
    nn.utils.clip_grad_norm_(method.parameters(), 1.0)
    optimiser.step()
    assert all(torch.equal(*pair) for pair in zip(absent, before, strict=True))


def test_weights_of_zero_leave_the_classifier_alone(make_batch):
    method, batch = build(alpha=0.0, beta=0.0, dao="kl").train(), make_batch(n=6)
    prediction = method(batch)
    assert not prediction.penalties
    F.cross_entropy(prediction.logits, batch.target).backward()
    assert all(parameter.grad is None for parameter in (*method.recognise.parameters(), *method.align.parameters()))


def test_penalties_carry_their_weights(make_batch):
    method, batch = build(alpha=0.3, beta=0.07).train(), make_batch(n=6)
    shared, specific = method.encode(batch)
    penalties = method(batch).penalties
    torch.testing.assert_close(penalties["dao"], 0.3 * method.align(shared, batch.observed))
    torch.testing.assert_close(penalties["dco"], 0.07 * method.recognise.loss(specific, batch.observed))


def test_permuted_modalities_permute_fused_features(make_batch):
    method, batch, order = build().eval(), make_batch(n=8), [2, 0, 1]
    other = build(seed=5).eval()
    other.schema = replace(method.schema, modalities=tuple(method.schema.modalities[m] for m in order))
    other.stems.encoders.names = other.schema.names
    other.shared, other.project = method.shared, method.project
    for here, there in enumerate(order):
        other.stems.encoders[here], other.stems.lifts[here] = method.stems.encoders[there], method.stems.lifts[there]
        other.specific[here] = method.specific[there]
    fused = method.fuse(*method.encode(batch), batch.observed)
    permuted = replace(batch, observed=batch.observed[:, order])
    torch.testing.assert_close(other.fuse(*other.encode(permuted), permuted.observed), fused[:, order])


def test_dual_stem_separates_the_two_paths(make_batch):
    method, batch = build(stem="dual"), make_batch(n=6)
    shared, specific = method.encode(batch)
    own, tied = method.stems.lifts[0][0].weight, method.shared_stems.lifts[0][0].weight
    reach = [torch.autograd.grad(part.square().sum(), (own, tied), retain_graph=True, allow_unused=True) for part in (shared, specific)]
    assert [[grad is not None and bool(grad.any()) for grad in pair] for pair in reach] == [[False, True], [True, False]]


@pytest.mark.parametrize("option", [*ShaSpec.presets.values(), {"stem": "dual", "dao": "kl"}, {"dao": "ce"}], ids=str)
def test_every_parameter_is_trained(make_batch, option):
    method, batch = build(**option).train(), make_batch(n=24)
    prediction = method(batch)
    (F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())).backward()
    idle = [name for name, parameter in method.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not idle


def test_state_dict_restores_predictions(make_batch):
    method, batch = build().eval(), make_batch(n=8)
    other = build(seed=9).eval()
    other.load_state_dict(method.state_dict())
    assert torch.equal(method(batch).logits, other(batch).logits)


@pytest.mark.parametrize(("M", "million_parameters", "mflop"), [(2, 0.20, 0.53), (3, 0.27, 0.79), (4, 0.33, 1.05)])
def test_size_and_flops_are_those_of_the_specification(make_batch, M, million_parameters, mflop):
    method, batch = ShaSpec(schema_of(M), ShaSpecConfig()).eval(), make_batch(n=10, modalities=M, missing=0.0)
    with FlopCounterMode(display=False) as whole:
        method(batch)
    with FlopCounterMode(display=False) as encoders:
        method.stems.encoders(batch)
    assert round((whole.get_total_flops() - encoders.get_total_flops()) / 10 / 1e6, 2) == mflop
    parameters = method.active_parameters() - sum(p.numel() for p in method.stems.encoders.parameters())
    assert round(parameters / 1e6, 2) == million_parameters


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width must be at least 1"),
        ({"tokens": 0}, "tokens and width must be at least 1"),
        ({"alpha": -0.1}, "alpha and beta must not be negative"),
        ({"decoder_dropout": 1.0}, "decoder_dropout must be in"),
        ({"dropout_warmup_frac": 1.5}, "dropout_warmup_frac in"),
        ({"dropout_warmup_frac": 0.44}, "dropout_warmup_frac 0.44 needs modality_dropout=uniform_k, got 'none'"),
        ({"dao": "l2"}, "dao must be one of l1, mse, ce, kl, got 'l2'"),
        ({"standin": "median"}, "standin must be one of mean, first"),
        ({"epochs": 0}, "epochs and batch_size must be at least 1"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_config_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        ShaSpecConfig(**options)


@pytest.mark.parametrize("preset", list(ShaSpec.presets))
def test_presets_and_search_fit_the_config(preset):
    config = replace(ShaSpecConfig(), **ShaSpec.presets[preset])
    for name, values in ShaSpec.search.items():
        for value in values:
            replace(config, **{name: value})
    assert next(iter(ShaSpec.presets)) == "paper"


def test_presets_hold_the_published_recipe():
    paper, official = (ShaSpecConfig(**ShaSpec.presets[name]) for name in ("paper", "official_cls"))
    for config in (paper, official):
        assert (config.alpha, config.beta, config.dao, config.standin) == (0.1, 0.02, "l1", "mean")
        assert (config.learning_rate, config.schedule, config.epochs) == (1e-3, "step", 60)
    assert (paper.weight_decay, official.weight_decay) == (1e-4, 1e-2)


ABLATIONS = [
    "alpha=0", "beta=0", "dao=mse", "dao=ce", "dao=kl", "pairs=ring", "standin=first", "stem=dual", "modality_dropout=uniform_k",
    "modality_dropout=uniform_k,dropout_warmup_frac=0.44",
]  # fmt: skip


@pytest.mark.parametrize("options", ABLATIONS)
def test_every_ablation_has_a_name(make_batch, options):
    choice, batch = parse_choice(f"shaspec[{options},width=16]"), make_batch(n=6)
    method = ShaSpec(schema_of(3), registry.config_of(ShaSpec, choice, {}))
    assert {name: getattr(method.config, name) for name in choice.options} == choice.options
    prediction = method(batch)
    (F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())).backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in method.parameters())


def released(parity, case, **options):
    """Our method with the released weights, and the arrays of a case with `observed` as (B, M)."""
    with np.load(Path(__file__).parents[1] / "parity" / "shaspec_parts.npz", allow_pickle=False) as arrays:
        proj, weight, bias = (torch.from_numpy(arrays[name]) for name in ("W_proj", "W_dco", "b_dco"))
    method = build(modalities=4, **options).eval()
    method.project.load_state_dict({"weight": proj})
    method.recognise.load_state_dict({"weight": weight, "bias": bias})
    stored = parity("shaspec_parts", case)
    return method, stored | {"observed": stored["observed"].expand(5, 4)}


def close(ours, stored):
    torch.testing.assert_close(ours, stored, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", ["all", "modes_02", "modes_3"])
def test_fused_features_equal_the_released_code(parity, case):
    method, stored = released(parity, case, **ShaSpec.presets["as_released"])
    close(method.stand_in(stored["R"], stored["observed"]), stored["R"][:, stored["first_available"]])
    close(method.fuse(stored["R"], stored["S"], stored["observed"]), stored["F"])


def test_fused_features_equal_the_released_code_in_any_mode_order(parity):
    method, stored = released(parity, "modes_231_order", standin="first")
    keys = torch.tensor([9.0, 2.0, 0.0, 1.0])  # the release met the modalities in the order 2, 3, 1
    method.stand_in = lambda shared, observed: first_available(shared, observed, keys)
    assert stored["first_available"] == keys.argmin()
    close(method.fuse(stored["R"], stored["S"], stored["observed"]), stored["F"])


def test_mean_stand_in_equals_the_released_code_on_complete_rows_alone(parity):
    method, stored = released(parity, "all")
    close(method.fuse(stored["R"], stored["S"], stored["observed"]), stored["F"])
    method, stored = released(parity, "modes_231_order")
    fused = method.fuse(stored["R"], stored["S"], stored["observed"])
    close(fused[:, 1:], stored["F"][:, 1:])
    torch.testing.assert_close(fused[:, 0], stored["R"][:, 1:].mean(1))
    assert (fused[:, 0] - stored["F"][:, 0]).abs().max() > 1


@pytest.mark.parametrize("case", CASES)
def test_modality_logits_equal_the_released_code(parity, case):
    method, stored = released(parity, case)
    close(method.recognise(stored["S_for_dco"]), stored["dco_logits"])


def test_both_losses_equal_the_released_code_on_complete_rows(parity):
    method, stored = released(parity, "all", pairs="ring")
    close(method.align(stored["R"], stored["observed"]), stored["DAO_ring"])
    close(method.recognise.loss(stored["S_for_dco"], stored["observed"]), stored["DCO"])


@pytest.mark.parametrize("case", CASES[1:])
def test_released_losses_count_missing_modalities_too(parity, case):
    method, stored = released(parity, case, pairs="ring")
    everything = torch.ones_like(stored["observed"])
    close(method.align(stored["R"], everything), stored["DAO_ring"])
    close(method.recognise.loss(stored["S_for_dco"], everything), stored["DCO"])
    assert (method.align(stored["R"], stored["observed"]) - stored["DAO_ring"]).abs() > 0.1  # ours leaves them out


def test_mean_of_available_features_skips_the_others():
    shared, observed = cells()
    expected = [shared[b, observed[b]].mean(0) if observed[b].any() else torch.zeros(16) for b in range(6)]
    torch.testing.assert_close(mean_available(shared, observed), torch.stack(expected))
