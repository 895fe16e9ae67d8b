"""bench/question/assemble.py: both doors give the same question in whatever form it was written."""

import numpy as np
import pytest

from bench.errors import UsageError
from bench.question.assemble import assemble, names_of, seeds_of
from bench.question.suite import SETTING_KEYS, SUITE_KEYS, Settings, Suite, read_suite

SUITE = Suite("small", (Settings(("digits",)),))
TYPED = {"methods": "muse,constant", "datasets": "breast-cancer", "noise": "0.1,0.3", "seeds": "0-2", "training": ["epochs=2", "width=8"]}


@pytest.mark.parametrize(
    "given",
    [
        {"methods": ["muse", "constant"], "datasets": ("breast-cancer",), "noise": [0.1, 0.3], "seeds": range(3),
         "training": {"epochs": 2, "width": 8}},
        {"methods": iter(["muse,constant"]), "datasets": iter(["breast-cancer"]), "noise": np.array([0.1, 0.3]), "seeds": np.arange(3),
         "training": {"epochs": np.int64(2), "width": np.int64(8)}},
        {"methods": ("muse", "constant"), "datasets": {"breast-cancer"}, "noise": (np.float64(0.1), np.float64(0.3)),
         "seeds": [np.int64(0), 1, "2"], "training": {"epochs": 2, "width": 8}, "metric": None},
    ],
    ids=["lists", "arrays and iterators", "tuples, sets and numpy values"],
)  # fmt: skip
def test_every_form_of_the_same_options_gives_the_same_suite(given):
    suite = assemble(SUITE, given)
    assert suite == assemble(SUITE, TYPED)
    assert suite.to_toml() == assemble(SUITE, TYPED).to_toml()
    assert all(type(value) is int for value in suite.training.values())


def test_suite_comes_by_name_by_file_or_as_a_value(tmp_path):
    (tmp_path / "mine.toml").write_text(read_suite("quick").to_toml())
    named, filed = assemble("quick", {"seeds": 7}), assemble(str(tmp_path / "mine.toml"), {"seeds": 7})
    assert named == assemble(read_suite("quick"), {"seeds": 7})
    assert (filed.settings, filed.seeds, filed.training) == (named.settings, (7,), named.training)


def test_class_becomes_known_under_its_name():
    class Newcomer:
        pass

    assert names_of([Newcomer, "muse, constant"]) == ["Newcomer", "muse", "constant"]
    assert names_of(Newcomer) == ["Newcomer"]


def test_configs_are_checked_wherever_they_were_typed(tmp_path):
    assert assemble(SUITE, {}, ["default"], tmp_path) == assemble(SUITE, {}, "default", tmp_path) == SUITE
    with pytest.raises(UsageError, match="no tuned configs in"):
        assemble(SUITE, {}, "default,tuned", tmp_path)
    with pytest.raises(UsageError, match="configs names nothing"):
        assemble(SUITE, {}, [], tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"methods": []}, "methods must be a list of names"),
        ({"datasets": ""}, "datasets must be a list of names"),
        ({"epocs": 3}, "unknown suite key 'epocs'"),
        ({"training": "epochs"}, "an option reads name=value"),
        ({"noise": np.array([1.0])}, r"in \[0, 1\), got 1.0"),
        ({"protocols": "mcr"}, "did you mean 'mcar'"),
        ({"threads": True}, "threads must be a whole number"),
    ],
    ids=str,
)
def test_bad_options_are_explained(options, words):
    with pytest.raises(UsageError, match=words):
        assemble(SUITE, options)


def test_seeds_take_every_form():
    assert seeds_of(range(2)) == seeds_of("0-1") == seeds_of(np.arange(2)) == seeds_of((0, 1)) == (0, 1)
    assert seeds_of(4) == (4,)


def test_every_key_of_a_suite_has_its_reader():
    from dataclasses import fields

    assert list(SUITE_KEYS) == [key.name for key in fields(Suite) if key.name not in ("name", "settings")]
    assert list(SETTING_KEYS) == [key.name for key in fields(Settings)]


def test_suite_and_configs_come_as_paths_whose_folders_hold_commas(tmp_path):
    folder = tmp_path / "a, b"
    folder.mkdir()
    (folder / "mine.toml").write_text(read_suite("quick").to_toml(), encoding="utf-8")
    assert assemble(folder / "mine.toml", {}).settings == read_suite("quick").settings
    for configs in (folder / "absent.toml", [folder / "absent.toml"], [str(folder / "absent.toml"), "default"]):
        with pytest.raises(UsageError, match=r"a, b/absent\.toml cannot be read: No such file"):
            assemble(SUITE, {}, configs)
    (folder / "tuned.toml").write_bytes(b"\xff\xfex\x00")
    with pytest.raises(UsageError, match=r"file of tuned configs .*a, b/tuned\.toml is in UTF-16, and TOML is UTF-8"):
        assemble(SUITE, {}, f"default,{folder}/tuned.toml")


def test_pairs_come_as_texts_or_as_two_names_each(tmp_path):
    wanted = assemble(SUITE, {"until_resolved": "muse,fusemoe[layers=1,k=2]"}).until_resolved
    assert assemble(SUITE, {"until_resolved": [("muse", "fusemoe[layers=1,k=2]")]}).until_resolved == wanted
    assert assemble(SUITE, {"until_resolved": np.array([["muse", "fusemoe[layers=1,k=2]"]])}).until_resolved == wanted


def test_dataset_class_becomes_known_under_its_name_too():
    class Newdata:
        pass

    assert assemble(SUITE, {"datasets": [Newdata, "digits"]}).settings[0].datasets == ("Newdata", "digits")
