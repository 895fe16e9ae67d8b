"""bench/data/protocol.py: masks nest, keep a modality, and depend on what their rule names and on nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit

from bench.data.grammar import evaluated_at, evaluation_rules, parse_protocol, parse_rule, takes_noise
from bench.data.parts import build_parts
from bench.data.protocol import Draws, Protocol, mask_keys
from bench.data.terms import intercept
from bench.datasets.base import Dataset, Labels, Modality, Samples, Schema, Value
from bench.errors import UsageError
from bench.names import split_list
from bench.question.trial import Trial

SCHEMA = Schema(tuple(Modality(f"m{i}", "ABCD"[i], "vector", (3,)) for i in range(4)), ("no", "maybe", "yes"))
KEEPERS = (
    "natural", "mcar(0.7)", "mcar(A=0.3,C=0.9)", "mcar(A=0.9,B=0.9,C=0.9,D=0.9)", "keep(1)", "keep(3)", "block(group,0.6)",
    "block(group,A=0.9,B=0.9,C=0.9,D=0.9)", "mar(A->B,3,0.9)", "mnar(B|value,-2,0.9)", "mnar(C|label,2,0.9)",
    "keep(2)+mcar(0.8)", "block(group,0.5)+mcar(0.5)+mar(D->A,2,0.9)", "mcar(0.9)+mcar(0.9)+mcar(0.9)",
)  # fmt: skip
RATED = ("mcar", "block(group)", "mar(A->B,2)", "mnar(B|value,3)", "mnar(D|label,-2)")
rates = st.floats(0, 0.9999)


def samples_of(n=40, seed=0, observed=None, groups=True):
    """Rows whose modalities and class all follow one hidden number, so that each tells about the others."""
    rng = np.random.default_rng([seed, 5])
    latent = rng.normal(size=(n, 1))
    values = {modality.name: (latent + rng.normal(size=(n, 3))).astype(np.float32) * 3 + 7 for modality in SCHEMA}
    target = np.digitize(latent[:, 0] + 0.5 * rng.normal(size=n), [-0.5, 0.5]).astype(np.int64)
    observed = np.ones((n, 4), dtype=bool) if observed is None else observed
    ids = np.array([f"r{i}" for i in range(n)])
    return Samples(SCHEMA, values, observed, target, ids, np.array([f"site {i % 7}" for i in range(n)]) if groups else None)


def gappy(seed, n=40):
    """Samples with natural gaps, some of them without any modality."""
    return samples_of(n, seed, np.random.default_rng(seed).random((n, 4)) < 0.7)


def left_by(text, samples, seed=0, part="test", noise=None, train=None):
    """What a rule leaves observed, (N, M)."""
    rule = parse_rule(text, noise).on(samples.schema, samples.groups is not None)
    draws = Draws(seed, part, SCHEMA, len(samples), np.arange(len(samples)))
    return rule.left(samples, draws, lambda: samples if train is None else train)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), rates, rates)
@pytest.mark.parametrize("text", RATED)
def test_masks_nest_as_the_rate_grows(text, seed, one, other):
    low, high = sorted((one, other))
    samples = gappy(seed)
    few, many = (left_by(text, samples, seed, noise=rate) for rate in (low, high))
    assert not (many & ~few).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), rates, rates, rates, st.floats(0.01, 1))
def test_masks_nest_as_the_rates_of_all_modalities_grow_in_proportion(seed, a, b, d, part):
    samples = gappy(seed)
    few, many = (left_by(f"mcar(A={a * f!r},B={b * f!r},D={d * f!r})", samples, seed) for f in (part, 1.0))
    assert not (many & ~few).any()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
@pytest.mark.parametrize("text", KEEPERS)
def test_every_row_keeps_a_modality_it_had(text, seed):
    samples = gappy(seed)
    left = left_by(text, samples, seed, part="train")
    assert not (left & ~samples.observed).any()
    assert np.array_equal(left.any(1), samples.observed.any(1))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3))
def test_keep_leaves_exactly_as_many_and_nests(seed, count):
    samples = gappy(seed)
    few, more = (left_by(f"keep({k})", samples, seed) for k in (count, count + 1))
    assert np.array_equal(few.sum(1), np.minimum(samples.observed.sum(1), count))
    assert not (few & ~more).any()


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_realised_rate_is_the_asked_one_less_the_kept_modality(rate):
    hidden = ~left_by(f"mcar({rate})", samples_of(20_000))
    assert abs(hidden.mean() - (rate - rate**4 / 4)) < 0.005  # a row that would lose all four keeps one


def test_each_modality_is_hidden_at_its_own_rate():
    hidden = ~left_by("mcar(A=0.1,B=0.5,D=0.8)", samples_of(20_000))
    assert hidden.mean(0) == pytest.approx([0.1, 0.5, 0.0, 0.8], abs=0.01)
    assert np.corrcoef(hidden[:, [0, 1, 3]].T)[np.triu_indices(3, 1)] == pytest.approx(0, abs=0.02)


def test_equal_rates_of_all_modalities_are_the_plain_rate():
    samples = gappy(3, 500)
    assert np.array_equal(left_by("mcar(A=0.4,B=0.4,C=0.4,D=0.4)", samples), left_by("mcar(0.4)", samples))


def test_rate_zero_hides_nothing_and_rate_near_one_keeps_one():
    samples = samples_of(50)
    assert left_by("mcar(0)", samples).all()
    assert (left_by("mcar(0.999999)", samples).sum(1) == 1).all()
    assert np.array_equal(left_by("mcar(0.999999)", samples), left_by("keep(1)", samples))


def test_natural_hides_nothing():
    assert np.array_equal(left_by("natural", gappy(0)), gappy(0).observed)


def test_fixed_leaves_its_combination():
    assert np.array_equal(left_by("fixed(DB)", gappy(1)), gappy(1).observed & [False, True, False, True])


def test_sum_acts_on_what_the_terms_before_left():
    samples = gappy(2, 400)
    left = left_by("fixed(AB)+keep(1)", samples)
    assert not left[:, 2:].any()
    assert np.array_equal(left.sum(1), samples.observed[:, :2].any(1))


def test_terms_of_a_sum_draw_for_themselves():
    hidden = ~left_by("mcar(A=0.5)+mcar(A=0.5)", samples_of(20_000))
    assert hidden[:, 0].mean() == pytest.approx(0.75, abs=0.01)
    assert np.array_equal(
        left_by("mcar(A=0.5)+mcar(A=0.5)", samples_of(200)) & ~left_by("mcar(A=0.5)", samples_of(200)), np.zeros((200, 4))
    )


def test_whole_groups_lose_a_modality():
    samples = samples_of(700)
    left = left_by("block(group,0.5)", samples)
    patterns = {group: np.unique(left[samples.groups == group], axis=0) for group in np.unique(samples.groups)}
    assert all(len(pattern) == 1 for pattern in patterns.values())
    assert len({pattern.tobytes() for pattern in patterns.values()}) > 1


def test_groups_are_drawn_by_name_at_the_rate():
    many = replace(samples_of(20_000), groups=np.array([f"patient {i // 2}" for i in range(20_000)]))
    left = left_by("block(group,0.3)", many)
    assert (~left).mean() == pytest.approx(0.3 - 0.3**4 / 4, abs=0.01)
    few = many.rows(np.arange(500, 600))
    assert np.array_equal(left_by("block(group,0.3)", few), left[500:600])


@pytest.mark.parametrize("text", [text for text in KEEPERS if text != "natural"])
def test_masks_follow_from_seed_and_part_alone(text):
    samples = samples_of(200)
    assert np.array_equal(left_by(text, samples), left_by(text, samples))
    others = [left_by(text, samples, seed, part).tobytes() for seed, part in ((0, "train"), (1, "test"))]
    assert left_by(text, samples).tobytes() not in others


def test_parts_and_seeds_draw_their_own_masks():
    keys = [mask_keys(seed, part, 10, 4) for seed in (0, 1) for part in ("train", "valid", "test")]
    assert len({array.tobytes() for array in keys}) == 6
    assert np.array_equal(mask_keys(0, "test", 10, 4), keys[2])


def height(samples, letter):
    """Mean of a modality's features, each standardised: the documented s before its own standardisation. (N,)"""
    x = samples.values[f"m{'ABCD'.index(letter)}"].astype(float)
    return ((x - x.mean(0)) / x.std(0)).mean(1)


def logistic_chances(drive, strength, rate):
    """The documented chances, written out. (N,)"""
    s = (drive - drive.mean()) / drive.std()
    return expit(brentq(lambda a: expit(a + strength * s).mean() - rate, -50, 50) + strength * s)


DRIVES = {
    "mar(A->B,2,0.4)": lambda samples: height(samples, "A"),
    "mnar(B|value,2,0.4)": lambda samples: height(samples, "B"),
    "mnar(B|label,2,0.4)": lambda samples: samples.target.astype(float),
}
OTHERS = {
    "A": lambda samples: height(samples, "A"),
    "B": lambda samples: height(samples, "B"),
    "C": lambda samples: height(samples, "C"),
    "label": lambda samples: samples.target.astype(float),
    "row": lambda samples: np.arange(len(samples), dtype=float),
}
NAMED = {"mar(A->B,2,0.4)": "A", "mnar(B|value,2,0.4)": "B", "mnar(B|label,2,0.4)": "label"}


@pytest.mark.parametrize("text", DRIVES)
def test_chances_are_the_documented_logistic_ones_at_the_stated_rate(text):
    samples = samples_of(20_000)
    expected = logistic_chances(DRIVES[text](samples), 2, 0.4)
    assert parse_rule(text).terms[0].chances(samples, samples) == pytest.approx(expected, abs=1e-6)
    hidden = ~left_by(text, samples)
    assert not hidden[:, [0, 2, 3]].any()
    assert hidden[:, 1].mean() == pytest.approx(0.4, abs=0.01)
    for low, high in zip(*(np.quantile(expected, np.linspace(0, 1, 6))[s] for s in (slice(0, 5), slice(1, 6))), strict=True):
        here = (expected >= low) & (expected <= high)
        assert hidden[here, 1].mean() == pytest.approx(expected[here].mean(), abs=0.03)


def asking(kind, samples, unit=1.0):
    """The same rows asked for a value in some unit, or for two labels of which some are not known; and what drives `mnar(B|label)`."""
    if kind == "value":
        told = unit * (50 + samples.target + np.random.default_rng(3).normal(size=len(samples)))
        return replace(samples, schema=replace(samples.schema, target=Value("stay", "days")), target=told), told
    told = np.stack([samples.target > 0, samples.target > 1], 1).astype(np.int64)
    told[::4, 1] = told[::8, 0] = -1
    drive = [np.mean([one for one in row if one >= 0]) if (row >= 0).any() else np.nan for row in told]
    return replace(samples, schema=replace(samples.schema, target=Labels(("some", "much"))), target=told), np.array(drive)


@pytest.mark.parametrize(("kind", "unit"), [("value", 1.0), ("value", 1e-12), ("value", 1e9), ("labels", 1.0)])
def test_label_means_the_value_or_the_share_of_known_labels(kind, unit):
    samples, drive = asking(kind, samples_of(4000), unit)
    known = np.isfinite(drive)
    assert known.all() == (kind == "value")
    chances = parse_rule("mnar(B|label,2,0.4)").terms[0].chances(samples, samples)
    assert chances[known] == pytest.approx(logistic_chances(drive[known], 2, 0.4), abs=1e-6)
    assert (chances[~known] == 0.4).all()  # nothing is known of them: the stated rate
    hidden = ~left_by("mnar(B|label,2,0.4)", samples)
    assert not hidden[:, [0, 2, 3]].any()
    assert hidden[:, 1].mean() == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("text", DRIVES)
def test_mask_is_independent_of_all_but_its_driver(text, other):
    """Conditional randomisation: given the chances of the driver, masks drawn anew covary with anything else as the mask does.

    Without that condition everything covaries with the mask here, for one hidden number moves all: the test can see a dependence.
    """
    samples, rng = samples_of(4000, seed=1), np.random.default_rng(0)
    hidden, x = ~left_by(text, samples)[:, 1], OTHERS[other](samples)
    x = (x - x.mean()) / x.std()
    chances = logistic_chances(DRIVES[text](samples), 2, 0.4)
    anew = rng.random((999, len(samples))) < chances  # (R, N)
    found, expected = hidden @ x, anew @ x
    p = (1 + (np.abs(expected - expected.mean()) >= abs(found - expected.mean())).sum()) / 1000
    assert p > 0.01
    if other != "row":
        shuffled = rng.permuted(np.tile(hidden, (999, 1)), axis=1) @ x
        assert (np.abs(shuffled) >= abs(found)).mean() < 0.01


@pytest.mark.parametrize("text", DRIVES)
def test_mask_does_not_move_with_what_its_rule_does_not_name(text):
    samples = samples_of(300)
    left, rng = left_by(text, samples), np.random.default_rng(3)
    for letter in "ABCD":
        name = f"m{'ABCD'.index(letter)}"
        changed = replace(samples, values={**samples.values, name: rng.normal(size=(300, 3)).astype(np.float32)})
        assert np.array_equal(left_by(text, changed), left) == (letter != NAMED[text])
    relabelled = replace(samples, target=rng.permutation(samples.target))
    assert np.array_equal(left_by(text, relabelled), left) == (NAMED[text] != "label")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 2, 7, 300]), st.floats(-1000, 1000), st.floats(1e-6, 0.999999))
def test_intercept_gives_the_rate_whatever_the_strength(seed, rows, strength, rate):
    drive = np.random.default_rng(seed).normal(size=rows) if rows != 2 else np.array([-1.0, 1.0])
    assert expit(intercept(strength * drive, rate) + strength * drive).mean() == pytest.approx(rate, abs=1e-9)


def test_strength_zero_is_mcar():
    samples = samples_of(500)
    plain = left_by("mcar(B=0.4)", samples)
    assert all(np.array_equal(left_by(text, samples), plain) for text in ("mar(A->B,0,0.4)", "mnar(B|value,0,0.4)", "mnar(B|label,0,0.4)"))


@pytest.mark.parametrize("strength", [-3, 3])
def test_sign_of_the_strength_says_which_values_go(strength):
    samples = samples_of(3000)
    hidden = ~left_by(f"mnar(B|value,{strength},0.3)", samples)[:, 1]
    assert np.sign(height(samples, "B")[hidden].mean()) == np.sign(strength)


def test_row_without_the_source_is_hidden_at_the_stated_rate():
    observed = np.ones((20_000, 4), dtype=bool)
    observed[::2, 0] = False
    samples = samples_of(20_000, observed=observed)
    hidden = ~left_by("mar(A->B,4,0.3)", samples)[:, 1]
    assert hidden[::2].mean() == pytest.approx(0.3, abs=0.01)
    assert hidden[1::2].mean() == pytest.approx(0.3, abs=0.01)
    assert abs(np.corrcoef(hidden[::2], height(samples, "A")[::2])[0, 1]) < 0.02


def test_training_rows_alone_set_the_chances():
    train, test = samples_of(2000, seed=1), samples_of(2000, seed=2)
    shifted = replace(test, values={name: array + 6 for name, array in test.values.items()})
    left, more = left_by("mar(A->B,2,0.3)", test, train=train), left_by("mar(A->B,2,0.3)", shifted, train=train)
    assert (~left[:, 1]).mean() == pytest.approx(0.3, abs=0.03)
    assert (~more[:, 1]).mean() > 0.6
    half = np.arange(1000)
    assert np.array_equal(left_by("mar(A->B,2,0.3)", test.rows(half), train=train)[:, 0], left[:1000, 0])


def test_constant_source_gives_the_stated_rate():
    samples = samples_of(5000)
    flat = replace(samples, values={**samples.values, "m0": np.ones((5000, 3), dtype=np.float32)})
    assert (~left_by("mar(A->B,5,0.2)", flat)[:, 1]).mean() == pytest.approx(0.2, abs=0.02)


def test_single_missing_features_and_padding_are_left_out_of_the_driver():
    samples = samples_of(200)
    samples.values["m0"][::3, 1] = np.nan
    chances = parse_rule("mar(A->B,2,0.3)").terms[0].chances(samples, samples)
    assert np.isfinite(chances).all()
    assert chances.mean() == pytest.approx(0.3)


def test_driver_that_no_training_row_shows_is_explained():
    observed = np.ones((40, 4), dtype=bool)
    observed[:, 0] = False
    with pytest.raises(UsageError, match="no training row observes A and B"):
        left_by("mar(A->B,2,0.3)", samples_of(40, observed=observed))


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
        ("mcar( V = 0.10 , A=0.5)", 0.3, "mcar(V=0.1,A=0.5)"),
        ("mcar(0.12345678)", None, "mcar(0.12345678)"),
        ("natural + mcar(0.3)", None, "mcar(0.3)"),
        ("fixed(VT)+ mcar", 0.3, "fixed(VT)+mcar(0.3)"),
        ("keep( 2 )", None, "keep(2)"),
        ("block(group)", 0.2, "block(group,0.2)"),
        ("block(group,V=0.2)", None, "block(group,V=0.2)"),
        ("mar(A -> B, 2)", None, "mar(A->B,2,0.5)"),
        ("mar(A->B,2)", 0.3, "mar(A->B,2,0.3)"),
        ("mar(A->B,-1.5,1e-3)", 0.3, "mar(A->B,-1.5,0.001)"),
        ("mnar(B | value, 2)", None, "mnar(B|value,2,0.5)"),
        ("test=mnar(B|label,2,0.1)+block(group)", 0.3, "train=natural;valid=natural;test=mnar(B|label,2,0.1)+block(group,0.3)"),
    ],
)
def test_protocols_have_one_canonical_text(text, noise, canonical):
    protocol = parse_protocol(text, noise)
    assert str(protocol) == canonical
    assert parse_protocol(canonical) == protocol
    assert parse_protocol(canonical).hash() == protocol.hash()
    assert split_list(f"{canonical}, {canonical}") == [canonical, canonical]


numbers = st.floats(-50, 50).map(lambda value: f"{value!r}")
letter_rates = st.dictionaries(st.sampled_from("ABCD"), rates, min_size=1).map(lambda d: ",".join(f"{k}={v!r}" for k, v in d.items()))
one_or_many = st.one_of(rates.map(repr), letter_rates)
pairs = st.permutations("ABCD").map(lambda order: f"{order[0]}->{order[1]}")
terms = st.one_of(
    st.just("natural"),
    one_or_many.map("mcar({})".format),
    st.permutations("ABCD").flatmap(lambda order: st.integers(1, 4).map(lambda k: f"fixed({''.join(order[:k])})")),
    st.integers(1, 4).map("keep({})".format),
    one_or_many.map("block(group,{})".format),
    st.builds("mar({},{},{!r})".format, pairs, numbers, rates),
    st.builds("mnar({}|{},{},{!r})".format, st.sampled_from("ABCD"), st.sampled_from(["label", "value"]), numbers, rates),
)
rules = st.lists(terms, min_size=1, max_size=3).map(" + ".join)


@settings(max_examples=200, deadline=None)
@given(rules, rules)
def test_canonical_text_reads_back_to_the_same_protocol(train, test):
    protocol = parse_protocol(f"train={train};test={test}")
    assert parse_protocol(str(protocol)) == protocol
    placed = protocol.on(SCHEMA, True)
    assert parse_protocol(str(placed)) == placed == placed.on(SCHEMA, True)


@pytest.mark.parametrize(
    ("text", "placed"), [("fixed(DB)", "fixed(BD)"), ("mcar(D=0.1,A=0.2)", "mcar(A=0.2,D=0.1)"), ("mcar", "mcar(0.3)")]
)
def test_letters_are_put_into_dataset_order(text, placed):
    assert str(parse_protocol(text, 0.3).on(SCHEMA, False)) == placed


@pytest.mark.parametrize(
    ("text", "noise", "shape"),
    [
        ("mcar(0.3)", 0.3, "mcar"),
        ("natural", None, "natural"),
        ("mcar(A=0.1,B=0.3)", None, "mcar(A=0.1,B=0.3)"),
        ("fixed(AB)+mcar(0.3)", 0.3, "fixed(AB)+mcar"),
        ("block(group,0.3)", 0.3, "block(group)"),
        ("mar(A->B,2,0.3)", 0.3, "mar(A->B,2)"),
        ("mnar(B|label,2,0.3)", 0.3, "mnar(B|label,2)"),
        ("mcar(0.1)+block(group,0.3)", None, "mcar(0.1)+block(group,0.3)"),
        ("train=mcar(0.2);test=mcar(0.5)", 0.5, "train=mcar;valid=natural;test=mcar"),
    ],
)
def test_shape_is_the_protocol_without_its_noise_level(text, noise, shape):
    protocol = parse_protocol(text)
    assert (protocol.noise, protocol.shape) == (noise, shape)
    assert noise is None or parse_protocol(shape, noise).test == protocol.test
    assert takes_noise(shape) == (noise is not None)


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("mcar(0.3)", "mcar(0.5)"),
        ("natural", "mcar(0.5)"),
        ("fixed(AB)", "fixed(AB)+mcar(0.5)"),
        ("keep(2)", "keep(2)+mcar(0.5)"),
        ("mcar(A=0.1,B=0.3)", "mcar(0.5)"),
        ("fixed(AB)+mar(A->B,2,0.1)", "fixed(AB)+mar(A->B,2,0.5)"),
        ("block(group,0.1)", "block(group,0.5)"),
    ],
)
def test_rule_moves_to_another_rate(text, moved):
    assert str(parse_rule(text).at(0.5)) == moved


@settings(max_examples=50, deadline=None)
@given(rules, st.sets(rates, max_size=3), st.sets(st.sampled_from(["all", "A", "DB", "BD", "ABC"])))
def test_rules_of_evaluations_are_canonical_sorted_and_say_what_they_stand_for(text, levels, combinations):
    found = evaluation_rules(parse_rule(text), SCHEMA, levels, combinations)
    at = [evaluated_at(rule) for rule in found]
    letters = [combination for _, combination in at if combination is not None]
    assert all(str(parse_rule(rule)) == rule for rule in found)
    assert [rate for rate, _ in at if rate is not None] == sorted(levels)
    assert letters == sorted(letters, key=lambda combination: (len(combination), combination))
    assert set(letters) == (set(SUBSETS) if "all" in combinations else {"".join(sorted(c)) for c in combinations})


SUBSETS = ("A", "B", "C", "D", "AB", "AC", "AD", "BC", "BD", "CD", "ABC", "ABD", "ACD", "BCD", "ABCD")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mcar(1)", r"must be in \[0, 1\), got 1"),
        ("mcar(-0.1)", r"must be in \[0, 1\)"),
        ("mcar(nan)", r"must be in \[0, 1\)"),
        ("mcar(x)", "must be a number"),
        ("mcar", "mcar needs a missing rate"),
        ("mcra(0.3)", "did you mean 'mcar'"),
        ("mcar(A=0.1,0.3)", "one rate or a rate for each"),
        ("mcar(0.1,0.3)", "one rate or a rate for each"),
        ("mcar(A=0.1,A=0.3)", "names modality A twice"),
        ("mcar(A=1.5)", r"must be in \[0, 1\), got 1.5"),
        ("fixed", "needs the letters"),
        ("fixed(AA)", "names a modality twice"),
        ("natural(2)", "takes no argument"),
        ("keep", "how many modalities are left"),
        ("keep(0)", "1 or more"),
        ("keep(1.5)", "1 or more"),
        ("block(0.3)", "known: group"),
        ("block", r"write block\(group,0.3\)"),
        ("block(group)", "block needs a missing rate"),
        ("mar(A->A,2)", r"must differ, got 'A->A'; write mnar\(A\|value"),
        ("mar(A,2)", "reads mar"),
        ("mar(A->B)", "reads mar"),
        ("mar(A->B,strong)", r"must be a number in \[-1000, 1000\]"),
        ("mar(A->B,nan)", r"must be a number in \[-1000, 1000\]"),
        ("mnar(B|value,1e4)", r"must be a number in \[-1000, 1000\], such as 2, got '1e4'"),
        ("mar(A->B,2,1)", r"must be in \[0, 1\), got 1"),
        ("mnar(B|lable,2)", "did you mean 'label'"),
        ("mnar(B,2)", "reads mnar"),
        ("trian=natural", "did you mean 'train'"),
        ("trian=mcar(A=0.1)", "did you mean 'train'"),
        ("train=natural;train=natural", "names part 'train' twice"),
        ("mcar(0.3", "name or name\\(argument\\)"),
        ("mcar(0.3)+", "name or name\\(argument\\)"),
    ],
)
def test_bad_protocols_are_explained(text, message):
    with pytest.raises(UsageError, match=message) as raised:
        parse_protocol(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fixed(AX)", r"fixed\(AX\) names modalities that are not in 'ABCD': X"),
        ("train=mcar(Y=0.1)", "not in 'ABCD': Y"),
        ("mar(X->A,2)", "not in 'ABCD': X"),
        ("mnar(X|label,2)", "not in 'ABCD': X"),
        ("keep(5)", r"keep\(5\) keeps more modalities .* at most 4"),
        ("block(group,0.1)", "needs samples with groups, and these have none"),
    ],
)
def test_protocol_that_cannot_act_on_the_samples_is_explained(text, message):
    with pytest.raises(UsageError, match=message):
        parse_protocol(text).on(SCHEMA, grouped=False)


def test_parts_are_hidden_each_by_its_own_rule(make_samples):
    samples = replace(make_samples(n=300, missing=0.0), groups=np.array([f"g{i % 60}" for i in range(300)]))
    protocol = parse_protocol("train=block(group,0.4);valid=keep(2);test=mar(A->B,2,0.5)+mcar(G=0.1)")
    parts = build_parts(Dataset(), samples, "ABG", protocol, 0, 0, "training")
    train, valid, test = (part.samples for part in parts.named().values())
    for group in np.unique(train.groups):
        assert len(np.unique(train.observed[train.groups == group], axis=0)) == 1
    assert (valid.observed.sum(1) == 2).all()
    assert test.observed[:, 0].all()
    assert 0.3 < (~test.observed[:, 1]).mean() < 0.7
    assert isinstance(protocol, Protocol)


@pytest.mark.parametrize("rule", ["mcar(0.3)", "block(group,0.3)", "mar(A->B,2,0.3)", "mnar(B|label,2,0.3)"])
def test_test_mask_does_not_move_with_the_training_seed_or_rule(make_samples, rule):
    samples = replace(make_samples(n=200, missing=0.1), groups=np.arange(200) // 2)
    masks = {
        build_parts(Dataset(), samples, "ABG", parse_protocol(f"train={train};test={rule}"), seed, 0, "training").test.mask
        for seed, train in ((0, "natural"), (1, "mcar(0.6)"))
    }
    assert len(masks) == 1


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
    assert tuple(part.mask for part in parts.named().values()) == masks


def test_published_trials_keep_their_ids_and_protocols():
    lines = (Path(__file__).parents[2] / "leaderboards" / "quick" / "records.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    stored = [(line["id"], Trial(**line["trial"])) for line in found if "trial" in line]
    assert len(stored) > 100
    assert all(trial.id == id_ and str(parse_protocol(trial.protocol)) == trial.protocol for id_, trial in stored)
