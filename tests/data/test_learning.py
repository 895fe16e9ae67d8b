"""bench/data/learning.py: what a dataset learns comes from visible training cells alone, and changes nothing but values and shapes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.grammar import parse_protocol, parse_rule
from bench.data.learning import Learnt
from bench.data.parts import Scaler, build_parts, split_rows
from bench.datasets.base import Dataset, Modality, Samples, Schema
from bench.errors import UsageError
from bench.inspection.profile import profiles, trials_of
from bench.question.plan import plan
from bench.question.suite import read_suite, with_options
from bench.training.timing import timed
from bench.training.trial import run_trial

KEPT = 4  # terms
TERMS = 30


def counts(n=90, seed=0, gaps=0.2):
    """Rows of term counts under A and two numbers under B; terms have chances alike, so that the commonest depend on the rows."""
    rng = np.random.default_rng(seed)
    schema = Schema((Modality("alpha", "A", "vector", (TERMS,)), Modality("beta", "B", "vector", (2,))), ("no", "yes"))
    values = {"alpha": rng.poisson(0.4, (n, TERMS)).astype(np.float32), "beta": rng.normal(size=(n, 2)).astype(np.float32)}
    observed = np.stack([rng.random(n) >= gaps, np.ones(n, dtype=bool)], axis=1)
    return Samples(schema, values, observed, np.arange(n) % 2, np.array([f"row{i}" for i in range(n)]), np.arange(n) // 2).sealed()


class Counted(Dataset):
    """Learns the commonest terms of A and their share of the training rows; `seen` holds what it learnt them from."""

    title = "counted"
    keeps_groups = False

    def __init__(self, samples=None):
        self.samples = counts() if samples is None else samples

    def load(self):
        return self.samples

    def learn(self, train):
        self.seen = train
        there = (np.nan_to_num(train.values["alpha"]) > 0).sum(0)
        self.terms = np.sort(np.argsort(-there, kind="stable")[:KEPT])
        weights = (there[self.terms] / len(train)).astype(np.float32)
        return lambda samples: samples.with_values({"alpha": np.log1p(samples.values["alpha"][:, self.terms]) * weights})


def build(dataset, protocol="mcar(0.3)", seed=0, vary="training", combination="AB", test=True):
    return build_parts(dataset, dataset.samples, combination, parse_protocol(protocol), seed, 0, vary, test)


def same(one, other):
    assert all(np.array_equal(one.values[name], other.values[name], equal_nan=True) for name in one.values)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1000), fill=st.sampled_from([0.0, 7.0, 1e6]), rate=st.sampled_from([0.0, 0.3, 0.6]))
def test_other_parts_and_hidden_training_cells_teach_nothing(seed, fill, rate):
    dataset = Counted(counts(seed=seed))
    parts = build(dataset, f"mcar({rate})", seed)
    visible = np.isin(dataset.samples.ids, parts.train.samples.ids[parts.train.samples.observed[:, 0]])
    values = {name: array.copy() for name, array in dataset.samples.values.items()}
    values["alpha"][~visible] = fill
    other = Counted(replace(dataset.samples, values=values))
    assert np.array_equal(dataset.terms, (build(other, f"mcar({rate})", seed), other.terms)[1])
    same(dataset.seen, other.seen)
    same(parts.train.samples, build(other, f"mcar({rate})", seed).train.samples)


def test_it_learns_from_the_rows_that_a_method_is_trained_on():
    dataset = Counted()
    train = build(dataset).train.samples
    assert np.array_equal(dataset.seen.ids, train.ids)
    assert np.array_equal(dataset.seen.observed, train.observed)
    assert np.isnan(dataset.seen.values["alpha"][~train.observed[:, 0]]).all()


def test_another_split_learns_another_vocabulary():
    found = []
    for seed in range(3):
        dataset = Counted()
        build(dataset, seed=seed, vary="split")
        rows = split_rows(dataset, dataset.samples, seed)["train"]
        assert set(dataset.seen.ids) <= set(dataset.samples.ids[rows])
        found.append(tuple(dataset.terms))
    assert len(set(found)) == 3


def test_every_part_and_rule_has_the_learnt_shapes_and_is_scaled_after():
    dataset = Counted()
    parts = build(dataset)
    under = parts.under(parse_rule("fixed(A)"))
    for part in (parts.train, parts.valid, parts.test, under):
        assert part.samples.schema.modalities[0].shape == part.samples.values["alpha"].shape[1:] == (KEPT,)
        assert np.isnan(part.samples.values["alpha"][~part.samples.observed[:, 0]]).all()
    seen = parts.train.samples.values["alpha"][parts.train.samples.observed[:, 0]]
    assert np.allclose(seen.mean(0), 0, atol=1e-5)
    assert np.allclose(seen.std(0), 1, atol=1e-4)
    built = build(dataset, "train=mcar(0.3);valid=mcar(0.3);test=fixed(A)").test
    same(under.samples, built.samples)
    assert (under.mask, under.missing) == (built.mask, built.missing)


def test_rows_for_a_known_posterior_stay_as_they_were_loaded():
    dataset = Counted()
    parts = build(dataset)
    for part in (parts.test, parts.under(parse_rule("natural"))):
        rows = np.isin(dataset.samples.ids, part.raw.ids)
        seen = part.raw.observed[:, 0]
        assert np.array_equal(part.raw.values["alpha"][seen], dataset.samples.values["alpha"][rows][seen])


@pytest.mark.parametrize("combination", ["A", "B", "AB"])
def test_it_learns_for_the_combination_in_use(combination):
    class Either(Counted):
        def learn(self, train):
            return super().learn(train) if "alpha" in train.values else None

    parts = build(Either(), combination=combination)
    assert parts.test.samples.schema.combination == combination
    assert [m.shape for m in parts.test.samples.schema] == [(KEPT,)] * ("A" in combination) + [(2,)] * ("B" in combination)


def test_without_a_test_part_its_rows_are_not_looked_up_and_shapes_agree():
    class Careful(Counted):
        def learn(self, train):
            change = super().learn(train)

            def asked(samples):
                assert len(samples)
                return change(samples)

            return asked

    parts = build(Careful(), test=False)
    assert len(parts.test) == 0
    assert parts.test.samples.schema == parts.train.samples.schema
    same(parts.valid.samples, build(Careful()).valid.samples)


def test_writing_into_the_rows_reaches_nobody():
    class Writing(Counted):
        def learn(self, train):
            change = super().learn(train)
            train.values["alpha"][:] = 0
            train.target[:] = 0

            def writing(samples):
                made = change(samples)
                samples.values["alpha"][:] = 5
                return made

            return writing

    before = counts().fingerprint()
    dataset = Writing()
    same(build(dataset).train.samples, build(Counted()).train.samples)
    assert dataset.samples.fingerprint() == before


def test_a_dataset_that_learns_nothing_keeps_its_rows_untouched(make_samples):
    train = make_samples()
    assert Learnt(Dataset(), train)(train) is train

    class Nothing(Dataset):
        def learn(self, train):
            return None

    assert Learnt(Nothing(), train)(train) is train


def other_kind(samples):
    sequence = Modality("alpha", "A", "sequence", (TERMS, 1))
    schema = replace(samples.schema, modalities=(sequence, samples.schema.modalities[1]))
    return replace(samples, schema=schema, values={**samples.values, "alpha": samples.values["alpha"][..., None]})


def beside_others(samples):
    return samples.with_values({"alpha": samples.values["alpha"] - np.nanmean(samples.values["alpha"])})


CHANGES = {
    "nothing": (lambda samples: None, "must give back Samples, got NoneType"),
    "fewer-rows": (lambda samples: samples.rows(np.arange(len(samples) - 1)), "must keep ids of every row"),
    "order": (lambda samples: samples.rows(np.arange(len(samples))[::-1]), "must keep ids of every row"),
    "labels": (lambda samples: replace(samples, target=1 - samples.target), "must keep target of every row"),
    "groups": (lambda samples: replace(samples, groups=None), "must keep groups of every row"),
    "split": (lambda samples: replace(samples, split=np.repeat("train", len(samples))), "must keep split of every row"),
    "observed": (lambda samples: replace(samples, observed=np.ones_like(samples.observed)), "must keep observed of every row"),
    "modality": (lambda samples: samples.select("A"), "must keep the names, letters and kinds of the modalities"),
    "kind": (other_kind, "must keep the names, letters and kinds of the modalities"),
    "classes": (lambda samples: replace(samples, schema=Schema(tuple(samples.schema), ("a", "b"))), "must keep .* kinds of .* the target"),
    "infinite": (lambda samples: samples.with_values({"beta": samples.values["beta"] * np.float32(np.inf)}), "beta holds infinite ones"),
    "emptied": (lambda samples: samples.with_values({"beta": samples.values["beta"] * np.float32(np.nan)}), "beta of sample .* lost all"),
    "batch": (beside_others, "must change each row by itself; alpha of sample .* is another beside other rows"),
    "row-count": (lambda samples: samples.with_values({"beta": np.ones((len(samples),) * 2, np.float32)}), "got A 30, B 1 and then A 30"),
    "fails": (lambda samples: samples.with_values({"delta": samples.values["beta"]}), "cannot be applied: ValueError: values may be of"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_more_than_values_and_shapes_is_refused_by_name(name):
    change, message = CHANGES[name]

    class Wrong(Counted):
        def learn(self, train):
            return change

    with pytest.raises(UsageError, match=f"what dataset 'counted' learnt .*{message}") as caught:
        build(Wrong())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("learn", "message"),
    [
        (lambda self, train: 7, "what dataset 'counted' learnt must be a function from samples to samples, or None, got int"),
        (lambda self, train: 1 / 0, "dataset 'counted' cannot learn from its training rows: ZeroDivisionError: division by zero"),
    ],
    ids=["no-function", "raises"],
)
def test_what_cannot_be_learnt_is_refused_by_name(learn, message):
    with pytest.raises(UsageError, match=message):
        build(type("Wrong", (Counted,), {"learn": learn})())


def test_values_take_their_shape_into_the_schema(make_samples):
    samples = make_samples()
    made = samples.with_values({"beta": samples.values["beta"][:, :2]})
    assert [m.shape for m in made.schema] == [(5,), (2,), (5,)]
    assert made.values["alpha"] is samples.values["alpha"]
    with pytest.raises(ValueError, match="values may be of alpha, beta, gamma alone, got delta"):
        samples.with_values({"delta": samples.values["beta"]})


# a trial, from the plan to the record

FILE = """
import numpy as np

from bench.datasets.base import Dataset, Modality, Samples, Schema


class Terms(Dataset):
    title = "terms (SYNTHETIC)"
    source = licence = "none"
    synthetic = True

    def load(self):
        rng = np.random.default_rng(0)
        schema = Schema((Modality("alpha", "A", "vector", (9,)), Modality("beta", "B", "vector", (2,))), ("no", "yes"))
        target = np.arange(80) % 2
        values = {m.name: (target[:, None] + rng.normal(size=(80, *m.shape))).astype(np.float32) for m in schema}
        return Samples(schema, values, np.ones((80, 2), bool), target, np.array([f"r{i}" for i in range(80)]))

    def learn(self, train):
        kept = np.sort(np.argsort(-np.nanmean(train.values["alpha"], axis=0))[:3]) if "alpha" in train.values else None
        return None if kept is None else lambda samples: samples.with_values({"alpha": samples.values["alpha"][:, kept]})

    def posterior(self, samples):
        if samples.schema.modalities[0].shape != (9,):
            raise ValueError("a posterior is stated for rows as they were loaded")
        return np.full((len(samples), 2), 0.5)
"""


PARAMETERS = 5 + 2 * 7 + 7 + 1  # of the regression on 3 learnt and 2 other features: means, centre and scale with 2 indicators, weights


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "terms.py").write_text(FILE, encoding="utf-8")
    return f"{tmp_path}/terms.py:Terms"


def test_trials_of_every_kind_of_method_see_the_learnt_shapes(asked):
    options = {"methods": "mean-logistic,mean-mlp", "datasets": asked, "protocols": "mcar(0.2)", "seeds": "0",
               "test_combinations": "all", "training": {"epochs": 1}}  # fmt: skip
    trials = plan(with_options(read_suite("quick"), options))
    assert {trial.method for trial in trials} == {"mean-logistic", "mean-mlp", "bayes"}
    records = {trial.method: run_trial(trial)[0] for trial in trials}
    assert set(records["bayes"].facts.evaluations) == {"fixed(A)", "fixed(B)", "fixed(AB)"}
    assert records["mean-logistic"].cost["parameters"] == PARAMETERS
    assert timed(next(trial for trial in trials if trial.method == "mean-mlp"))[0].seconds > 0


def test_profile_measures_the_learnt_shapes(asked):
    found = {p.trial.method: p for p in profiles(trials_of(["mean-mlp", "bayes", "mean-logistic"], asked, noise=0.2))}
    assert {name: profile.reason for name, profile in found.items()} == {"mean-mlp": None, "bayes": None, "mean-logistic": None}
    assert found["mean-logistic"].cost["parameters"] == PARAMETERS


def test_scaling_is_fitted_on_what_was_learnt():
    dataset = Counted()
    parts = build(dataset, "natural")
    hidden = parts.hider("train", parse_protocol("natural").train)
    rows = hidden.rows(np.flatnonzero(hidden.observed.any(1)))
    same(Scaler(parts.learnt(rows))(parts.learnt(rows)), parts.train.samples)
