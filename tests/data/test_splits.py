"""bench/data/splits.py: an official split is checked, one by groups aims at rows, and what a reader must know is said in words."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupShuffleSplit

from bench.data.splits import noticed, split_rows
from bench.datasets.base import Dataset
from bench.errors import UsageError
from bench.seeds import number


class Given(Dataset):
    title = "given"

    def __init__(self, parts=None):
        self.official = parts

    def parts(self, samples):
        return self.official if self.official is not None else super().parts(samples)


def groups_of(*sizes):
    return np.repeat([f"group {number}" for number in range(len(sizes))], sizes)


def with_target(samples, target):
    return replace(samples, target=np.asarray(target, dtype=np.int64))


def test_official_split_that_parts_groups_is_refused_unless_groups_may_be_parted(make_samples):
    samples = replace(make_samples(n=24), groups=np.arange(24) // 2, split=np.array(["train", "test"] * 12))
    with pytest.raises(UsageError, match=r"parts the rows of 12 of 12 groups, first '0' \(train and test\); .*keeps_groups = False"):
        split_rows(Given(), samples, 0)
    free = Given()
    free.keeps_groups = False
    assert len(split_rows(free, samples, 0)["test"]) == 12


def test_one_group_in_two_parts_is_enough_to_refuse(make_samples):
    parts = {"train": np.arange(12), "valid": np.arange(12, 18), "test": np.arange(18, 24)}
    samples = replace(make_samples(n=24), groups=np.array(["a"] * 12 + ["b"] * 6 + ["c"] * 5 + ["b"]))
    with pytest.raises(UsageError, match=r"1 of 3 groups, first 'b' \(valid and test\)"):
        split_rows(Given(parts), samples, 0)


WHOLE = {"train": np.arange(12), "valid": np.arange(12, 18), "test": np.arange(18, 24)}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": np.arange(12), "valid": np.arange(12, 24)}, "has no test part"),
        ({"test": np.arange(12)}, "has no train part"),
        ({}, "has no train part"),
        ({**WHOLE, "test": np.arange(0)}, "has an empty test part"),
        ({**WHOLE, "valid": np.arange(0)}, "has an empty valid part; name its rows, or leave it out"),
        ({"train": np.arange(12), "validation": np.arange(12, 24)}, "must be rows by part, of train, valid, test, got train, validation"),
        ([np.arange(12), np.arange(12, 24)], "must be rows by part, of train, valid, test, got list"),
        ({**WHOLE, "train": list(range(12))}, r"train of .* must be a numpy array, got a list; use np\.array"),
        ({**WHOLE, "train": pd.Index(range(12))}, r"train of .* must be a numpy array, got pandas RangeIndex; use \.to_numpy"),
        ({**WHOLE, "train": np.arange(24) < 12}, r"train of .* must be row indices, got a mask; use np\.flatnonzero"),
        ({**WHOLE, "train": np.arange(12.0)}, "train of .* must be row indices, whole numbers, got float64"),
        ({**WHOLE, "train": np.arange(-1, 12)}, r"train of .* must be row indices in \[0, 24\), got -1"),
        ({**WHOLE, "test": np.arange(18, 25)}, r"test of .* must be row indices in \[0, 24\), got 24"),
        ({**WHOLE, "test": np.array([18, 19, 19])}, "test of .* must name each row once, got row 19 2 times"),
        ({**WHOLE, "test": np.arange(18, 24)[:, None]}, r"test of .* must be a numpy array of one dimension, got shape \(6, 1\)"),
    ],
)
def test_an_official_split_that_cannot_be_used_is_refused_in_words(make_samples, parts, message):
    with pytest.raises(UsageError, match=message):
        split_rows(Given(parts), make_samples(n=24), 0)


def test_what_parts_raises_is_a_reason(make_samples):
    class Broken(Given):
        def parts(self, samples):
            raise KeyError("fold")

    with pytest.raises(UsageError, match="official split of 'given' cannot be had: KeyError: 'fold'"):
        split_rows(Broken(), make_samples(n=24), 0)


@pytest.mark.parametrize("sizes", [(24,), (12, 12)], ids=["one", "two"])
def test_fewer_groups_than_parts_are_refused(make_samples, sizes):
    samples = replace(make_samples(n=24), groups=groups_of(*sizes))
    with pytest.raises(UsageError, match=f"a split by groups needs 3 groups, one for each part that it makes, got {len(sizes)}"):
        split_rows(Given(), samples, 0)


def test_validation_carved_from_one_group_is_refused(make_samples):
    samples = replace(make_samples(n=24), groups=groups_of(18, 6), split=np.repeat(["train", "test"], [18, 6]))
    with pytest.raises(UsageError, match="a split by groups needs 2 groups, one for each part that it makes, got 1"):
        split_rows(Given(), samples, 0)


def test_more_classes_than_a_part_has_rows_are_refused(make_samples):
    samples = make_samples(n=40, classes=10)
    with pytest.raises(
        UsageError, match="each part needs a row of each of 10 classes, and a stratified split of 40 rows makes a part of 6"
    ):
        split_rows(Given(), samples, 0)


@pytest.mark.parametrize("seed", range(8))
def test_uneven_groups_are_drawn_by_rows_and_stay_whole(make_samples, seed):
    groups = groups_of(210, *[10] * 9)
    rows = split_rows(Given(), replace(make_samples(n=300), groups=groups), seed)
    sizes = {part: len(found) for part, found in rows.items()}
    assert 0.1 <= sizes["valid"] / 300 <= 0.2
    assert 0.1 <= sizes["test"] / 300 <= 0.2
    assert sum(len(set(groups[found])) for found in rows.values()) == 10
    assert np.array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(300))


def test_groups_of_one_size_keep_the_split_by_their_number(make_samples):
    """The draw of a split by groups, as it always was, where its shares are near 70/15/15."""
    groups = np.arange(120) // 6
    drawn = GroupShuffleSplit(1, test_size=0.15, random_state=number(0, "split") % 2**32)
    _, test = next(drawn.split(groups, groups=groups))
    assert np.array_equal(split_rows(Given(), replace(make_samples(n=120), groups=groups), 0)["test"], np.sort(test))


def test_three_groups_are_a_part_each_whatever_their_sizes(make_samples):
    for sizes in ((8, 8, 8), (20, 2, 2), (1, 1, 22)):
        rows = split_rows(Given(), replace(make_samples(n=24), groups=groups_of(*sizes)), 0)
        assert sorted(map(len, rows.values())) == sorted(sizes)


def test_nothing_is_said_of_an_ordinary_split(make_samples):
    samples = make_samples(n=120)
    assert noticed(Given(), samples, split_rows(Given(), samples, 0)) == ()


def test_classes_that_a_part_lacks_are_said(make_samples):
    samples = with_target(make_samples(n=120, classes=4), np.where(np.arange(120) < 100, np.arange(120) % 2, 2))
    samples = replace(samples, groups=np.where(np.arange(120) < 100, np.arange(120) // 10, 10))
    said = noticed(Given(), samples, split_rows(Given(), samples, 0))
    assert said[0] == "no sample has class 'class 3'"
    assert len([note for note in said if note.endswith("part has no sample of class 'class 2'")]) == 2


def test_shares_far_from_what_a_reader_takes_for_granted_are_said(make_samples):
    samples = make_samples(n=24)
    thirds = replace(samples, groups=groups_of(8, 8, 8))
    assert noticed(Given(), thirds, split_rows(Given(), thirds, 0)) == (
        "train, valid and test hold 33.3, 33.3 and 33.3 % of the samples (8/8/8)",
    )
    official = {"train": np.arange(4), "valid": np.arange(4, 8), "test": np.arange(8, 24)}
    assert noticed(Given(official), samples, official)[-1] == ("train, valid and test hold 16.7, 16.7 and 66.7 % of the samples (4/4/16)")
    usual = {"train": np.arange(13), "valid": np.arange(13, 17), "test": np.arange(17, 24)}
    assert noticed(Given(usual), samples, usual) == ()


def test_rows_that_an_official_split_leaves_out_are_said(make_samples):
    parts = {"train": np.arange(13), "valid": np.arange(13, 17), "test": np.arange(17, 22)}
    assert "2 samples of 24 are in no part of the official split" in noticed(Given(parts), make_samples(n=24), parts)
