"""bench/records/shared.py: records that say the same share it, and say nothing else for that."""

import json
import math
from dataclasses import asdict, replace

from bench.question.trial import Trial
from bench.records.facts import Evaluated, Facts, Origin
from bench.records.record import Record
from bench.records.shared import Reader

BASE = Trial(
    method="muse", preset="paper", options={"width": 1}, training={"lr": 0.1}, dataset="digits", dataset_options={}, combination="NEWS",
    protocol="mcar(0.3)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip


def record(seed, **options):
    facts = Facts(
        rows={"test": 3}, masks={"test": "m"}, config={"lr": 0.1}, valid=seed / 10, seconds={"total": float(seed)},
        evaluations={"mcar(0.5)": Evaluated({"accuracy": 0.5, "auroc": seed}, {"f1": "no"}, 0.5, "mask", [1, 2])},
    )  # fmt: skip
    trial = replace(BASE, seed=seed, options=options or BASE.options)
    return Record(
        trial, "done", None, {"accuracy": 0.5, "auroc": math.inf}, {"parameters": 3}, facts, Origin(bench="0", packages={"a": "1"})
    )


def read(reader, one):
    said = one.as_json()
    columns = [json.dumps(said[key]) for key in ("metrics", "cost", "facts", "provenance")]
    return reader.record(reader.trial(one.trial.to_json(), one.trial.id), one.status, one.reason, *columns)


def test_records_come_back_as_they_were_by_column_and_by_line():
    reader = Reader()
    for one in (record(0), record(1), record(2, width=2)):
        assert read(reader, one) == one
        assert reader.line(one.as_line() | {"metrics": dict(one.metrics)}) == one


def test_what_records_say_alike_is_one_object():
    reader = Reader()
    first, second = read(reader, record(0)), read(reader, record(1))
    assert first.provenance is second.provenance
    assert first.facts.config is second.facts.config
    assert first.facts.masks is second.facts.masks
    assert first.trial.options is second.trial.options
    assert first.facts.seconds is not second.facts.seconds
    assert next(iter(first.metrics)) is next(iter(second.metrics))


def test_values_that_python_calls_equal_stay_apart():
    reader = Reader()
    found = [read(reader, record(seed, width=width)).trial.options["width"] for seed, width in enumerate((1, True, 1.0, "1"))]
    assert [type(value) for value in found] == [int, bool, float, str]


def test_id_is_the_hash_of_every_field_and_survives_another_name():
    import hashlib

    canonical = {key: value for key, value in asdict(BASE).items() if key not in ("row", "data", "evaluations")}
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == BASE.id
    called = BASE.called("muse tuned", "digits")
    assert (called.id, called.label, called) == (BASE.id, "muse tuned", BASE)
    assert replace(BASE, seed=1).called("muse", "").id == replace(BASE, seed=1).id != BASE.id
