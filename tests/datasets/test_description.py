"""A description is read key by key, refused by file and place, and written so that it reads the same."""

import pytest

from bench.datasets.base import DataError
from bench.datasets.described.as_toml import to_toml
from bench.datasets.described.description import Column, read_description

WHOLE = """\ufeff
title = "My study"
id = "patient_id"
[target]
file = "demo.csv"
column = "outcome"
classes = ["alive", "dead"]
missing = "drop"
[groups]
file = "demo.csv"
column = "family"
[[modality]]
name = "labs"
kind = "vector"
file = "labs.tsv.gz"
rows = "last"
order = "date"
[modality.columns]
age = "number"
"crp [mg/l]" = { as = "number", below = "half", decimal = ",", missing = ["n/a", -99] }
admitted = { as = "date", since = "born", format = "%d.%m.%Y" }
stage = { as = "ordered", levels = ["I", "II"] }
[[modality]]
name = "stay"
letter = "S"
kind = "sequence"
file = "hours.parquet"
order = "hour"
steps = 48
[modality.columns]
pulse = "number"
[[modality]]
name = "image"
kind = "image"
column = "path"
size = [32, 32]
[[modality]]
name = "embedding"
kind = "array"
file = "e.npz"
"""


def written(folder, text):
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_description_is_read_with_its_defaults(tmp_path):
    found = read_description(written(tmp_path, WHOLE))
    labs, stay, image, embedding = found.modalities
    assert [one.letter for one in found.modalities] == ["L", "S", "I", "E"]
    assert labs.columns[1] == Column("crp [mg/l]", "number", missing=("n/a", "-99"), decimal=",", below="half")
    assert (labs.indicators, stay.steps, image.file, image.size, embedding.ids) == (True, 48, "demo.csv", (32, 32), "")
    assert found.place("labs.tsv.gz") == tmp_path / "labs.tsv.gz"


def test_what_is_written_reads_as_the_same(tmp_path):
    found = read_description(written(tmp_path, WHOLE))
    text = to_toml(found, {"": "made by hand", "labs": "two\nlines", "labs.age": "years", "target": "12 % dead"})
    assert read_description(written(tmp_path, text)) == found
    assert "# two\n# lines\n[[modality]]" in text
    assert "# years\nage" in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "patient_id"', 'idd = "patient_id"', "study.toml has no id; write"),
        ('title = "My study"', 'titel = "My study"', "study.toml has no key 'titel', did you mean 'title'?"),
        ('rows = "last"', 'rows = "lats"', "study.toml modality 'labs': rows must be one of one, last, first, mean, samples"),
        ('order = "date"', "", 'rows = "last" needs order'),
        ("steps = 48", "size = [1, 2]", "modality 'stay': size is for what is of kind image, this is of kind sequence; leave it out"),
        ("steps = 48", "steps = true", "steps must be a whole number from 1 to 4096, got True"),
        ('age = "number"', 'age = "numbr"', "column 'age': as must be one of number, category, date, ordered, did you mean 'number'?"),
        (
            'age = "number"',
            'age = { as = "category", below = "half" }',
            "column 'age': below is for what is read as number, this is read as category; leave it out",
        ),
        ('age = "number"', 'age = { as = "date" }', "column 'age' has no since"),
        ('decimal = ","', 'decimal = ",", thousands = ","', "decimal and thousands must be two signs"),
        ('pulse = "number"', 'pulse = "category"', "column 'pulse' of a sequence must be a number, a date or ordered"),
        ('classes = ["alive", "dead"]', 'classes = ["alive"]', "classes must be a list of 2 texts at least"),
        ('file = "labs.tsv.gz"', 'file = "labs.pkl"', "file must be a file that ends in one of .csv"),
        ('file = "e.npz"', 'file = "e.npy"', "a .npy file needs ids"),
        ('letter = "S"', 'letter = "L"', "letter 'L' is of two modalities"),
        ("[[modality]]", "[modality]", "study.toml is no TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, old, new, said):
    assert old in WHOLE
    with pytest.raises(DataError) as error:
        read_description(written(tmp_path, WHOLE.replace(old, new, 1)))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
