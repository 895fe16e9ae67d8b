"""bench/protocol.py: masks nest, keep a modality, and depend on seed, part and row alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.datasets.base import Dataset, Modality, Schema
from bench.errors import UsageError
from bench.loader import build_parts
from bench.protocol import mask_keys, parse_protocol, parse_rule
from bench.spec import Trial

SCHEMA = Schema(tuple(Modality(f"m{i}", "ABCD"[i], "vector", (1,)) for i in range(4)), ("no", "yes"))
rates = st.floats(0, 0.9999)


def gaps(seed, rows=40):
    """A natural mask in which some rows observe nothing."""
    return np.random.default_rng(seed).random((rows, 4)) < 0.7


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), rates, rates)
def test_masks_nest_as_the_rate_grows(seed, one, other):
    low, high = sorted((one, other))
    observed, keys = gaps(seed), mask_keys(seed, "test", 40, 4)
    few, many = (parse_rule("mcar", rate).hidden(observed, keys, SCHEMA) for rate in (low, high))
    assert not (few & ~many).any()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), rates)
def test_every_row_keeps_a_modality_it_had(seed, rate):
    observed, keys = gaps(seed), mask_keys(seed, "train", 40, 4)
    hidden = parse_rule("mcar", rate).hidden(observed, keys, SCHEMA)
    assert not (hidden & ~observed).any()
    assert np.array_equal((observed & ~hidden).any(1), observed.any(1))


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_realised_rate_is_the_asked_one_less_the_kept_modality(rate):
    observed = np.ones((20_000, 4), dtype=bool)
    hidden = parse_rule("mcar", rate).hidden(observed, mask_keys(0, "test", 20_000, 4), SCHEMA)
    assert abs(hidden.mean() - (rate - rate**4 / 4)) < 0.005  # a row that would lose all four keeps one


def test_rate_zero_hides_nothing_and_rate_near_one_keeps_one():
    observed, keys = np.ones((50, 4), dtype=bool), mask_keys(0, "test", 50, 4)
    assert not parse_rule("mcar(0)").hidden(observed, keys, SCHEMA).any()
    assert (parse_rule("mcar(0.999999)").hidden(observed, keys, SCHEMA).sum(1) == 3).all()


def test_natural_hides_nothing():
    assert not parse_rule("natural").hidden(gaps(0), mask_keys(0, "test", 40, 4), SCHEMA).any()


def test_fixed_leaves_its_combination():
    observed = gaps(1)
    left = observed & ~parse_rule("fixed(DB)").hidden(observed, mask_keys(0, "test", 40, 4), SCHEMA)
    assert np.array_equal(left, observed & [False, True, False, True])


def test_parts_and_seeds_draw_their_own_masks():
    keys = [mask_keys(seed, part, 10, 4) for seed in (0, 1) for part in ("train", "valid", "test")]
    assert len({array.tobytes() for array in keys}) == 6
    assert np.array_equal(mask_keys(0, "test", 10, 4), keys[2])


@pytest.mark.parametrize(
    ("text", "noise", "canonical"),
    [
        (" mcar( 0.30 )", None, "mcar(0.3)"),
        ("mcar", 0.5, "mcar(0.5)"),
        ("mcar(0.1)", 0.5, "mcar(0.1)"),
        ("natural", 0.5, "natural"),
        ("test=mcar;train=natural", 0.3, "train=natural;valid=natural;test=mcar(0.3)"),
        ("train=mcar(0.2);valid=mcar(0.2);test=mcar(0.2)", None, "mcar(0.2)"),
        ("fixed(AC)", None, "fixed(AC)"),
    ],
)
def test_protocols_have_one_canonical_text(text, noise, canonical):
    protocol = parse_protocol(text, noise)
    assert str(protocol) == canonical
    assert parse_protocol(canonical) == protocol
    assert parse_protocol(canonical).hash() == protocol.hash()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mcar(1)", r"must be in \[0, 1\), got 1"),
        ("mcar(-0.1)", r"must be in \[0, 1\)"),
        ("mcar(nan)", r"must be in \[0, 1\)"),
        ("mcar(x)", "must be a number"),
        ("mcar", "needs a missing rate"),
        ("mcra(0.3)", "did you mean 'mcar'"),
        ("fixed", "needs the letters"),
        ("natural(2)", "takes no argument"),
        ("trian=natural", "did you mean 'train'"),
        ("train=natural;train=natural", "names part 'train' twice"),
        ("mcar(0.3", "name or name\\(argument\\)"),
    ],
)
def test_bad_protocols_are_explained(text, message):
    with pytest.raises(UsageError, match=message):
        parse_protocol(text)


@pytest.mark.parametrize(
    ("combination", "text", "hash_", "masks"),
    [
        ("ABG", "natural", "12765295db4f", ("69d29a4701ad", "cc7f47f6745f", "bee52a8af772")),
        ("ABG", "mcar(0.1)", "8606bbd42795", ("b3d71bb9104c", "ee496afb0862", "ea6947b654d4")),
        ("ABG", "mcar(0.3)", "afe0558fdab5", ("fa899dab27b5", "ce3e84b56a6f", "65bc6e72b89c")),
        ("AG", "mcar(0.7)", "7773d8124609", ("874eca19f8c7", "01cbbcee6f05", "7329252b7216")),
        ("ABG", "fixed(GA)", "d0cc148a559c", ("1dc88f479875", "4bee53ab514b", "f872a4988ece")),
        ("ABG", "train=mcar(0.2);valid=natural;test=mcar(0.5)", "8dd57dda5116", ("4c945c3225bf", "cc7f47f6745f", "4200bff5494b")),
    ],
)
def test_published_masks_never_change(make_samples, combination, text, hash_, masks):
    """Golden hashes: a stored number is comparable with a new one only if the masks are the same to the bit."""
    protocol = parse_protocol(text)
    parts = build_parts(Dataset(), make_samples(n=120), combination, protocol, 3, 0, "training")
    assert (str(protocol), protocol.hash()) == (text, hash_)
    assert tuple(parts.masks.values()) == masks


def test_published_trials_keep_their_ids_and_protocols():
    lines = (Path(__file__).parents[2] / "leaderboards" / "quick" / "records.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    stored = [(line["id"], Trial(**line["trial"])) for line in found if "trial" in line]
    assert len(stored) > 100
    assert all(trial.id == id_ and str(parse_protocol(trial.protocol)) == trial.protocol for id_, trial in stored)
