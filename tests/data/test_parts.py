"""bench/data/parts.py: splits are disjoint and fixed, scaling is fitted on train, hidden stays hidden."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli import main
from bench.data.grammar import parse_protocol, parse_rule
from bench.data.loading import load, loaded_once, preload
from bench.data.parts import Scaler, batch_rows, build_parts, split_rows
from bench.datasets.base import Dataset, Modality, Samples, Schema
from bench.datasets.breast_cancer import BreastCancer
from bench.datasets.digits import Digits
from bench.errors import UsageError
from bench.names import parse_choice
from bench.seeds import stream


class Given(Dataset):
    title = "given"

    def __init__(self, samples, parts=None):
        self.samples, self.official = samples, parts

    def load(self):
        return self.samples

    def parts(self, samples):
        return self.official


def build(samples, protocol="mcar(0.3)", seed=0, fixed_seed=0, vary="training", combination="ABG", dataset=None):
    return build_parts(dataset or Given(samples), samples, combination, parse_protocol(protocol), seed, fixed_seed, vary)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), n=st.integers(60, 200), classes=st.integers(2, 4))
def test_split_covers_every_row_once_and_every_class(make_samples, seed, n, classes):
    samples = make_samples(n=n, classes=classes)
    rows = split_rows(Given(samples), samples, seed)
    assert np.array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(n))
    assert all(len(np.unique(samples.target[part])) == classes for part in rows.values())
    assert abs(len(rows["test"]) / n - 0.15) < 0.02
    assert abs(len(rows["valid"]) / n - 0.15) < 0.02


def test_groups_are_never_torn_apart(make_samples):
    samples = make_samples(n=120)
    samples = replace(samples, groups=np.arange(120) // 6)
    rows = split_rows(Given(samples), samples, 0)
    groups = [set(samples.groups[part]) for part in rows.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 20


def test_modality_that_no_training_row_observes_is_hidden_everywhere(make_samples):
    parts = build(make_samples(n=60), "train=fixed(AB);valid=natural;test=natural")
    assert parts.unseen == ("gamma",)
    other = parts.under(parse_rule("fixed(BG)"))
    for part in (parts.train.samples, parts.valid.samples, parts.test.samples, parts.test.raw, other.samples, other.raw):
        assert not part.observed[:, 2].any()
        assert np.isnan(part.values["gamma"]).all()
    assert parts.test.samples.observed[:, :2].any(0).all()


def test_official_split_is_kept_and_an_overlap_refused(make_samples):
    samples = make_samples(n=12)
    parts = {"train": np.arange(6), "valid": np.arange(6, 9), "test": np.arange(9, 12)}
    assert split_rows(Given(samples, parts), samples, 7)["test"].tolist() == [9, 10, 11]
    with pytest.raises(UsageError, match="puts a row into two parts"):
        split_rows(Given(samples, {**parts, "test": np.arange(8, 12)}), samples, 7)


def test_class_too_small_to_split_is_explained(make_samples):
    samples = make_samples(n=30, classes=2)
    samples = replace(samples, target=np.eye(30, dtype=np.int64)[3])
    with pytest.raises(UsageError, match="needs 4 rows of every class, got 1 of 'class 1'"):
        split_rows(Given(samples), samples, 0)


def test_seed_varies_the_training_mask_alone(make_samples):
    samples = make_samples(n=120, missing=0.0)
    one, other = build(samples, seed=1), build(samples, seed=2)
    assert one.train.mask != other.train.mask
    assert (one.valid.mask, one.test.mask) == (other.valid.mask, other.test.mask)
    assert np.array_equal(one.test.samples.ids, other.test.samples.ids)


def test_vary_split_draws_everything_from_the_seed(make_samples):
    samples = make_samples(n=120, missing=0.0)
    one, other = build(samples, seed=1, vary="split"), build(samples, seed=2, vary="split")
    assert not np.array_equal(one.test.samples.ids, other.test.samples.ids)
    assert one.test.mask != other.test.mask


def test_a_sample_is_hidden_alike_in_every_combination(make_samples):
    samples = make_samples(n=120, missing=0.0)
    both, all_three = build(samples, combination="AB"), build(samples)
    seen, seen_of_three = both.test.samples.observed, all_three.test.samples.observed[:, :2]
    agree = (seen == seen_of_three).all(1)
    lost_both = ~seen_of_three.any(1)  # keeps one of A and B where only they exist
    assert (agree | lost_both).all()


def test_realised_missing_share_is_traced(make_samples):
    parts = build(make_samples(n=120, missing=0.0))
    for name, part in parts.named().items():
        assert parts.missing[name] == part.missing == pytest.approx(1 - part.samples.observed.mean())


def test_scaling_uses_observed_training_cells_alone(make_samples):
    samples = make_samples(n=120, missing=0.0)
    train = build(samples).train.samples
    for position, name in enumerate(samples.schema.names):
        seen = train.values[name][train.observed[:, position]]
        assert np.allclose(seen.mean(0), 0, atol=1e-5)
        assert np.allclose(seen.std(0), 1, atol=1e-4)
    shifted = {name: array.copy() for name, array in samples.values.items()}
    test_rows = split_rows(Given(samples), samples, 0)["test"]
    shifted["alpha"][test_rows] += 100
    again = build(replace(samples, values=shifted)).train.samples
    assert np.array_equal(again.values["alpha"], train.values["alpha"], equal_nan=True)


def test_hidden_values_do_not_reach_any_part(make_samples):
    samples = make_samples(n=120, missing=0.0)
    parts = build(samples)
    rows = split_rows(Given(samples), samples, 0)
    poisoned = {name: array.copy() for name, array in samples.values.items()}
    for part in ("valid", "test"):
        for position, name in enumerate(samples.schema.names):
            poisoned[name][rows[part][~parts.named()[part].samples.observed[:, position]]] = 1e6
    again = build(replace(samples, values=poisoned))
    for part, found in again.named().items():
        for name in samples.schema.names:
            assert np.array_equal(found.samples.values[name], parts.named()[part].samples.values[name], equal_nan=True)


def test_single_missing_features_become_the_training_mean(make_samples):
    samples = make_samples(n=40, missing=0.0)
    samples.values["alpha"][3, 2] = np.nan
    scaled = Scaler(samples)(samples)
    assert scaled.values["alpha"][3, 2] == 0
    assert np.isfinite(scaled.values["alpha"]).all()


def test_sequences_are_scaled_over_their_real_steps_alone():
    rng = np.random.default_rng(0)
    schema = Schema((Modality("sound", "S", "sequence", (6, 2)),), ("a", "b"))
    values = {"sound": (rng.normal(size=(30, 6, 2)) * [1, 5] + [3, -2]).astype(np.float32)}
    lengths, observed = rng.integers(1, 7, 30), np.ones((30, 1), dtype=bool)
    observed[0] = False
    samples = Samples(
        schema, values, observed, np.arange(30) % 2, np.array([f"r{i}" for i in range(30)]), lengths={"sound": lengths}
    ).sealed()
    padding = np.arange(6) >= lengths[:, None]
    samples.values["sound"][3, 0, 1] = np.nan  # a single feature that is missing in a real step
    parts = [samples.rows(np.arange(20)), samples.rows(np.arange(20, 30))]
    scaler = Scaler(parts[0])
    train, test = map(scaler, parts)
    steps = np.concatenate([values["sound"][row, : lengths[row]] for row in range(1, 20)]).astype(np.float64)
    mean, sd = steps[:, 0].mean(), steps[:, 0].std()
    assert train.values["sound"][3, 0, 1] == 0
    for part, rows in ((train, slice(0, 20)), (test, slice(20, 30))):
        assert np.array_equal(np.isnan(part.values["sound"][..., 0]), padding[rows] | ~observed[rows])
        real = ~np.isnan(part.values["sound"][..., 0])
        np.testing.assert_allclose(
            part.values["sound"][..., 0][real], (values["sound"][rows, :, 0][real] - mean) / sd, rtol=1e-4, atol=1e-5
        )
        assert part.lengths["sound"].tolist() == lengths[rows].tolist()


def test_features_that_do_not_vary_stay_finite(make_samples):
    samples = make_samples(n=40, missing=0.0)
    samples.values["alpha"][:, 1] = 5
    assert (Scaler(samples)(samples).values["alpha"][:, 1] == 0).all()


def test_infinite_values_are_refused(make_samples):
    samples = make_samples(n=40, missing=0.0)
    scaler = Scaler(samples)
    samples.values["alpha"][0, 0] = np.inf
    with pytest.raises(UsageError, match="modality 'alpha' holds infinite values"):
        scaler(samples)


def test_training_rows_that_observe_nothing_are_dropped_and_test_rows_kept(make_samples):
    samples = make_samples(n=120, missing=0.6)
    parts = build(samples, protocol="natural", combination="A")
    assert parts.train.samples.observed.any(1).all()
    assert not parts.test.samples.observed.any(1).all()
    assert len(parts.test) == len(split_rows(Given(samples), samples, 0)["test"])


@given(st.integers(1, 70), st.integers(1, 9))
def test_batches_cover_every_row_once_and_none_has_a_single_row(rows, size):
    batches = list(batch_rows(rows, size, stream(0, "order")))
    assert sorted(np.concatenate(batches).tolist()) == list(range(rows))
    assert all(len(batch) > 1 for batch in batches) or size == 1 or rows == 1
    assert all(len(batch) <= size + 1 for batch in batches)


RULES = ["natural", "mcar(0.3)", "mcar(A=0.1,B=0.5)", "fixed(AB)", "keep(2)", "block(group,0.3)", "mar(A->B,2,0.3)", "mnar(B|value,2,0.3)",
         "mnar(B|label,2,0.3)"]  # fmt: skip


@pytest.mark.parametrize("protocol", RULES)
def test_without_a_test_part_all_else_is_as_with_it(make_samples, protocol):
    """Rows of the test part, whatever their values, have no say in the other parts."""
    samples = make_samples(n=120)
    if "group" in protocol:
        samples = replace(samples, groups=np.arange(120) // 4)
    whole = build(samples, protocol)
    values = {name: array.copy() for name, array in samples.values.items()}
    for array in values.values():
        array[split_rows(Given(samples), samples, 0)["test"]] = np.inf
    spoilt = replace(samples, values=values)
    found = build_parts(Given(spoilt), spoilt, "ABG", parse_protocol(protocol), 0, 0, "training", test=False)
    assert len(found.test) == len(found.test.raw) == 0
    assert found.test.missing is None
    for part in ("train", "valid"):
        one, other = (parts.named()[part].samples for parts in (whole, found))
        assert np.array_equal(one.ids, other.ids)
        assert np.array_equal(one.observed, other.observed)
        assert all(np.array_equal(one.values[name], other.values[name], equal_nan=True) for name in one.values)
        assert whole.named()[part].mask == found.named()[part].mask
        assert whole.missing[part] == found.missing[part]


@pytest.mark.parametrize("rule", ["natural", "mcar(0.6)", "fixed(BG)", "keep(1)"])
def test_test_part_under_another_rule_is_that_of_the_protocol_with_this_rule(make_samples, rule):
    samples = make_samples(n=120)
    found = build(samples, "mcar(0.3)").under(parse_rule(rule))
    built = build(samples, f"train=mcar(0.3);valid=mcar(0.3);test={rule}").test
    assert (found.mask, found.missing) == (built.mask, built.missing)
    for one, other in ((found.samples, built.samples), (found.raw, built.raw)):
        assert all(np.array_equal(one.values[name], other.values[name], equal_nan=True) for name in one.values)


def test_unscaled_rows_are_kept_of_the_test_part_alone(make_samples):
    samples = make_samples(n=60)
    parts = build(samples)
    rows = split_rows(Given(samples), samples, 0)["test"]
    seen = parts.test.raw.observed[:, 0]
    assert np.array_equal(parts.test.raw.values["alpha"][seen], samples.values["alpha"][rows][seen], equal_nan=True)
    assert parts.train.raw is parts.valid.raw is None


@pytest.mark.parametrize("name", ["digits[", "no-such-dataset", "digits[no_such_option=1]"])
def test_preload_leaves_a_dataset_that_does_not_load_to_its_trials(name):
    with loaded_once():
        preload(name)  # raising would end the fork server, and with it every trial
    with pytest.raises(UsageError):
        load(parse_choice(name))


@pytest.fixture
def loads(monkeypatch):
    """The datasets that this process loads, each time it does."""
    found = []
    for cls in (BreastCancer, Digits):
        original = cls.load
        monkeypatch.setattr(cls, "load", lambda dataset, original=original: found.append(dataset.title) or original(dataset))
    return found


SMALL = ["--datasets", "breast-cancer,digits", "--noise", "0,0.3", "--epochs", "1"]


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--methods", "constant,mean-logistic", "--seeds", "0-1", "--until-resolved", "constant,mean-logistic", *SMALL],
        ["run", "--methods", "constant,mean-mlp", "--seeds", "0-1", "--dry-run", *SMALL],
        ["tune", "--methods", "mean-logistic", "--suggestions", "1", *SMALL],
        ["analyze", "supports", "--methods", "m3care", "--datasets", "breast-cancer,digits", "--noise", "0.2,0.3", "--set", "epochs=1"],
        ["analyze", "cost", "--methods", "constant,mean-mlp", "--datasets", "breast-cancer,digits", "--noise", "0,0.3"],
        ["profile", "constant", "mean-mlp", "--dataset", "digits", "--noise", "0.3"],
    ],
    ids=lambda command: " ".join(command[:2] + command[-1:]),
)
@pytest.mark.slow
def test_command_loads_each_dataset_once(command, loads, tmp_path):
    out = [] if command[0] == "profile" else ["--out", str(tmp_path)]
    done = CliRunner().invoke(main, [*command, "-q", *out])
    assert done.exit_code == 0, done.output
    assert len(loads) == len(set(loads)) == (1 if command[0] == "profile" else 2)


def test_what_a_command_loaded_is_forgotten_with_it(loads):
    for _ in range(2):
        with loaded_once(), loaded_once():
            assert load(parse_choice("digits"))[1] is load(parse_choice("digits"))[1]
    assert len(loads) == 2
