"""bench/records/merging.py: parts become the folder that one run would have filled, and what does not belong together is refused."""

import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

import bench
from bench.errors import UsageError
from bench.grid.engine import execute
from bench.grid.how import How
from bench.leaderboard import markdown
from bench.question.plan import budget_key
from bench.question.shards import Shard, shard_of
from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.records.database import Store
from bench.records.facts import Facts, Origin
from bench.records.kept import files_of
from bench.records.merging import merge
from bench.records.predictions import Predictions
from bench.records.record import Finding, Record

SUITE = Suite("small", (Settings(("digits",), noise=(0.3,)),), methods=("muse",))
WHERE = Origin(bench="1", commit="c", python="3.11.7", packages={"torch": "2.13"}, hardware="one CPU", hardware_id="h", device="cpu")
REAL = Suite("small", (Settings(("breast-cancer",), noise=(0.1, 0.3)),), methods=("constant", "mean-logistic"), seeds=(0, 1, 2))


def trial_of(seed=0, **changes):
    base = Trial(
        method="muse", preset="paper", options={}, training={}, dataset="digits", dataset_options={}, combination="NEWS",
        protocol="mcar(0.3)", seed=seed, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
    )  # fmt: skip
    return replace(base, **changes)


def done(trial, where=WHERE, **changes):
    return Record(trial, "done", None, {"accuracy": 0.5}, {}, replace(Facts(), **changes), where)


def arrays(shift=0.0):
    scores = np.array([[0.9 - shift, 0.1 + shift], [0.2, 0.8]], dtype=np.float64)
    return Predictions(np.array(["a", "b"]), np.array([0, 1]), scores)


def fill(folder, *records, suite=SUITE, shift=0.0, files=()):
    """A results folder with these records; planned ones are not written."""
    with Store(folder) as store:
        store.plan(suite, budget_key(suite), "bench run", [record.trial for record in records])
        for record in records:
            if record.status != "planned":
                store.write(record, arrays(shift) if record.status == "done" else None)
            for place in files_of(record.trial, folder):
                if place.parent.name in files:
                    place.parent.mkdir(exist_ok=True)
                    place.write_text(f"{folder.name} {record.trial.id}")
    return folder


def content(folder):
    """Everything that a database says, but for its salt."""
    with Store(folder, create=False) as store:
        return [line for line in store.connection.iterdump() if 'INTO "secrets"' not in line]


def statuses(folder):
    with Store(folder, create=False) as store:
        return store.statuses()


# Shards


@given(st.integers(1, 40), st.lists(st.integers(0, 10**6), min_size=1, max_size=60, unique=True))
@settings(max_examples=30)
def test_every_trial_belongs_to_one_shard(parts, seeds):
    shards = [Shard(part, parts) for part in range(1, parts + 1)]
    for trial in map(trial_of, seeds):
        assert sum(shard.holds(trial) for shard in shards) == 1


def test_shards_are_about_equal():
    trials = [trial_of(seed) for seed in range(4000)]
    sizes = [sum(map(Shard(part, 8).holds, trials)) for part in range(1, 9)]
    assert max(sizes) - min(sizes) < 130


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "a/b", "1/3/5", "-1/3", "", "1.5/3"])
def test_what_is_no_shard_is_explained(text):
    with pytest.raises(UsageError, match=r"a shard is PART/PARTS.*such as 3/16, got"):
        shard_of(text)


def test_a_shard_plans_its_trials_alone_and_keeps_the_whole_suite(tmp_path):
    summaries = [execute(REAL, tmp_path / str(part), How(shard=Shard(part, 3))) for part in (1, 2, 3)]
    ids = [record.trial.id for summary in summaries for record in summary.records]
    assert len(ids) == len(set(ids)) == 12
    for part, summary in enumerate(summaries, start=1):
        with Store(tmp_path / str(part), create=False) as store:
            assert set(store.statuses()) == {record.trial.id for record in summary.records}
            assert store.answers().suite.to_toml() == REAL.to_toml()


def test_a_shard_cannot_look_for_what_is_undecided(tmp_path):
    with pytest.raises(UsageError, match="shard 1/2 and until_resolved exclude each other"):
        bench.run("quick", until_resolved="muse,fusemoe", max_seeds=5, seeds="0-2", shard="1/2", out=tmp_path)


# What comes of a merge


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    execute(REAL, folder, How(command="bench run"))
    return folder


def cut(whole, folder, parts):
    """What was run once, as the folders of its shards."""
    with Store(whole, create=False) as store:
        (run,) = store.runs()
        records = {record.trial.id: record for record in store.records()}
        predictions = store.predictions(records)
    found = []
    for part in range(1, parts + 1):
        places = [place for place in run.plan if Shard(part, parts).holds(records[place[1]].trial)]
        with Store(folder / f"part{part}") as store:
            positions, trials = [position for position, _ in places], [records[id_].trial for _, id_ in places]
            store.plan(REAL, run.family, run.command, trials, positions)
            for trial in reversed(trials):
                store.write(records[trial.id], predictions[trial.id])
        found.append(folder / f"part{part}")
    return found


@given(data=st.data())
@settings(max_examples=8)
def test_the_board_of_merged_shards_is_that_of_one_run_byte_by_byte(data, whole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    parts = data.draw(st.permutations(cut(whole, folder, data.draw(st.integers(1, 5)))))
    merge(parts, folder / "all")
    assert markdown(bench.board(folder / "all")) == markdown(bench.board(whole))
    assert json.dumps(bench.board(folder / "all").as_json()) == json.dumps(bench.board(whole).as_json())
    with Store(folder / "all", create=False) as ours, Store(whole, create=False) as theirs:
        assert [run.plan for run in ours.runs()] == [run.plan for run in theirs.runs()]
        assert ours.records() == theirs.records()


def test_shards_run_apart_give_the_bits_of_one_run(whole, tmp_path):
    for part in (1, 2):
        execute(REAL, tmp_path / str(part), How(shard=Shard(part, 2), command="bench run"))
    merge([tmp_path / "1", tmp_path / "2"], tmp_path / "all", check=True)
    with Store(tmp_path / "all", create=False) as ours, Store(whole, create=False) as theirs:
        found, expected = ours.predictions(ours.statuses()), theirs.predictions(theirs.statuses())
        assert [record.metrics for record in ours.records()] == [record.metrics for record in theirs.records()]
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[id_].outputs, expected[id_].outputs) for id_ in expected)
    assert execute(REAL, tmp_path / "all").reused == 12


def test_merging_again_changes_nothing(tmp_path):
    parts = [
        fill(tmp_path / "a", done(trial_of(0)), Record(trial_of(1), "failed", "loss"), files=("logs",)),
        fill(tmp_path / "b", done(trial_of(2)), done(trial_of(0)), Record(trial_of(3), "planned"), files=("logs",)),
    ]
    first = merge(parts, tmp_path / "all")
    before, logs = content(tmp_path / "all"), sorted((path.name, path.read_text()) for path in (tmp_path / "all" / "logs").iterdir())
    second = merge(parts, tmp_path / "all")
    assert (first.added, first.same, second.added) == (4, 1, 0)
    assert content(tmp_path / "all") == before
    assert sorted((path.name, path.read_text()) for path in (tmp_path / "all" / "logs").iterdir()) == logs


def test_parts_may_come_one_after_the_other_and_stay_as_they_are(tmp_path):
    parts = [fill(tmp_path / name, done(trial_of(seed))) for seed, name in enumerate("abc")]
    before = [content(part) for part in parts]
    for part in parts:
        merge([part], tmp_path / "all")
    merge(parts, tmp_path / "once")
    assert statuses(tmp_path / "all") == statuses(tmp_path / "once") == {trial_of(seed).id: "done" for seed in range(3)}
    assert [content(part) for part in parts] == before


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize(
    ("better", "worse"), [("done", "failed"), ("done", "planned"), ("done", "skipped"), ("skipped", "failed"), ("failed", "planned")]
)
def test_the_status_that_says_more_wins_whatever_the_order(better, worse, order, tmp_path):
    def record(status):
        return done(trial_of()) if status == "done" else Record(trial_of(), status, f"why {status}")

    fill(tmp_path / "a", record(better), files=("logs",))
    fill(tmp_path / "b", record(worse), files=("logs",))
    merge([tmp_path / name for name in order], tmp_path / "all")
    with Store(tmp_path / "all", create=False) as store:
        found = store.record(trial_of().id)
    assert found == record(better)
    assert files_of(trial_of(), tmp_path / "all")[0].read_text().startswith("a ")


def test_a_failed_trial_that_ended_elsewhere_is_mended_in_a_folder_that_is_there(tmp_path):
    fill(tmp_path / "all", Record(trial_of(), "failed", "loss"), done(trial_of(1)))
    fill(tmp_path / "again", done(trial_of()))
    assert merge([tmp_path / "again"], tmp_path / "all").added == 1
    assert set(statuses(tmp_path / "all").values()) == {"done"}


def test_logs_traces_and_weights_come_along_and_fill_what_another_part_lacks(tmp_path):
    fill(tmp_path / "a", done(trial_of(0)), files=("logs",))
    fill(tmp_path / "b", done(trial_of(0)), done(trial_of(1)), files=("logs", "traces", "weights"))
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    told = [[path.read_text().split()[0] for path in files_of(trial_of(seed), tmp_path / "all")] for seed in (0, 1)]
    assert told == [["a", "b", "b"], ["b", "b", "b"]]


def test_what_a_trial_took_and_when_it_ended_is_kept(tmp_path):
    part = fill(tmp_path / "a", Record(trial_of(), "failed", "loss"))
    with Store(part) as store:
        store.write(done(trial_of()), arrays())
        before = store.ends()
    merge([part], tmp_path / "all")
    with Store(tmp_path / "all", create=False) as store:
        assert store.ends() == before
        assert before[trial_of().id][1] == 2


def test_a_part_copied_without_a_checkpoint_is_read_whole(tmp_path):
    part = tmp_path / "a"
    with Store(part) as store:
        store.connection.execute("PRAGMA wal_autocheckpoint = 0")
        store.plan(SUITE, "family", "bench run", [trial_of(0), trial_of(1)])
        store.write(done(trial_of(0)), arrays())
        store.write(done(trial_of(1)), arrays())
        (tmp_path / "copy").mkdir()
        for name in ("bench.db", "bench.db-wal"):
            shutil.copyfile(part / name, tmp_path / "copy" / name)
        assert (tmp_path / "copy" / "bench.db-wal").stat().st_size > 0
    merge([tmp_path / "copy"], tmp_path / "all")
    assert list(statuses(tmp_path / "all").values()) == ["done", "done"]


def test_a_part_without_its_log_that_holds_nothing_yet_says_what_is_lacking(tmp_path):
    with Store(tmp_path / "a") as store:
        store.connection.execute("PRAGMA wal_autocheckpoint = 0")
        (tmp_path / "copy").mkdir()
        shutil.copyfile(tmp_path / "a" / "bench.db", tmp_path / "copy" / "bench.db")
    damaged = sqlite3.connect(tmp_path / "copy" / "bench.db")
    damaged.execute("PRAGMA user_version = 0")
    damaged.commit()
    damaged.close()
    with pytest.raises(UsageError, match=r"copy bench.db-wal beside it too"):
        merge([tmp_path / "copy"], tmp_path / "all")


def finding(passed, version="v"):
    return Finding("muse", "paper", "poison", passed, False, "", version)


def test_audits_come_along_and_of_two_that_disagree_the_one_that_failed_counts(tmp_path):
    for name, passed in (("a", True), ("b", False)):
        with Store(fill(tmp_path / name, done(trial_of(ord(name))))) as store:
            store.write_audit([finding(passed)])
            store.write_audit([finding(True, version=name)])
    found = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    with Store(tmp_path / "all", create=False) as store:
        assert sorted((one.version, one.passed) for one in store.audits()) == [("a", True), ("b", True), ("v", False)]
    assert any("audits of muse" in note for note in found.notes)


# Salts


def salt_in(folder):
    with Store(folder, create=False) as store:
        return store.salt()


def test_copies_of_one_folder_go_on_with_its_salt(tmp_path):
    fill(tmp_path / "a", done(trial_of(0)))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    fill(tmp_path / "b", done(trial_of(1)))
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all").notes == ()
    assert salt_in(tmp_path / "all") == salt_in(tmp_path / "a")


def test_of_different_salts_none_is_taken_over_and_a_folder_keeps_its_own(tmp_path):
    parts = [fill(tmp_path / name, done(trial_of(seed))) for seed, name in enumerate("ab")]
    found = merge(parts, tmp_path / "all")
    salt = salt_in(tmp_path / "all")
    assert salt not in {salt_in(part) for part in parts}
    assert any("hashed with a salt of its own" in note for note in found.notes)
    merge([fill(tmp_path / "c", done(trial_of(2)))], tmp_path / "all")
    assert salt_in(tmp_path / "all") == salt


# What is refused; nothing is written then


def refused(parts, folder, message, **options):
    with pytest.raises(UsageError, match=message) as found:
        merge(parts, folder / "all", **options)
    assert not (folder / "all").exists()
    assert "\n" not in str(found.value)


def pair(folder, one, other, **options):
    return [fill(folder / "a", one), fill(folder / "b", other, **options)]


def test_no_part_and_a_part_twice_and_the_target_among_them_are_refused(tmp_path):
    part = fill(tmp_path / "a", done(trial_of()))
    refused([], tmp_path, "nothing to merge")
    refused([part, tmp_path / "." / "x" / ".." / "a"], tmp_path, "are one folder; name each part once")
    with pytest.raises(UsageError, match="is a part and cannot be the merged folder too"):
        merge([part], part)
    refused([tmp_path / "none"], tmp_path, "no results in")
    refused([part], tmp_path, "did you mean 'first'", keep="frist")


def test_a_damaged_part_is_refused(tmp_path):
    part = fill(tmp_path / "a", *(done(trial_of(seed)) for seed in range(50)))
    with Store(part) as store:
        store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray((part / "bench.db").read_bytes())
    data[8192:20480] = b"\xff" * 12288
    (part / "bench.db").write_bytes(data)
    refused([part], tmp_path, "damaged|malformed|cannot be used")


def test_a_part_of_a_newer_format_is_refused(tmp_path):
    part = fill(tmp_path / "a", done(trial_of()))
    with Store(part) as store:
        store.connection.execute("PRAGMA user_version = 99")
        store.connection.commit()
    refused([part], tmp_path, "newer bench .* upgrade bench")


def test_a_part_that_a_run_writes_to_is_refused(tmp_path):
    part = fill(tmp_path / "a", done(trial_of()))
    with FileLock(part / "bench.lock"):
        refused([part], tmp_path, "a run is writing to .*/a; wait until it has ended")
    merge([part], tmp_path / "all")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training": {"epochs": 3}}, r'training is not set and {"epochs": 3}'),
        ({"configs": {"muse": {"epochs": 3}}}, r"configs is not set and"),
        ({"budgets": {"digits": {"epochs": 3}}}, r"budgets is not set and"),
        ({"selection": "auroc"}, r'selection is "accuracy" and "auroc"'),
        ({"vary": "split"}, r'vary is "training" and "split"'),
        ({"fixed_seed": 7}, r"fixed_seed is 0 and 7"),
    ],
)
def test_parts_asked_under_other_conditions_are_refused_by_the_key(changes, said, tmp_path):
    parts = pair(tmp_path, done(trial_of(0)), done(trial_of(1)), suite=replace(SUITE, **changes))
    refused(parts, tmp_path, f"a and .*/b cannot share a board.*{said}")


@pytest.mark.parametrize("seed", [0, 1], ids=["the same question", "another seed"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "w"}, r"different code of muse@paper|different code of muse"),
        ({"fingerprint": "g"}, "different data of digits"),
        ({"harness": 1}, "different versions of the harness"),
    ],
)
def test_other_code_data_or_harness_is_refused_though_ids_differ(changes, said, seed, tmp_path):
    refused(pair(tmp_path, done(trial_of(0)), done(trial_of(seed, **changes))), tmp_path, f"a and .*/b hold trials (of|on) ({said})")


def test_the_same_question_with_other_evaluations_is_refused(tmp_path):
    parts = pair(tmp_path, done(trial_of()), done(trial_of(evaluations=("mcar(0.5)",))))
    refused(parts, tmp_path, r"seed 0, asked with different evaluations")


def test_code_that_a_part_itself_has_left_behind_is_no_matter(tmp_path):
    fill(tmp_path / "a", done(trial_of(0, version="old")))
    parts = [fill(tmp_path / "a", done(trial_of(0))), fill(tmp_path / "b", done(trial_of(1)))]
    merge(parts, tmp_path / "all")
    with Store(tmp_path / "all", create=False) as store:
        assert {record.trial.version for record in store.answers().records} == {"v"}


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (replace(WHERE, packages={"torch": "2.14"}), r"torch 2.13 \(.*/a\) and 2.14 \(.*/b\)"),
        (replace(WHERE, python="3.12.1"), r"python 3.11 \(.*/a\) and 3.12"),
        (replace(WHERE, commit="d"), r"bench c \(.*/a\) and d"),
        (replace(WHERE, packages={"torch": "2.13", "numpy": "1"}), None),
        (replace(WHERE, python="3.11.9"), None),
    ],
)
def test_other_packages_are_refused_unless_mixed(where, said, tmp_path):
    parts = pair(tmp_path, done(trial_of(0)), done(trial_of(1), where))
    if said is None:
        merge(parts, tmp_path / "all")
        return
    refused(parts, tmp_path, f"different versions: {said}.*--mixed")
    assert "different versions" in str(merge(parts, tmp_path / "all", mixed=True))


def test_other_hardware_is_said(tmp_path):
    where = replace(WHERE, hardware="another CPU", hardware_id="i")
    found = merge(pair(tmp_path, done(trial_of(0)), done(trial_of(1), where)), tmp_path / "all")
    assert "different hardware: another CPU, cpu; one CPU, cpu" in str(found)


def test_different_bits_of_one_trial_are_refused_and_kept_as_told(tmp_path):
    parts = pair(tmp_path, done(trial_of()), done(trial_of()), shift=0.5)
    refused(
        parts,
        tmp_path,
        r"1 trial done in two parts with different bits: .*seed 0: scores differ, by 0.5 at most, 1 of 2 predicted .*one CPU.*--keep",
    )
    for keep, first in (("first", 0.9), ("last", 0.4)):
        found = merge(parts, tmp_path / keep, keep=keep)
        with Store(tmp_path / keep, create=False) as store:
            assert store.predictions([trial_of().id])[trial_of().id].outputs[0, 0] == pytest.approx(first)
        assert (found.same, found.differing) == (0, 1)
        before = content(tmp_path / keep)
        merge(parts, tmp_path / keep, keep=keep)
        assert content(tmp_path / keep) == before


def test_predictions_that_are_none_are_refused(tmp_path):
    part = fill(tmp_path / "a", done(trial_of()))
    with Store(part) as store:
        store.connection.execute("UPDATE outputs SET numbers = x'00ff00ff'")
        store.connection.commit()
    with pytest.raises(UsageError, match=r"predictions in .*/a cannot be read"):
        merge([part], tmp_path / "all")


def test_check_scores_every_prediction_again(whole, tmp_path):
    merge([whole], tmp_path / "all", check=True)
    parts = [fill(tmp_path / "a", done(trial_of()))]
    refused([tmp_path / "a"], tmp_path / "x", r"accuracy is recorded as 0.5, its predictions give 1", check=True)
    merge(parts, tmp_path / "unchecked")


# The commands


def command(*words):
    return subprocess.run([sys.executable, "-m", "bench", *map(str, words)], capture_output=True, text=True)


def test_shards_and_a_merge_by_commands(tmp_path):
    run = ["run", "--methods", "constant", "--datasets", "breast-cancer", "--noise", "0.3", "--seeds", "0-5", "-q"]
    for part in (1, 2):
        assert command(*run, "--shard", f"{part}/2", "--out", tmp_path / str(part)).returncode == 0
    found = command("merge", tmp_path / "1", tmp_path / "2", "--out", tmp_path / "all", "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["statuses"] == {"done": 6}
    with Store(tmp_path / "all", create=False) as store:
        (noted,) = store.runs()
    assert "--shard" not in noted.command
    assert command("merge", tmp_path / "1", "--out", tmp_path / "1").returncode == 2


@pytest.mark.parametrize("words", [("run", "--dry-run"), ("merge", "a"), ("show",), ("leaderboard",)])
def test_two_folders_for_one_are_refused(words, tmp_path):
    found = command(*words, "--out", tmp_path / "x", "--out", tmp_path / "y")
    assert found.returncode == 2
    assert "given 2 times, and one command has one" in " ".join(found.stderr.split())
    assert not Path(tmp_path / "x").exists()
