"""bench/data/checkup.py and `bench data check`: every mistake is planted once and named, and sound data are left alone."""

import json
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import bench
from bench import registry
from bench.cli import main
from bench.data.checkup import CHECKS, Subject, concerns
from bench.data.loading import forget, load, loaded_once
from bench.data.single_columns import alone, is_label
from bench.data.splits import split_rows
from bench.datasets.base import Dataset, Modality, Samples, Schema
from bench.datasets.deferred import Stored, blocks
from bench.datasets.support2 import Support2
from bench.leaderboard import markdown
from bench.names import parse_choice


def made(n=600, seed=0, positive=0.4, shapes=None, **changes):
    """Two modalities that say a little of a label of two classes; nothing is wrong with them."""
    rng = np.random.default_rng(seed)
    target = (rng.random(n) < positive).astype(np.int64)
    shapes = shapes or {"person": (6,), "labs": (5,)}
    kinds = {1: "vector", 2: "sequence", 3: "image", 4: "volume"}
    schema = Schema(tuple(Modality(name, name[0].upper(), kinds[len(shape)], shape) for name, shape in shapes.items()), ("alive", "dead"))
    values = {name: rng.normal(size=(n, *shape)).astype(np.float32) for name, shape in shapes.items()}
    for array in values.values():
        array.reshape(n, -1)[:, 0] += target
    ids = np.array([f"r{row}" for row in range(n)])
    return replace(Samples(schema, values, np.ones((n, len(shapes)), bool), target, ids), **changes)


def found(samples, dataset=None, **options):
    """Concerns by check, on the split of seed 0."""
    dataset = dataset or Dataset()
    rows = split_rows(dataset, samples, 0)
    return {concern.check: concern for concern in concerns(Subject(dataset, samples, rows, **options))}


def visits(patients=150, each=4, seed=0):
    """Several rows of each patient: who they are stays the same, labs do not, and nobody says who is who."""
    once, every = made(n=patients, seed=seed), made(n=patients * each, seed=seed)
    who = np.repeat(np.arange(patients), each)
    return replace(every, target=once.target[who], values={**every.values, "person": once.values["person"][who]}), who


@pytest.mark.parametrize("quick", [True, False])
def test_nothing_is_said_of_sound_data(quick):
    assert found(made(n=1200), quick=quick) == {}


def test_large_data_are_looked_at_block_by_block_with_the_same_concerns(monkeypatch):
    samples, _ = visits()
    samples.values["labs"][:, 1] = 7.0
    samples.values["labs"][:, 2] = samples.values["labs"][:, 3]
    expected = found(samples, quick=False)
    assert {"twins", "single", "repeated"} <= set(expected)
    monkeypatch.setattr("bench.datasets.base.blocks", lambda rows, shape: blocks(rows, shape, 4 * 6 * 11))
    monkeypatch.setattr(Stored, "__getitem__", lambda *_: pytest.fail("a whole modality was read"))
    assert found(samples.deferred(), quick=False) == expected


# rows of one patient


def test_rows_of_one_patient_in_several_parts_are_named_with_counts_and_two_ids():
    samples, who = visits()
    concern = found(samples)["twins"]
    assert concern.level == "serious"
    assert "in person" in concern.text
    assert "in labs" not in concern.text
    assert "the same patient? set groups" in concern.text
    rows = split_rows(Dataset(), samples, 0)
    before = set(who[np.concatenate([rows["train"], rows["valid"]])].tolist())
    there = sum(patient in before for patient in who[rows["test"]].tolist())
    assert f"{there} of {len(rows['test'])} in person" in concern.text
    a, b = (int(text) for text in re.findall(r"sample 'r(\d+)'", concern.text))
    assert (who[a], a in rows["test"]) == (who[b], True)


def test_groups_that_are_set_end_the_concern():
    samples, who = visits()
    assert "twins" not in found(replace(samples, groups=who))


def test_groups_that_miss_a_patients_rows_are_told_from_no_groups():
    samples, who = visits()
    assert "mend groups" in found(replace(samples, groups=who % 2 * 1000 + np.arange(len(who)) // 2))["twins"].text


def test_a_class_that_lets_groups_be_parted_is_told_of_their_rows_elsewhere():
    samples, _ = visits()

    class Free(Dataset):
        keeps_groups = False

    assert "keep groups whole" in found(replace(samples, groups=np.arange(len(samples))), Free())["twins"].text


def test_whole_rows_that_come_twice_are_found_where_no_modality_alone_tells():
    columns = dict.fromkeys(("age", "bmi", "crp", "weight"), (1,))
    once = made(n=300, shapes=columns)
    twice = once.rows(np.tile(np.arange(300), 2).astype(np.int64)[:300])
    twice = replace(twice, ids=np.array([f"again{row}" for row in range(300)]))
    values = {name: np.concatenate([once.values[name], twice.values[name]]) for name in columns}
    both = replace(
        once, values=values, observed=np.ones((600, 4), bool), target=np.tile(once.target, 2), ids=np.concatenate([once.ids, twice.ids])
    )
    assert "in every modality at once" in found(both)["twins"].text


def test_images_that_come_twice_are_found_though_their_borders_are_all_alike():
    samples = made(n=600, shapes={"scan": (3, 16, 16)})
    values = samples.values["scan"].copy()
    values[300:] = values[:300]
    values[:, :, :6] = 0
    values[:, :, 10:] = 0
    assert "in scan" in found(replace(samples, values={"scan": values}))["twins"].text


def test_sequences_are_compared_without_their_padding():
    samples = made(n=400, shapes={"course": (12, 3)})
    values, lengths = samples.values["course"].copy(), np.full(400, 5)
    values[200:, :5] = values[:200, :5]
    assert "in course" in found(replace(samples, values={"course": values}, lengths={"course": lengths}))["twins"].text


def test_codes_and_flags_that_agree_are_nobodys_twins():
    rng = np.random.default_rng(0)
    flags = (rng.random((600, 6)) < 0.2).astype(np.float32)
    rounded = np.round(rng.normal(60, 10, size=(600, 2))).astype(np.float32)
    samples = made()
    samples = replace(samples, values={"person": np.column_stack([flags[:, :4], rounded]), "labs": samples.values["labs"]})
    assert "twins" not in found(samples)


def test_two_rows_that_agree_are_a_note_and_many_are_serious():
    samples = made(n=1000)
    values = samples.values["labs"].copy()
    rows = split_rows(Dataset(), samples, 0)
    values[rows["test"][0]] = values[rows["train"][0]]
    assert found(replace(samples, values={**samples.values, "labs": values}))["twins"].level == "note"


# columns


def planted(column, n=600, modality="labs", place=2, **options):
    samples = made(n=n, **options)
    values = samples.values[modality].copy()
    values[:, place] = column(samples.target, np.random.default_rng(1))
    return replace(samples, values={**samples.values, modality: values})


LEAKS = {
    "the label itself": lambda y, rng: y,
    "the label under other names": lambda y, rng: np.where(y == 1, 7.0, 40.0),
    "codes without an order": lambda y, rng: 2 * rng.integers(0, 10, len(y)) + y,
    "a score that follows the outcome": lambda y, rng: y + 0.15 * rng.normal(size=len(y)),
    "recorded where the outcome happened alone": lambda y, rng: np.where(y == 1, rng.normal(size=len(y)), np.nan),
}


@pytest.mark.parametrize("what", LEAKS)
def test_a_column_that_gives_the_label_away_is_serious(what):
    concern = found(planted(LEAKS[what]))["leak"]
    assert concern.level == "serious"
    assert "labs[2]" in concern.text
    assert ("under other names" in concern.text) == (what in ("the label itself", "the label under other names"))


def test_a_leak_is_found_among_few_positives_and_thousands_of_columns():
    samples = made(n=2000, positive=0.02, shapes={"genes": (3000,)})
    values = samples.values["genes"].copy()
    values[:, 1234] = np.where(samples.target == 1, 3.0, 2.0) + 0.1 * np.random.default_rng(0).normal(size=2000)
    concern = found(replace(samples, values={"genes": values}))["leak"]
    assert "genes[1234] alone predicts the label" in concern.text
    assert "of 2000 rows)" in concern.text  # a quick look says that it did not look at all of them


def test_a_leak_of_several_classes_and_of_a_sequence_is_found():
    samples = made(n=600, shapes={"course": (8, 3)})
    target = np.arange(600) % 3
    values = samples.values["course"] + 0
    values[:, :, 1] = np.array([5.0, 1.0, 9.0])[target][:, None] + 0.1 * values[:, :, 1]
    schema = Schema(samples.schema.modalities, ("a", "b", "c"))
    assert "course[1] alone" in found(replace(samples, schema=schema, target=target, values={"course": values}))["leak"].text


def test_the_number_of_steps_may_give_the_label_away():
    samples = made(n=400, shapes={"course": (12, 3)})
    lengths = np.where(samples.target == 1, 4, 9) + np.arange(400) % 2
    assert "the number of steps of course" in found(replace(samples, lengths={"course": lengths}))["leak"].text


def test_columns_bear_their_names_where_the_dataset_knows_them():
    class Named(Dataset):
        column_names = {"labs": ("crp", "sodium", "died", "urea", "ph")}

    assert "labs[died]" in found(planted(LEAKS["the label itself"]), Named())["leak"].text


def test_chance_alone_makes_no_leak_of_many_columns_and_few_rows():
    samples = made(n=80, positive=0.15, shapes={"genes": (2000,)})
    assert "leak" not in found(samples)


def test_auroc_of_a_column_is_that_of_the_formula():
    """A column of two values: its AUROC is (1 + true rate - false rate) / 2 in each fold, so overall near it."""
    rng = np.random.default_rng(0)
    target = np.arange(4000) % 2
    column = np.where(rng.random(4000) < 0.8, target, 1 - target)
    rates = [column[target == c].mean() for c in (1, 0)]
    assert alone(column[:, None].astype(np.float32), target, 2)[0] == pytest.approx((1 + rates[0] - rates[1]) / 2, abs=0.002)
    assert alone(rng.normal(size=(4000, 1)).astype(np.float32), target, 2)[0] == pytest.approx(0.5, abs=0.03)


def test_a_constant_column_is_no_label():
    assert not is_label(np.zeros(10), np.zeros(10, dtype=int))


def test_columns_of_one_value_without_any_or_twice_there_are_named():
    samples = made()
    labs, person = samples.values["labs"].copy(), samples.values["person"].copy()
    labs[:, 1], labs[:, 3], person[:, 5] = 4.2, np.nan, labs[:, 4]
    concern = found(replace(samples, values={"person": person, "labs": labs}))
    assert "labs[3] holds no value in any row and labs[1] holds one value" in concern["single"].text
    assert "person[5] = labs[4]" in concern["repeated"].text
    assert {one.level for one in concern.values()} == {"note"}


def test_a_column_that_differs_in_one_row_neither_is_constant_nor_repeats():
    samples = made(n=9000)
    labs = samples.values["labs"].copy()
    labs[:, 1], labs[:, 2] = 4.2, labs[:, 3]
    labs[4567, 1:3] = 0
    assert set(found(replace(samples, values={**samples.values, "labs": labs}))) <= {"few"}


def test_mostly_empty_columns_are_named():
    concern = found(planted(lambda y, rng: np.where(rng.random(len(y)) < 0.7, np.nan, rng.normal(size=len(y)))))
    assert "labs[2] lacks more than half" in concern["gaps"].text


# classes, parts, axes, gaps


def test_a_class_over_three_quarters_is_told_with_its_share_and_the_metric_that_helps():
    samples = made(n=1000, positive=0.12)
    share = f"{100 * (1 - samples.target.mean()):.1f}"
    text = found(samples)["classes"].text
    assert text.startswith(f"{share} % of the samples are of class 'alive'")
    assert "--metric auroc --selection auroc" in text
    assert "classes" not in found(made(n=1000, positive=0.3))
    assert found(samples, metric="f1_macro")["classes"].text == text
    assert found(samples, metric="auroc")["classes"].text == text.partition(", so rank")[0]  # a run that ranks so needs no advice to


def test_few_test_rows_and_few_positives_advise_several_splits():
    assert "the test part has 30 rows" in found(made(n=200))["few"].text
    concern = found(made(n=1000, positive=0.05))["few"]
    assert "of class 'dead'" in concern.text
    assert "--vary split" in concern.text
    assert "--vary" not in found(made(n=200), vary="split")["few"].text


def test_of_a_split_that_comes_with_the_data_no_other_is_advised():
    samples = made(n=200, split=np.array(["train"] * 150 + ["test"] * 50))
    assert "--vary" not in found(samples)["few"].text


@pytest.mark.parametrize("shape", [(64, 64, 3), (28, 28, 1), (4, 4, 1), (32, 48, 4), (16, 16, 16, 1)])
def test_axes_that_look_channels_last_are_serious(shape):
    concern = found(made(n=60, shapes={"scan": shape}))["axes"]
    assert (concern.level, "np.moveaxis" in concern.text) == ("serious", True)
    last_first = (shape[-1], *shape[:-1])
    assert "axes" not in found(made(n=60, shapes={"scan": last_first}))


def test_a_modality_that_is_hardly_ever_observed_is_named():
    samples = made(n=1000)
    observed = samples.observed.copy()
    observed[30:, 1] = False
    assert "labs (30 of 1000 rows)" in found(replace(samples, observed=observed))["hardly"].text


def test_a_mask_that_tells_the_label_is_told_and_one_that_is_the_label_is_serious():
    samples, rng = made(n=1000), np.random.default_rng(5)
    for rate, level in ((0.6, "note"), (1.0, "serious")):
        observed = samples.observed.copy()
        observed[:, 1] = ~((samples.target == 1) & (rng.random(1000) < rate))
        concern = found(replace(samples, observed=observed))["mask"]
        assert (concern.level, "predicts the label by itself (AUROC" in concern.text) == (level, True)


# the command, the function, and time


@pytest.fixture
def given(monkeypatch):
    """Samples as a dataset named Given."""

    def give(samples):
        class Given(Dataset):
            title = "given"

            def load(self):
                return samples

        monkeypatch.setattr(registry, "_given", {"Given": Given})
        return Given

    return give


def test_exit_code_says_whether_something_is_serious(given):
    given(made(n=200))
    fine = CliRunner().invoke(main, ["data", "check", "Given"])
    assert fine.exit_code == 0
    assert "note     the test part has 30 rows" in fine.stdout
    assert fine.stdout.count("\n  ok ") == len(CHECKS) - 1
    given(planted(LEAKS["the label itself"]))
    told = CliRunner().invoke(main, ["data", "check", "Given", "--json"])
    assert told.exit_code == 1
    [entry] = json.loads(told.stdout)
    assert (entry["dataset"], entry["samples"], entry["looked_at"], entry["serious"]) == ("Given", 600, 600, True)
    assert {one["check"] for one in entry["concerns"]} | set(entry["fine"]) == set(CHECKS)


def test_the_function_gives_a_row_a_concern(given):
    cls = given(planted(LEAKS["the label itself"]))
    frame = bench.check_data(cls)
    assert list(frame.columns) == ["dataset", "check", "level", "text"]
    assert frame.set_index("check").level["leak"] == "serious"


def test_support2_holds_nothing_serious(real_data):
    samples = Support2().load()
    assert {concern.level for concern in found(samples, Support2()).values()} <= {"note"}


def test_a_quick_look_is_not_felt():
    samples = made(n=5000, shapes={"labs": (120,), "scan": (3, 32, 32), "course": (24, 8)})
    rows = split_rows(Dataset(), samples, 0)
    begin = time.process_time()
    concerns(Subject(Dataset(), samples, rows))
    assert time.process_time() - begin < 2  # half a second on a quiet machine


def test_infinite_values_end_in_a_refusal_of_their_own_and_not_here():
    samples = made()
    values = samples.values["labs"].copy()
    values[::7, 1], values[::5, 2] = np.inf, -np.inf
    assert "leak" not in found(replace(samples, values={**samples.values, "labs": values}))


def test_a_forgotten_patient_column_lifts_the_score_and_the_run_names_it(monkeypatch, tmp_path, capsys):
    """Outcomes that nothing predicts: whoever meets a patient again seems to know, until groups say who is who."""
    samples, who = visits(patients=100)
    values = samples.values | {"labs": np.random.default_rng(3).normal(size=(400, 5)).astype(np.float32)}
    values["person"] = np.random.default_rng(4).normal(size=(100, 6)).astype(np.float32)[who]
    samples, scores, said = replace(samples, values=values), {}, {}
    for groups in (None, who):

        class Study(Dataset):
            title = "study"

            def load(self, groups=groups):
                return replace(samples, groups=groups)

        monkeypatch.setattr(registry, "_given", {"Study": Study})
        out = tmp_path / str(groups is None)
        rows = bench.run(datasets=Study, methods="gradient-boosting", protocols="natural", metric="auroc", seeds="0-2", out=out)
        scores[groups is None], said[groups is None] = rows.auroc.mean(), capsys.readouterr().err
        page = markdown(bench.board(out))
        assert ("the same patient? set groups" in page) == (groups is None)
    assert scores[True] > 0.9
    assert scores[False] < 0.65
    assert ("in person (such as" in said[True], "in person (such as" in said[False]) == (True, False)


def test_planning_gives_back_the_samples_that_it_loaded(given):
    given(made(n=40))
    with loaded_once():
        first = load(parse_choice("Given"))
        assert load(parse_choice("Given")) is first
        forget()
        again = load(parse_choice("Given"))
        assert again is not first
        assert load(parse_choice("Given")) is again
