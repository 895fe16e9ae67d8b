"""`segment(V,0.3)`: a stretch of a sequence is cut out, everywhere the same, and nobody can read what was in it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.grammar import parse_protocol, parse_rule
from bench.data.parts import build_parts
from bench.data.protocol import Draws
from bench.datasets.base import Dataset, Modality, Samples, Schema, as_batch
from bench.errors import UsageError
from bench.methods.encoders import Encoders
from bench.methods.flatten import flatten

T, SCHEMA = 12, Schema((Modality("video", "V", "sequence", (12, 2)), Modality("audio", "A", "vector", (3,))), ("no", "yes"))
shares = st.floats(0, 0.9999)


def samples_of(n=30, seed=0, padded=True):
    """Every step of every row holds a number of its own: row * 100 + step + 1."""
    rng = np.random.default_rng(seed)
    steps = (np.arange(n)[:, None] * 100 + np.arange(T) + 1).astype(np.float32)
    values = {"video": np.stack([steps, -steps], 2), "audio": rng.normal(size=(n, 3)).astype(np.float32)}
    observed = np.ones((n, 2), dtype=bool)
    observed[::5, 0] = False
    lengths = {"video": rng.integers(1, T + 1, n)} if padded else {}
    ids = np.array([f"r{row}" for row in range(n)])
    return Samples(SCHEMA, values, observed, np.arange(n, dtype=np.int64) % 2, ids, lengths=lengths).sealed()


def applied(text, samples, seed=0, part="train"):
    rule = parse_rule(text).on(SCHEMA, False)
    draws = Draws(seed, part, SCHEMA, len(samples), np.arange(len(samples)))
    return rule.applied(samples, draws, lambda: samples).sealed()


def steps_of(samples):
    """The real steps of each row, as they were numbered; empty where the sequence is not observed."""
    lengths = samples.lengths.get("video", np.full(len(samples), T))
    rows = zip(samples.values["video"][:, :, 0] % 100, lengths, samples.observed[:, 0], strict=True)
    return [row[:length].astype(int).tolist() if seen else [] for row, length, seen in rows]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), shares, st.booleans())
def test_one_stretch_of_the_real_steps_goes_and_the_rest_stays_in_order(seed, share, padded):
    samples = samples_of(seed=seed, padded=padded)
    for before, after in zip(steps_of(samples), steps_of(applied(f"segment(V,{share!r})", samples, seed)), strict=True):
        gone = sorted(set(before) - set(after))
        assert after == sorted(set(before) - set(gone))
        assert gone == list(range(gone[0], gone[0] + len(gone))) if gone else True
        assert len(gone) == (min(int(np.floor(share * len(before) + 0.5)), len(before) - 1) if before else 0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), shares, shares)
def test_stretches_nest_as_the_share_grows(seed, one, other):
    low, high = sorted((one, other))
    samples = samples_of(seed=seed)
    few, many = (steps_of(applied(f"segment(V,{share!r})", samples, seed)) for share in (low, high))
    assert all(set(b) <= set(a) for a, b in zip(few, many, strict=True))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), shares)
def test_what_was_cut_out_is_nowhere_in_the_values(seed, share):
    samples = samples_of(seed=seed)
    after = applied(f"segment(V,{share!r})", samples, seed)
    for row, kept in enumerate(steps_of(after)):
        values = after.values["video"][row, :, 0]
        assert np.isnan(values[len(kept) :]).all()
        assert not np.isnan(values[: len(kept)]).any()


def test_stretches_lie_anywhere_and_differ_between_parts():
    samples = samples_of(n=400, padded=False)
    firsts = {min(set(range(1, T + 1)) - set(kept)) for kept in steps_of(applied("segment(V,0.25)", samples)) if kept}
    assert firsts == set(range(1, T - 3 + 2))
    assert steps_of(applied("segment(V,0.25)", samples)) != steps_of(applied("segment(V,0.25)", samples, part="test"))
    assert steps_of(applied("segment(V,0.25)", samples)) == steps_of(applied("segment(V,0.25)", samples))


def test_share_nought_changes_no_step():
    samples = samples_of()
    assert steps_of(applied("segment(V,0)", samples)) == steps_of(samples)


def test_terms_of_a_sum_act_one_after_the_other():
    samples = samples_of(padded=False)
    once, twice = (steps_of(applied(text, samples)) for text in ("segment(V,0.5)", "segment(V,0.5)+segment(V,0.5)"))
    assert {len(kept) for kept in once} == {0, 6}
    assert {len(kept) for kept in twice} == {0, 3}
    both = applied("mcar(V=0.9)+segment(V,0.5)", samples)
    assert both.observed[:, 0].sum() < samples.observed[:, 0].sum()
    assert np.isnan(both.values["video"][~both.observed[:, 0]]).all()


# ---- through the parts


class Sequences(Dataset):
    title, synthetic = "sequences (SYNTHETIC)", True

    def __init__(self, samples):
        self.samples = samples

    def load(self):
        return self.samples


def parts_of(samples, text):
    return build_parts(Sequences(samples), samples, "VA", parse_protocol(text), 0, 0, "training")


@pytest.mark.parametrize("deferred", [False, True], ids=["small", "large"])
def test_statistics_and_scores_know_nothing_of_steps_that_are_gone(monkeypatch, deferred):
    """Whatever stood in the steps that were cut out, the parts are the same to the last bit."""
    from bench.data import parts as parts_module

    if deferred:
        monkeypatch.setattr(parts_module, "SMALL", -1)
    samples = samples_of(n=60)
    gone = _gone(samples, "segment(V,0.4)")
    other = samples.values["video"].copy()
    other[gone] = 1e6
    found, again = (parts_of(one, "segment(V,0.4)") for one in (samples, replace(samples, values={**samples.values, "video": other})))
    assert gone.any()
    for name, part in found.named().items():
        assert np.array_equal(
            np.asarray(part.samples.values["video"]), np.asarray(again.named()[name].samples.values["video"]), equal_nan=True
        )
        assert part.mask == again.named()[name].mask


def _gone(samples, text):
    """Steps that are cut out of each row in its part. Shapes: (N, T) bool."""
    gone, numbered = np.zeros((len(samples), T), dtype=bool), parts_of(samples, text)
    place = {identity: row for row, identity in enumerate(samples.ids.tolist())}
    for name in ("train", "valid", "test"):
        rows = [place[identity] for identity in numbered.named()[name].samples.ids.tolist()]
        hidden = numbered.hider(name, parse_rule(text))
        for row, kept in zip(rows, steps_of(hidden), strict=True):
            if samples.observed[row, 0]:
                gone[row, : samples.lengths["video"][row]] = True
                gone[row, np.array(kept) - 1] = False
    return gone


def test_mask_hash_and_shape_say_that_steps_are_gone():
    samples = samples_of(n=60)
    plain, cut, more = (parts_of(samples, text) for text in ("natural", "segment(V,0.4)", "segment(V,0.6)"))
    assert len({parts.test.mask for parts in (plain, cut, more)}) == 3
    assert plain.missing == cut.missing  # which counts modalities
    assert cut.under(parse_rule("segment(V,0.6)")).mask == more.test.mask
    protocol = parse_protocol("train=natural;test=segment(V)", 0.3)
    assert (str(protocol), protocol.noise) == ("train=natural;valid=natural;test=segment(V,0.3)", 0.3)
    assert str(protocol.test.at(0.5)) == "segment(V,0.5)"


def test_encoders_and_flat_methods_skip_such_steps():
    """A row with a gap is the row that never had these steps."""
    samples = samples_of(n=20)
    cut = applied("segment(V,0.5)", samples)
    never = np.full_like(samples.values["video"], np.nan)
    for row, kept in enumerate(steps_of(cut)):
        never[row, : len(kept)] = samples.values["video"][row][np.array(kept, dtype=int) - 1] if kept else np.nan
    lengths = {"video": np.array([len(kept) or 1 for kept in steps_of(cut)])}
    other = replace(samples, values={**samples.values, "video": never}, lengths=lengths)
    torch.manual_seed(0)
    encoders = Encoders(SCHEMA, tokens=2, width=8)
    assert torch.equal(encoders(as_batch(cut)), encoders(as_batch(other)))
    assert np.array_equal(flatten(cut), flatten(other), equal_nan=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("segment(A,0.3)", "needs a sequence, and audio is of kind vector"),
        ("segment(X,0.3)", "names modalities that are not in 'VA': X"),
        ("segment(V,1)", r"a missing rate must be in \[0, 1\), got 1"),
        ("segment(V)", "segment needs a missing rate: write segment\\(V,0.3\\) or give noise levels"),
        ("segment(0.3)", "segment reads segment\\(sequence,share\\)"),
        ("segment", "segment reads segment"),
    ],
)
def test_segment_that_cannot_act_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        parse_rule(text).on(SCHEMA, False)
