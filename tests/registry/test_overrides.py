"""A class that gives a helper the name of a function of its base is refused by that name, before a trial meets it."""

import pytest

from bench import registry
from bench.errors import UsageError
from bench.names import Choice

DATASET = (
    "from bench.datasets.base import Dataset\n\n\nclass Own(Dataset):\n    title = 'own'\n\n    def load(self):\n        return None\n"
)
METHOD = "from bench.methods.base import Method\n\n\nclass Own(Method):\n    def forward(self, batch):\n        return None\n"


def named(folder, text):
    path = folder / "own.py"
    path.write_text(text, encoding="utf-8")
    return f"{path}:Own"


@pytest.mark.parametrize(
    ("helper", "said"),
    [
        (
            "    def parts(self, frame, column):\n        return frame\n",
            "parts of Own must take what bench gives it, parts(samples), and takes",
        ),
        ("    def learn(self):\n        return 1\n", "learn of Own must take what bench gives it, learn(train), and takes"),
        ("    posterior = 3\n", "posterior of Own must be a function, for bench calls posterior(samples), got 3"),
        ("    def source(self):\n        return 1\n", "source of Own is a function, and the base has a fact of this name"),
        ("    def options(self):\n        return 1\n", "options of Own is a function"),
        ("    def __init__(self):\n        self.parts = ['a']\n", "self.parts hides the function parts of Dataset"),
    ],
    ids=["parts", "learn", "posterior", "source", "options", "self.parts"],
)
def test_helper_with_a_name_of_the_base_is_refused_by_name(tmp_path, helper, said):
    with pytest.raises(UsageError) as error:
        registry.dataset_of(Choice(named(tmp_path, DATASET + "\n" + helper)))
    assert said in str(error.value)
    assert "give your own another name" in str(error.value)


def test_helper_of_a_class_between_is_refused_too(tmp_path):
    text = DATASET.replace("class Own", "class Middle") + "\n    def parts(self):\n        return 1\n\n\nclass Own(Middle):\n    pass\n"
    with pytest.raises(UsageError, match="parts of Middle"):
        registry.dataset_of(Choice(named(tmp_path, text)))


def test_method_that_takes_a_name_of_torch_is_refused(tmp_path):
    with pytest.raises(UsageError, match="train of Own must take what bench gives it"):
        registry.method_class(named(tmp_path, METHOD + "\n    def train(self, rows, labels):\n        return 1\n"))


def test_functions_that_are_called_alike_may_be_written_over(tmp_path):
    text = DATASET + "\n    def parts(self, rows, more=1):\n        return None\n\n    def learn(self, *train):\n        return None\n"
    assert registry.dataset_of(Choice(named(tmp_path, text))).title == "own"
