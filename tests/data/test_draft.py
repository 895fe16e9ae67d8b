"""Files are described as they are: what each column holds, whose rows they are, what makes no input and why; the rest is refused."""

import datetime
import random
import tomllib

import numpy as np
import pytest

from bench.data.draft import draft
from bench.datasets.described.dataset import Described
from bench.datasets.described.description import read_description
from bench.errors import UsageError


def write(folder, name, rows, sign=",", encoding="utf-8"):
    """A text table of a header and rows."""
    path = folder / name
    path.write_text("".join(sign.join(map(str, row)) + "\n" for row in rows), encoding=encoding)
    return path


def people(folder, n=40, name="people.csv", more=(), label=lambda row: "yes" if row % 8 == 0 else "no"):
    """One row a person: id, age, label, and further columns of a name and a function of the row."""
    rng = random.Random(0)
    head = ["pid", "age", *(column for column, _ in more), "outcome"]
    rows = [[f"P{row}", rng.randrange(20, 90), *(make(row) for _, make in more), label(row)] for row in range(n)]
    return write(folder, name, [head, *rows])


def drafted(folder, *files, ids=("pid",), label="outcome", **options):
    return draft(folder / "study.toml", files, ids=ids, label=label, **options)


def columns(made, place=0):
    return {column.name: column.kind for column in made.description.modalities[place].columns}


def loaded(made):
    made.description.path.write_text(made.text, encoding="utf-8")
    return Described(made.description.path).load()


# What is written


def test_what_is_written_reads_as_what_was_guessed_and_loads(tmp_path):
    files = [people(tmp_path), write(tmp_path, "labs.csv", [["pid", "crp"], *([f"P{row}", row / 2] for row in range(0, 30))])]
    made = drafted(tmp_path, *files, title="A study")
    samples = loaded(made)
    assert read_description(made.description.path) == made.description
    assert made.description.title == "A study"
    assert (samples.schema.names, samples.schema.combination, samples.schema.classes) == (("people", "labs"), "PL", ("no", "yes"))
    assert samples.observed.sum(0).tolist() == [40, 30]
    assert made.problem() == ""


def test_every_column_has_its_reason_above_it(tmp_path):
    lines = drafted(tmp_path, people(tmp_path, more=[("ward", lambda row: f"ward {row % 3}")])).text.splitlines()
    assert lines[lines.index('age = "number"') - 1].startswith("# whole numbers 2")
    assert lines[lines.index('ward = "category"') - 1] == "# 3 categories: ward 0, ward 1, ward 2"


def test_columns_of_odd_names_stand_in_the_text(tmp_path):
    odd = ["crp [mg/l]", 'say "hi"', "größe", "a.b", "x#y"]
    made = drafted(tmp_path, people(tmp_path, more=[(name, lambda row, n=n: row * n % 13 + 0.5) for n, name in enumerate(odd, 2)]))
    assert list(tomllib.loads(made.text)["modality"][0]["columns"]) == ["age", *odd]
    assert loaded(made).schema.modalities[0].shape == (6,)


def test_paths_are_relative_to_the_description(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "own").mkdir()
    made = draft(tmp_path / "own" / "study.toml", [people(tmp_path / "data")], ids=["pid"], label="outcome")
    assert made.description.target.file == "../data/people.csv"
    assert made.problem() == ""


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (("1", "0"), ("0", "1")),
        (("10", "9", "8"), ("8", "9", "10")),
        (("Yes", "No"), ("No", "Yes")),
        (("dead", "alive"), ("alive", "dead")),
        (("severe", "mild", "moderate"), ("mild", "moderate", "severe")),
        (("relapse", "remission", "remission"), ("remission", "relapse")),
    ],
)
def test_classes_rise_or_begin_with_the_common_one(tmp_path, labels, classes):
    made = drafted(tmp_path, people(tmp_path, label=lambda row: labels[row % len(labels)]))
    assert made.description.target.classes == classes
    assert sum(made.classes.values()) == 40


def test_rows_without_a_label_are_dropped_and_counted(tmp_path):
    made = drafted(tmp_path, people(tmp_path, label=lambda row: ["yes", "no", "", "NA"][row % 4]))
    assert made.description.target.missing == "drop"
    assert "20 rows without a label are dropped" in made.text
    assert len(loaded(made)) == 20


def test_a_word_for_no_value_among_the_classes_is_to_be_checked(tmp_path):
    made = drafted(tmp_path, people(tmp_path, label=lambda row: ["yes", "no", "unknown"][row % 3]))
    assert "CHECK: 'unknown' is a class here" in made.text
    assert made.checks == 1


def test_the_word_none_among_labels_is_to_be_checked(tmp_path):
    made = drafted(tmp_path, people(tmp_path, label=lambda row: ["mild", "severe", "none"][row % 3]))
    assert "CHECK: 13 cells 'none' say that there is no label" in made.text


# Modalities


def test_modalities_have_letters_of_their_own(tmp_path):
    others = [write(tmp_path, f"p{n}.csv", [["pid", "x"], *([f"P{row}", row % 9 + n / 10] for row in range(40))]) for n in range(4)]
    made = drafted(tmp_path, people(tmp_path), *others)
    assert [one.letter for one in made.description.modalities] == ["P", "A", "B", "C", "D"]
    assert len(loaded(made).schema) == 5


def test_more_modalities_than_letters_are_refused(tmp_path):
    others = [write(tmp_path, f"t{n}.csv", [["pid", "x"], *([f"P{row}", row % 9] for row in range(40))]) for n in range(26)]
    with pytest.raises(UsageError, match="26 modalities at most, one a letter, got 27"):
        drafted(tmp_path, people(tmp_path), *others)


def test_a_file_is_renamed_or_cut_into_modalities_by_columns(tmp_path):
    more = [(name, lambda row: row % 9 + 0.5) for name in ("crp", "wbc", "pulse", "rr")]
    more = [(name, lambda row, place=place: (row * (place + 2)) % 11 + 0.5) for place, (name, _) in enumerate(more)]
    made = drafted(
        tmp_path, people(tmp_path, more=more), modalities=["labs=people.csv:crp, wbc", "vitals=people.csv:pulse,rr", "who=people.csv"]
    )
    found = {one.name: [column.name for column in one.columns] for one in made.description.modalities}
    assert found == {"labs": ["crp", "wbc"], "vitals": ["pulse", "rr"], "who": ["age"]}
    assert loaded(made).schema.combination == "LVW"


@pytest.mark.parametrize(
    ("modality", "message"),
    [
        ("labs", "reads NAME=FILE"),
        ("=people.csv", "reads NAME=FILE"),
        ("labs=peple.csv:crp", "peple.csv is none of the files; known: people.csv"),
        ("labs=people.csv:crb", "people.csv has no such column: unknown column 'crb', did you mean 'crp'"),
    ],
)
def test_a_modality_that_cannot_be_made_is_refused(tmp_path, modality, message):
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        drafted(tmp_path, people(tmp_path, more=[("crp", lambda row: row % 9)]), modalities=[modality])


def test_a_column_is_in_one_modality(tmp_path):
    with pytest.raises(UsageError, match="'age' is in 'one' already; a column is in one modality"):
        drafted(tmp_path, people(tmp_path), modalities=["one=people.csv:age", "two=people.csv:age"])


def test_names_of_modalities_are_plain_words_of_their_own(tmp_path):
    (tmp_path / "x").mkdir()
    rows = [["pid", "x"], *([f"P{row}", row % 9] for row in range(40))]
    made = drafted(tmp_path, people(tmp_path), write(tmp_path, "My Labs (v2).csv", rows), write(tmp_path / "x", "people.csv", rows))
    assert [one.name for one in made.description.modalities] == ["people", "my_labs_v2", "people_2"]


def test_an_array_with_ids_is_a_modality_of_its_own(tmp_path):
    np.savez(tmp_path / "scan.npz", ids=np.array([f"P{row}" for row in range(5, 45)]), values=np.ones((40, 3, 2), np.float32))
    made = drafted(tmp_path, people(tmp_path), tmp_path / "scan.npz")
    samples = loaded(made)
    assert [one.kind for one in samples.schema] == ["vector", "sequence"]
    assert samples.observed[:, 1].sum() == 35


def test_an_array_without_ids_is_refused_with_the_way_on(tmp_path):
    np.save(tmp_path / "scan.npy", np.ones((40, 3)))
    with pytest.raises(UsageError, match=r"scan.npy does not say whose its rows are; save ids and values together: np.savez"):
        drafted(tmp_path, people(tmp_path), tmp_path / "scan.npy")


def test_paths_of_images_are_a_modality_of_images(tmp_path):
    made = drafted(tmp_path, people(tmp_path, more=[("photo", lambda row: f"photos/{row}.PNG")]))
    images = made.description.modalities[1]
    assert (images.name, images.kind, images.column, images.file) == ("photo", "image", "photo", "people.csv")
    assert "photo" not in columns(made)


# Ids


@pytest.mark.parametrize("name", ["PID", "p_id", "Pid", "subject"])
def test_ids_are_found_under_other_names(tmp_path, name):
    labs = write(tmp_path, "labs.csv", [["no", name, "crp"], *([row, f"P{row}", row / 2] for row in range(30))])
    made = drafted(tmp_path, people(tmp_path), labs)
    assert made.description.modalities[1].id == name
    assert f"its column {name} names the samples, as pid does elsewhere" in made.text
    assert loaded(made).observed[:, 1].sum() == 30


def test_ids_that_were_read_as_floats_are_the_same_ids(tmp_path):
    first = write(tmp_path, "first.csv", [["pid", "x", "y"], *([row, row % 7, row % 2] for row in range(40))])
    second = write(tmp_path, "second.csv", [["case", "z"], *([f"{row}.0", row % 9] for row in range(20))])
    made = drafted(tmp_path, first, second, label="y")
    assert made.description.modalities[1].id == "case"
    assert loaded(made).observed[:, 1].sum() == 20


def test_an_id_column_can_be_named_for_a_file(tmp_path):
    rows = [["a", "b", "crp"], *([f"P{row}", f"P{39 - row}", row / 2] for row in range(40))]
    made = drafted(tmp_path, people(tmp_path), write(tmp_path, "labs.csv", rows), ids=["pid", "labs.csv:b"])
    assert made.description.modalities[1].id == "b"


# Several rows of an id


def visits(folder, per=3, columns=("crp",), cell=lambda row, k: row % 7 + k / 2, order="date", name="visits.csv"):
    day = datetime.date(2020, 1, 1)
    when = {"date": lambda row, k: day + datetime.timedelta(days=5 * row + k), "visit": lambda row, k: k, "none": lambda row, k: 1}[order]
    rows = [[f"P{row}", when(row, k), *(cell(row, k) for _ in columns)] for row in range(30) for k in range(per)]
    return write(folder, name, [["pid", order, *columns], *rows])


@pytest.mark.parametrize("order", ["date", "visit"])
def test_of_several_rows_the_last_is_read_and_said(tmp_path, order):
    made = drafted(tmp_path, people(tmp_path), visits(tmp_path, order=order))
    found = made.description.modalities[1]
    assert (found.rows, found.order) == ("last", order)
    assert f"CHECK: 30 ids have several rows: the last by {order} is read" in made.text
    assert loaded(made).values["visits"][1] == pytest.approx([2.0])


def test_many_rows_of_numbers_are_a_sequence(tmp_path):
    made = drafted(tmp_path, people(tmp_path), visits(tmp_path, per=12))
    assert loaded(made).schema.modalities[1].shape == (12, 1)


def test_without_an_order_the_mean_is_read_and_said(tmp_path):
    made = drafted(
        tmp_path,
        people(tmp_path),
        visits(tmp_path, order="none", columns=("crp", "kind"), cell=lambda row, k: "ab"[k % 2] if row % 2 else "a"),
    )
    assert made.left_out["visits.csv"]["crp"].startswith("a category has no mean")
    made = drafted(tmp_path, people(tmp_path), visits(tmp_path, order="none"))
    assert made.description.modalities[1].rows == "mean"
    assert "no column orders them: their mean is read" in made.text


def test_rows_of_an_id_with_labels_of_their_own_are_samples(tmp_path):
    rows = [[f"P{row % 20}", row % 9, "yes" if row % 3 else "no"] for row in range(60)]
    made = drafted(tmp_path, write(tmp_path, "people.csv", [["pid", "x", "outcome"], *rows]))
    samples = loaded(made)
    assert made.description.modalities[0].rows == "samples"
    assert (len(samples), len(set(samples.groups.tolist()))) == (60, 20)
    assert sum(made.classes.values()) == 60


# What makes no input


def test_what_gives_the_label_away_is_left_out_with_the_reason(tmp_path):
    more = [
        ("died", lambda row: "2020-01-05" if row % 8 == 0 else ""),
        ("code", lambda row: 1 if row % 8 == 0 else 2),
        ("copy", lambda row: "yes" if row % 8 == 0 else "no"),
        ("tick", lambda row: "x" if row % 2 == 0 else ""),
    ]
    made = drafted(tmp_path, people(tmp_path, n=80, more=more))
    assert columns(made) == {"age": "number", "tick": "category"}
    assert made.left_out["people.csv"]["died"] == "filled in only where the label is yes, and there always"
    assert "each of its values has one label alone" in made.left_out["people.csv"]["code"]
    assert "the label" in made.left_out["people.csv"]["copy"]


def test_columns_that_say_nothing_are_left_out_with_the_reason(tmp_path):
    more = [
        ("constant", lambda row: "x"),
        ("empty", lambda row: "NA"),
        ("name", lambda row: f"Person{row}"),
        ("note", lambda row: f"came to us in a poor state number {row}"),
        ("years", lambda row: ""),
    ]
    path = people(tmp_path, more=more)
    rows = [line.split(",") for line in path.read_text().splitlines()]
    place = rows[0].index("years")
    write(tmp_path, "people.csv", [rows[0], *([*row[:place], row[1], *row[place + 1 :]] for row in rows[1:])])
    made = drafted(tmp_path, path)
    assert columns(made) == {"age": "number"}
    reasons = made.left_out["people.csv"]
    assert {name: reasons[name].split(":")[0].split(",")[0] for name, _ in more} == {
        "constant": "the same in every row",
        "empty": "every cell is empty",
        "name": "40 different texts in 40 cells",
        "note": "free text",
        "years": "the same cells as 'age'",
    }
    assert all(f"#   {name}: " in made.text for name, _ in more)


def test_groups_and_parts_are_no_inputs(tmp_path):
    more = [("family", lambda row: row // 2), ("part", lambda row: ["train", "Train", "val", "test"][row % 4])]
    made = drafted(tmp_path, people(tmp_path, more=more), group="family")
    samples = loaded(made)
    assert columns(made) == {"age": "number"}
    assert samples.groups is not None
    assert set(samples.split.tolist()) == {"train", "valid", "test"}


# Dates


def born(row):
    return (datetime.date(1950, 1, 1) + datetime.timedelta(days=row * 97)).strftime("%d.%m.%Y")


def admitted(row):
    return (datetime.date(2020, 1, 13) + datetime.timedelta(days=row * 3)).strftime("%d.%m.%Y")


def test_dates_count_from_birth(tmp_path):
    made = drafted(tmp_path, people(tmp_path, more=[("admitted", admitted), ("date_of_birth", born)]))
    column = made.description.modalities[0].columns[1]
    assert (column.name, column.since, column.format) == ("admitted", "date_of_birth", "%d.%m.%Y")
    assert "the other dates count from it" in made.left_out["people.csv"]["date_of_birth"]
    days = (datetime.date(2020, 1, 13) - datetime.date(1950, 1, 1)).days
    assert loaded(made).values["people"][0, 1] == days


def test_without_a_birth_dates_count_from_the_first(tmp_path):
    discharged = lambda row: (datetime.date(2020, 1, 20) + datetime.timedelta(days=row * 3)).isoformat()  # noqa: E731
    made = drafted(tmp_path, people(tmp_path, more=[("left", discharged), ("came", admitted)]))
    found = {column.name: column.since for column in made.description.modalities[0].columns if column.kind == "date"}
    assert found == {"left": "came", "came": "2000-01-01"}  # of another format, so it must be named
    assert (loaded(made).values["people"][:, 1] == 7).all()


def test_a_lone_date_counts_from_a_fixed_day_and_is_to_be_checked(tmp_path):
    made = drafted(tmp_path, people(tmp_path, more=[("admitted", admitted)]))
    assert made.description.modalities[0].columns[1].since == "2000-01-01"
    assert "CHECK: dates 2020-01-13 to" in made.text


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "outcom"}, "--label must be a column of people.csv and labs.csv: unknown column 'outcom', did you mean 'outcome'?"),
        ({"label": "both"}, "--label 'both' is a column of people.csv and labs.csv; say which, as --label people.csv:both"),
        ({"label": "labs.csv:outcome"}, "--label: labs.csv has no such column: unknown column 'outcome'"),
        ({"label": "constant"}, "must hold two classes at least, got 'x' in all 40 rows with a label"),
        ({"label": "empty"}, "must hold a class in its rows, and every cell is empty"),
        ({"label": "age"}, "must hold classes, 20 at most, got 32 different numbers, 20 to 88; add a column of classes"),
        ({"label": "people.csv:pid"}, "must hold classes, 20 at most, got 40 different texts such as 'P0'"),
        ({"ids": ["patient"]}, "--id must be a column of people.csv, where the labels stand: unknown column 'patient'"),
        ({"ids": ["pid", "age"]}, "--id names one column for all files, got 'pid' and 'age'"),
        ({"ids": ["pid", "labs.csv:cpr"]}, "--id: labs.csv has no such column: unknown column 'cpr', did you mean 'crp'?"),
        ({"ids": ["pid", "labs.csv:crp"]}, "labs.csv must share ids with people.csv; its column 'crp' has none of them"),
        ({"group": "famly"}, "--group must be a column of"),
    ],
)
def test_what_cannot_be_told_is_refused_in_one_line(tmp_path, options, message):
    more = [("constant", lambda row: "x"), ("empty", lambda row: ""), ("both", lambda row: row % 2)]
    labs = write(tmp_path, "labs.csv", [["pid", "crp", "both"], *([f"P{row}", row / 2 + 0.25, row % 2] for row in range(30))])
    with pytest.raises(UsageError) as refused:
        drafted(tmp_path, people(tmp_path, more=more), labs, **options)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_without_ids_of_the_samples_is_refused(tmp_path):
    labs = write(tmp_path, "labs.csv", [["case", "crp"], *([f"X{row}", row / 2] for row in range(30))])
    with pytest.raises(UsageError, match=r"labs.csv must have a column of ids, such as 'P0' of people.csv; .* --id labs.csv:COLUMN"):
        drafted(tmp_path, people(tmp_path), labs)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.csv", None, "none.csv does not exist"),
        ("notes.txt", "a", "notes.txt must end in one of .csv"),
        ("cut.csv", "pid,x\nP1,2\nP2", "cut.csv line 3 must have 2 cells"),
        ("blank.csv", "pid,x\nP1,2\n,3\n", "blank.csv line 3: pid, the id of a row, is empty"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_line(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as refused:
        drafted(tmp_path, people(tmp_path), tmp_path / name)
    assert message in str(refused.value)


def test_a_file_that_gives_no_modality_says_why(tmp_path):
    twice = write(tmp_path, "twice.csv", [["pid", "x", "x"], ["P1", 2, 3]])
    text = drafted(tmp_path, people(tmp_path), twice).text
    assert "# twice.csv gives no modality:\n#   x: two columns are called 'x' and differ" in text


def test_a_file_named_twice_is_refused(tmp_path):
    path = people(tmp_path)
    with pytest.raises(UsageError, match="named twice"):
        drafted(tmp_path, path, path)


def test_files_without_any_input_are_refused(tmp_path):
    rows = [["pid", "outcome"], *([f"P{row}", "yes" if row % 3 else "no"] for row in range(30))]
    with pytest.raises(UsageError, match=r"no column of people.csv can be an input"):
        drafted(tmp_path, write(tmp_path, "people.csv", rows))


def test_ids_written_in_two_ways_are_said_by_the_problem(tmp_path):
    first = write(tmp_path, "first.csv", [["pid", "x", "y"], *([row, row % 7, row % 2] for row in range(10, 40))])
    second = write(tmp_path, "second.csv", [["pid", "z"], *([row if row > 12 else f"0{row}", row % 9] for row in range(10, 30))])
    assert "second.csv line 2: pid '010' is no sample, but '10' is" in drafted(tmp_path, first, second, label="y").problem()
