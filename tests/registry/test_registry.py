"""bench/registry: names become classes, and wrong names are explained."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bench import registry
from bench.datasets.catalog import DATASETS
from bench.errors import UsageError
from bench.methods.base import Estimator, Method
from bench.methods.catalog import CEILING, FLOOR, METHODS, PAPER, REFERENCE, role
from bench.names import Choice

OUTSIDE = Path(__file__).parents[1] / "support" / "outside.py"


@pytest.mark.parametrize("name", METHODS)
def test_every_listed_method_is_a_class_with_a_default_preset(name):
    cls = registry.method_class(name)
    assert issubclass(cls, Method | Estimator)
    assert next(iter(cls.presets)) in ("paper", "default")
    assert registry.config_of(cls, Choice(name), {}) == cls.Config(**cls.presets[next(iter(cls.presets))])


@pytest.mark.parametrize("name", PAPER)
def test_paper_methods_state_paper_year_repository_and_deviations(name):
    cls = registry.method_class(name)
    assert cls.paper
    assert isinstance(cls.year, int)
    assert cls.repository.count("/") == 1
    assert cls.deviations


def test_all_is_the_papers_and_the_references():
    assert [choice.name for choice in registry.expand_methods(["all"])] == [*PAPER, *REFERENCE]
    assert (len(PAPER), len(REFERENCE)) == (11, 6)
    assert [choice.name for choice in registry.expand_methods(["muse", "paper"])] == ["muse", *(name for name in PAPER if name != "muse")]


def test_class_comes_from_a_file():
    assert registry.method_class(f"{OUTSIDE}:Mine").__name__ == "Mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shapec", "unknown method 'shapec', did you mean 'shaspec'"),
        ("nowhere.py:Mine", "does not exist"),
        (f"{OUTSIDE}:Mien", "did you mean 'Mine'"),
        (str(OUTSIDE), "name the class"),
        (f"{OUTSIDE}:NotAMethod", "must derive from bench.methods.base.Method or Estimator"),
        (f"{OUTSIDE}:NoForward", "does not define forward"),
        (f"{OUTSIDE}:PaperSecond", "must name its preset paper or default first"),
    ],
)
def test_wrong_method_is_explained(name, message):
    with pytest.raises(UsageError, match=message):
        registry.method_class(name)


def test_file_that_does_not_import_is_explained(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import nothing_of_that_name\n")
    with pytest.raises(UsageError, match="does not import: ModuleNotFoundError"):
        registry.method_class(f"{path}:Mine")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice("mean-mlp", "papr"), "unknown preset of mean-mlp 'papr'"),
        (Choice("mean-mlp", "", {"widht": 3}), "did you mean 'width'"),
        (Choice("mean-mlp", "", {"epochs": "many"}), "epochs of mean-mlp must be of type int, got 'many'"),
        (Choice("mean-mlp", "", {"epochs": 0}), "must be at least 1"),
        (Choice("mean-mlp", "", {"learning_rate": -1.0}), "learning_rate must be positive"),
        (Choice("mean-mlp", "", {"schedule": "cosine"}), "schedule must be constant, poly or step"),
    ],
)
def test_wrong_config_is_explained(choice, message):
    with pytest.raises(UsageError, match=message):
        registry.config_of(registry.method_class(choice.name), choice, {})


def test_config_takes_preset_then_suite_then_own_options():
    cls = registry.method_class("mmformer")
    config = registry.config_of(cls, Choice("mmformer", "official", {"epochs": 3}), {"epochs": 2, "batch_size": 64, "unknown": 1})
    assert (config.epochs, config.batch_size, config.ffn_ratio) == (3, 64, 8)


@pytest.mark.parametrize("name", DATASETS)
def test_listed_datasets_are_built_from_their_names(name):
    assert registry.dataset_of(Choice(name)).title


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice("digit"), "did you mean 'digits'"),
        (Choice("digits", "paper"), "has options but no preset"),
        (Choice("gaussian", "", {"redundency": 1.0}), "did you mean 'redundancy'"),
        (Choice("gaussian", "", {"classes": 1}), "gaussian needs"),
        (Choice("digits", "", {"n": 5}), "unknown option of dataset digits"),
    ],
)
def test_wrong_dataset_is_explained(choice, message):
    with pytest.raises(UsageError, match=message):
        registry.dataset_of(choice)


def test_version_ignores_what_moves_no_number_and_sees_code_and_shared_layers(tmp_path):
    body = (
        "from bench.methods.base import Method\n{comment}\nclass A(Method):\n    {doc}\n"
        "    def forward(self, batch):\n        return {value}\n"
    )
    variants = {
        "plain": body.format(comment="", doc="'''one'''", value=1),
        "comment": body.format(comment="# why", doc="'''two'''", value=1),
        "facts": body.format(comment="", doc="search = {'width': (8,)}\n    deviations: tuple = ('none',)", value=1),
        "code": body.format(comment="", doc="'''one'''", value=2),
        "import": "from bench.methods.layers import Attention\n" + body.format(comment="", doc="'''one'''", value=1),
    }
    versions = {}
    for name, text in variants.items():
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        versions[name] = registry.source_version(registry.method_class(f"{path}:A"))
    assert versions["plain"] == versions["comment"] == versions["facts"]
    assert len({versions["plain"], versions["code"], versions["import"]}) == 3


@pytest.fixture
def installed(monkeypatch):
    """Entry points as an installed package would bring them: installed([("name", "module:Class"), ...])."""

    def install(pairs):
        found = [EntryPoint(name, value, "bench.methods") for name, value in pairs]
        monkeypatch.setattr(registry, "entry_points", lambda group: found if group == "bench.methods" else [])
        registry.outside.cache_clear()

    yield install
    registry.outside.cache_clear()


def test_every_listed_method_has_a_role_and_two_are_not_ranked():
    roles = {name: role(name) for name in METHODS}
    assert {name for name, found in roles.items() if found == "paper"} == set(PAPER)
    assert {name for name, found in roles.items() if found == "reference"} == set(REFERENCE) - {FLOOR}
    assert (roles[FLOOR], roles[CEILING]) == ("floor", "ceiling")


def test_method_of_an_installed_package_is_listed(installed):
    installed([("theirs", "bench.methods.mean_mlp:MeanMLP")])
    assert registry.method_class("theirs").__name__ == "MeanMLP"
    assert role("theirs") == "outside"
    assert "theirs" in registry.method_names()


@pytest.mark.parametrize("pairs", [[("muse", "a:B")], [("theirs", "a:B"), ("theirs", "c:D")]], ids=["listed", "twice"])
def test_name_that_two_packages_claim_is_refused(installed, pairs):
    installed(pairs)
    with pytest.raises(UsageError, match="two installed packages name a method"):
        registry.method_names()


def test_given_class_may_not_take_a_known_name():
    taken = type("muse", (Method,), {})
    with pytest.raises(UsageError, match="the name 'muse' is taken"):
        registry.give(taken)
