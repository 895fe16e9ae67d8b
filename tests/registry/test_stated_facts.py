"""bench/registry: what classes state of themselves is looked at when they are named, before anything runs."""

import numpy as np
import pytest

from bench import registry
from bench.datasets.base import Dataset
from bench.errors import UsageError
from bench.methods.base import EstimatorConfig, Method, MethodConfig
from bench.names import Choice


class Stating(Method):
    def forward(self, batch):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("fact", "value", "message"),
    [
        ("paper", None, "paper of method 'Stating' must be a text, got None"),
        ("paper", ("a", "b"), "paper of method 'Stating' must be a text"),
        ("year", "2024", "year of method 'Stating' must be a whole number, or None, got '2024'"),
        ("year", np.int64(2024), "year of method 'Stating' must be a whole number"),
        ("year", True, "year of method 'Stating' must be a whole number"),
        ("repository", 3, "repository of method 'Stating' must be a text, or None"),
        ("deviations", "no dropout", "must be a tuple of texts; one text needs a comma after it, got 'no dropout'"),
        ("deviations", (1,), "must be a tuple of texts"),
        ("traces", "routing", "must be a tuple of texts; one text needs a comma after it, got 'routing'"),
        ("traces", None, "must be a tuple of texts"),
        ("search", (("width", (1, 2)),), "search of method 'Stating' must be a mapping, Config field -> values"),
        ("presets", None, "presets of method 'Stating' must be a mapping"),
        ("presets", {}, "presets of method 'Stating' must hold one at least"),
        ("presets", {"paper": None}, "must be a mapping, name -> changes to Config, got 'paper': None"),
        ("presets", {"paper": {"widht": 3}}, "unknown field in preset paper of method Stating 'widht'"),
        ("uses_other_samples", "no", "uses_other_samples of method 'Stating' must be True or False"),
        ("batch_dependent", 1, "batch_dependent of method 'Stating' must be True or False"),
        ("Config", dict, r"Config of method 'Stating' must derive from bench\.methods\.base\.MethodConfig"),
        ("Config", EstimatorConfig, "Config of method 'Stating' must derive from"),
        ("Config", MethodConfig(), "Config of method 'Stating' must derive from"),
    ],
)
def test_a_method_that_states_something_odd_is_refused_in_words(monkeypatch, fact, value, message):
    monkeypatch.setattr(registry, "_given", {"Stating": Stating})
    monkeypatch.setattr(Stating, fact, value)
    with pytest.raises(UsageError, match=message):
        registry.method_class("Stating")


def test_a_method_that_states_what_is_documented_is_taken(monkeypatch):
    monkeypatch.setattr(registry, "_given", {"Stating": Stating})
    monkeypatch.setattr(Stating, "deviations", ["a list will do"])
    assert registry.method_class("Stating") is Stating


@pytest.mark.parametrize(
    ("fact", "value", "message"),
    [
        ("title", None, "title of dataset 'Told' must be a text, got None"),
        ("title", "two\nlines", "title of dataset 'Told' must be a text of one line"),
        ("source", 1999, "source of dataset 'Told' must be a text, got 1999"),
        ("licence", ("CC0",), "licence of dataset 'Told' must be a text"),
        ("synthetic", "yes", "synthetic of dataset 'Told' must be True or False, got 'yes'"),
        ("synthetic", np.True_, "synthetic of dataset 'Told' must be True or False"),
        ("keeps_groups", None, "keeps_groups of dataset 'Told' must be True or False"),
    ],
)
def test_a_dataset_that_states_something_odd_is_refused_in_words(monkeypatch, fact, value, message):
    Told = type("Told", (Dataset,), {fact: value})
    monkeypatch.setattr(registry, "_given", {"Told": Told})
    with pytest.raises(UsageError, match=message):
        registry.dataset_of(Choice("Told"))
