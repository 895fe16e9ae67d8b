"""The tree: imports point one way, and the package list, the tree and the wheel hold the same files."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from bench.datasets.catalog import DATASETS
from bench.methods.catalog import METHODS

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {"bench": ROOT / "bench", "bench.methods": ROOT / "methods", "bench.datasets": ROOT / "datasets"}
TORCH_FREE = (
    *("api", "errors", "names", "registry", "seeds", "text"),
    "inspection/reproduction",
    *(
        f"{room}/{path.stem}"
        for room in ("cli", "comparison", "data", "grid", "leaderboard", "question", "records", "stats", "studies")
        for path in sorted((ROOT / "bench" / room).glob("*.py"))
    ),
)


def imports(path, top_level=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level else list(ast.walk(tree))
    found = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return found + [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]


@pytest.mark.parametrize("path", sorted(ROOMS["bench.datasets"].glob("*.py")), ids=lambda path: path.name)
def test_datasets_import_no_other_room(path):
    assert all(name.startswith("bench.datasets.") for name in imports(path) if name.split(".")[0] == "bench")


@pytest.mark.parametrize("path", sorted(ROOMS["bench.methods"].glob("*.py")), ids=lambda path: path.name)
def test_methods_import_datasets_base_and_shared_layers_alone(path):
    rooms = ("base", "layers", "encoders", "flatten", "tracing")
    shared = {"bench.datasets.base", *(f"bench.methods.{room}" for room in rooms)}
    assert {name for name in imports(path) if name.split(".")[0] == "bench"} <= shared


@pytest.mark.parametrize("name", TORCH_FREE)
def test_torch_free_modules_import_no_torch_at_top(name):
    assert not [module for module in imports(ROOMS["bench"] / f"{name}.py", top_level=True) if module.split(".")[0] == "torch"]


def test_every_listed_name_has_its_file():
    for module in (*METHODS.values(), *DATASETS.values()):
        folder, _, name = module.partition(":")[0].rpartition(".")
        assert (ROOMS[folder] / f"{name}.py").is_file()


def test_package_list_matches_the_tree():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["package-dir"] == {"bench.methods": "methods", "bench.datasets": "datasets"}
    folders = {
        "bench",
        "bench.methods",
        "bench.datasets",
        *(f"bench.{path.parent.name}" for path in ROOMS["bench"].glob("*/*.*") if path.suffix in (".py", ".toml")),
    }
    assert set(settings["packages"]) == folders - {"bench.__pycache__"}
    assert not (ROOT / "datasets" / "__init__.py").exists()
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.slow
def test_wheel_holds_bench_and_nothing_else(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)], check=True, capture_output=True
    )
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"bench"}
    for room, prefix in (("bench", "bench"), ("bench.methods", "bench/methods"), ("bench.datasets", "bench/datasets")):
        assert {f"{prefix}/{path.name}" for path in ROOMS[room].glob("*.py")} <= set(names)
    packed = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bench" / "suites").rglob("*.toml")}
    packed |= {"bench/stats/pairs.py", "bench/leaderboard/board.py"}
    packed |= {"bench/py.typed"}  # without this marker, nobody's mypy reads our types
    assert packed <= set(names)


def test_no_file_holds_a_conflict_left_by_a_merge():
    """Inside a docstring nobody else would notice."""
    listed = subprocess.run(["git", "ls-files", "*.py", "*.md", "*.toml"], cwd=ROOT, capture_output=True, text=True, check=False)
    files = listed.stdout.split() or [str(path.relative_to(ROOT)) for path in (ROOT / "bench").rglob("*.py")]
    marked = re.compile(r"^(<<<<<<<|>>>>>>>) ", re.MULTILINE)
    assert [name for name in files if (ROOT / name).exists() and marked.search((ROOT / name).read_text(encoding="utf-8"))] == []


def test_no_submodule_bears_a_name_of_the_python_interface():
    """Importing it would put the module in the place of the function: `bench.run` would no longer run anything."""
    import bench

    folders = {path.name for path in ROOMS["bench"].iterdir() if path.is_dir()} | {"methods", "datasets"}
    taken = {path.stem for path in ROOMS["bench"].glob("*.py")} | folders
    assert taken & set(bench._API) == set()
    assert all(callable(getattr(bench, name)) for name in bench._API)
