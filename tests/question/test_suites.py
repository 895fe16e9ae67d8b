"""The suites that come with the package: each asks what its table in the paper asks, and runs on copies of the data in small."""

import csv
import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import bench
from bench import registry
from bench.names import parse_choice
from bench.question.budgets import of_all
from bench.question.plan import plan
from bench.question.suite import FIRST, known_suites, read_suite

TESTS = Path(__file__).resolve().parents[1]
PAPER = sorted(name for name in known_suites() if name.startswith("paper-"))
OPEN = sorted(name for name in known_suites() if name.startswith("open-"))
DATASETS = {"ADNI": "adni", "MIMIC": "mimic-iv", "ENRICO": "enrico", "CMU-MOSI": "cmu-mosi"}
METHODS = {
    "moe-retriever": "MoE-Retriever", "mmformer": "mmFormer", "shaspec": "ShaSpec", "m3care": "M3Care", "muse": "MUSE", "fusemoe": "FuseMoE"
}  # fmt: skip
VARIANTS = {  # rows of Table 3 as the paper prints them
    "moe-retriever": "MoE-Retriever",
    "moe-retriever[use_intra=false]": "MoE-Retriever w/o Intra-Modal Context",
    "moe-retriever[use_inter=false]": "MoE-Retriever w/o Inter-Modal Context",
    "moe-retriever[routing=none]": "MoE-Retriever w/o Context-Aware Routing",
    "moe-retriever[n_shared=1]": "MoE-Retriever E_T=8 E_Sh=1 R=1",
    "moe-retriever[n_shared=2]": "MoE-Retriever E_T=8 E_Sh=2 R=1",
    "moe-retriever[n_shared=8]": "MoE-Retriever E_T=8 E_Sh=8 R=1",
    "moe-retriever[n_target_experts=4]": "MoE-Retriever E_T=4 E_Sh=4 R=1",
    "moe-retriever[n_target_experts=16]": "MoE-Retriever E_T=16 E_Sh=4 R=1",
    "moe-retriever[n_routers=2]": "MoE-Retriever E_T=8 E_Sh=4 R=2",
    "moe-retriever[n_routers=4]": "MoE-Retriever E_T=8 E_Sh=4 R=4",
    "moe-retriever[fusion_layers=2]": "MoE-Retriever 2 x Transformer Layer",
    "moe-retriever[fusion_sparse=true]": "MoE-Retriever Sparse MoE Fusion Layer",
}
SMALL = {"epochs": 1, "batch_size": 16, "width": 16, "tokens": 2, "hidden": 16, "layers": 1, "warmup_fraction": 0.0}


def printed(table):
    """What a table of the paper prints. Columns: (dataset, letters, noise), methods, metrics."""
    with (TESTS.parent / "docs" / "sources" / "moe_retriever_tables.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["table"] == str(table)]
    settings = {(DATASETS[row["dataset"]], row["modality"].replace("+", ""), float(row["noise"] or 0)) for row in rows}
    return settings, {row["method"] for row in rows}, {row["metric"] for row in rows}


def asked(suite):
    """What a suite asks, in the same form."""
    return {
        (parse_choice(name).name, letters, noise)
        for setting in suite.settings
        for name in setting.datasets
        for letters in setting.combinations
        for noise in (setting.noise or (0.0,))
    }


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes small copies of the datasets that a suite asks for, prepared as it asks."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    if "bench_fixtures" not in sys.modules:
        spec = importlib.util.spec_from_file_location("bench_fixtures", TESTS / "support" / "fixtures.py")
        sys.modules["bench_fixtures"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["bench_fixtures"])
    fixtures = sys.modules["bench_fixtures"]

    def write(suite):
        for name in {name for setting in suite.settings for name in setting.datasets}:
            dataset = registry.dataset_of(parse_choice(name))
            if not dataset.raw_folder.exists():
                options = {"adni": {"genome": "npz"}}.get(dataset.name, {})
                fixtures.WRITERS[dataset.name](dataset.raw_folder, **options)
                dataset.prepare(dataset.raw_folder)

    return write


def test_every_file_is_a_suite_and_no_name_is_taken_twice():
    """A suite is named by its file alone, whatever folder it lies in: stored commands name it so."""
    files = sorted((TESTS.parent / "bench" / "suites").rglob("*.toml"))
    assert sorted(known_suites().values()) == files
    assert len({path.stem for path in files}) == len(files)


def test_suites_for_everyone_come_first_and_those_of_a_paper_lie_in_its_folder():
    folders = {name: path.parent.name for name, path in known_suites().items()}
    assert list(folders)[: len(FIRST)] == list(FIRST)
    assert {folders[name] for name in (*PAPER, *OPEN)} == {"moe-retriever"}
    is_general = [folder == "suites" for folder in folders.values()]
    assert is_general == sorted(is_general, reverse=True)


@pytest.mark.parametrize("table", [1, 2, 4, 5, 6])
def test_paper_suite_asks_what_the_table_prints(table):
    suite = read_suite(f"paper-table{table}")
    settings, methods, metrics = printed(table)
    assert asked(suite) == settings
    assert {METHODS.get(choice.name, choice.name) for choice in registry.expand_methods(suite.methods)} == methods | {"constant"}
    assert suite.metric in metrics
    assert len(suite.seeds) == 3


def test_table_3_has_every_printed_variant():
    settings, methods, metrics = printed(3)
    suite = read_suite("paper-table3")
    assert [VARIANTS[name] for name in suite.methods] == list(VARIANTS.values())
    assert set(VARIANTS.values()) == methods
    assert asked(suite) == settings
    assert suite.metric in metrics


def test_table_7_has_every_printed_cell():
    _, methods, _ = printed(7)
    suite = read_suite("paper-table7")
    found = set()
    for choice in map(parse_choice, suite.methods):
        if choice.name == "shaspec":
            rate = re.sub(r"e-0", "e-", f"{choice.options['learning_rate']:.0e}")
            found.add(f"ShaSpec lr={rate} hidden={choice.options['width']}")
    assert found == methods
    assert asked(suite) == {("cmu-mosi", "VAT", 0.3)}


@pytest.mark.parametrize("name", PAPER)
def test_paper_suite_keeps_published_settings(name):
    suite = read_suite(name)
    assert not suite.training
    assert not suite.configs


@pytest.mark.parametrize("name", OPEN)
def test_open_suite_has_the_methods_of_its_table(name):
    def methods(suite):
        return {str(choice) for choice in registry.expand_methods(suite.methods)}

    suite, simple = read_suite(name), {"constant", "mean-logistic", "gradient-boosting"}
    assert methods(suite) - simple == methods(read_suite(name.replace("open", "paper").removesuffix("-heart"))) - simple
    assert len(suite.seeds) >= 5


@pytest.mark.slow
def test_open_tables_share_their_trials(real_data):
    """The rows of CMU-MOSI in Table 2 are those of Table 4 at 0.3, the full model of Table 3 is that of Table 1."""
    ids = {number: {trial.id: trial for trial in plan(read_suite(f"open-table{number}"))} for number in (1, 2, 3, 4)}
    mosi = {id_ for id_, trial in ids[2].items() if trial.dataset == "mosi-utterance"}
    assert mosi == {id_ for id_, trial in ids[4].items() if trial.noise == 0.3}
    full = {id_ for id_, trial in ids[3].items() if trial.protocol == "natural" and trial.method == "moe-retriever" and not trial.options}
    assert full <= ids[1].keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", OPEN)
def test_open_suite_plans_on_real_data(name, real_data):
    assert plan(read_suite(name))


@pytest.mark.parametrize("name", PAPER)
def test_paper_suite_plans_on_its_files(name, written):
    suite = read_suite(name)
    written(suite)
    trials = plan(suite)
    assert len(trials) == len(registry.expand_methods(suite.methods)) * len(asked(suite)) * len(suite.seeds)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPER)
def test_paper_suite_runs_in_small(name, written, tmp_path):
    suite = read_suite(name)
    written(suite)
    settings = tuple(replace(setting, combinations=setting.combinations[-1:], noise=setting.noise[-1:]) for setting in suite.settings)
    suite = replace(suite, settings=settings, seeds=(0,), training=SMALL, memory_gb=8.0)
    table = bench.run(suite, out=tmp_path / "runs", jobs=2, quiet=True)
    assert len(table) == len(registry.expand_methods(suite.methods)) * len(settings)
    assert (table.status == "done").all(), table.loc[table.status != "done", ["method", "dataset", "reason"]].to_string()
    assert table[suite.metric].notna().all()


GENERAL = ("real", "natural", "robustness", "value", "labels", "synthetic", "quick", "presets")


@pytest.mark.parametrize("name", GENERAL)
def test_suites_for_everyone_share_one_budget(name):
    """TOML has no include, so each file says it anew: the same sizes and rate, three times the epochs where a method starts slowly."""
    real, suite = read_suite("real"), read_suite(name)
    base, slow = suite.training["epochs"], ("m3care", "muse", "mfm")
    assert {**suite.training, "epochs": 8} == real.training
    assert {method: config for method, config in suite.configs.items() if method not in slow} == {
        method: config for method, config in real.configs.items() if method not in slow
    }
    assert {method: suite.configs[method] for method in slow} == {method: {"epochs": 3 * base} for method in slow}
    shared = {dataset: of_all(table) for dataset, table in real.budgets.items()}
    assert {dataset: of_all(table) for dataset, table in suite.budgets.items() if dataset in real.budgets}.items() <= shared.items()
    assert {dataset: table for dataset, table in suite.metrics.items() if dataset in real.metrics}.items() <= real.metrics.items()
