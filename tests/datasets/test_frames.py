"""Pandas frames become a dataset: kinds by their types, values written once, and named where datasets are."""

import pickle

import numpy as np
import pandas as pd
import pytest

import bench
from bench import registry
from bench.errors import UsageError

IDS = [f"p{row:02}" for row in range(60)]


@pytest.fixture(autouse=True)
def own_root(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(registry, "_given", {})


def labs():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "a": rng.normal(size=60),
            "b": np.where(rng.random(60) < 0.3, np.nan, rng.normal(size=60)),
            "old": rng.random(60) < 0.5,
            "seen": pd.to_datetime("1970-01-03") + pd.to_timedelta(np.arange(60), unit="D"),
            "stage": pd.Categorical(rng.choice(["I", "II"], 60), categories=["I", "II", "III"], ordered=True),
            "sex": rng.choice(["f", "m"], 60),
        },
        index=IDS,
    )


def target():
    return pd.Series(np.where(labs()["a"] > 0, "yes", "no"), index=IDS)


def test_kinds_follow_the_types_and_are_stated():
    made = bench.dataset({"labs": labs()}, target(), "study")
    samples = made.load()
    assert samples.values["labs"].shape == (60, 7)  # two of sex
    assert samples.values["labs"][:3, 3].tolist() == [2, 3, 4]
    assert samples.schema.classes == ("no", "yes")
    assert made.facts["Columns"] == ("labs: numbers: a b, days since 1970-01-01: seen, places in an order: old stage, categories: sex")
    assert made.learn(samples.sealed())(samples).values["labs"].shape == (60, 8)  # b has gaps


def test_two_levels_of_index_are_a_sequence_and_absent_ids_miss_it():
    course = pd.DataFrame({"x": [3.0, 1.0, 2.0]}, index=pd.MultiIndex.from_tuples([("p00", 2), ("p00", 1), ("p02", 7)]))
    samples = bench.dataset({"labs": labs(), "course": course}, target().to_dict(), "study").load()
    assert samples.schema.modalities[1].kind == "sequence"
    assert samples.values["course"][0].ravel().tolist() == [1, 3]
    assert samples.observed[:3, 1].tolist() == [True, False, True]


def test_values_are_written_once_and_travel_as_a_path():
    made = bench.dataset({"labs": labs()}, target(), "study", groups=pd.Series(np.arange(60) // 2, index=IDS))
    written = (made.folder / "meta.json").stat().st_mtime_ns
    again = bench.dataset({"labs": labs()}, target(), "study", groups=pd.Series(np.arange(60) // 2, index=IDS))
    assert (again.folder, (again.folder / "meta.json").stat().st_mtime_ns) == (made.folder, written)
    assert len(pickle.dumps(made)) < 2000
    assert pickle.loads(pickle.dumps(made)).load().groups.tolist()[:4] == ["0", "0", "1", "1"]
    assert bench.dataset({"labs": labs().assign(a=1.0)}, target(), "study").folder != made.folder


def test_frames_run_beside_names_in_processes_of_their_own(tmp_path):
    made = bench.dataset({"labs": labs()}, target(), "study")
    rows = bench.run(
        methods="constant,mean-logistic", datasets=[made, "breast-cancer"], protocols="natural", seeds=0, out=tmp_path / "runs", quiet=True
    )
    assert set(rows["dataset"]) == {"study", "breast-cancer"}
    assert rows["status"].tolist() == ["done"] * 4
    assert rows.set_index(["method", "dataset"])["auroc"]["mean-logistic", "study"] > 0.9


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"modalities": {"labs": labs()["a"]}}, "must be a pandas frame whose index holds the ids, got pandas Series; .to_frame()"),
        ({"modalities": {}}, "modalities must be a mapping"),
        ({"modalities": {"labs": pd.concat([labs(), labs()[:1]])}}, "labs row 61: id 'p00' comes twice"),
        ({"modalities": {"labs": labs().set_axis([f"q{row}" for row in range(60)])}}, "labs: no id is the id of a sample"),
        ({"target": [1, 2]}, "target must be a pandas series"),
        ({"target": target()[:30].reindex(IDS)}, "target row 31: value of 'p30', the label, is missing"),
        ({"target": pd.Series("yes", index=IDS)}, "target must have two classes at least"),
        ({"name": "digits"}, "the name 'digits' is taken"),
        ({"name": "my study"}, "name must be letters, digits"),
        ({"rows": "last"}, "rows must be one of one, mean, samples"),
        ({"groups": {"p00": 1}}, "groups has no row of 'p01'"),
    ],
)
def test_wrong_input_is_refused(given, said):
    with pytest.raises(UsageError) as error:
        bench.dataset(**{"modalities": {"labs": labs()}, "target": target(), "name": "study", **given})
    assert said in str(error.value)


def test_a_dataset_that_is_made_already_is_refused_by_its_class():
    from bench.datasets.digits import Digits

    with pytest.raises(UsageError, match="give the class Digits"):
        bench.run(datasets=Digits())
