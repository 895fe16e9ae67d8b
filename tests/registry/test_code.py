"""bench/registry/code.py: a version covers all code that may move a number, and says nothing of where it lies."""

import importlib
import sys
from importlib.metadata import EntryPoint

import pytest

from bench import registry
from bench.errors import UsageError
from bench.registry import code
from bench.registry.code import source_version, with_files

NET = """
{imports}
from bench.methods.base import Estimator

class Net({base}):
    def fit(self, train, valid): ...

    def predict_proba(self, samples):
        {late}
        return None
"""


def net(imports="", base="Estimator", late="pass"):
    return NET.format(imports=imports, base=base, late=late)


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def version_of(folder, name="net.py"):
    return source_version(registry.method_class(f"{folder / name}:Net"))


LAYERS = {"layers.py": "def scale(): return 1.0\n"}
WAYS = {
    "from a sibling": ({"net.py": net("from layers import scale"), **LAYERS}, "layers.py"),
    "a sibling": ({"net.py": net("import layers"), **LAYERS}, "layers.py"),
    "a sibling's sibling": ({"net.py": net("import more"), "more.py": "from layers import scale\n", **LAYERS}, "layers.py"),
    "everything": ({"net.py": net("from layers import *"), **LAYERS}, "layers.py"),
    "inside a function": ({"net.py": net(late="from layers import scale"), **LAYERS}, "layers.py"),
    "by importlib": ({"net.py": net("import importlib\nlayers = importlib.import_module('layers')"), **LAYERS}, "layers.py"),
    "in a try": ({"net.py": net("try:\n    import layers\nexcept ImportError:\n    layers = None"), **LAYERS}, "layers.py"),
    "a package's module": (
        {"net.py": net("from parts import layers"), "parts/__init__.py": "", "parts/layers.py": LAYERS["layers.py"]},
        "parts/layers.py",
    ),
    "a package's own file": ({"net.py": net("import parts.layers"), "parts/__init__.py": LAYERS["layers.py"], "parts/layers.py": ""},
                             "parts/__init__.py"),
    "a folder's module": ({"net.py": net("import parts.layers"), "parts/layers.py": LAYERS["layers.py"]}, "parts/layers.py"),
    "a base class": (
        {"net.py": net("from bases import Base", "Base"), "bases.py": net().replace("class Net", "scale = 1.0\n\nclass Base")},
        "bases.py",
    ),
    "relative": (
        {"pkg/__init__.py": "", "pkg/net.py": net("from .layers import scale"), "pkg/layers.py": LAYERS["layers.py"]}, "pkg/layers.py"
    ),
    "the package around it": (
        {"pkg/__init__.py": "scale = 1.0\n", "pkg/net.py": net("from .layers import scale"), "pkg/layers.py": LAYERS["layers.py"]},
        "pkg/__init__.py",
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_import_a_file_makes_it_code(tmp_path, way):
    files, changed = WAYS[way]
    name = "pkg/net.py" if "pkg/net.py" in files else "net.py"
    before = version_of(write(tmp_path, files), name)
    write(tmp_path, {changed: files[changed].replace("1.0", "0.0")})
    assert version_of(tmp_path, name) != before
    write(tmp_path, {changed: "# why\n" + files[changed]})
    assert version_of(tmp_path, name) == before


@pytest.mark.parametrize("imports", ["from bench.methods.layers import Attention", "import bench.methods.layers",
                                     "from bench.methods import layers", "import bench.methods.layers as l"])  # fmt: skip
def test_every_way_to_import_a_listed_method_or_its_layers_makes_it_code(tmp_path, monkeypatch, imports):
    before = version_of(write(tmp_path, {"net.py": net(imports)}))
    real = code._text
    monkeypatch.setattr(code, "_text", lambda name, *rest: "V = 1\n" if name == "bench.methods.layers" else real(name, *rest))
    assert version_of(tmp_path) != before


def test_version_is_the_same_in_every_folder_and_however_the_class_came(tmp_path, monkeypatch):
    files = {"the_net.py": net("import the_layers"), "the_layers.py": LAYERS["layers.py"]}
    versions = {version_of(write(tmp_path / folder, files), "the_net.py") for folder in ("a", "b/c")}
    monkeypatch.syspath_prepend(tmp_path / "a")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    versions.add(source_version(importlib.import_module("the_net").Net))
    assert len(versions) == 1


def test_helpers_of_a_listed_method_are_code_of_the_suite():
    counted = {source.name for source in code.sources_of(registry.method_class("muse"))}
    assert {"bench.methods.muse", "bench.methods.base", "bench.methods.layers", "bench.methods.encoders"} <= counted
    assert not any(name.startswith("bench.") and not name.startswith("bench.methods.") for name in counted)


@pytest.mark.parametrize("line", ["import_module('lay' + 'ers')", "__import__(NAME)", "exec('import layers')"])
def test_code_that_is_read_by_a_name_not_written_out_is_refused(tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"net.py": net("from importlib import import_module\nNAME = 'layers'\n" + line), **LAYERS})
    with pytest.raises(UsageError, match=r"cannot be told: line 4 calls .* write an import statement"):
        version_of(tmp_path)


def test_file_that_bears_the_name_of_a_module_of_python_is_refused(tmp_path):
    write(tmp_path, {"net.py": net("import this"), "this.py": "V = 1\n"})
    with pytest.raises(UsageError, match="this is a module of Python and a file beside"):
        version_of(tmp_path)


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed distribution that brings a method, in the version asked for: plugin("1.0")."""
    place = tmp_path / "site-packages"
    write(place, {"plugged_in/__init__.py": net("from plugged_in import layers"), "plugged_in/layers.py": "V = 1\n"})
    monkeypatch.syspath_prepend(place)

    def install(version):
        code._distributions.cache_clear()
        monkeypatch.setattr(code, "packages_distributions", lambda: {"plugged_in": ["plugged-in"]})
        monkeypatch.setattr(code, "version", lambda name: {"plugged-in": version}[name])
        found = [EntryPoint("plugged", "plugged_in:Net", "bench.methods")]
        monkeypatch.setattr(registry, "entry_points", lambda group: found if group == "bench.methods" else [])
        registry.outside.cache_clear()
        return source_version(registry.method_class("plugged"))

    yield install
    registry.outside.cache_clear()
    code._distributions.cache_clear()
    sys.modules.pop("plugged_in", None)
    sys.modules.pop("plugged_in.layers", None)


def test_installed_plugin_counts_by_name_and_version(plugin):
    assert plugin("1.0") == plugin("1.0") != plugin("1.1")


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """A module of the user's that Python imported: user_module(text)."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = []

    def make(text, name="edited_module"):
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        if name not in names:
            names.append(name)
            return importlib.import_module(name)
        return sys.modules[name]

    yield make
    for name in names:
        sys.modules.pop(name, None)
        code._run.pop(name, None)


EDITS = {
    "function": ("return None", "return 1"),
    "class constant": ("width = 8", "width = 9"),
    "module constant": ("RATE = 0.5", "RATE = 0.6"),
}
TEXT = net("RATE = 0.5").replace("    def fit", "    width = 8\n\n    def fit")


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("seen", [True, False], ids=["seen before", "first seen after the edit"])
def test_class_whose_file_was_edited_since_is_refused_until_it_is_reloaded(user_module, edit, seen):
    module = user_module(TEXT)
    before = source_version(module.Net) if seen else None
    user_module(TEXT.replace(*EDITS[edit]))
    with pytest.raises(UsageError, match=r"Net in this process is not what edited_module.py says.*reload it"):
        source_version(module.Net)
    if seen:
        assert source_version(module.Net, is_running=True) == before
    old = module.Net
    importlib.reload(module)
    assert source_version(module.Net) != before
    with pytest.raises(UsageError, match="holds a newer class of this name"):
        source_version(old)


def test_comment_in_a_file_moves_and_refuses_nothing(user_module):
    module = user_module(TEXT)
    before = source_version(module.Net)
    user_module("# why\n" + TEXT)
    assert source_version(module.Net) == before


def test_helper_edited_since_is_seen_too(user_module):
    user_module("V = 1\n", "helper_module")
    module = user_module(net("import helper_module"))
    source_version(module.Net)
    user_module("V = 2\n", "helper_module")
    with pytest.raises(UsageError, match=r"is not what helper_module.py says"):
        source_version(module.Net)


def test_value_patched_from_outside_is_refused(user_module):
    module = user_module(TEXT)
    module.RATE = 0.9
    with pytest.raises(UsageError, match=r"RATE is 0.9 here, 0.5 there"):
        source_version(module.Net)


def test_method_patched_from_outside_is_refused(user_module):
    module = user_module(TEXT)
    module.Net.predict_proba = lambda self, samples: 1
    with pytest.raises(UsageError, match=r"Net.<lambda> was put in from .*test_code, so edited_module.py"):
        source_version(module.Net)


def test_arguments_of_the_function_that_makes_a_class_are_part_of_its_code(user_module):
    text = net().replace("class Net", "def make(width):\n  class Net").replace("\n    ", "\n      ").replace("return None", "return width")
    module = user_module(text + "  return Net\n")
    assert source_version(module.make(8)) == source_version(module.make(8)) != source_version(module.make(9))
    with pytest.raises(UsageError, match=r"it uses width, a object of the function that it is made in"):
        source_version(module.make(object()))


@pytest.mark.parametrize("text", ["weights.pt", "w/weights.pt"])
def test_file_that_an_option_names_counts_by_its_content(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    assert with_files("v", [text, 3, "poly"]) == "v"
    write(tmp_path, {text: "one", "poly": "a word, not a path"})
    first = with_files("v", [text, 3, "poly"])
    write(tmp_path, {text: "two"})
    second = with_files("v", [text, 3, "poly"])
    assert len({"v", first, second}) == 3
    (tmp_path / "elsewhere.pt").write_text("two")
    assert with_files("v", ["elsewhere.pt"]) == second


def test_folder_that_an_option_names_counts_by_names_and_contents(tmp_path):
    versions = {with_files("v", [str(tmp_path)])}
    for files in ({"a": "1"}, {"a": "2"}, {"b/c": "3"}):
        versions.add(with_files("v", [str(write(tmp_path, files))]))
    assert len(versions) == 4
