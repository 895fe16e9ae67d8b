"""What every listed method owes the suite, in every preset. A method joins by being listed in the catalog."""

from __future__ import annotations

import dataclasses
import importlib
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bench.datasets.base import Batch, Modality, Samples, Schema, as_batch
from bench.methods.base import Estimator, Method
from bench.methods.catalog import CEILING, METHODS, PAPER

ROWS, EPOCHS, BATCH = 16, 4, 8
SMALL = {  # those a Config has are used
    "width": 16, "tokens": 2, "epochs": EPOCHS, "batch_size": BATCH, "hidden": 16, "n_experts": 6, "layers": 2, "rounds": 5,
}  # fmt: skip

# Parameters that a preset leaves untrained: (method, preset) -> start of their names -> reason.
UNTRAINED: dict[tuple[str, str], dict[str, str]] = {}


def class_of(name: str) -> type:
    module, attribute = METHODS[name].split(":")
    return getattr(importlib.import_module(module), attribute)


LISTED = {name: class_of(name) for name in METHODS if name != CEILING}
CASES = [(name, preset) for name, cls in LISTED.items() if issubclass(cls, Method) for preset in cls.presets]
ESTIMATORS = [(name, preset) for name, cls in LISTED.items() if issubclass(cls, Estimator) for preset in cls.presets]
INDEPENDENT = [  # released code of some methods looks at the whole batch, in evaluation too
    (name, preset)
    for name, preset in CASES
    if "batch-mate" not in LISTED[name].declared(LISTED[name].Config(**LISTED[name].presets[preset]))
]

every_method = pytest.mark.parametrize("case", CASES, ids="-".join)
every_estimator = pytest.mark.parametrize("case", ESTIMATORS, ids="-".join)


def config_of(case):
    """The preset at small sizes; where two tokens are not valid, the preset's own number."""
    cls = LISTED[case[0]]
    fields = {field.name for field in dataclasses.fields(cls.Config)}
    settings = dict(cls.presets[case[1]]) | {key: value for key, value in SMALL.items() if key in fields}
    try:
        return cls.Config(**settings)
    except ValueError:
        return cls.Config(**{key: value for key, value in settings.items() if key != "tokens"})


def method_of(case, train, init=0) -> Method:
    torch.manual_seed(init)
    method = LISTED[case[0]](train.schema, config_of(case))
    method.seed(0)
    method.prepare(train)
    return method


def loss_of(method: Method, batch: Batch) -> torch.Tensor:
    prediction = method(batch)
    assert prediction.logits.shape == (len(batch), len(method.schema.classes))
    assert prediction.logits.isfinite().all()
    return F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())


def assert_finite_gradients(method: Method) -> None:
    for name, parameter in method.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def fit(method: Method, train, after_step=None) -> Method:
    """The suite's training loop in small, Adam on cross entropy plus penalties; of all epochs the first and the last."""
    batch, optimiser = as_batch(train), torch.optim.Adam(method.parameters(), 1e-3)
    for epoch in (0, EPOCHS - 1):
        method.train()
        method.on_epoch(epoch, EPOCHS)
        for rows in torch.arange(len(batch)).split(BATCH):
            optimiser.zero_grad()
            loss_of(method, batch.rows(rows)).backward()
            if after_step is not None:
                after_step()
            optimiser.step()
    return method


def evaluated(method: Method) -> Method:
    method.eval()
    with torch.no_grad():
        method.on_evaluate()
    return method


def logits_of(method: Method, batch: Batch) -> torch.Tensor:
    """Logits of a part without labels, as the suite gives it; draws restart at the same seed."""
    method.seed(0)
    with torch.no_grad():
        prediction = method(dataclasses.replace(batch, target=torch.full_like(batch.target, -1)))
    assert not prediction.penalties  # there is nothing to train, and no label to compute them from
    return prediction.logits


FITTED: dict[tuple[str, str], tuple[Method, set[str]]] = {}


@pytest.fixture
def fitted(make_samples):
    """The method of a case after one short training, shared by the tests that only evaluate it; FITTED holds what was trained."""

    def get(case) -> Method:
        if case not in FITTED:
            method, trained = method_of(case, make_samples(n=ROWS)), set()

            def look():
                assert_finite_gradients(method)
                trained.update(name for name, p in method.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0)

            FITTED[case] = evaluated(fit(method, make_samples(n=ROWS), after_step=look)), trained
        return FITTED[case][0].eval()

    return get


# ---- methods trained by the suite


@every_method
def test_every_parameter_is_trained(case, fitted):
    method = fitted(case)
    idle = {name for name, parameter in method.named_parameters() if parameter.requires_grad} - FITTED[case][1]
    documented = UNTRAINED.get(case, {})
    assert {name for name in idle if not name.startswith(tuple(documented))} == set()
    for start in documented:  # an entry that no longer holds must go
        assert any(name.startswith(start) for name in idle), start


@every_method
def test_logits_are_finite_scores_of_each_class(case, fitted, make_batch):
    logits = logits_of(fitted(case), make_batch(n=10, seed=1))
    assert logits.shape == (10, 3)
    assert logits.isfinite().all()


@every_method
def test_same_seed_gives_the_same_numbers(case, fitted, make_samples, make_batch):
    batch, train = make_batch(n=10, seed=1), make_samples(n=ROWS)
    expected = logits_of(fitted(case), batch)
    assert torch.equal(logits_of(evaluated(fit(method_of(case, train), train)), batch), expected)


@every_method
def test_hidden_values_never_reach_logits(case, fitted, make_batch):
    method, batch = fitted(case), make_batch(n=10, seed=1)
    expected = logits_of(method, batch)
    payload = torch.tensor(0x7FC12345, dtype=torch.int32).view(torch.float32)  # another NaN
    for hidden in (torch.tensor(1e30), torch.tensor(torch.inf), payload):
        columns = zip(batch.inputs.items(), batch.observed.unbind(1), strict=True)
        inputs = {name: torch.where(seen.unsqueeze(1), x, hidden) for (name, x), seen in columns}
        assert torch.equal(logits_of(method, Batch(inputs, batch.observed, batch.target, batch.index)), expected)


@pytest.mark.parametrize("case", INDEPENDENT, ids="-".join)
def test_batch_mates_change_nothing_unless_stated(case, fitted, make_batch):
    method, batch = fitted(case), make_batch(n=10, seed=1)
    whole = logits_of(method, batch)
    for rows in (torch.arange(3), torch.tensor([9, 2, 5, 7]), torch.tensor([4])):
        torch.testing.assert_close(logits_of(method, batch.rows(rows)), whole[rows], rtol=0, atol=1e-5)


@every_method
def test_saved_state_gives_equal_logits(case, fitted, make_samples, make_batch):
    method, fresh = fitted(case), method_of(case, make_samples(n=ROWS), init=1)
    fresh.load_state_dict({key: value.clone() for key, value in method.state_dict().items()})
    batch = make_batch(n=10, seed=1)
    assert torch.equal(logits_of(evaluated(fresh), batch), logits_of(method, batch))


@every_method
@pytest.mark.parametrize("sizes", [{"modalities": 1}, {"classes": 2}], ids=["one-modality", "two-classes"])
def test_other_schemas_work(case, sizes, make_samples, make_batch):
    train = make_samples(n=BATCH, **sizes)
    method = fit(method_of(case, train), train)
    assert_finite_gradients(method)
    logits = logits_of(evaluated(method), make_batch(n=5, seed=1, **sizes))
    assert logits.shape == (5, sizes.get("classes", 3))
    assert logits.isfinite().all()


def without_beta(samples):
    """Rows that observe something else than the second modality, with that one hidden."""
    samples = samples.rows(np.flatnonzero(samples.observed[:, [0, 2]].any(1)))
    hidden = np.zeros_like(samples.observed)
    hidden[:, 1] = True
    return samples.hide(hidden)


@every_method
def test_modality_never_seen_in_training_works(case, make_samples, make_batch):
    train = without_beta(make_samples(n=BATCH + 2))
    method = fit(method_of(case, train), train)
    assert_finite_gradients(method)
    assert logits_of(evaluated(method), make_batch(n=10, seed=1)).isfinite().all()


@every_method
def test_modality_absent_from_a_batch_works(case, fitted, make_samples):
    method = method_of(case, make_samples(n=ROWS)).train()
    for epoch in (0, EPOCHS - 1):
        method.on_epoch(epoch, EPOCHS)
        loss_of(method, as_batch(without_beta(make_samples(n=8)))).backward()
        assert_finite_gradients(method)
    assert logits_of(fitted(case), as_batch(without_beta(make_samples(n=10, seed=1)))).isfinite().all()


def with_a_sequence(samples) -> Samples:
    """The second modality as a sequence of five steps with one feature, of which only the first ones of a row are real."""
    alpha, beta, gamma = samples.schema
    schema = Schema((alpha, Modality("beta", beta.letter, "sequence", (5, 1)), gamma), samples.schema.classes)
    values = {**samples.values, "beta": samples.values["beta"][:, :, None]}
    return dataclasses.replace(samples, schema=schema, values=values, lengths={"beta": np.arange(len(samples)) % 5 + 1}).sealed()


@every_method
def test_padding_never_reaches_logits(case, make_samples):
    train = with_a_sequence(make_samples(n=ROWS))
    method = fit(method_of(case, train), train)
    assert_finite_gradients(method)
    batch = as_batch(with_a_sequence(make_samples(n=10, seed=1)))
    expected = logits_of(evaluated(method), batch)
    assert expected.isfinite().all()
    other = dataclasses.replace(batch, inputs={**batch.inputs, "beta": batch.inputs["beta"].nan_to_num(1e30)})
    assert torch.equal(logits_of(method, other), expected)


@every_method
def test_class_absent_from_a_batch_works(case, make_samples, make_batch):
    one_class = make_samples(n=3 * BATCH)
    one_class = one_class.rows(np.flatnonzero(one_class.target == 1))
    method = fit(method_of(case, make_samples(n=ROWS)), one_class)
    assert_finite_gradients(method)
    method = fit(method_of(case, one_class), one_class)  # and from the training rows altogether
    assert logits_of(evaluated(method), make_batch(n=10, seed=1)).isfinite().all()


@every_method
def test_batch_of_one_row_works(case, fitted, make_samples, make_batch):
    batch = make_batch().rows(torch.tensor([5]))
    method = method_of(case, make_samples(n=ROWS)).train()
    for epoch in (0, EPOCHS - 1):
        method.on_epoch(epoch, EPOCHS)
        loss_of(method, batch).backward()
        assert_finite_gradients(method)
    assert logits_of(fitted(case), batch).shape == (1, 3)


@pytest.mark.parametrize("name", LISTED)
def test_class_facts_are_stated(name):
    cls = LISTED[name]
    assert cls.presets
    for preset in cls.presets.values():
        config = cls.Config(**preset)
        assert dataclasses.is_dataclass(config)
        for field, values in cls.search.items():
            for value in values:
                dataclasses.replace(config, **{field: value})
    if name in PAPER:
        assert cls.paper
        assert cls.year
        assert cls.repository
        assert cls.deviations


def test_search_spaces_of_the_paper_methods_are_of_one_class():
    """Tuning is fair only among spaces alike: sizes within one power of ten, the same reach in learning rate, the default within reach."""
    sizes = {name: math.prod(map(len, LISTED[name].search.values())) for name in PAPER}
    assert min(sizes.values()) > 500, sizes
    assert max(sizes.values()) < 10 * min(sizes.values()), sizes
    rates = {name: LISTED[name].search["learning_rate"] for name in PAPER}
    assert all(min(values) <= 1e-4 and 3e-3 in values for values in rates.values()), rates
    assert all(LISTED[name].Config().learning_rate in values for name, values in rates.items()), rates


# ---- methods that fit themselves


def estimator_of(case, make_samples, **sizes) -> Estimator:
    estimator = LISTED[case[0]](make_samples(**sizes).schema, config_of(case), seed=0)
    estimator.fit(make_samples(n=60, **sizes), make_samples(n=30, seed=1, **sizes))
    return estimator


def assert_probabilities(probabilities: np.ndarray, rows: int, classes: int) -> None:
    assert probabilities.shape == (rows, classes)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)


@every_estimator
@pytest.mark.parametrize("sizes", [{}, {"modalities": 1}, {"classes": 2}], ids=["three-modalities", "one-modality", "two-classes"])
def test_estimator_gives_probabilities(case, sizes, make_samples):
    estimator, test = estimator_of(case, make_samples, **sizes), make_samples(n=12, seed=2, **sizes)
    whole = estimator.predict_proba(test)
    assert_probabilities(whole, 12, sizes.get("classes", 3))
    np.testing.assert_allclose(estimator.predict_proba(test.rows(np.array([4]))), whole[[4]], atol=1e-6)


@every_estimator
def test_estimator_repeats_itself_and_reads_no_hidden_value(case, make_samples):
    test = make_samples(n=12, seed=2)
    first, second = (estimator_of(case, make_samples) for _ in range(2))
    expected = first.predict_proba(test)
    assert np.array_equal(second.predict_proba(test), expected)
    unsealed = {name: np.where(test.observed[:, [m]], x, np.float32(1e30)) for m, (name, x) in enumerate(test.values.items())}
    assert np.array_equal(first.predict_proba(dataclasses.replace(test, values=unsealed)), expected)


@every_estimator
def test_estimator_survives_a_modality_never_seen(case, make_samples):
    train, valid = without_beta(make_samples(n=60)), without_beta(make_samples(n=30, seed=1))
    estimator = LISTED[case[0]](train.schema, config_of(case), seed=0)
    estimator.fit(train, valid)
    assert_probabilities(estimator.predict_proba(make_samples(n=12, seed=2)), 12, 3)
