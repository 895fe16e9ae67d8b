"""bench/registry/files.py: a user's file finds the files beside it, and those of no other folder."""

import importlib
import sys

import pytest

from bench import registry
from bench.errors import UsageError

NET = """
{imports}
from bench.methods.base import Estimator

class Net(Estimator):
    value = {value}

    def fit(self, train, valid): ...

    def predict_proba(self, samples):
        {late}
        return {value}
"""


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def net(imports="", value="1", late="pass"):
    return NET.format(imports=imports, value=value, late=late)


def value_of(path):
    return registry.method_class(f"{path}:Net").value


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"net.py": net("from layers import one", "one()"), "layers.py": "def one(): return 7\n"}, "net.py"),
        ({"net.py": net("import parts.deep as d", "d.V"), "parts/__init__.py": "", "parts/deep.py": "from . import up\nV = up.V\n",
          "parts/up.py": "V = 7\n"}, "net.py"),
        ({"net.py": net("from models.layers import V", "V"), "models/layers.py": "V = 7\n"}, "net.py"),
        ({"net.py": net("from src.models.layers import V", "V"), "src/models/layers.py": "V = 7\n"}, "net.py"),
        ({"pkg/__init__.py": "", "pkg/net.py": net("from .layers import V", "V"), "pkg/layers.py": "V = 7\n"}, "pkg/net.py"),
        ({"pkg/__init__.py": "", "pkg/a/__init__.py": "", "pkg/a/net.py": net("from ..layers import V", "V"),
          "pkg/layers.py": "V = 7\n"}, "pkg/a/net.py"),
        ({"pkg/__init__.py": "", "pkg/net.py": net("from layers import V", "V"), "pkg/layers.py": "V = 7\n"}, "pkg/net.py"),
        ({"net.py": net("import importlib\nV = importlib.import_module('layers').V", "V"), "layers.py": "V = 7\n"}, "net.py"),
    ],
    ids=["module", "package", "folder", "folder in a folder", "relative", "relative upwards", "beside, in a package", "by importlib"],
)  # fmt: skip
def test_file_finds_what_lies_beside_it(tmp_path, files, name):
    assert value_of(write(tmp_path, files) / name) == 7


def test_two_folders_with_files_of_one_name_stay_apart(tmp_path):
    for folder, value in (("a", 1), ("b", 2)):
        write(tmp_path / folder, {"net.py": net("import layers", "layers.V", "import lazy; return lazy.V"),
                                  "layers.py": f"V = {value}\n", "lazy.py": f"V = {value * 10}\n"})  # fmt: skip
    classes = [registry.method_class(f"{tmp_path / folder}/net.py:Net") for folder in ("a", "b", "a")]
    assert [cls.value for cls in classes] == [1, 2, 1]
    assert [cls.predict_proba(None, None) for cls in classes] == [10, 20, 10]  # an import inside a function, called later


def test_nothing_of_a_folder_stays_among_the_modules(tmp_path, monkeypatch):
    mine = type(sys)("the_layers")
    monkeypatch.setitem(sys.modules, "the_layers", mine)
    write(tmp_path, {"net.py": net("import the_layers as l", "l.V"), "the_layers.py": "V = 7\n"})
    path, known = list(sys.path), len(sys.meta_path)
    assert value_of(tmp_path / "net.py") == 7
    assert sys.modules["the_layers"] is mine
    assert (sys.path, len(sys.meta_path)) == (path, known)


def test_torch_and_the_suite_are_the_same_objects_beside_folders_of_their_names(tmp_path):
    import torch

    import bench

    write(
        tmp_path, {"net.py": net("import torch, bench", "(torch, bench)"), "torch/notes.py": "", "bench/__init__.py": "raise RuntimeError"}
    )
    assert value_of(tmp_path / "net.py") == (torch, bench)


@pytest.mark.parametrize("changed", ["net.py", "layers.py", "deep.py"])
def test_edit_within_the_same_second_and_of_the_same_size_is_seen(tmp_path, changed):
    files = {
        "net.py": net("from layers import V\nW = 1", "V + W"),
        "layers.py": "from deep import V\nN = 1\nV = V * N\n",
        "deep.py": "V = 1\n",
    }
    write(tmp_path, files)
    assert value_of(tmp_path / "net.py") == 2
    edited = {"net.py": files["net.py"].replace("W = 1", "W = 5"), "layers.py": files["layers.py"].replace("N = 1", "N = 5"),
              "deep.py": "V = 5\n"}  # fmt: skip
    write(tmp_path, {changed: edited[changed]})
    assert value_of(tmp_path / "net.py") == 6


def test_class_of_an_unchanged_file_is_the_same_object(tmp_path):
    write(tmp_path, {"net.py": net()})
    assert registry.method_class(f"{tmp_path}/net.py:Net") is registry.method_class(f"{tmp_path}/net.py:Net")


def test_new_file_that_takes_a_name_is_seen(tmp_path):
    write(tmp_path, {"net.py": net("try:\n    from layers_to_come import V\nexcept ImportError:\n    V = 0", "V")})
    assert value_of(tmp_path / "net.py") == 0
    write(tmp_path, {"layers_to_come.py": "V = 7\n"})
    importlib.invalidate_caches()
    assert value_of(tmp_path / "net.py") == 7


def test_file_that_fails_is_explained_and_can_be_mended(tmp_path):
    write(tmp_path, {"net.py": net("import layers", "layers.V"), "layers.py": "V = nothing\n"})
    with pytest.raises(UsageError, match="does not import: NameError"):
        value_of(tmp_path / "net.py")
    write(tmp_path, {"layers.py": "V = 7\n"})
    assert value_of(tmp_path / "net.py") == 7
