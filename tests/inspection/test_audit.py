"""bench/inspection/audit.py: one violation of each kind is planted and found by its check alone; clean and declared methods pass."""

import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import bench
from bench.cli import main
from bench.errors import UsageError
from bench.grid.how import How
from bench.grid.places import Local
from bench.grid.process import Lost, Stopped
from bench.inspection import audit as auditing
from bench.inspection import subjects
from bench.inspection.audit import CHECKS, audit, expand, run_audits
from bench.inspection.subjects import TOLERANCE, Kinds, Vectors, filled
from bench.methods.catalog import CEILING, METHODS
from bench.names import Choice, parse_choice
from bench.question.machine import Limits
from bench.records.database import Store
from bench.records.record import Finding, audit_summary

VIOLATIONS = Path(__file__).parents[1] / "support" / "violations.py"
FOUND = {
    "ReadsHidden": ("poison", "1e30 in hidden cells changes logits by"),
    "ReadsPadding": ("poison", "(it reads padding of sequence)"),
    "ReadsHiddenImages": ("poison", "(it reads hidden rows of image)"),
    "ReadsHiddenInItsPenalty": ("poison", "other values in hidden cells change training: its losses"),
    "ReadsHiddenInPrepare": ("poison", "other values in hidden cells change training"),
    "ReadsHiddenAfterTraining": ("poison", "other values in hidden cells change training: its weights"),
    "ReadsHiddenInItsLoss": ("poison", "other values in hidden cells change training: its losses"),
    "MultipliesByTheMask": ("poison", "training fails with other values in hidden cells: TrialError: non-finite"),
    "NormalisesByTheBatch": ("batch-mate", "(beside other rows)"),
    "DependsOnItsPlace": ("batch-mate", "logits of a row change by up to 3.0e-02"),
    "DrawsNoiseInEvaluation": ("batch-mate", "logits of a row change by up to"),
    "RemembersOtherParts": ("support pool", "once other rows were scored"),
    "RemembersEarlierBatches": ("support pool", "with the rows of an earlier batch"),
    "AnswersFromACache": ("support pool", "because other rows were scored before"),
    "TrainsOnEvaluatedRows": ("support pool", "rows that are scored between epochs change training: its losses"),
    "MakesPrototypesOfScoredRows": ("support pool", "rows that are scored between epochs change training: its weights"),
    "ChoosesRowsByScoredRows": ("support pool", "rows that are scored between epochs change training: its losses"),
    "KeepsNeighbours": ("support pool", "other training rows beside the same weights change logits"),
    "LooksAtTrainingRows": ("support pool", "other training rows beside the same weights change logits"),
    "PeeksAtLabels": ("label", "true labels in evaluation change logits by 5; other labels in evaluation change logits by 5"),
    "ReadsNumpysGenerator": ("determinism", "losses depend on the global generator of numpy; use self.generator"),
    "ReadsPythonsGenerator": ("determinism", "losses depend on the global generator of random; use self.generator"),
    "DrawsAfterTraining": ("determinism", "weights depend on the global generator of random; use self.generator"),
    "NeverTheSame": ("determinism", "one seed gives other losses each time"),
    "NeverTrainsItsRetriever": ("gradient", "no gradient in 6 steps: experts.bias, experts.weight, gate"),
    "NeedsAModality": ("empty row", "AssertionError: a row without any modality"),
    "DividesByNothing": ("empty row", "logits that are not finite"),
    "FitsHidden": ("poison", "1e30 in hidden cells changes probabilities by"),
    "FitsLabels": ("label", "true labels in evaluation change probabilities by"),
    "FitsTheBatch": ("batch-mate", "probabilities of a row change by up to"),
    "FitsByReference": ("support pool", "training rows that it holds change probabilities by"),
    "FitsByChance": ("determinism", "probabilities depend on the global generator of numpy"),
}
ALSO = {"RemembersEarlierBatches": {"batch-mate"}}  # batches of other sizes remember otherwise


def named(name):
    return Choice(f"{VIOLATIONS}:{name}" if name[0].isupper() else name)


def findings_of(name):
    found = {finding.check: finding for finding in audit(named(name))}
    assert list(found) == list(CHECKS)
    return found


@pytest.mark.parametrize("name", FOUND)
def test_planted_violation_is_found_by_its_check_alone(name):
    found, (check, detail) = findings_of(name), FOUND[name]
    assert {key for key, finding in found.items() if not finding.passed} - ALSO.get(name, set()) == {check}
    assert detail in found[check].detail
    assert not any(finding.declared for finding in found.values())


@pytest.mark.parametrize("name", ["Clean", "Fits", "mean-mlp", "muse", "constant", "bayes"])
def test_clean_method_passes_every_check(name):
    assert {key: finding.detail for key, finding in findings_of(name).items() if not finding.passed} == {}


@pytest.mark.parametrize(
    ("name", "check", "reason"),
    [
        ("DeclaresItsBatch", "batch-mate", "declared: batch_dependent is stated"),
        ("DeclaresAlwaysSees", "batch-mate", "declared: normalised by the batch, as released"),
        ("StatesTrainingRows", "support pool", "declared: uses_other_samples is stated"),
        ("StatesNeighbours", "support pool", "declared: uses_other_samples is stated"),
    ],
)
def test_declared_dependence_is_measured_reported_and_passed(name, check, reason):
    finding = findings_of(name)[check]
    assert (finding.passed, finding.declared) == (True, True)
    assert reason in finding.detail
    assert " change " in finding.detail


def test_declared_dependence_that_is_not_there_is_mentioned():
    finding = findings_of("DeclaresForNothing")["batch-mate"]
    assert (finding.passed, finding.declared) == (True, False)
    assert "declared, but not found: batch_dependent is stated" in finding.detail


def test_only_dependences_on_other_rows_may_be_declared():
    assert all("unknown check that a class may declare 'poison'" in f.detail for f in findings_of("DeclaresWhatNobodyMay").values())


def test_method_that_raises_fails_every_check_with_its_reason():
    found = findings_of("Raises")
    assert not any(finding.passed for finding in found.values())
    assert found["label"].detail == "did not run: KeyError: 'no such\\nembedding'"


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("TakesVectorsAlone", "(on 3 vectors; on a vector, a sequence and an image: ValueError: this method takes vectors)"),
        ("TakesFourModalitiesAlone", "(on 4 vectors; on a vector, a sequence and an image: ValueError: this method has four of something)"),
    ],
)
def test_method_that_takes_vectors_or_a_number_of_them_is_audited_on_those(name, note):
    found = findings_of(name)
    assert all(finding.passed for finding in found.values())
    assert found["poison"].detail.endswith(note)


def test_rows_of_the_audit_have_gaps_of_every_kind():
    subject = subjects.subject_of(*auditing.resolved(named("Clean")))
    missing = ~subject.train.observed
    assert 0.2 < missing.mean() < 0.5
    assert missing.any(0).all()
    assert (~subject.test.observed).all(1).sum() == subjects.EMPTY
    kinds = [modality.kind for modality in subject.train.schema]
    assert kinds == ["vector", "sequence", "image"]
    raw = Kinds().load()
    assert np.isnan(raw.values["sequence"][:, -1]).any()
    assert len(Vectors().load()) == len(raw)


@pytest.mark.parametrize("fill", [*subjects.FILLS, "mixed"])
def test_filling_touches_hidden_cells_alone(fill, make_samples):
    samples = make_samples()
    changed = filled(samples, fill)
    for m, (before, after) in enumerate(zip(samples.values.values(), changed.values.values(), strict=True)):
        seen = samples.observed[:, m]
        assert np.array_equal(before[seen], after[seen])
        assert np.isnan(after[~seen]).all() == (fill == "NaN")
        assert not np.array_equal(np.nan_to_num(after[~seen]), np.zeros_like(after[~seen])) or fill == "NaN"


def test_group_means_every_preset_and_a_name_its_default():
    names = [str(choice) for choice in expand(["all"])]
    assert {"m3care@paper", "m3care@as_released", "m3care@ov", "constant@default"} <= set(names)
    assert {choice.name for choice in expand(["all"])} == set(METHODS)
    assert CEILING in {choice.name for choice in expand(["all"])}
    assert [str(choice) for choice in expand(["m3care", "m3care@paper", "muse[width=64]"])] == ["m3care@paper", "muse@paper[width=64]"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m3kare", "did you mean 'm3care'"),
        ("m3care@released", "unknown preset of m3care 'released', did you mean 'as_released'"),
        ("muse[widht=64]", "unknown option of muse 'widht', did you mean 'width'"),
        ("nothing.py:X", "does not exist"),
    ],
)
def test_unknown_names_are_usage_errors(text, message):
    with pytest.raises(UsageError, match=message):
        expand([text])


def test_process_that_dies_fails_the_check_it_was_at_and_the_others_go_on(tmp_path):
    found = run_audits([named("DiesOfLabels"), named("constant")], tmp_path)
    dead = [finding for finding in found if finding.method != "constant"]
    assert [(f.check, f.passed) for f in dead] == [("poison", True), ("batch-mate", True), ("support pool", True), ("label", False)]
    assert "did not run: killed by signal SIGSEGV (log: audit-" in dead[-1].detail
    assert all(finding.passed for finding in found if finding.method == "constant")


def test_an_audit_that_the_machine_failed_finds_nothing(tmp_path):
    class Gone(Local):
        def call(self, task, report, stopped):
            raise Lost("killed from outside by signal SIGKILL")

    with pytest.raises(UsageError, match=r"audit of constant was lost to the machine: killed from outside .*run it again"):
        run_audits([parse_choice("constant")], tmp_path, How(place=Gone()))
    with Store(tmp_path, create=False) as store:
        assert store.audits() == []


def test_audit_that_takes_too_long_is_ended(tmp_path):
    found = run_audits([named("Clean")], tmp_path, limits=Limits(0.05, 8_000_000_000))
    assert "did not run: time limit" in found[-1].detail
    assert not found[-1].passed


def test_interrupted_audit_ends_its_process_and_says_what_is_stored(tmp_path):
    threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(Stopped, match="0 of 1 audits are stored"):
        run_audits([Choice(f"{VIOLATIONS.with_name('outside.py')}:Hangs")], tmp_path)


def test_findings_are_stored_with_the_version_and_replaced_by_a_new_audit(tmp_path):
    choices, lines = [named("constant"), named("Fits")], []
    for _ in range(2):
        found = run_audits(choices, tmp_path, How(place=Local(2), say=lines.append))
    assert [finding.method for finding in found] == [*["constant"] * len(CHECKS), *[str(named("Fits"))] * len(CHECKS)]
    with Store(tmp_path, create=False) as store:
        stored = store.audits()
    assert sorted(stored, key=repr) == sorted(found, key=repr)
    assert sorted(lines)[0].startswith("[1/2] ")
    assert all(line.endswith(": passed") for line in lines)


def test_store_from_before_audits_has_none(tmp_path):
    with Store(tmp_path) as store:
        store.connection.execute("DROP TABLE audits")
    with Store(tmp_path, create=False) as store:
        assert store.audits() == []


def finding(check, passed=True, declared=False):
    return Finding("muse[width=64]", "as_released", check, passed, declared, "", "v")


def test_summary_names_failures_before_what_is_declared():
    fine, stated, bad = finding("label"), finding("batch-mate", declared=True), finding("poison", passed=False)
    assert audit_summary([fine]) == "passed"
    assert audit_summary([fine, stated]) == "passed, 1 declared"
    assert audit_summary([stated, bad, replace(bad, check="label")]) == "FAILED: poison, label"
    assert audit_summary([bad, replace(bad, check="label")]) == "FAILED: every check"


def test_label_of_a_finding_is_the_label_of_a_trial():
    assert finding("label").label == "muse@as_released[width=64]"
    assert replace(finding("label"), preset="paper").label == "muse[width=64]"
    assert parse_choice(finding("label").label).options == {"width": 64}


def command(*words, code=0):
    result = CliRunner().invoke(main, ["audit", *map(str, words)])
    assert result.exit_code == code, result.output + str(result.exception)
    return result


def test_json_is_the_documented_shape_and_nothing_else(tmp_path):
    result = command("constant,bayes", "--out", tmp_path, "--json", "-q")
    found = json.loads(result.stdout)
    assert all({"method", "preset", "check", "passed", "detail"} <= set(entry) for entry in found)
    assert {entry["method"] for entry in found} == {"constant", "bayes"}
    assert result.stderr == ""


def test_command_shows_what_failed_and_ends_with_one(tmp_path):
    result = command("constant", named("FitsLabels"), "--out", tmp_path, code=1)
    assert "FAILED" in result.stdout
    assert "violations.py:FitsLabels, label: true labels in evaluation change probabilities" in result.stdout
    assert "[2/2]" in result.stderr


def test_wrong_usage_is_one_line_and_code_two(tmp_path):
    result = command("shapec", "--out", tmp_path / "none", code=2)
    assert result.stderr.startswith("Error: unknown method 'shapec', did you mean 'shaspec'")
    assert not (tmp_path / "none").exists()


def test_notebook_function_gives_a_row_per_check(tmp_path):
    import bench

    for _ in range(2):  # the second call meets the loaded machinery
        frame = bench.audit("constant", out=tmp_path, quiet=True)
    assert list(frame["check"]) == list(CHECKS)
    assert frame["passed"].all()


@pytest.mark.slow
@pytest.mark.parametrize("choice", expand(["all"]), ids=str)
def test_every_listed_method_and_preset_passes(choice):
    findings = list(audit(choice))
    assert {finding.check: finding.detail for finding in findings if not finding.passed} == {}
    assert not any(" vectors; on a vector, a" in finding.detail for finding in findings)


def test_tolerance_stands_between_rounding_and_the_smallest_dependence_known():
    """Clean presets differ by up to 1e-6 between matrix shapes; MUSE's released graph changes logits by 1e-4 and more."""
    details = {
        str(choice): next(f for f in audit(choice) if f.check == "batch-mate").detail for choice in expand(["muse", "muse@as_released"])
    }
    changes = [float(detail.partition("up to ")[2].split()[0]) for detail in details.values()]
    assert changes[0] < TOLERANCE / 5
    assert changes[1] > TOLERANCE * 5


HELPED = """
from torch import nn

from bench.methods.base import Method, Prediction
from bench.methods.encoders import Encoders
from helper_of_helped import mixed


class Helped(Method):
    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.encode = Encoders(schema, tokens=1, width=8)
        self.head = nn.Linear(8, len(schema.classes))

    def forward(self, batch):
        return Prediction(self.head(mixed(self.encode(batch).mean((1, 2)))))
"""


def test_audit_belongs_to_the_exact_code_helpers_included(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "helped.py").write_text(HELPED)
    (tmp_path / "helper_of_helped.py").write_text("def mixed(x): return x\n")
    ask = {"methods": "helped.py:Helped", "datasets": "breast-cancer", "noise": 0.3, "training": {"epochs": 1}}

    def audited():
        bench.run(seeds=[0], out="out", quiet=True, **ask)
        (row,) = [row for row in bench.board("out").settings[0].rows if row.label.endswith("Helped")]
        return row.audit

    bench.audit("helped.py:Helped", out="out", quiet=True)
    assert audited() == "passed"
    (tmp_path / "helper_of_helped.py").write_text("def mixed(x): return x + x.mean(0)  # its batch mates\n")
    assert audited() == "not audited"
    bench.audit("helped.py:Helped", out="out", quiet=True)
    assert "batch-mate" in audited()


def test_message_names_every_modality_that_is_read_and_which_of_its_cells():
    detail = findings_of("ReadsHidden")["poison"].detail
    assert "(it reads hidden rows of vector, hidden rows of sequence, hidden rows of image and padding of sequence)" in detail
    assert "sequence" not in findings_of("ReadsHiddenImages")["poison"].detail
