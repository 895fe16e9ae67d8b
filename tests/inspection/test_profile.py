"""bench/inspection/profile.py: a profile's numbers are a trial's numbers, share out by component, and follow what samples observe."""

import sys
from dataclasses import replace
from itertools import combinations as subsets
from pathlib import Path

import numpy as np
import pytest
import torch

import bench
from bench.datasets.base import Modality, Schema
from bench.errors import UsageError
from bench.inspection.profile import COSTS, combinations_of, exactly, observing, profiles, tidy, trials_of
from bench.inspection.profile_page import draw, page
from bench.methods.catalog import GROUPS
from bench.question.machine import Machine
from bench.training.trial import run_trial

OUTSIDE = Path(__file__).parents[1] / "support" / "outside.py"
SMALL = [
    "shaspec[width=16]",
    "dropout-transformer[width=16]",
    "moe-retriever[width=16,heads=2,tokens=2,n_target_experts=2,n_shared=2,kept=2]",
]


def profile_of(*methods, **options):
    chosen = {"dataset": "breast-cancer", "noise": 0.3, **options}
    return list(profiles(trials_of(methods, **chosen), "cpu"))


@pytest.fixture(scope="module")
def small():
    """Three methods on three modalities, a third of them hidden."""
    return dict(zip(("shaspec", "dropout-transformer", "moe-retriever"), profile_of(*SMALL), strict=True))


@pytest.mark.parametrize("method", ["shaspec", "moe-retriever"])
def test_a_profile_gives_the_numbers_of_a_trained_trial(small, method):
    profile = small[method]
    record, _ = run_trial(replace(profile.trial, training={"epochs": 1}), Machine("cpu"))
    for name in ("gflops_per_sample", "parameters", "active_parameters"):
        assert profile.cost[name] == pytest.approx(record.cost[name], rel=1e-12)
    assert record.facts.not_counted == profile.not_counted == []


def test_costs_are_complete_and_positive(small):
    for profile in small.values():
        assert list(profile.cost) == list(COSTS)
        assert all(value is not None and value > 0 for value in profile.cost.values())
        assert profile.cost["training_gflops_per_sample"] > 2 * profile.cost["gflops_per_sample"] > 0


def test_components_sum_to_the_method(small):
    for profile in small.values():
        for name in ("gflops_per_sample", "parameters", "active_parameters"):
            assert sum(getattr(part, name) for part in profile.components) == pytest.approx(profile.cost[name], rel=1e-12)
        for seen in profile.observed:
            assert sum(seen.components.values()) == pytest.approx(seen.gflops_per_sample, rel=1e-12)


def test_depth_splits_components_further():
    shallow, deep = (next(profiles(trials_of(SMALL[:1], "breast-cancer"), "cpu", depth=depth)) for depth in (1, 2))
    names = {part.component for part in deep.components}
    assert {name.partition(".")[0] for name in names} == {part.component for part in shallow.components}
    assert len(names) > len(shallow.components)
    assert sum(part.gflops_per_sample for part in deep.components) == pytest.approx(shallow.cost["gflops_per_sample"])


@pytest.mark.parametrize("method", ["shaspec", "dropout-transformer"])
def test_a_sparse_method_gets_cheaper_with_every_modality_that_vanishes(small, method):
    cost = {seen.combination: seen.gflops_per_sample for seen in small[method].observed}
    assert list(cost) == ["M", "E", "W", "ME", "MW", "EW", "MEW"]
    for letters in cost:
        assert all(cost["".join(less)] < cost[letters] for less in subsets(letters, len(letters) - 1) if less)


def test_retrieval_makes_missing_modalities_dear(small):
    cost = {seen.combination: seen.gflops_per_sample for seen in small["moe-retriever"].observed}
    parts = {seen.combination: seen.components for seen in small["moe-retriever"].observed}
    assert min(cost["M"], cost["ME"]) > cost["MEW"]
    assert parts["M"]["retriever"] > 0
    assert "retriever" not in parts["MEW"]


@pytest.mark.slow
@pytest.mark.parametrize("method", [*GROUPS["paper"], "mean-mlp", "dropout-transformer"])
def test_nothing_in_a_listed_method_goes_uncounted(method):
    profile = profile_of(method)[0]
    assert profile.reason is None
    assert profile.not_counted == []


@pytest.mark.parametrize("method", ["mean-logistic", "constant"])
def test_a_method_that_fits_itself_states_what_it_can(method):
    profile = profile_of(method)[0]
    assert profile.reason is None
    assert profile.cost["gflops_per_sample"] is not None
    assert profile.cost["training_gflops_per_sample"] is None
    assert all(profile.cost[name] > 0 for name in ("latency_ms_1", "latency_ms_8", "latency_ms_64", "peak_memory_mb"))
    assert [seen.gflops_per_sample for seen in profile.observed] == [None] * 7
    assert all(seen.ms_per_sample > 0 and seen.peak_memory_mb > 0 for seen in profile.observed)


def test_the_ceiling_has_a_profile_where_it_is_asked_for():
    assert [profile.trial.method for profile in profile_of("constant", dataset="gaussian")] == ["constant"]
    bayes = profile_of("bayes", dataset="gaussian")[0]
    assert bayes.reason is None
    assert bayes.cost["latency_ms_64"] > 0


def test_a_method_that_fails_gives_its_reason_and_the_others_go_on():
    failed, done = profile_of(f"{OUTSIDE}:Raises", f"{OUTSIDE}:Mine")
    assert failed.reason == r"KeyError: 'no such\nembedding'"
    assert failed.cost == {}
    assert done.reason is None
    assert "Raises" not in page([failed, done])


def test_a_profile_leaves_generator_and_threads_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    threads = torch.get_num_threads()
    torch.manual_seed(3)
    trials = trials_of([f"{OUTSIDE}:Mine"], "breast-cancer")
    list(profiles(trials, "cpu", threads=threads + 1))
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


def test_every_combination_of_few_modalities_is_measured():
    schema = Schema(tuple(Modality(letter, letter, "vector", (1,)) for letter in "ABC"), ("no", "yes"))
    assert combinations_of(schema, np.ones((1, 3), bool)) == ["A", "B", "C", "AB", "AC", "BC", "ABC"]


def test_of_many_modalities_those_that_occur_are_measured():
    schema = Schema(tuple(Modality(letter, letter, "vector", (1,)) for letter in "ABCDEF"), ("no", "yes"))
    observed = np.array([[1, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]], bool)
    assert combinations_of(schema, observed) == ["A", "B", "C", "D", "E", "F", "AB", "AC", "ABCDEF"]


def test_rows_observe_exactly_the_combination(make_samples):
    samples = make_samples()
    only = observing(samples, "AG")
    assert np.array_equal(only.observed, np.tile([True, False, True], (len(samples), 1)))
    assert np.isnan(only.values["beta"]).all()
    there = samples.observed[:, 0]
    assert np.array_equal(only.values["alpha"][there], samples.values["alpha"][there])
    assert (only.values["alpha"][~there] == 0).all()


def test_too_few_rows_are_taken_again(make_samples):
    samples = make_samples(n=5)
    assert np.array_equal(exactly(samples, 7).target, samples.target[[0, 1, 2, 3, 4, 0, 1]])
    assert np.array_equal(exactly(samples, 3).observed, samples.observed[:3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "digits,breast-cancer"}, "one dataset, combination and protocol, got 2 settings"),
        ({"protocol": "mcar"}, "mcar needs a missing rate"),
        ({"noise": 1.0}, "must be in"),
        ({"training": {"epocs": 3}}, "did you mean 'epochs'"),
        ({"combination": "XY"}, "takes letters of 'MEW'"),
    ],
    ids=["datasets", "rate", "range", "training", "combination"],
)
def test_bad_input_is_explained(options, message):
    with pytest.raises(UsageError, match=message):
        trials_of(["constant"], **{"dataset": "breast-cancer", **options})


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is present")
def test_absent_gpu_is_explained():
    with pytest.raises(UsageError, match="sees no GPU"):
        next(profiles(trials_of(["constant"], "breast-cancer"), "cuda"))


def test_page_compares_then_details(small):
    text = page(list(small.values()))
    assert text.index("breast-cancer, modalities MEW, mcar(0.3)") < text.index("GFLOPs by number of observed") < text.index("Component")
    assert text.count("Component") == 3
    assert "GFLOPs by number" not in page([small["shaspec"]])
    assert page([]) == ""


def test_table_is_tidy(small):
    rows = tidy(small.values())
    assert len({tuple(row) for row in map(sorted, rows)}) == 1
    keys = [(row["method"], row["observed"], row["component"]) for row in rows]
    assert len(set(keys)) == len(keys)
    whole = [row["gflops_per_sample"] for row in rows if row["observed"] == "test" and row["component"] == "all"]
    assert whole == [profile.cost["gflops_per_sample"] for profile in small.values()]


def test_notebook_function_gives_the_table():
    frame = bench.profile("constant,mean-mlp[width=8]", dataset="breast-cancer", noise=0.3)
    assert set(frame["method"]) == {"constant", "mean-mlp[width=8]"}
    assert {"observed", "component", "gflops_per_sample", "latency_ms_8", "ms_per_sample", "peak_memory_mb"} <= set(frame.columns)
    parts = frame[(frame["observed"] == "ME") & (frame["method"] != "constant")].set_index("component")["gflops_per_sample"]
    assert parts["all"] == pytest.approx(parts.drop("all").sum())


def test_plot_is_drawn(small, tmp_path):
    pytest.importorskip("matplotlib")
    draw(list(small.values()), tmp_path / "cost.svg")
    text = (tmp_path / "cost.svg").read_text()
    assert text.count("<svg") == 1
    with pytest.raises(UsageError, match=r"a file ending in .png, .pdf, .svg, got .*cost.unknown'"):
        draw(list(small.values()), tmp_path / "cost.unknown")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        draw(list(small.values()), tmp_path / "folder.svg")


def test_plot_without_matplotlib_names_the_extra(small, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'missing-modality-bench\[plot\]'"):
        draw(list(small.values()), tmp_path / "cost.svg")


@pytest.mark.parametrize("dataset", ["diabetes", "gaussian[target=labels]", "gaussian[target=value]"])
def test_a_target_of_any_kind_is_profiled_by_a_metric_of_its_own(dataset):
    (trial,) = trials_of("mean-mlp", dataset, training={"epochs": 1})
    (found,) = profiles([trial])
    assert found.reason is None
    assert found.cost["gflops_per_sample"] > 0
