"""bench/registry/cells.py: a class from a notebook has a version that covers what it uses of other cells."""

import linecache
import sys
import types

import numpy as np
import pytest
import torch

from bench.errors import UsageError
from bench.registry.code import source_version

NET = """
class Net(Estimator):
    '''Doc.'''
    def fit(self, train, valid):
        self.scale = scale()

    def predict_proba(self, samples):
        return self.scale * {value}
"""


@pytest.fixture
def notebook(monkeypatch):
    """Cells run one after the other in a `__main__` without a file, as IPython does; the namespace comes back."""
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    count = 0

    def run(*cells):
        nonlocal count
        for text in ("from bench.methods.base import Estimator", *cells):
            count += 1
            name = f"<cell {count}>"
            monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(keepends=True), name))
            exec(compile(text, name, "exec"), vars(main))
        return vars(main)

    return run


SCALE = "def scale():\n    return {}\n"


def test_class_of_a_cell_has_a_version_that_its_text_and_its_helpers_make(notebook):
    def version(helper, value):
        return source_version(notebook(SCALE.format(helper), NET.format(value=value))["Net"])

    first = version("1.0", 1)
    assert version("1.0", 1) == first
    assert version("1.0  # why", 1) == first
    assert len({first, version("0.0", 1), version("1.0", 2)}) == 3


def test_other_text_of_the_cell_does_not_count(notebook):
    alone = source_version(notebook(SCALE.format(1), NET.format(value=1))["Net"])
    assert source_version(notebook(SCALE.format(1), "print('so')\n" + NET.format(value=1) + "\nprint('and so')\n")["Net"]) == alone


@pytest.mark.parametrize(
    ("one", "other"),
    [("0.5", "0.6"), ("[1, (2, 'a')]", "[1, (2, 'b')]"), ("{'a': 1}", "{'a': 2}"), ("np.arange(3)", "np.arange(4)"),
     ("torch.zeros(2)", "torch.ones(2)"), ("True", "1")],
    ids=["number", "list", "table", "array", "tensor", "kind"],
)  # fmt: skip
def test_values_of_other_cells_count(notebook, one, other):
    def version(value):
        return source_version(notebook("import numpy as np, torch", f"VALUE = {value}", SCALE.format("VALUE"), NET.format(value=1))["Net"])

    assert version(one) == version(one) != version(other)


def test_base_of_another_cell_counts(notebook):
    def version(value):
        derived = "class Own(Net):\n    def more(self):\n        return 1\n"
        return source_version(notebook(SCALE.format(1), NET.format(value=value), derived)["Own"])

    assert version(1) == version(1) != version(2)


def test_file_that_a_cell_imports_counts(notebook, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    versions = []
    for value in ("1.0", "0.0"):
        name = f"helper_of_a_cell_{len(versions)}"
        (tmp_path / f"{name}.py").write_text(f"def scale(): return {value}\n")
        versions.append(source_version(notebook(f"import {name} as helper", SCALE.format("helper.scale()"), NET.format(value=1))["Net"]))
    assert versions[0] != versions[1]


@pytest.mark.parametrize("value", ["object()", "iter([1])", "[object()]"])
def test_what_cannot_be_told_is_refused_by_its_name(notebook, value):
    with pytest.raises(UsageError, match=r"it uses VALUE, a .* of this notebook; make it inside the class, or write the class to a file"):
        source_version(notebook(f"VALUE = {value}", SCALE.format("VALUE"), NET.format(value=1))["Net"])


def test_class_without_a_text_is_refused(notebook):
    space = notebook()
    exec(SCALE.format(1) + NET.format(value=1), space)
    with pytest.raises(UsageError, match="the text of Net is not kept here; write the class to a file"):
        source_version(space["Net"])


def test_arrays_are_told_by_type_shape_and_values():
    from bench.registry.cells import _of_value

    found = [_of_value("v", value, int) for value in (np.zeros(4), np.zeros((2, 2)), np.zeros(4, np.float32), torch.zeros(4).double())]
    assert len(set(found[:3])) == 3
    assert found[0] == found[3]
