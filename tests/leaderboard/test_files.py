"""bench/leaderboard/files.py: every page and picture has a name of its own that every file system takes."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.leaderboard.files import Files
from bench.text import distinct_stems, file_stem

REFUSED = set('<>:"/\\|?*') | set(map(chr, range(32)))
KEPT = {"con", "prn", "aux", "nul", *(f"{name}{number}" for name in ("com", "lpt") for number in range(10))}
TEXTS = st.text(min_size=1, max_size=200)


def is_taken_by_windows(name):
    """The rules of Microsoft's page on naming files."""
    return not (
        set(name) & REFUSED or name[-1] in ". " or name[0] == " " or name.partition(".")[0].rstrip().casefold() in KEPT or len(name) > 120
    )


@given(parts=st.lists(TEXTS, min_size=1, max_size=4))
def test_any_text_gives_a_name_that_windows_takes(parts):
    name = file_stem(*parts)
    assert is_taken_by_windows(f"{name}.md"), name
    assert is_taken_by_windows(name), name
    assert len(name.encode()) <= 250


@pytest.mark.parametrize(
    "name", ["CON", "nul", "Aux", "com1", "LPT9", "con.toml", "COM1.py:Net", "a:b", "x|y", "what?", "end.", "...", " ", "a\tb"]
)
def test_name_that_windows_keeps_or_refuses_is_changed(name):
    found = file_stem(name)
    assert is_taken_by_windows(found + ".md")
    assert is_taken_by_windows(found)


@given(keys=st.lists(st.tuples(TEXTS, TEXTS), max_size=12))
def test_different_keys_have_different_names_even_where_case_does_not_count(keys):
    found = distinct_stems(keys, ["README"])
    assert len({name.casefold() for name in found.values()} | {"readme"}) == len(set(keys)) + 1


def test_plain_names_stay_as_they_are():
    assert file_stem("noise", "mosi-utterance", "TAV", "mcar") == "noise_mosi-utterance_TAV_mcar"
    assert all(file_stem(name) == name for name in ("digits", "av-digits", string.ascii_lowercase))


def test_datasets_that_differ_by_case_or_by_a_letter_no_file_takes_have_pages_of_their_own():
    names = ["digits", "Digits", "a:b", "a?b", "readme", "study.toml", "mine.py:Mine", "other/study.toml"]
    files = Files.of([*names, "digits[parts=2]"], ())
    pages = [files.page(name) for name in names]
    assert len({page.casefold() for page in [*pages, "README.md"]}) == len(names) + 1
    assert all(map(is_taken_by_windows, pages))
    assert files.page("digits[parts=2]") == files.page("digits") == "digits.md"


def test_pictures_of_settings_that_read_alike_without_their_signs_are_two():
    keys = [("forest", "a[b=1]", "NE", "mcar(0.1)"), ("forest", "a[b_1]", "NE", "mcar(0.1)"), ("forest", "A[b=1]", "ne", "mcar(0.1)")]
    files = Files.of((), keys)
    names = {files.picture(*key).casefold() for key in keys}
    assert len(names) == 3
    assert all(map(is_taken_by_windows, names))
