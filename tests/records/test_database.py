"""bench/records/database.py: records are whole or absent, readers and writers are told apart, bad folders are explained."""

import io
import os
import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from bench.errors import UsageError
from bench.question.suite import Settings, Suite
from bench.question.trial import WITHOUT_FOLDERS, Trial
from bench.records import database
from bench.records.database import SCHEMA_VERSION, Store
from bench.records.facts import Facts, Origin
from bench.records.predictions import LOGITS, Predictions
from bench.records.record import Record

SUITE = Suite("small", (Settings(("digits",), noise=(0.3,)),), methods=("muse",))


def trial_of(seed=0, **changes):
    base = Trial(
        method="muse", preset="paper", options={}, training={}, dataset="digits", dataset_options={}, combination="NEWS",
        protocol="mcar(0.3)", seed=seed, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
    )  # fmt: skip
    return replace(base, **changes)


def arrays():
    return Predictions(np.array(["a", "b"]), np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]], dtype=np.float32))


def test_record_and_predictions_come_back_as_written(tmp_path):
    record = Record(
        trial_of(), "done", None, {"accuracy": 0.5, "auroc": float("nan")}, {"parameters": 3}, Facts(rows={"test": 2}), Origin(commit="c")
    )
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run", [record.trial])
        store.write(record, arrays())
    with Store(tmp_path, create=False) as store:
        found = store.record(record.trial.id[:6])
        predictions = store.predictions([record.trial.id, "absent"])
    assert (found.trial, found.status, found.cost, found.facts, found.provenance) == (
        record.trial,
        "done",
        record.cost,
        record.facts,
        record.provenance,
    )
    assert np.isnan(found.metrics["auroc"])
    assert list(predictions) == [record.trial.id]
    assert np.array_equal(predictions[record.trial.id].scores, arrays().scores)


def test_scores_of_further_evaluations_come_back_as_written(tmp_path):
    rules = {"mcar(0.5)": np.full((2, 2), 0.5, np.float32), "mnar(A|value,2,0.3)+mar(A->B,1,0.2)": np.eye(2, dtype=np.float32)}
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run", [trial_of()])
        store.write(Record(trial_of(), "done"), replace(arrays(), evaluations=rules))
        found = store.predictions([trial_of().id])[trial_of().id].evaluations
    assert list(found) == list(rules)
    assert all(np.array_equal(found[rule], rules[rule]) for rule in rules)


def test_predictions_stored_before_there_were_evaluations_are_read():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ids=arrays().ids, target=arrays().target, scores=arrays().scores)
    assert Predictions.read(buffer.getvalue()).evaluations == {}


def test_planned_trials_are_seen_before_they_end(tmp_path):
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run", [trial_of(0), trial_of(1)])
        assert set(store.statuses().values()) == {"planned"}


def test_planning_again_keeps_what_is_done(tmp_path):
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run", [trial_of()])
        store.write(Record(trial_of(), "done", metrics={"accuracy": 0.5}), None)
        store.plan(SUITE, "family", "bench run", [trial_of()])
        assert store.statuses() == {trial_of().id: "done"}


def test_board_of_a_suite_leaves_out_what_other_suites_of_the_folder_ask(tmp_path):
    rates = [trial_of(protocol="mcar(0.3)"), trial_of(protocol="mcar(0.5)")]
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run --suite small", rates[:1])
        pair = {"methods": ("muse", "shaspec"), "seeds": (0, 1), "until_resolved": ("muse,shaspec",), "max_seeds": 4}
        store.plan(replace(SUITE, name="large", **pair), "family", "bench run --suite large", rates)
        assert store.answers("large").suite.until_resolved
        assert not store.answers("small").suite.until_resolved
        assert [record.trial.protocol for record in store.answers("small").records] == ["mcar(0.3)"]
        assert store.answers("small").commands == ["bench run --suite small"]
        assert len(store.answers().records) == 2


def test_board_joins_comparable_runs_and_leaves_out_what_is_of_earlier_code(tmp_path):
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "first", [trial_of(), trial_of(1)])
        store.plan(SUITE, "other", "foreign", [trial_of(method="mmformer")])
        store.plan(SUITE, "family", "second", [trial_of(version="new"), trial_of(method="shaspec")])
        answers = store.answers()
    assert answers.suite == SUITE
    assert answers.commands == ["first", "second"]
    assert {(r.trial.method, r.trial.seed, r.trial.version) for r in answers.records} == {
        ("muse", 0, "new"),
        ("shaspec", 0, "v"),
    }


def test_second_writer_is_refused_with_the_way_on(tmp_path):
    with (
        Store(tmp_path) as one,
        one.writing(),
        Store(tmp_path) as other,
        pytest.raises(UsageError, match=r"another run is writing .*--wait"),
        other.writing(),
    ):
        raise AssertionError("two runs held the lock")


def test_half_written_transaction_leaves_nothing(tmp_path):
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run", [trial_of()])

        class Broken:
            ids, target = arrays().ids, arrays().target

            @property
            def outputs(self):
                raise MemoryError

        with pytest.raises(MemoryError):
            store.write(Record(trial_of(), "done"), Broken())
        assert store.statuses() == {trial_of().id: "planned"}


def test_database_that_is_being_made_reads_as_no_results_yet(tmp_path):
    sqlite3.connect(tmp_path / "bench.db").execute("PRAGMA journal_mode = WAL").connection.close()
    with pytest.raises(UsageError, match=r"no results .* yet: bench\.db is being made; try again"):
        Store(tmp_path, create=False)


def test_newer_database_is_refused_and_untouched(tmp_path):
    with Store(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "bench.db")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.commit()
    connection.close()
    for create in (True, False):
        with pytest.raises(UsageError, match=r"written by a newer bench .*upgrade"):
            Store(tmp_path, create)


def test_database_of_before_is_read_and_then_written_in_the_new_form(tmp_path):
    before = Record(trial_of(0), "done", metrics={"accuracy": 1.0})
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run", [trial_of(0), trial_of(1)])
        store.write(before, arrays())
        store.connection.execute("PRAGMA user_version = 1")
    with Store(tmp_path, create=False) as store:
        assert np.array_equal(store.predictions([before.trial.id])[before.trial.id].scores, arrays().outputs.astype(float))
    with Store(tmp_path) as store:
        store.write(Record(trial_of(1), "done"), replace(arrays(), outputs=np.float32([[2, 0], [0, 2]]), form=LOGITS))
        found = store.predictions([trial_of(0).id, trial_of(1).id])
        assert [one.form for one in found.values()] == ["scores", "logits"]
        assert store.connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION  # an earlier bench would not read it


def test_absent_and_broken_databases_are_explained(tmp_path):
    with pytest.raises(UsageError, match="run `bench run --out"):
        Store(tmp_path / "none", create=False)
    (tmp_path / "bench.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(UsageError, match="cannot be used: file is not a database"):
        Store(tmp_path)


def test_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used"):
        Store(tmp_path / "file" / "runs")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder_is_explained(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be used"):
        Store(tmp_path / "runs")


def test_store_that_refuses_writing_is_explained(tmp_path):
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run", [trial_of()])
        store.connection.execute("PRAGMA query_only = ON")  # as a file system that went read-only
        with pytest.raises(UsageError, match="attempt to write a readonly database; finished trials are safe"):
            store.write(Record(trial_of(), "done"), arrays())


def test_full_disk_is_explained_and_keeps_what_was_stored(tmp_path):
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run", [trial_of(seed) for seed in range(3)])
        store.write(Record(trial_of(0), "done", metrics={"accuracy": 0.5}), arrays())
        pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
        store.connection.execute(f"PRAGMA max_page_count = {pages}")  # as a disk with no room left
        big = Predictions(np.array(["a"]), np.array([0]), np.random.default_rng(0).random((1, 100_000)).astype(np.float32))
        with pytest.raises(UsageError, match="full; finished trials are safe"):
            store.write(Record(trial_of(1), "done"), big)
        assert store.statuses() == {trial_of(0).id: "done", trial_of(1).id: "planned", trial_of(2).id: "planned"}


@pytest.mark.parametrize("id_", ["zzz", "", "%"], ids=["unknown", "several", "wildcard"])
def test_id_that_names_no_single_trial_is_explained(tmp_path, id_):
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run", [trial_of(0), trial_of(1)])
        with pytest.raises(UsageError, match=r"no trial with id|trials have an id that starts with"):
            store.record(id_)


def test_predictions_are_stored_without_pickles(tmp_path):
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run", [trial_of()])
        store.write(Record(trial_of(), "done"), replace(arrays(), ids=np.array(["a", "b"], dtype=object)))
        assert store.predictions([trial_of().id])[trial_of().id].ids.dtype.kind == "U"


def test_the_same_run_once_more_is_noted_once(tmp_path):
    trials = [trial_of(seed) for seed in range(3)]
    with Store(tmp_path) as store:
        for command, planned in (("a", trials), ("a", trials), ("b", trials), ("b", trials[:2]), ("b", trials[:2]), ("a", trials)):
            store.plan(SUITE, "family", command, planned)
        assert store.connection.execute("SELECT command, count(*) FROM runs JOIN plans USING (run) GROUP BY run").fetchall() == [
            ("a", 3), ("b", 3), ("b", 2), ("a", 3),
        ]  # fmt: skip
        assert store.answers().commands == ["a", "b"]


def test_records_are_read_one_by_one_or_as_they_are_wanted(tmp_path):
    trials = [trial_of(seed) for seed in range(4)]
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run", trials)
        store.write(Record(trials[2], "done"), arrays())
        store.write(Record(trials[3], "failed", "why"), None)
        assert [record.trial for record in store.records([trials[3].id, "absent", trials[0].id])] == [trials[3], trials[0]]
        assert [record.trial.seed for record in store.picked(lambda trial: trial.seed > 0)] == [1, 2, 3]
        assert [record.trial.seed for record in store.picked(lambda trial: trial.seed > 0, "done")] == [2]


def test_one_trial_is_found_without_reading_the_others(tmp_path):
    trials = [trial_of(seed) for seed in range(3)]
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run", trials)
        store.connection.execute("UPDATE trials SET facts = 'no JSON', trial = 'no JSON' WHERE id != ?", (trials[1].id,))
        assert store.record(trials[1].id[:15]).trial == trials[1]
        plan = store.connection.execute("EXPLAIN QUERY PLAN SELECT 1 FROM trials WHERE id >= 'a' AND id < 'b'").fetchall()
    assert "SEARCH trials USING" in plan[0][-1]


def test_board_opens_the_database_once_however_many_settings_it_has(tmp_path, monkeypatch):
    trials = [trial_of(protocol=f"mcar(0.{rate})") for rate in range(1, 6)]
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run", trials)
        for trial in trials:
            store.write(Record(trial, "done", metrics={"accuracy": 1.0}), arrays())
    opened, real = [], database.connect
    monkeypatch.setattr(database, "connect", lambda path: opened.append(path) or real(path))
    with Store(tmp_path, create=False) as store:
        answers = store.answers()
    assert [list(here.predictions) for _, here in answers.by_setting()] == [[trial.id] for trial in trials]
    assert len(opened) == 2  # the records, then the predictions


def test_trial_whose_file_moved_keeps_its_record_and_runs_from_where_it_lies_now(tmp_path):
    old = trial_of(method="/old/net.py:Net", harness=WITHOUT_FOLDERS)
    new = replace(old, method="/new/net.py:Net")
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "bench run", [old])
        store.write(Record(old, "done", metrics={"accuracy": 0.5}), arrays())
        store.plan(SUITE, "family", "bench run", [new])
        (found,) = store.records()
    assert (found.trial, found.status, found.metrics) == (new, "done", {"accuracy": 0.5})
