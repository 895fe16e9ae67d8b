"""Attributes of samples reach no method: not its batches, not `prepare`, `fit`, `after_training`, predictions or what a dataset learns."""

from dataclasses import fields

import numpy as np
import pytest

from bench import registry
from bench.data.grammar import parse_protocol, parse_rule
from bench.data.loading import load
from bench.data.parts import build_parts
from bench.datasets.base import Batch, Dataset
from bench.names import Choice, parse_choice
from bench.question.trial import Trial
from bench.training.trial import run_trial, validate_trial

FILE = '''
from dataclasses import dataclass, replace

import numpy as np
import torch

from bench.datasets.base import Dataset
from bench.datasets.breast_cancer import BreastCancer
from bench.methods.base import Estimator, EstimatorConfig, Method, MethodConfig, Prediction

SEEN = []


def look(where, samples):
    SEEN.append((where, dict(samples.attributes)))


class Grouped(BreastCancer):
    """Breast cancer with two sites, which its own code may see when it learns."""

    def load(self):
        samples = super().load()
        return replace(samples, attributes={"site": np.where(np.arange(len(samples)) % 2, "a", "b")})

    def learn(self, train):
        look("learn", train)
        return None


@dataclass(frozen=True, kw_only=True)
class Config(MethodConfig):
    epochs: int = 2


class Trained(Method):
    Config = Config

    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.layer = torch.nn.Linear(sum(m.shape[0] for m in schema), schema.outputs)

    def prepare(self, train):
        look("prepare", train)

    def after_training(self, train):
        look("after_training", train)

    def forward(self, batch):
        SEEN.append(("batch", {key: None for key in vars(batch) if "attribute" in key}))
        return Prediction(self.layer(torch.cat([torch.nan_to_num(x) for x in batch.inputs.values()], 1)))


@dataclass(frozen=True, kw_only=True)
class Plain(EstimatorConfig):
    pass


class Fitted(Estimator):
    Config = Plain

    def fit(self, train, valid):
        look("fit", train)
        look("fit valid", valid)

    def predict_proba(self, samples):
        look("predict", samples)
        return np.full((len(samples), 2), 0.5)
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(FILE, encoding="utf-8")
    return path


def trial_of(file, method):
    dataset, cls = Choice(f"{file}:Grouped"), registry.method_class(f"{file}:{method}")
    config = registry.config_of(cls, Choice(f"{file}:{method}"), {})
    loaded = load(dataset)
    assert set(loaded.samples.attributes["site"].tolist()) == {"a", "b"}
    return cls, Trial(
        method=f"{file}:{method}", preset="default", options={}, training={}, dataset=dataset.name, dataset_options={}, combination="MEW",
        protocol="mcar(0.3)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint=loaded.fingerprint,
        version=registry.version_of(cls, config), evaluations=("mcar(0.5)",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "places"),
    [("Trained", {"learn", "prepare", "batch", "after_training"}), ("Fitted", {"learn", "fit", "fit valid", "predict"})],
)
@pytest.mark.parametrize("run", [run_trial, validate_trial], ids=["test", "validation"])
def test_no_hook_of_a_method_sees_attributes(file, method, places, run):
    cls, trial = trial_of(file, method)
    seen = cls.forward.__globals__["SEEN"] if method == "Trained" else cls.fit.__globals__["SEEN"]
    seen.clear()
    record, _ = run(trial)
    assert record.status == "done"
    assert {where for where, _ in seen} == places
    assert [found for _, found in seen if found] == []


@pytest.mark.parametrize("vary", ["training", "split"])
def test_no_part_has_attributes_under_any_rule(file, vary):
    dataset, samples, _ = load(Choice(f"{file}:Grouped"))
    parts = build_parts(dataset, samples, "MEW", parse_protocol("mcar(0.3)"), 0, 0, vary)
    found = [*parts.named().values(), parts.under(parse_rule("mcar(0.5)"))]
    assert [part.samples.attributes for part in found] == [{}] * 4
    assert [part.raw.attributes for part in found if part.raw is not None] == [{}] * 2
    assert parts.hider.samples.attributes == {}


def test_a_batch_has_no_place_for_attributes():
    assert {one.name for one in fields(Batch)} == {"inputs", "observed", "target", "index", "lengths"}


def test_splits_and_masks_are_the_same_whatever_the_attributes(file):
    dataset, samples, _ = load(Choice(f"{file}:Grouped"))
    made = [build_parts(dataset, one, "MEW", parse_protocol("mcar(0.3)"), 0, 0, "split") for one in (samples, samples.unattributed())]
    for part in ("train", "valid", "test"):
        one, other = (getattr(parts, part).samples for parts in made)
        assert one.ids.tolist() == other.ids.tolist()
        assert np.array_equal(one.observed, other.observed)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("support2", {"sex", "age", "race"}), ("uci-heart", {"sex", "age", "site"}), ("mi-complications", {"sex", "age"}),
        ("eicu-demo", {"sex", "age", "ethnicity"}),
    ],
)  # fmt: skip
def test_clinical_datasets_state_attributes_that_may_be_published(name, attributes):
    dataset = registry.dataset_of(parse_choice(name))
    assert isinstance(dataset, Dataset)
    assert dataset.public_attributes
    if not dataset.is_here:
        pytest.skip(f"the files of {name} are not here")
    samples = load(parse_choice(name)).samples
    assert set(samples.attributes) == attributes
    if "sex" in attributes:
        assert set(samples.attributes["sex"].tolist()) <= {"female", "male", ""}
    assert set(samples.attributes["age"].tolist()) <= {"below 50", "50 to below 65", "65 to below 80", "80 and over", ""}
