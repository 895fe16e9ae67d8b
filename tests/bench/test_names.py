"""bench/names.py: what is written reads back, whatever signs a path holds; one file has one name; values come as people give them."""

import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.names import (
    Choice,
    Setting,
    alike,
    bare_choice,
    format_value,
    list_item,
    one_choice,
    one_name,
    parse_choice,
    parse_seeds,
    path_of,
    plain,
    split_list,
    words_of,
)

FOLDERS = [
    "me@mail.org",
    "Company, Inc",
    "run [3]",
    "half [open",
    "a=b;c",
    "(x)",
    "käse und brot",
    "it's",
    'say "so"',
    "p.py:q",
    "~x",
    "a.toml",
]
words = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=12)
folders = st.lists(words.filter(lambda part: part.strip(". ") == part and part), max_size=3).map("/".join)
values = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=12).map(str.strip).filter(bool))
options = st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True), values, max_size=3)
presets = st.sampled_from(["", "paper", "as_released"])
by_file = st.builds(lambda folder: f"/{folder}/net.py:Net", folders)
choices = st.builds(Choice, st.one_of(by_file, st.sampled_from(["muse", "moe-retriever", "net.py:Net"])), presets, options)


@given(choices)
def test_choice_that_is_written_reads_back(choice):
    assert parse_choice(str(choice)) == choice


@given(st.lists(choices.map(str), min_size=1, max_size=4))
def test_list_that_is_written_reads_back(texts):
    assert split_list(",".join(map(list_item, texts))) == texts


@given(values)
def test_value_that_is_written_reads_back_as_the_same_kind(value):
    found = parse_choice(f"muse[key={format_value(value)}]").options["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("folder", FOLDERS)
def test_file_in_an_odd_folder_is_found_in_a_list(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(folder).mkdir()
    (tmp_path / folder / "net.py").touch()
    name = f"./{folder}/net.py:Net"
    assert split_list(f"muse[layers=2],{name}@paper[k=1,w=2], constant") == ["muse[layers=2]", f"{name}@paper[k=1,w=2]", "constant"]
    assert parse_choice(f"{name}[k=1]") == Choice(name, "", {"k": 1})


def test_item_in_quotes_needs_no_file():
    assert split_list('muse, "Company, Inc/net.py:Net[k=1]"') == ["muse", "Company, Inc/net.py:Net[k=1]"]


def test_value_with_a_comma_stands_in_quotes_and_the_error_says_so():
    assert parse_choice('net.py:Net[weights="/a,b/[1].pt",k=2]').options == {"weights": "/a,b/[1].pt", "k": 2}
    with pytest.raises(UsageError, match='a value with a comma stands in double quotes: name="a,b"'):
        parse_choice("net.py:Net[weights=/a,b.pt]")


@pytest.mark.parametrize("text", ["muse@", "muse[k=1", "mu]se", "", "muse[k=1][w=2]", "muse@a@b"])
def test_text_that_is_no_choice_is_explained(text):
    with pytest.raises(UsageError, match="expected name, name@preset or"):
        parse_choice(text)


# One file, one name


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a dataset in it and a link to it, as the working folder; the home folder lies beside it."""
    folder = tmp_path / "home" / "project"
    (folder / "sub").mkdir(parents=True)
    (folder / "data.py").touch()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(folder)
    return folder


SPELLED = ["data.py", "./data.py", "sub/../data.py", "~/project/data.py", "{project}/data.py", "../../link/data.py", ".//data.py"]


@pytest.mark.parametrize("spelling", SPELLED)
def test_file_has_one_name_however_it_is_spelled(spelling, project):
    assert one_name(spelling.format(project=project) + ":Made") == "data.py:Made"
    assert one_choice(spelling.format(project=project) + ":Made[rows=3]") == "data.py:Made[rows=3]"


def test_file_outside_the_working_folder_has_its_whole_path(project, monkeypatch):
    monkeypatch.chdir(project / "sub")
    assert one_name("../data.py:Made") == one_name("~/project/data.py:Made") == f"{project.resolve()}/data.py:Made"
    assert bare_choice(one_choice("../data.py:Made[rows=3]")) == "data.py:Made[rows=3]"


def test_name_without_a_file_stays_as_it_is(project):
    assert [one_name(name) for name in ("muse", "absent.py:Made", "./absent.py:Made")] == ["muse", "absent.py:Made", "./absent.py:Made"]


@pytest.mark.parametrize("folder", ["~x", " x", '"x'])
def test_name_of_a_file_reads_back_where_its_folder_begins_oddly(folder, project):
    (project / folder).mkdir()
    (project / folder / "data.py").touch()
    name = one_name(f"{project}/{folder}/data.py:Made")
    assert parse_choice(name).name == name == one_name(name)
    assert split_list(list_item(name)) == [name]


def test_path_that_no_record_could_hold_is_refused(project):
    (project / "\udce4").mkdir()
    (project / "\udce4" / "data.py").touch()
    with pytest.raises(UsageError, match="is not UTF-8, and records are; rename the folder"):
        one_name("\udce4/data.py:Made")


def test_home_of_nobody_is_a_folder_called_so(project):
    assert path_of("~/data.py") == project.parent / "data.py"
    assert path_of("~nobody-is-called-so/data.py") == Path("~nobody-is-called-so/data.py")


def test_names_that_share_marks_are_one_whatever_their_order():
    assert alike([("a", 1), ("b", 2), ("c", 1), ("c", 2), ("d", 3)]) == {"a": "a", "b": "a", "c": "a", "d": "d"}


def test_words_name_a_setting_whose_dataset_has_blanks():
    setting = Setting("run 3/data.py:Made", "NE", "mcar(0.3)")
    assert setting.matches("run 3/data.py:Made")
    assert setting.matches("mcar(0.3) run 3/data.py:Made NE")
    assert not setting.matches("run 3/data.py:Made mcar(0.5)")
    assert not setting.matches("run")


# Values from Python


VALUES = {
    "range": (range(2), [0, 1]),
    "array": (np.arange(2), [0, 1]),
    "array of one": (np.array(3), 3),
    "numpy int": (np.int64(3), 3),
    "numpy float": (np.float64(0.3), 0.3),
    "short float": (np.float32(0.3), 0.3),
    "short floats": (np.array([0.1, 0.3], np.float32), [0.1, 0.3]),
    "numpy bool": (np.True_, True),
    "numpy text": (np.str_("muse"), "muse"),
    "list of numpy": ([np.int64(1), np.float32(0.1)], [1, 0.1]),
    "pandas column": (pd.Series(["a", "b"], index=[7, 8]), ["a", "b"]),
    "short pandas column": (pd.Series([0.3], dtype="float32"), [0.3]),
    "pandas index": (pd.Index([1, 2]), [1, 2]),
    "iterator": (iter("ab"), ["a", "b"]),
    "set": ({"b", "a"}, ["a", "b"]),
    "path": (Path("runs/a"), "runs/a"),
    "table": ({np.str_("lr"): np.float32(0.1)}, {"lr": 0.1}),
}


@pytest.mark.parametrize(("given_value", "wanted"), VALUES.values(), ids=VALUES)
def test_value_comes_as_toml_could_hold_it(given_value, wanted):
    found = plain(given_value)
    assert (found, type(found)) == (wanted, type(wanted))
    assert not isinstance(found, np.generic)


@pytest.mark.parametrize("seeds", [range(2), np.arange(2), pd.Index([0, 1]), pd.Series([0, 1]), [np.int64(0), "1"], iter((0, 1)), "0-1"])
def test_seeds_come_in_any_form(seeds):
    assert parse_seeds(seeds) == (0, 1)


@pytest.mark.parametrize("seeds", [np.True_, True, 1.5, np.float64(1.0), [], -1, [np.int64(1), 1]])
def test_seeds_that_are_none_are_refused(seeds):
    with pytest.raises(UsageError, match="seed"):
        parse_seeds(seeds)


@pytest.mark.parametrize("given_value", ["png,svg", ["png", "svg"], np.array(["png", "svg"]), pd.Series(["png", "svg"])])
def test_words_come_from_a_text_or_any_iterable(given_value):
    assert words_of(given_value) == ["png", "svg"]
    assert words_of(Path("a,b.toml")) == ["a,b.toml"]


def test_list_item_survives_the_shell():
    text = "it's, [so/net.py:Net"
    assert split_list(shlex.split(shlex.quote(list_item(text)))[0]) == [text]
