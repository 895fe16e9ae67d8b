"""bench/inspection/analysis.py, tables.py, figures.py: what methods did inside, against numbers worked out by hand, and drawn."""

import json
import math
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F

import bench
from bench import registry
from bench.cli import main
from bench.datasets.base import as_batch
from bench.errors import UsageError
from bench.inspection import figures, tables
from bench.inspection.analysis import TRACED, analyse, write
from bench.inspection.tables import Analysis, Source, gradients_analysis, routing_analysis, separation, supports_analysis
from bench.methods.catalog import METHODS
from bench.methods.tracing import tracing
from bench.names import Choice
from bench.question.assemble import assemble
from bench.question.plan import plan
from bench.question.suite import read_suite
from bench.question.trial import Trial
from bench.records.facts import Facts
from bench.records.record import Record

TINY = {"epochs": 1, "width": 8, "tokens": 1, "batch_size": 128, "warmup_fraction": 0.0}
TRIAL = Trial(
    method="moe-retriever", preset="paper", options={}, training={}, dataset="invented", dataset_options={}, combination="AB",
    protocol="mcar(0.3)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip


def source_of(tables, target=(0, 1, 0, 1), config=None):
    record = Record(TRIAL, "done", facts=Facts(classes=["no", "yes"], config=config or {}))
    return Source(TRIAL, record, {name: {k: np.array(v) for k, v in columns.items()} for name, columns in tables.items()}, np.array(target))


def bench_analyze(*words, code=0):
    result = CliRunner().invoke(main, ["analyze", *(str(word) for word in words)])
    assert result.exit_code == code, result.output + result.stderr + str(result.exception)
    return result


def options(**changes):
    return {"datasets": "breast-cancer", "training": TINY, **changes}


# Which method hands over what


@pytest.mark.parametrize("name", [name for name in METHODS if name != "bayes"])
def test_providers_are_the_methods_that_record(name, make_samples):
    cls = registry.method_class(name)
    found = set()
    if issubclass(cls, torch.nn.Module):
        samples = make_samples(n=24, missing=0.4)
        small = {"width": 16, "tokens": 2, "batch_size": 8, "heads": 2, "layers": 1, "hidden": 16, "n_experts": 6}
        method = cls(samples.schema, registry.config_of(cls, Choice(name), small))
        method.seed(0)
        method.prepare(samples)
        batch = as_batch(samples)
        with tracing(method) as tracer:
            method.train().on_epoch(1, 2)
            F.cross_entropy(method(batch).logits, batch.target).backward()
            method.eval()
            with torch.no_grad():
                method.on_evaluate()
                method(batch)
        found = set(tracer.names())
    assert found == set(registry.method_class(name).traces)


@pytest.mark.parametrize("what", TRACED)
def test_method_without_the_records_is_refused_with_those_that_have_them(what, tmp_path):
    with pytest.raises(UsageError, match=f"constant traces no {what}; {what} (is|are) traced by moe-retriever"):
        analyse(what, options={"methods": "constant"}, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_suite_without_a_provider_is_refused(tmp_path):
    suite = replace(bench.question.suite.read_suite("quick"), methods=("constant", "muse"))
    with pytest.raises(UsageError, match="no method of suite 'quick' traces supports"):
        analyse("supports", suite, out=tmp_path / "runs")


# Tables


def routing_tables():
    """Three tokens of rows that observe both modalities, one of a row that observes A alone; experts 0 and 2 of 4."""
    return {"routing": {
        "sample": [0, 0, 1, 2], "layer": [0, 0, 0, 0], "target": [1, 1, 1, -1], "modality": [0, 1, 0, 0],
        "filled": [False, False, False, True], "supported": [True, True, False, False],
        "source": [[True, True], [True, True], [True, True], [True, False]],
        "experts": [[0], [0], [2], [2]], "gates": [[0.5], [1.0], [1.0], [1.0]],
    }}  # fmt: skip


def test_routing_counts_tokens_by_observed_combination_and_expert():
    rows = routing_analysis([source_of(routing_tables(), config={"n_target_experts": 1, "n_shared": 2})]).rows
    cells = rows.groupby(["observed", "expert"])["tokens"].sum().to_dict()
    assert cells == {("AB", "A1"): 2, ("AB", "sh1"): 1, ("A", "sh1"): 1}
    assert rows.groupby("observed")["share_of_observed"].sum().tolist() == pytest.approx([1, 1])
    assert rows.groupby("expert")["share_of_expert"].sum().tolist() == pytest.approx([1, 1])
    assert set(rows["kind"]) == {"support", "own", "stand-in"}
    assert set(rows["target"]) == {"B", "-"}


def test_tokens_that_visit_every_expert_count_by_their_gates():
    """A gate over all experts, as SimMLM's: rows of AB weigh them 3 to 1, a row of A has nothing else."""
    row = {"sample": [0, 1, 2], "layer": [0] * 3, "target": [-1] * 3, "modality": [-1] * 3, "filled": [False] * 3, "supported": [False] * 3}
    row |= {
        "source": [[True, True], [True, True], [True, False]],
        "experts": [[0, 1]] * 3,
        "gates": [[0.75, 0.25], [0.75, 0.25], [1.0, 0.0]],
    }
    found = routing_analysis([source_of({"routing": row})])
    shares = found.rows.set_index(["observed", "expert"])["share_of_observed"].to_dict()
    assert shares == pytest.approx({("AB", "e1"): 0.75, ("AB", "e2"): 0.25, ("A", "e1"): 1.0, ("A", "e2"): 0.0})
    assert found.summary.iloc[0]["tokens"] == 3


def test_routing_tells_how_often_rows_reach_the_expert_of_their_combination():
    asked = {"datasets": "breast-cancer", "methods": "flexmoe", "seeds": "0", "noise": "0.5", "training": TINY}
    trial = next(trial for trial in plan(assemble(read_suite("quick"), asked)) if trial.method == "flexmoe")
    source = [[1, 1, 1], [1, 1, 0], [1, 1, 0], [0, 0, 1], [1, 1, 0]]  # MEW, which is not counted, ME three times, W
    table = {
        "layer": [0, 0, 0, 0, 2], "target": [-1] * 5, "modality": [0] * 5, "filled": [False] * 5, "supported": [False] * 5,
        "sample": [0, 1, 1, 2, 1], "source": np.array(source, dtype=bool), "experts": [[5, 0], [1, 0], [0, 1], [6, 3], [2, 1]],
        "gates": [[0.5, 0.5]] * 5,
    }  # fmt: skip
    columns = {name: np.array(column) for name, column in table.items()}
    record = Record(trial, "done", facts=Facts(classes=["no", "yes"], config={"n_experts": 16}))
    summary = routing_analysis([Source(trial, record, {"routing": columns}, np.array([0, 1, 0]))]).summary
    assert summary["layer"].tolist() == [1, 3]
    assert summary["specialisation"].tolist() == [pytest.approx(2 / 3), 0.0]  # experts count as MEW, ME, MW, EW, M, E, W: 0 to 6


def test_methods_without_a_rate_of_their_own_show_none():
    assert "specialisation" not in routing_analysis([source_of(routing_tables())]).summary


def test_routing_information_is_that_of_the_formula():
    """Joint counts [[2, 1], [0, 1]]: I = H(rows) + H(columns) - H(cells)."""
    summary = routing_analysis([source_of(routing_tables())]).summary.iloc[0]

    def entropy(*p):
        return -sum(x * math.log2(x) for x in p if x)

    assert summary["bits_about_observed"] == pytest.approx(entropy(0.75, 0.25) + entropy(0.5, 0.5) - entropy(0.5, 0.25, 0.25))
    assert summary["effective_experts"] == pytest.approx(2)
    assert summary["bits_at_most"] == pytest.approx(entropy(0.75, 0.25))


def test_gradients_are_means_over_the_batches_of_an_epoch():
    table = {"epoch": [1, 1, 2], "first": [0, 0, 0], "second": [1, 1, 1], "rows": [3, 0, 2], "cosine": [0.5, -0.1, 0.3]}
    table["cosine_both"] = [0.4, math.nan, 0.2]
    found = gradients_analysis([source_of({"gradients": table})])
    assert found.rows["pair"].tolist() == ["A-B", "A-B"]
    assert found.rows["cosine"].tolist() == pytest.approx([0.2, 0.3])
    assert found.rows["cosine_both"].tolist() == pytest.approx([0.4, 0.2])
    assert found.rows["negative_batches"].tolist() == [0.5, 0]
    assert found.summary[["first_epoch", "last_epoch"]].iloc[0].tolist() == pytest.approx([0.2, 0.3])


def test_norms_of_gradients_stand_beside_their_cosines():
    table = {"epoch": [1, 1], "first": [0, 0], "second": [1, 1], "rows": [3, 2], "cosine": [0.5, -0.1], "cosine_both": [0.5, 0.1]}
    found = gradients_analysis([source_of({"gradients": table | {"norm_first": [4.0, 2.0], "norm_second": [0.5, 0.1]}})])
    for frame in (found.rows, found.summary):
        assert frame[["norm_first", "norm_second"]].iloc[0].tolist() == pytest.approx([3.0, 0.3])
    assert "norm_first" not in gradients_analysis([source_of({"gradients": table})]).rows


def test_support_weights_of_a_filled_modality_sum_to_one(monkeypatch, make_samples):
    train = make_samples(n=4, modalities=2, classes=2, missing=0.0)  # classes 0 1 0 1, all observed
    test = SimpleNamespace(observed=np.array([[True, False]] * 4))
    parts = SimpleNamespace(train=SimpleNamespace(samples=train), test=SimpleNamespace(samples=test))
    monkeypatch.setattr(Source, "parts", lambda self: parts)
    table = {"sample": [0, 0, 1], "target": [1, 1, 1], "support": [0, 1, 3], "weight": [0.3, 0.1, 0.5]}
    found = supports_analysis([source_of({"supports": table})])
    assert found.rows["weight"].sum() == pytest.approx(2)
    summary = found.summary.iloc[0]
    assert summary["filled"] == 2
    assert summary["same_class"] == pytest.approx((0.75 + 1.0) / 2)
    assert summary["by_chance"] == pytest.approx(0.5)
    assert summary["same_class_low"] <= summary["same_class"] <= summary["same_class_high"]


# Class separation


def test_separated_classes_score_and_mixed_ones_do_not():
    rng, target = np.random.default_rng(0), np.arange(60) % 3
    mixed = rng.normal(size=(60, 4))
    apart = mixed + 20 * np.eye(4)[target]
    silhouette, neighbours = separation({"before": mixed, "after": apart}, target)
    assert silhouette["after"] > 0.8
    assert abs(silhouette["before"]) < 0.1
    assert neighbours["after"] == 1
    assert neighbours["before"] < 0.6
    for found in (silhouette, neighbours):
        assert found["gain"] == pytest.approx(found["after"] - found["before"])
        assert 0 < found["gain_low"] <= found["gain"] <= found["gain_high"]


def test_row_is_no_neighbour_of_its_own():
    target = np.array([0, 1] * 10)
    x = np.repeat(np.arange(10.0), 2)[:, None] * 1e3 + np.tile([0.0, 1.0], 10)[:, None]  # the nearest other row has the other class
    assert tables._neighbours_right(x[:2], target[:2]).tolist() == [0, 0]


@pytest.mark.parametrize("target", [[0, 1] * 4, [0] * 12, list(range(12))], ids=["few rows", "one class", "no class twice"])
def test_nothing_is_measured_where_nothing_can_be(target):
    x = np.random.default_rng(0).normal(size=(len(target), 3))
    assert separation({"before": x, "after": x}, np.array(target)) == []


# From the command to files


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A folder in which one method is stored without its records."""
    folder = tmp_path_factory.mktemp("analysis") / "runs"
    bench.run(methods="shaspec", datasets="breast-cancer", noise=0.3, seeds=0, training=TINY, out=folder, quiet=True)
    return folder


@pytest.mark.slow
def test_stored_trial_without_records_runs_again_with_the_same_numbers(out):
    before = bench.results(out)
    assert not (out / "traces").exists()
    sets = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    asked = ["gradients", "--methods", "shaspec", "--datasets", "breast-cancer", *sets, "--out", out]
    first = bench_analyze(*asked)
    assert "1 trial, about" in first.stderr
    after = bench.results(out)
    assert after["id"].tolist() == before["id"].tolist()
    assert after["auroc"].tolist() == before["auroc"].tolist()
    stem = out / "analysis" / "gradients-breast-cancer-MEW-mcar-0.3"
    assert pd.read_csv(f"{stem}.csv")["pair"].tolist() == ["M-E", "M-W", "E-W"]
    second = bench_analyze(*asked, "--json", "-q")
    found = json.loads(second.stdout)
    assert found["analysis"] == "gradients"
    assert f"{stem}.csv" in found["files"]
    assert {"pair", "first_epoch"} <= found["summary"][0].keys()
    assert bench.results(out)["train_seconds"].tolist() == after["train_seconds"].tolist()  # it was not trained a third time


def test_python_function_gives_tables_and_writes_on_request(out, tmp_path):
    found = bench.analyze(
        "embeddings", "shaspec", datasets="breast-cancer", training=TINY, out=out, figures=tmp_path / "figures", quiet=True
    )
    assert set(found.rows["rows"]) >= {"all", "incomplete", "missing M"}
    assert set(found.points["stage"]) == {"before", "after"}
    assert {path.suffix for path in found.files} >= {".csv"}
    assert all(path.exists() for path in found.files)


def test_preset_that_records_nothing_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no traces to analyse: moe-retriever\[routing=none\] traces no routing in this configuration"):
        analyse("routing", options=options(methods="moe-retriever[routing=none]"), out=tmp_path / "runs")


def test_damaged_records_are_named(out):
    path = next((out / "traces").glob("*.npz"))
    data = path.read_bytes()
    path.write_bytes(data[:40])
    with pytest.raises(UsageError, match=r"traces .* are damaged; remove the file and analyse again"):
        analyse("gradients", options=options(methods="shaspec"), out=out)
    path.write_bytes(data)


def test_cost_trains_nothing_and_names_every_combination(tmp_path):
    found = analyse("cost", options=options(methods="shaspec", combinations="ME,MEW"), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    assert found.summary["combination"].tolist() == ["ME", "MEW"]
    assert set(found.rows.loc[found.rows["combination"] == "ME", "observed"]) == {"test", "M", "E", "ME"}
    assert (found.summary["parameters"] > 0).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["routing", "--format", "bmp"], "unknown figure format 'bmp'"),
        (
            ["supports", "--methods", "fusemoe"],
            "fusemoe traces no supports, only routing, embeddings and gradients; supports are tra",
        ),
        (["routing", "--methods", "moe-retreiver"], "did you mean 'moe-retriever'"),
    ],
    ids=["format", "records", "name"],
)
def test_bad_input_is_one_line(words, message, tmp_path):
    found = bench_analyze(*words, "--out", tmp_path / "runs", code=2)
    assert message in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1


# Figures

ABOUT = {"method": "shaspec", "dataset": "digits", "combination": "NEWS", "protocol": "mcar(0.3)", "seed": 0}
STAGES = ("before", "after")
EPOCHS = [{**ABOUT, "seed": seed, "epoch": epoch, "pair": "N-E", "cosine": 0.1 * epoch + seed} for seed in (0, 1) for epoch in (1, 2)]
SEPARATIONS = [{**ABOUT, "measure": "silhouette", **{f"{stage}{end}": 0.1 for stage in STAGES for end in ("", "_low", "_high")}}]
POINTS = [{**ABOUT, "stage": stage, "class": str(c), "x": c, "y": c} for stage in STAGES for c in range(10)]
LINKS = [{**ABOUT, "class": c, "support_class": "0", "observed": "NE", "support_observed": "NEWS", "weight": 1.0} for c in "01"]
SAME_CLASS = [{**ABOUT, "same_class": 0.5, "same_class_low": 0.4, "same_class_high": 0.6, "by_chance": 0.1}]
NUMBERS = {"device": "cpu", "threads": 1, "gflops_per_sample": 0.1, "ms_per_sample": 1.0, "parameters": 9, "active_parameters": 5}
COSTS = [{**ABOUT, **NUMBERS, "observed": observed} for observed in ("test", "N", "NE")]
DRAWN = {
    "routing": lambda: routing_analysis([source_of(routing_tables())]),
    "gradients": lambda: Analysis("gradients", pd.DataFrame(EPOCHS), pd.DataFrame()),
    "embeddings": lambda: Analysis("embeddings", pd.DataFrame([ABOUT]), pd.DataFrame(SEPARATIONS), pd.DataFrame(POINTS)),
    "supports": lambda: Analysis("supports", pd.DataFrame(LINKS), pd.DataFrame(SAME_CLASS)),
    "cost": lambda: Analysis("cost", pd.DataFrame(COSTS), pd.DataFrame()),
}
LABELS = {"routing": "expert", "gradients": "cosine", "embeddings": "silhouette", "supports": "by chance", "cost": "GFLOPs"}


@pytest.mark.parametrize("what", DRAWN)
def test_figure_is_drawn_from_the_tables_with_its_labels(what, tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}):  # texts stay texts
        files = figures.draw(DRAWN[what](), tmp_path / what, ["png", "svg"])
    assert [path.suffix for path in files] == [".png", ".svg"]
    assert LABELS[what] in files[1].read_text(encoding="utf-8")


def test_without_matplotlib_the_tables_are_written_and_the_way_on_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = []
    files = write(DRAWN["routing"](), tmp_path, say=said.append)
    assert {path.suffix for path in files} == {".csv"}
    assert said == ["no figure: matplotlib is not installed; pip install 'missing-modality-bench[plot]'"]


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="the analysis cannot be written to"):
        write(DRAWN["routing"](), tmp_path / "file" / "figures")


@pytest.mark.parametrize("dataset", ["diabetes", "gaussian[target=labels]"])
def test_a_target_of_any_kind_is_analysed_by_a_metric_of_its_own(dataset, tmp_path):
    found = analyse("gradients", options={"datasets": dataset, "methods": "simmlm", "training": {"epochs": 1}}, out=tmp_path)
    assert set(found.summary.method) == {"simmlm"}
    assert found.summary.first_epoch.notna().all()
