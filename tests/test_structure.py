"""The tree: imports point one way, and the package list, the tree and the wheel hold the same files."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from bench.datasets.catalog import DATASETS
from bench.methods.catalog import METHODS

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"
ROOMS = {"bench": BENCH, "bench.methods": ROOT / "methods", "bench.datasets": ROOT / "datasets"}
GROUND = "ground"  # the files directly in bench/: every room may use them, they use no room
ARROWS = {  # a room and those it may use, from the bottom to the top; docs/architecture.md draws it
    GROUND: "",
    "stats": "ground",
    "data": "ground stats",
    "question": "ground stats data",
    "records": "ground stats data question",
    "training": "ground stats data question records",
    "leaderboard": "ground stats data question records",
    "comparison": "ground stats data question records leaderboard",
    "grid": "ground stats data question records training",
    "inspection": "ground stats data question records training grid",
    "studies": "ground stats data question records comparison grid",
    "api": "ground stats data question records training leaderboard comparison grid inspection studies",
    "cli": "ground stats data question records training leaderboard comparison grid inspection studies api",
}
USES_TORCH = ("training", "inspection")  # at the top of a module; the methods do too
LONGEST = 450  # lines
MOST_PARAMETERS = 8  # of a function, beside those that are given by name


def imports(path, top_level=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level else list(ast.walk(tree))
    found = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return found + [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]


@pytest.mark.parametrize("path", sorted(ROOMS["bench.datasets"].rglob("*.py")), ids=lambda path: path.name)
def test_datasets_import_no_other_room(path):
    assert all(name.startswith("bench.datasets.") for name in imports(path) if name.split(".")[0] == "bench")


@pytest.mark.parametrize("path", sorted(ROOMS["bench.methods"].glob("*.py")), ids=lambda path: path.name)
def test_methods_import_datasets_base_and_shared_layers_alone(path):
    rooms = (
        "base",
        "layers",
        "encoders",
        "decoders",
        "flatten",
        "tracing",
        f"{path.stem}_released",
    )  # the last: parts of this paper's code
    shared = {"bench.datasets.base", *(f"bench.methods.{room}" for room in rooms)}
    assert {name for name in imports(path) if name.split(".")[0] == "bench"} <= shared


def module_of(path):
    """The name that a file of bench/ is imported by."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_of(path): path for path in sorted(BENCH.rglob("*.py"))}


def room_of(module):
    part = module.split(".")[1] if "." in module else "api"  # `bench` itself is what a notebook imports
    if part == "__main__":
        return "cli"
    return part if part in ARROWS else GROUND


def uses(module):
    """Modules of bench/ that a module imports anywhere, in a function as well; `bench` itself, which all of them are in, is none."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & FILES.keys()
            found |= inside or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & FILES.keys()) - {module, "bench"}


@pytest.mark.parametrize("module", sorted(FILES.keys() - {"bench"}))
def test_arrows_between_rooms_point_down(module):
    room = room_of(module)
    allowed = {room, *ARROWS[room].split()}
    assert {other for other in uses(module) if room_of(other) not in allowed} == set()


def test_no_circle_of_imports_anywhere():
    """Not even one that a function hides."""
    graph = {module: uses(module) for module in FILES if module != "bench"}
    try:
        order = tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
    assert set(order) == set(graph)


@pytest.mark.parametrize("module", sorted(FILES))
def test_torch_is_imported_at_the_top_in_training_and_inspection_alone(module):
    loads = [name for name in imports(FILES[module], top_level=True) if name.split(".")[0] == "torch"]
    assert not loads or room_of(module) in USES_TORCH


def test_what_reads_results_runs_where_torch_is_absent():
    """The command line, boards, comparisons and plans load without it, whatever they import in turn."""
    modules = ("bench.cli", "bench.api", "bench.leaderboard", "bench.comparison.compare", "bench.records.folder", "bench.grid.engine")
    code = f"import sys; import {', '.join(modules)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_newcomer_finds_few_things_in_a_room():
    entries = {path.name for path in BENCH.iterdir() if path.suffix != ".pyc"} - {"__pycache__", "__init__.py", "__main__.py"}
    assert len(entries) <= 20, sorted(entries)
    assert {module: lines for module, path in FILES.items() if (lines := len(path.read_text("utf-8").splitlines())) > LONGEST} == {}


def test_every_room_says_what_is_in_it():
    """Its docstring names each file."""
    for room in set(ARROWS) - {GROUND, "api", "cli", "stats"}:
        said = ast.get_docstring(ast.parse((BENCH / room / "__init__.py").read_text(encoding="utf-8")))
        files = {path.stem for path in (BENCH / room).glob("*.py")} - {"__init__"}
        assert {name for name in files if f"`{name}`" not in said} == set(), room


def test_no_private_name_crosses_a_module():
    found = []
    for module, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bench"):
                found += [f"{module}: {alias.name}" for alias in node.names if alias.name.startswith("_") and alias.name != "__version__"]
    assert found == []


def test_no_function_takes_more_than_eight_parameters_by_position():
    found = {}
    for module, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = len([argument for argument in node.args.posonlyargs + node.args.args if argument.arg not in ("self", "cls")])
                is_command = any("command" in ast.unparse(decorator) for decorator in node.decorator_list)  # click gives all by name
                if count > MOST_PARAMETERS and not is_command:
                    found[f"{module}.{node.name}"] = count
    assert found == {}


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
        *(module_of(path) for path in ROOMS["bench"].glob("*/*/__init__.py")),
        *(f"bench.datasets.{path.parent.name}" for path in ROOMS["bench.datasets"].glob("*/*.py")),
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
        assert {f"{prefix}/{path.relative_to(ROOMS[room]).as_posix()}" for path in ROOMS[room].rglob("*.py")} <= set(names)
    packed = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bench" / "suites").rglob("*.toml")}
    packed |= {"bench/stats/pairs.py", "bench/leaderboard/board.py"}
    site = ROOT / "bench" / "leaderboard" / "site"
    packed |= {path.relative_to(ROOT).as_posix() for path in site.rglob("*") if path.suffix in (".jinja", ".js", ".css")}
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


def test_every_function_of_the_interface_says_what_comes_back_and_takes_options_by_name():
    import inspect

    import bench

    for name in bench._API:
        function = getattr(bench, name)
        by_position = [key for key, given in inspect.signature(function).parameters.items() if given.kind is given.POSITIONAL_OR_KEYWORD]
        assert len(by_position) <= 3, name
        assert function.__doc__.splitlines()[0].endswith((".", ";")), name
