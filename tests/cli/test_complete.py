"""What a shell offers after <Tab>, asked as click asks, and in the shells that are here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from bench.cli import main
from bench.cli.complete import METRIC_NAMES, PROTOCOLS, datasets, methods, suites
from bench.cli.sections import OTHER, SECTIONS, Sectioned
from bench.comparison.belonging import ALLOW
from bench.data.grammar import PARSERS, parse_protocol
from bench.methods.catalog import GROUPS, METHODS
from bench.question.suite import known_suites
from bench.registry import dataset_names
from bench.stats.metrics import METRICS


def offered(*words):
    """What is offered for the last word."""
    return [item.value for item in ShellComplete(main, {}, "bench", "_BENCH_COMPLETE").get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["ru"], ["run"]),
        (["run", "--methods", "mus"], ["muse"]),
        (["run", "--methods", "muse,sha"], ["muse,shaspec"]),
        (["run", "--methods", "muse,mus"], ["muse,mus"]),  # a file, for none is left to name
        (["run", "--datasets", "breast-cancer,dig"], ["breast-cancer,digits"]),
        (["run", "--suite", "qui"], ["quick"]),
        (["run", "--suite", "./mine"], ["./mine"]),
        (["run", "--metric", "f1"], ["f1_macro"]),
        (["run", "--protocols", "natural,mca"], ["natural,mcar(0.3)"]),
        (["tune", "--sampler", "t"], ["tpe"]),
        (["list", "su"], ["suites"]),
        (["profile", "fuse"], ["fusemoe"]),
        (["audit", "fusemoe", "mm"], ["mmformer"]),
        (["data", "card", "gaus"], ["gaussian"]),
        (["analyze", "rou"], ["routing"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_word_is_completed(words, found):
    assert offered(*words) == found


def test_commas_inside_brackets_part_nothing():
    assert offered("run", "--protocols", "mar(A->B,2,0.3),nat") == ["mar(A->B,2,0.3),natural"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    words = [
        "run",
        "--methods",
        "constant,mean-logistic",
        "--datasets",
        "breast-cancer",
        "--noise",
        "0.3",
        "--seeds",
        "0",
        "--out",
        str(folder),
        "-q",
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    CliRunner().invoke(main, ["leaderboard", "--out", str(folder), "--publish", str(folder / "board")])
    return folder


@pytest.mark.parametrize("where", ["--out", "--from"])
def test_stored_trials_and_methods_are_offered(where, out):
    place = [where, str(out if where == "--out" else out / "board")]
    assert offered("compare", *place, "") == ["constant", "mean-logistic"]
    assert offered("compare", *place, "constant", "") == ["mean-logistic"]
    ids = offered("show", *place, "")
    assert len(ids) == 2
    assert offered("reproduce", *place, ids[0][:6]) == [ids[0]]


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0"])
def test_a_folder_that_cannot_be_read_offers_what_is_listed(content, tmp_path):
    (tmp_path / "bench.db").write_bytes(content)
    assert offered("show", "--out", str(tmp_path), "") == []
    assert offered("compare", "--out", str(tmp_path), "mus") == ["muse"]


def test_what_is_offered_is_what_there_is():
    assert list(METRICS) == list(METRIC_NAMES)
    assert {name.partition("(")[0] for name in PROTOCOLS} == set(PARSERS)
    assert all(parse_protocol(name) for name in PROTOCOLS)
    assert suites().keys() == known_suites().keys()
    assert datasets().keys() == dataset_names().keys()
    assert METHODS.keys() | GROUPS.keys() <= methods().keys()
    assert offered("compare", "a", "b", "--allow", "") == list(ALLOW)


@pytest.mark.parametrize("words", ["bench run --methods muse,", "bench run --suite q", "bench run --metric a", "bench show "])
def test_completion_loads_nothing_heavy(words, tmp_path):
    code = (
        "import atexit, sys; heavy = {'torch', 'numpy', 'scipy', 'pandas', 'sklearn'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        "from bench.cli import main; main(prog_name='bench')"
    )
    parts = words.split(" ")
    asked = {"_BENCH_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(parts) - 1)}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | asked, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


SHELLS = {
    "bash": 'eval "$(_BENCH_COMPLETE=bash_source bench)"; COMP_WORDS=(bench run {0}); COMP_CWORD=3; _bench_completion bench; '
    'printf "%s\\n" "${{COMPREPLY[@]}}"; complete -p bench',
    "zsh": 'autoload -Uz compinit && compinit -u; eval "$(_BENCH_COMPLETE=zsh_source bench)"; '
    "(( $+functions[_bench_completion] )) && echo bench",
    "fish": '_BENCH_COMPLETE=fish_source bench | source; complete -C "bench run {0}"',
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    (tmp_path / "bench").write_text(f"#!{sys.executable}\nfrom bench.cli import main\nmain(prog_name='bench')\n")
    (tmp_path / "bench").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    for asked, found in (("--methods mus", "muse"), ("--protocols mca", "mcar(0.3)")):
        script = SHELLS[shell].format(asked)
        done = subprocess.run([shell, "-c", script], env=environment, capture_output=True, text=True, check=True)
        assert found in done.stdout.replace("\\", "") if shell != "zsh" else "bench" in done.stdout
        if shell == "bash":  # a bracket would start something else, were it not escaped
            assert ("mcar\\(0.3\\)" in done.stdout) == (found == "mcar(0.3)")
            assert "-F _bench_completion bench" in done.stdout


# Help


def sectioned(command=main, name="bench"):
    """Every command whose help has headings, by its name."""
    found = {name: command} if isinstance(command, Sectioned) else {}
    for key, own in getattr(command, "commands", {}).items():
        found |= sectioned(own, f"{name} {key}")
    return found


def test_commands_with_many_options_have_headings():
    assert {"bench run", "bench tune", "bench profile", "bench analyze routing", "bench leaderboard", "bench compare"} <= sectioned().keys()


@pytest.mark.parametrize("name", sectioned())
def test_every_option_stands_under_a_heading(name):
    known = {option for options in SECTIONS.values() for option in options}
    assert [param.name for param in sectioned()[name].params if param.param_type_name == "option" and param.name not in known] == []


def test_help_of_a_run_says_what_how_and_where_in_80_columns():
    text = CliRunner().invoke(main, ["run", "--help"]).output
    places = [text.index(f"\n{title}:\n") for title in (*SECTIONS, OTHER)]
    assert places == sorted(places)
    assert (
        text.index("--datasets") < places[1] < text.index("--epochs N") < places[2] < text.index("--jobs") < places[3] < text.index("--out")
    )
    assert max(map(len, text.splitlines())) <= 80
    assert Path.cwd().as_posix() not in text
