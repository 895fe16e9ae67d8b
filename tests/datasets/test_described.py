"""A user's own files become samples: messy cells are read and listed, or refused by file, line, column and value."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.datasets.base import DataError
from bench.datasets.described.dataset import Described

DEMO = "id,outcome,sex,family\np1,alive,m,a\np2,dead,f,a\np3,alive,f,b\np4,alive,,b\n"
HEAD = 'id = "id"\n[target]\nfile = "demo.csv"\ncolumn = "outcome"\nclasses = ["alive", "dead"]\n'


def vector(columns, file="labs.csv", **keys):
    said = "".join(f"{key} = {'true' if value is True else 'false' if value is False else repr(value)}\n" for key, value in keys.items())
    return f'[[modality]]\nname = "labs"\nkind = "vector"\nfile = "{file}"\n{said}[modality.columns]\n{columns}\n'


@pytest.fixture
def study(tmp_path):
    """Writes files and a description, and gives the dataset."""

    def made(text, head=HEAD, **files):
        for name, content in {"demo.csv": DEMO, **{name.replace("_", ".", 1): content for name, content in files.items()}}.items():
            if isinstance(content, bytes):
                (tmp_path / name).write_bytes(content)
            else:
                (tmp_path / name).write_text(content, encoding="utf-8")
        (tmp_path / "study.toml").write_text(head + text, encoding="utf-8")
        return Described(tmp_path / "study.toml")

    return made


def refused(dataset):
    with pytest.raises(DataError) as error:
        dataset.load()
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- samples and ids


def test_absent_id_and_empty_row_are_a_missing_modality(study):
    samples = study(vector('a = "number"\nb = "number"'), labs_csv="id,a,b\np1,1,2\np2,,\np4,,3\n").load()
    assert samples.observed[:, 0].tolist() == [True, False, False, True]
    assert samples.ids.tolist() == ["p1", "p2", "p3", "p4"]
    assert samples.target.tolist() == [0, 1, 0, 0]
    assert np.array_equal(samples.values["labs"][3], [np.nan, 3], equal_nan=True)


@pytest.mark.parametrize("ids", [("007", "7"), ("A 1", "A 2"), ("1.5a", "NA")], ids=["leading zeros", "blanks", "words"])
def test_ids_are_kept_as_texts(study, ids):
    one, other = ids
    demo, labs = f"id,outcome\n{one},alive\n{other},dead\n", f"id,a\n{one},1\n{other},2\n"
    samples = study(vector('a = "number"'), demo_csv=demo, labs_csv=labs).load()
    assert samples.ids.tolist() == [one, other]
    assert samples.values["labs"].ravel().tolist() == [1, 2]


def test_ids_read_as_floats_are_whole_again_and_listed(study):
    dataset = study(vector('a = "number"'), demo_csv="id,outcome\n1,alive\n12,dead\n", labs_csv="id,a\n1.0,1\n12.0,2\n")
    assert dataset.load().observed.all()
    assert "2 ids of id such as sample '1.0' are read without .0" in dataset.facts["Handled"]


@pytest.mark.parametrize(("there", "here"), [("007", "7"), ("P1", "p1"), ("A 1", "A1")])
def test_id_written_otherwise_is_refused_and_not_a_missing_modality(study, there, here):
    said = refused(study(vector('a = "number"'), demo_csv=f"id,outcome\n{there},alive\nx,dead\n", labs_csv=f"id,a\nx,1\n{here},2\n"))
    assert f"labs.csv line 3: id {here!r} is no sample, but {there!r} is" in said


def test_ids_without_a_label_are_listed(study):
    dataset = study(vector('a = "number"'), labs_csv="id,a\np1,1\nq9,2\n")
    dataset.load()
    assert "labs.csv: 1 ids such as sample 'q9' have no label" in dataset.facts["Handled"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"labs_csv": "id,a\np1,1\n,2\n"}, "labs.csv line 3: id, the id of a row, is empty"),
        ({"labs_csv": "pid,a\np1,1\n"}, "labs.csv has no column 'id', did you mean 'pid'?"),
        ({"labs_csv": "id,a\nz1,1\n"}, "labs.csv: no id is the id of a sample"),
        ({"labs_csv": "id,a\np1,1\np1,2\n"}, "labs.csv line 3: id 'p1' comes twice, first in line 2; rows ="),
        ({"labs_csv": "id,a\np1,1,4\n"}, "labs.csv line 2 must have 2 cells"),
        ({"labs_csv": "id,a,a\np1,1,2\n"}, "labs.csv: two columns are called 'a' and differ"),
        ({"labs_csv": "id,a\n"}, "labs.csv holds no rows"),
        ({"labs_csv": b"id,a\np1,\xe9\n"}, "it must be UTF-8 text, and holds byte 0xe9 in line 2"),
        ({"labs_csv": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"}, "a Git LFS pointer"),
        ({"labs_csv": "<!doctype html><title>Log in</title>"}, "an HTML page ('Log in')"),
        ({"demo_csv": DEMO.replace("p3,alive", "p3,")}, "demo.csv line 4: outcome of 'p3', the label, is missing"),
        ({"demo_csv": DEMO.replace("p3,alive", "p3,Alive")}, "demo.csv line 4: outcome must be one of alive, dead, got 'Alive'"),
        ({"demo_csv": DEMO + "p1,dead,m,a\n"}, "demo.csv line 6: outcome of 'p1' is another one than in line 2"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_what_no_rule_reads_is_refused_by_its_place(study, files, said):
    assert said in refused(study(vector('a = "number"'), **{"labs_csv": "id,a\np1,1\n", **files}))


def test_absent_file_is_named(study):
    assert "labs.csv is not there" in refused(study(vector('a = "number"')))


def test_rows_without_label_are_dropped_where_that_is_asked_for(study):
    head = HEAD + 'missing = "drop"\n'
    dataset = study(vector('sex = "category"', file="demo.csv"), head, demo_csv=DEMO.replace("p3,alive", "p3,NA"))
    assert dataset.load().ids.tolist() == ["p1", "p2", "p4"]
    assert "1 row without outcome is dropped" in dataset.facts["Handled"]


def test_classes_that_are_numbers_are_found_as_numbers(study):
    head = HEAD.replace('["alive", "dead"]', "[0, 1]")
    dataset = study(vector('a = "number"'), head, demo_csv="id,outcome\np1,0.0\np2,1.0\n", labs_csv="id,a\np1,1\n")
    assert dataset.load().target.tolist() == [0, 1]
    assert "'1.0' read as '1'" in dataset.facts["Handled"]


# ---- cells


@pytest.mark.parametrize(
    ("column", "cells", "values"),
    [
        ('"number"', ["1.5", " 2 ", "-3e2"], [1.5, 2, -300]),
        ('"number"', ["NA", "n/a", "."], [np.nan] * 3),
        ('{ below = "half" }', ["<0.5", "≤ 4", "1"], [0.25, 2, 1]),
        ('{ below = "limit", above = "limit" }', ["<0.5", ">9", ">= 9.5"], [0.5, 9, 9.5]),
        ('{ below = "missing" }', ["<0.5", "1", "2"], [np.nan, 1, 2]),
        ('{ decimal = "," }', ['"1,5"', '",5"', "0.5"], [1.5, 0.5, 0.5]),
        ('{ decimal = ",", thousands = "." }', ['"1.234,5"', "1.234", "12"], [1234.5, 1234, 12]),
        ('{ thousands = "," }', ['"1,234.5"', '"12,345,678"', "7"], [1234.5, 12345678, 7]),
        ('{ thousands = " " }', ["1 234", "1\u202f234", "1\u00a0234"], [1234] * 3),
        ('{ missing = [-99, "gone"] }', ["-99.0", "gone", "1"], [np.nan, np.nan, 1]),
        ('{ as = "ordered", levels = ["I", "II", "III"] }', ["III", "I", ""], [2, 0, np.nan]),
        ('{ as = "ordered", levels = ["none", "some"] }', ["none", "some", "?"], [0, 1, np.nan]),
        ('{ as = "ordered", levels = [1, 2] }', ["1.0", "2", "2.0"], [0, 1, 1]),
        ('{ as = "date", since = "2020-01-01" }', ["2020-01-03", "2019-12-31T12:00", ""], [2, -0.5, np.nan]),
        ('{ as = "date", since = "2020-01-01", format = "%d.%m.%Y" }', ["03.01.2020", "01.02.2020", "NA"], [2, 31, np.nan]),
    ],
)
def test_cells_are_read_as_the_description_says(study, column, cells, values):
    text = "id,a\n" + "".join(f"p{row},{cell}\n" for row, cell in enumerate(cells, start=1)) + "p4,\n"
    samples = study(vector(f"a = {column}"), labs_csv=text).load()
    assert np.allclose(samples.values["labs"][:3, 0], values, equal_nan=True)


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ('"number"', "<0.5", 'got \'<0.5\'; below = "half" (or "missing") says'),
        ('"number"', ">9", 'above = "limit"'),
        ('"number"', '"1,5"', "got '1,5'; decimal = \",\" reads it"),
        ('"number"', '"1,234.5"', 'thousands = ","'),
        ('"number"', "1'234", "thousands names the sign"),
        ('{ decimal = "," }', "1.234", "thousands names the sign"),
        ('{ below = "half" }', '"<0,5"', 'decimal = "," reads it'),
        ('"number"', "12.03.2020", 'read it as = "date"'),
        ('"number"', "high", 'missing = ["high"] if it means that'),
        ('"number"', "inf", "be a finite number"),
        ('"number"', "1e39", "be a finite number"),
        ('"number"', "1_000", "be a number or empty, got '1_000'"),
        ('{ as = "ordered", levels = ["I", "II"] }', "IV", "be one of I, II, got 'IV'"),
        ('{ as = "date", since = "2020-01-01" }', "03.01.2020", "be a date such as 2020-01-31, or empty, got '03.01.2020'"),
        ('{ as = "date", since = "2020-01-01", format = "%d.%m.%Y" }', "2020-01-03", "be a date in the format %d.%m.%Y"),
        ('{ as = "date", since = "born" }', "2020-01-03", "since of column 'a' must be another column of it or a date"),
    ],
)
def test_cells_of_another_kind_are_refused_with_the_way_on(study, column, cell, said):
    message = refused(study(vector(f"a = {column}"), labs_csv=f"id,a\np1,\np2,{cell}\n"))
    assert said in message
    assert message.startswith("labs.csv") or "labs.csv: since" in message
    assert "line 3: a must" in message or "since" in message


def test_days_are_counted_since_another_column(study):
    columns = 'in = { as = "date", since = "born", format = "%d.%m.%Y" }\nborn = { as = "date", since = "1970-01-01" }'
    samples = study(vector(columns), labs_csv="id,in,born\np1,11.01.2000,2000-01-01\np2,,2000-01-01\n").load()
    assert samples.values["labs"][0, 0] == 10


def test_what_was_handled_is_listed(study):
    dataset = study(vector('crp = { below = "half", missing = ["-9"] }'), labs_csv="id,crp\np1,<0.5\np2,<0.5\np3,-9\np4,N/A\n")
    dataset.load()
    handled = dataset.facts["Handled"]
    assert "labs.csv: crp: 2 cells '<0.5' read as 0.25" in handled
    assert "crp: 1 cell '-9' counts as missing" in handled
    assert "crp: 1 cell 'N/A' counts as missing" in handled


def test_columns_keep_their_names_for_messages(study):
    labs = "id,a,sex\np1,1,m\np2,2,f\np3,3,f\n"
    dataset = study(vector('a = "number"\nsex = "category"'), labs_csv=labs)
    samples = dataset.load()
    names = dataset.column_names["labs"]
    assert names[0] == "a"
    assert names[1:] == ("sex = f", "sex = m")
    assert len(names) == samples.values["labs"].shape[1]


def test_cells_of_rows_that_are_no_sample_are_not_judged(study):
    assert study(vector('a = "number"'), labs_csv="id,a\np1,1\nq,broken\n").load().values["labs"][0, 0] == 1


def test_text_tables_of_other_signs_and_packed_ones_are_read(study):
    for name, text in {
        "labs_csv": "\ufeffid;a\np1;1,5\n".encode(),
        "labs_tsv": b"id\ta\np1\t1,5\n",
        "labs_csv.gz": gzip.compress(b'id,a,a\np1,"1,5","1,5"\n\n,,\n'),
    }.items():
        dataset = study(vector('a = { decimal = "," }', file=name.replace("_", ".", 1)), **{name: text})
        assert dataset.load().values["labs"][0, 0] == 1.5
    assert "column 'a' comes twice with the same cells" in dataset.facts["Handled"]
    assert "1 row without any cell is left out" in dataset.facts["Handled"]


def test_quoted_cell_with_line_ends_does_not_shift_lines(study):
    said = refused(study(vector('a = "number"'), labs_csv='id,a,note\np1,1,"two\nlines"\np2,x,""\n'))
    assert said.startswith("labs.csv line 4: a must")


# ---- categories and gaps, learnt on training rows


def test_category_unseen_in_training_counts_as_missing(study):
    dataset = study(vector('sex = "category"\nfamily = "category"', file="demo.csv"))
    samples = dataset.load()
    assert samples.values["labs"].shape == (4, 4)  # f, m, a, b
    change = dataset.learn(samples.rows(np.array([1, 2])).sealed())  # f alone, a and b
    assert np.array_equal(change(samples).values["labs"], [[np.nan, 1, 0], [1, 1, 0], [1, 0, 1], [np.nan, 0, 1]], equal_nan=True)


def test_single_gaps_get_columns_unless_that_is_declined(study):
    labs = {"labs_csv": "id,a,b\np1,1,\np2,2,3\n"}
    for wanted, width in ((True, 3), (False, 2)):
        dataset = study(vector('a = "number"\nb = "number"', indicators=wanted), **labs)
        samples = dataset.load().sealed()
        change = dataset.learn(samples)
        assert (samples if change is None else change(samples)).schema.modalities[0].shape == (width,)
        assert dataset.indicators is wanted


def test_categories_that_differ_by_capital_letters_are_listed(study):
    dataset = study(vector('s = "category"'), labs_csv="id,s\np1,Male\np2,male\n")
    dataset.load()
    assert "s: 'Male', 'male' are different categories" in dataset.facts["Handled"]


def test_codes_read_as_floats_are_the_same_categories(study):
    samples = study(vector('s = "category"'), labs_csv="id,s\np1,1\np2,1.0\np3,2.0\n").load()
    assert samples.values["labs"][:3].tolist() == [[1, 0], [1, 0], [0, 1]]


def test_too_many_categories_are_refused(study):
    demo = "id,outcome\n" + "".join(f"p{row},{'dead' if row % 2 else 'alive'}\n" for row in range(300))
    labs = "id,s\n" + "".join(f"p{row},c{row}\n" for row in range(300))
    assert "s has 300 categories, more than the 200" in refused(study(vector('s = "category"'), demo_csv=demo, labs_csv=labs))


# ---- several rows an id

VISITS = "id,day,a\np1,2,20\np1,1,10\np2,1,5\np2,3,\np3,1,7\n"


@pytest.mark.parametrize(
    ("rows", "values"), [("last", [20, np.nan, 7, np.nan]), ("first", [10, 5, 7, np.nan]), ("mean", [15, 5, 7, np.nan])]
)
def test_several_rows_are_reduced_as_said_and_listed(study, rows, values):
    dataset = study(vector('a = "number"', rows=rows, order="day"), labs_csv=VISITS)
    assert np.array_equal(dataset.load().values["labs"][:, 0], np.array(values, dtype=np.float32), equal_nan=True)
    assert f"labs: 2 samples have several rows, of which the {rows}" in dataset.facts["Handled"]


def test_rows_kept_as_samples_are_grouped_by_id(study):
    text = vector('a = "number"', rows="samples", order="day")
    dataset = study(text + vector('sex = "category"', "demo.csv").replace('"labs"', '"demo"'),
                    labs_csv=VISITS)  # fmt: skip
    samples = dataset.load()
    assert samples.ids.tolist() == ["p1#1", "p1#2", "p2#1", "p2#2", "p3", "p4"]
    assert samples.groups.tolist() == ["p1", "p1", "p2", "p2", "p3", "p4"]
    assert samples.target.tolist() == [0, 0, 1, 1, 0, 0]
    assert np.array_equal(samples.values["labs"][:, 0], [10, 20, 5, np.nan, 7, np.nan], equal_nan=True)
    assert samples.values["demo"][1].tolist() == samples.values["demo"][0].tolist()


def test_label_of_each_row_where_the_target_has_rows_as_samples(study):
    demo = "id,outcome,a\np1,alive,1\np1,dead,2\np2,alive,3\n"
    samples = study(vector('a = "number"', "demo.csv", rows="samples"), demo_csv=demo).load()
    assert samples.target.tolist() == [0, 1, 0]
    assert samples.values["labs"].ravel().tolist() == [1, 2, 3]


def test_groups_and_parts_come_from_their_columns(study):
    head = HEAD + '[groups]\nfile = "demo.csv"\ncolumn = "family"\n[split]\nfile = "parts.csv"\ncolumn = "part"\n'
    dataset = study(vector('sex = "category"', "demo.csv"), head, parts_csv="id,part\np1,train\np2,Training\np3,val\np4,test\n")
    samples = dataset.load()
    assert samples.groups.tolist() == ["a", "a", "b", "b"]
    assert samples.split.tolist() == ["train", "train", "valid", "test"]
    assert {part: rows.tolist() for part, rows in dataset.parts(samples).items()} == {"train": [0, 1], "valid": [2], "test": [3]}
    assert "part 'val' read as valid" in dataset.facts["Handled"]


# ---- sequences, images, arrays


def sequence(**keys):
    said = "".join(f"{key} = {value!r}\n" for key, value in keys.items())
    head = f'[[modality]]\nname = "stay"\nkind = "sequence"\nfile = "stay.csv"\norder = "t"\n{said}'
    return head + '[modality.columns]\nx = "number"\ny = "number"\n'


STAY = "id,t,x,y\np1,2,3,\np1,1,1,2\np1,3,,\np2,1,4,4\np1,9,9,9\n"


def test_sequence_is_ordered_padded_and_cut_to_its_last_steps(study):
    dataset = study(sequence(steps=2), stay_csv=STAY)
    samples = dataset.load()
    assert np.array_equal(samples.values["stay"][0], [[3, np.nan], [9, 9]], equal_nan=True)
    assert samples.lengths["stay"].tolist()[:2] == [2, 1]
    assert samples.observed[:, 0].tolist() == [True, True, False, False]
    assert "stay: 1 sample has more than 2 steps, of which the last are kept" in dataset.facts["Handled"]
    assert "stay: 1 row without any value is no step" in dataset.facts["Handled"]


def test_sequence_is_resampled_with_its_gaps(study):
    stay = "id,t,x,y\np1,2020-01-01 08:00,1,\np1,2020-01-01 08:30,3,5\np1,2020-01-01 10:15,7,7\n"
    for reduce, first in (("mean", [2, 5]), ("last", [3, 5])):
        samples = study(sequence(resample="1h", reduce=reduce), stay_csv=stay).load()
        assert np.array_equal(samples.values["stay"][0], [first, [np.nan] * 2, [7, 7]], equal_nan=True)
    assert "resample must be a number" in refused(study(sequence(resample="1h"), stay_csv=STAY))


def test_images_are_read_from_paths_beside_the_description(study, tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "a.png")
    demo = "id,outcome,path\np1,alive,a.png\np2,dead,\n"
    text = '[[modality]]\nname = "image"\nkind = "image"\ncolumn = "path"\nsize = [4, 4]\n'
    samples = study(text, demo_csv=demo).load()
    assert samples.values["image"].shape == (2, 3, 4, 4)
    assert samples.values["image"][0, :, 0, 0].tolist() == [1, 0, 0]
    assert samples.observed[:, 0].tolist() == [True, False]
    grey = study(text + "channels = 1\n", demo_csv=demo).load().values["image"]
    assert grey.shape == (2, 1, 4, 4)
    assert np.isclose(grey[0].max(), 0.299)
    assert "demo.csv line 3: path must be the path of an image, and 'b.png' is not there" in refused(
        study(text, demo_csv=demo.replace("dead,", "dead,b.png"))
    )


def test_arrays_are_found_by_their_ids(study, tmp_path):
    values = np.arange(12, dtype=np.float64).reshape(3, 2, 2)
    values[1, 1] = np.nan
    np.savez(tmp_path / "e.npz", ids=np.array(["p2", "p1", "q"]), values=values)
    np.save(tmp_path / "f.npy", values[:, 0])
    text = '[[modality]]\nname = "e"\nkind = "array"\nfile = "e.npz"\n'
    text += '[[modality]]\nname = "f"\nkind = "array"\nfile = "f.npy"\nids = "f.csv"\n'
    samples = study(text, f_csv="id\np2\np1\np4\n").load()
    assert [modality.kind for modality in samples.schema] == ["sequence", "vector"]
    assert samples.observed.tolist() == [[True, True], [True, True], [False, False], [False, True]]
    assert np.array_equal(samples.values["e"][1], values[0])
    assert samples.lengths["e"].tolist()[0] == 1


def test_pickles_inside_arrays_are_refused(study, tmp_path):
    np.savez(tmp_path / "e.npz", ids=np.array(["p1"]), values=np.array([{"a": 1}], dtype=object))
    assert "it holds Python objects, which are pickles" in refused(study('[[modality]]\nname = "e"\nkind = "array"\nfile = "e.npz"\n'))


def test_stata_files_keep_their_types(study, tmp_path):
    frame = pd.DataFrame({"id": [1.0, 2.0], "a": [1.5, np.nan], "day": pd.to_datetime(["2020-01-02", "2020-01-03"]), "s": ["m", ""]})
    frame.to_stata(tmp_path / "labs.dta", write_index=False)
    columns = 'a = "number"\nday = { as = "date", since = "2020-01-01" }\ns = "category"'
    samples = study(vector(columns, "labs.dta"), demo_csv="id,outcome\n1,alive\n2,dead\n").load()
    assert np.array_equal(samples.values["labs"], [[1.5, 1, 1], [np.nan, 2, np.nan]], equal_nan=True)


TYPED = [("parquet", "pyarrow"), ("xlsx", "openpyxl"), ("sav", "pyreadstat")]


def write_typed(frame: pd.DataFrame, path: Path) -> None:
    """Raises: ImportError where the package that writes such files is absent."""
    if path.suffix == ".sav":
        import pyreadstat

        pyreadstat.write_sav(frame, str(path))
    elif path.suffix == ".dta":
        frame.to_stata(path, write_index=False)
    else:
        getattr(frame, {".parquet": "to_parquet", ".xlsx": "to_excel"}[path.suffix])(path, index=False)


@pytest.mark.parametrize(("ending", "package"), TYPED)
def test_typed_tables_are_read_or_name_the_package_they_need(study, tmp_path, ending, package):
    frame = pd.DataFrame({"id": ["p1", "p2"], "a": [1, 2], "s": ["x", None]})
    try:
        write_typed(frame, tmp_path / f"labs.{ending}")
    except ImportError:
        (tmp_path / f"labs.{ending}").write_bytes(b"PAR1")
        assert f"needs {package}: pip install 'missing-modality-bench[tables]'" in refused(study(vector('a = "number"', f"labs.{ending}")))
        return
    samples = study(vector('a = "number"\ns = "category"', f"labs.{ending}")).load()
    assert np.array_equal(samples.values["labs"][:2], [[1, 1], [2, np.nan]], equal_nan=True)


@pytest.mark.parametrize("name", ["labs.csv", "stay.csv", "study.toml"])
def test_damaged_files_are_refused_or_read(study, survives, tmp_path, name):
    text = vector('a = { below = "half" }', rows="last", order="day") + sequence()
    study(text, labs_csv=VISITS, stay_csv=STAY).load()
    assert survives(tmp_path / name, lambda: Described(tmp_path / "study.toml").load()) > 0


@pytest.mark.parametrize("ending", ["dta", "parquet", "xlsx", "sav"])
def test_damaged_typed_files_are_refused_or_read(study, survives, tmp_path, ending):
    pytest.importorskip({"dta": "pandas", **dict(TYPED)}[ending])
    frame = pd.DataFrame({"id": ["p1", "p2"], "a": [1.0, 2.0], "s": ["x", "y"]})
    write_typed(frame, tmp_path / f"labs.{ending}")
    study(vector('a = "number"\ns = "category"', f"labs.{ending}")).load()
    assert survives(tmp_path / f"labs.{ending}", lambda: Described(tmp_path / "study.toml").load()) > 0


def test_dataset_does_not_run_what_a_file_says(study, tmp_path):
    (tmp_path / "labs.parquet").write_bytes(pickle.dumps({"a": 1}))
    assert "labs.parquet" in refused(study(vector('a = "number"', "labs.parquet")))


def test_rows_of_a_spreadsheet_are_counted_as_it_shows_them(study, tmp_path):
    pytest.importorskip("openpyxl")
    cells = pd.DataFrame([["id", "a", "a"], ["p1", 1, 1], [None, None, None], ["p2", "x", "x"]])
    cells.to_excel(tmp_path / "labs.xlsx", index=False, header=False)
    assert "labs.xlsx row 4: a must be a number or empty, got 'x'" in refused(study(vector('a = "number"', "labs.xlsx")))
