"""bench/records/export.py: flat tables hold what is stored, and are written whole or not at all."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import bench
from bench.cli import main
from bench.errors import UsageError
from bench.leaderboard import publish
from bench.records.database import Store
from bench.records.export import check_file, write_table
from bench.records.folder import answers_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    asked = {"methods": "constant,mean-logistic", "datasets": "breast-cancer", "noise": 0.3, "seeds": "0-1", "test_noise": "0.5"}
    bench.run(**asked, out=out, quiet=True)
    return out


@pytest.mark.slow
def test_every_trial_is_a_row_of_plain_values(runs, tmp_path):
    table = bench.export(tmp_path / "trials.csv", runs)
    with Store(runs, create=False) as store:
        records = {record.trial.id: record for record in store.records()}
    back = pd.read_csv(tmp_path / "trials.csv")
    assert list(back.columns) == list(table.columns)
    assert set(back.id) == set(records)
    for row in back.to_dict("records"):
        record = records[row["id"]]
        assert row["metric_accuracy"] == record.metrics["accuracy"]
        assert (row["seed"], row["version"], row["fingerprint"]) == (record.trial.seed, record.trial.version, record.trial.fingerprint)
        assert row["package_numpy"] == record.provenance.packages["numpy"]
        assert json.loads(row["config"]) == dict(record.facts.config)
    assert not any(isinstance(value, dict | list | tuple) for value in table.to_numpy().ravel())


@pytest.mark.slow
def test_every_test_sample_of_every_rule_is_a_row(runs, tmp_path):
    told = CliRunner().invoke(
        main, ["export", str(tmp_path / "rows.csv.gz"), "--predictions", "--methods", "mean-logistic", "--out", str(runs)]
    )
    assert told.exit_code == 0, told.output
    assert "ids of samples as they are stored here: keep it to yourself" in told.stderr
    back = pd.read_csv(tmp_path / "rows.csv.gz", keep_default_na=False)
    assert len(back) == 2 * 2 * 86
    assert set(back["rule"]) == {"", "mcar(0.5)"}
    with Store(runs, create=False) as store:
        found = next(iter(store.predictions([back.id[0]]).values()))
    own = back[(back.id == back.id[0]) & (back["rule"] == "mcar(0.5)")]
    assert own["sample"].tolist() == found.ids.tolist()
    assert np.array_equal(own[["score_0", "score_1"]].to_numpy(float), found.scores_under("mcar(0.5)"))
    assert set(own["target"]) == {"malignant", "benign"}


@pytest.mark.slow
def test_export_of_a_published_folder_holds_what_is_published(runs, tmp_path):
    publish(tmp_path / "board", answers_of(runs), draw=False)
    told = CliRunner().invoke(main, ["export", str(tmp_path / "rows.csv"), "--predictions", "--from", str(tmp_path / "board")])
    assert told.exit_code == 0, told.output
    assert "keep it to yourself" not in told.stderr
    assert len(bench.export(published=tmp_path / "board", predictions=True)) == 4 * 2 * 86


@pytest.mark.slow
def test_parquet_reads_back_as_it_was_or_says_what_it_needs(runs, tmp_path):
    pytest.importorskip("pyarrow", reason="needs pyarrow (extra tables)")
    table = bench.export(tmp_path / "trials.parquet", runs)
    back = pd.read_parquet(tmp_path / "trials.parquet")
    assert list(back.columns) == list(table.columns)
    assert back.metric_accuracy.tolist() == table.metric_accuracy.tolist()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("trials.xlsx", r"a table is written to a file ending in .parquet, .csv, .csv.gz, got '.*trials.xlsx'"),
        ("nowhere/trials.csv", r"the folder .*nowhere of the table does not exist; make it first"),
        ("trials.parquet", r"Parquet needs pyarrow, .*missing-modality-bench\[tables\]'"),
    ],
)
def test_file_that_cannot_be_written_is_refused_with_the_way_on(tmp_path, monkeypatch, file, message):
    monkeypatch.setattr("bench.records.export.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=message):
        check_file(tmp_path / file)


def test_failed_write_leaves_the_file_of_before(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("before\n", encoding="utf-8")

    def full(*_, **__):
        raise OSError("disk is full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(UsageError, match="cannot be written: disk is full"):
        write_table(pd.DataFrame({"a": [1]}), path)
    assert path.read_text(encoding="utf-8") == "before\n"
