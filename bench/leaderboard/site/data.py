"""What the page of a board shows, as values: from its table, its tests and its records alone, no prediction is read.

The JSON of a page is made here and nowhere else, so that whoever has the board's files can make it again and compare. Scores are
fractions. Methods and settings are named once and referred to by their place in the list.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from bench import stats
from bench.data.grammar import parse_protocol
from bench.leaderboard.board import target_of, warnings_of
from bench.leaderboard.origin import provenance_line
from bench.leaderboard.rows import SEVERAL, base_of, hp_of
from bench.leaderboard.scores import Scores, scores_of
from bench.leaderboard.significance import verdict
from bench.leaderboard.tables import TEST_DIGITS
from bench.methods.catalog import role
from bench.names import Choice, Setting, alike, method_label, parse_choice
from bench.records.answers import Answers
from bench.records.record import Record
from bench.stats.levels import Levels
from bench.stats.metrics import METRICS
from bench.text import finite

FORM = 1  # of the JSON; a page of another form is rendered anew before it can be checked
DIGITS = 7  # of a score that is taken from a record; those of the table keep theirs
FROM_TABLE = (
    "rank", "rank_low", "rank_high", "letters", "mean", "sd", "low", "high", "above_floor", "gap_closed", "pareto",
    "gflops_per_sample", "parameters", "train_seconds", "audit", "flags",
)  # fmt: skip
TEXTS = ("letters", "pareto", "audit", "flags")
ROW_COLUMNS = ("setting", "method", "n", "planned", *FROM_TABLE)
TRIAL_COLUMNS = ("id", "setting", "method", "seed", "status", "reason", "scores")
TEST_COLUMNS = (
    "difference", "low", "high", "alone_low", "alone_high", "p", "p_adjusted", "effect", "verdict", "reason", "p_named", "named_verdict",
)  # fmt: skip
OVER = re.compile(r"^over (settings|datasets(, sign flips)?), ")  # names of families, before what they are over
Pair = tuple[str, str]


def site_data(answers: Answers, table: str, significance: str, source: str, option: str) -> dict[str, Any]:
    """The values of one page, ready for JSON.

    `table` and `significance` are the texts of `table.csv` and `significance.json`. `source` names where the board lies, `option` is
    what `bench show` takes to read it there.
    """
    suite = answers.suite
    by_setting = scores_of(answers)
    metric_of = {setting: answers.metric_of(next(iter(methods.values())).records[0]) for setting, methods in by_setting.items()}
    lines = _by_setting(table)
    settings = [setting for setting in lines if setting in by_setting]
    labels = list(dict.fromkeys(label for setting in settings for label in by_setting[setting]))
    first = alike((base_of(s.dataset), (lines[s][0]["synthetic"], _fingerprint(by_setting[s]) or s.dataset)) for s in settings)
    names = [name for name in METRICS if any(name in record.metrics for record in answers.records)]
    own = dict.fromkeys(metric_of.values()) or {suite.metric: None}
    names = [SEVERAL, *names] if len(own) > 1 else [*own, *(name for name in names if name not in own)]
    places = {setting: place for place, setting in enumerate(settings)}
    tests = json.loads(significance)
    done = [record for record in answers.records if record.status == "done"]
    return finite(
        {
            "form": FORM,
            "board": {
                "name": suite.name,
                "title": suite.title or suite.name,
                "metric": names[0],
                "alpha": tests["alpha"],
                "rope": tests["rope"],
                "intervals": "family" if any("interval_unadjusted" in test for test in tests["tests"]) else "pair",
                "source": source,
                "option": option,
                "provenance": provenance_line(done),
                "commands": list(answers.commands),
                "warnings": list(warnings_of(answers, answers.records, by_setting, first, {})),
                "looks": [[_called(name) for name in pair] for pair in suite.looks.pairs],
            },
            "metrics": [_metric(name) if name in METRICS else _of_each(metric_of, suite.metric) for name in names],
            "methods": [_method(label, by_setting) for label in labels],
            "settings": _settings(settings, lines, by_setting, first, metric_of if len(own) > 1 else {}),
            "row_columns": [*ROW_COLUMNS, "others"],
            "rows": [row for s in settings for row in _rows(places[s], lines[s], by_setting[s], labels, names)],
            "trial_columns": list(TRIAL_COLUMNS),
            "trials": [line for s in settings for line in _trials(places[s], by_setting[s], labels, [metric_of[s], *names[1:]])],
            "test_columns": list(TEST_COLUMNS),
            "families": _families(tests, places, {s: lines[s][0]["synthetic"] == "True" for s in settings}, labels),
        }
    )


def _of_each(metric_of: Mapping[Setting, str], first: str) -> dict[str, object]:
    """What stands first among the metrics of a page whose settings are each ranked by its own."""
    of: dict[str, dict[str, None]] = defaultdict(dict)
    for setting, name in metric_of.items():
        of[name][setting.dataset] = None
    told = [name if name == first else f"{name} on {', '.join(of[name])}" for name in sorted(of, key=lambda name: name != first)]
    return {**_metric(next(iter(of))), "name": SEVERAL, "meaning": f"each dataset's own metric: {'; '.join(told)}"}


def _called(name: str) -> str:
    """A method that a suite names, as tables name it."""
    choice = parse_choice(name)
    return method_label(choice.name, choice.preset, choice.options)


def _by_setting(table: str) -> dict[Setting, list[dict[str, str]]]:
    found: dict[Setting, list[dict[str, str]]] = defaultdict(list)
    for line in csv.DictReader(io.StringIO(table)):
        found[Setting(line["dataset"], line["combination"], line["protocol"])].append(line)
    return dict(found)


def _fingerprint(methods: Mapping[str, Scores]) -> str:
    return next((record.trial.fingerprint for one in methods.values() for record in one.records), "")


def _unit(methods: Mapping[str, Scores]) -> str:
    """The target of a setting, where it is a value: scores in its unit have a mean with those in the same alone."""
    facts = next((record.facts for one in methods.values() for record in one.done), None)
    return target_of(facts) if facts else ""


def _metric(name: str) -> dict[str, object]:
    metric = METRICS[name]
    found = {"name": name, "higher": metric.higher_is_better, "perfect": metric.perfect, "meaning": metric.meaning}
    return {**found, "in_unit": True} if metric.in_unit else found


def _method(label: str, by_setting: Mapping[Setting, Mapping[str, Scores]]) -> dict[str, object]:
    trial = next(methods[label].records[0].trial for methods in by_setting.values() if label in methods)
    return {"label": label, "method": trial.method, "preset": trial.preset, "role": role(trial.method), "hp": hp_of(label)}


def _settings(
    settings: Sequence[Setting], lines: Mapping[Setting, Sequence[Mapping[str, str]]],
    by_setting: Mapping[Setting, Mapping[str, Scores]], first: Mapping[str, str], metric_of: Mapping[Setting, str],
) -> list[dict[str, object]]:  # fmt: skip
    """Each with the number of the question it asks: settings that are one, under two names of the same data, share it."""
    asked: dict[tuple[str, ...], int] = {}
    found = []
    for setting in settings:
        protocol = parse_protocol(setting.protocol)
        data = first[base_of(setting.dataset)], _fingerprint(by_setting[setting]) or setting.dataset
        question = asked.setdefault((*data, setting.combination, setting.protocol), len(asked))
        unit = _unit(by_setting[setting])
        own = {**({"metric": metric_of[setting]} if metric_of else {}), **({"unit": unit} if unit else {})}
        known = {"synthetic": lines[setting][0]["synthetic"] == "True", "noise": protocol.noise, "shape": protocol.shape}
        found.append({**setting._asdict(), "title": setting.title, **known, "question": question, **own})
    return found


def _rows(
    place: int, lines: Sequence[Mapping[str, str]], methods: Mapping[str, Scores], labels: Sequence[str], names: Sequence[str]
) -> list[list[object]]:
    """A row a method of one setting; `scores` of further metrics come from its records, for the table has tests of one alone."""
    waiting = list(methods.values())
    rows = []
    for line in lines:
        one = _that_is(line, waiting)
        waiting.remove(one)
        values = [_cell(name, line.get(name, "")) for name in FROM_TABLE]
        others = [_mean_sd([record.metrics.get(name, math.nan) for record in one.done]) for name in names[1:]]
        rows.append([place, labels.index(one.label), int(line["n"]), int(line["planned"]), *values, others])
    return rows


def _that_is(line: Mapping[str, str], waiting: Sequence[Scores]) -> Scores:
    """The method that a line of the table is of. Of two that are named alike there, the one with its mean."""
    key = line["method"], line["preset"], line["hp"]
    alike_ = [one for one in waiting if _key(one) == key]
    mean = float(line["mean"] or "nan")
    return min(alike_, key=lambda one: 0.0 if math.isnan(mean) or math.isnan(one.mean) else abs(one.mean - mean))


def _key(one: Scores) -> tuple[str, str, str]:
    trial = one.records[0].trial
    return str(Choice(trial.method, "", trial.options)), trial.preset, hp_of(one.label)


def _cell(name: str, text: str) -> object:
    return text if name in TEXTS else float(text) if text else None


def _mean_sd(values: Sequence[float]) -> list[float]:
    """Mean over the trials that ended well, NaN if one has no score, and their standard deviation."""
    found = np.array(values, dtype=float)
    mean = float(found.mean()) if len(found) else math.nan
    return [_rounded(mean, 10), _rounded(float(found.std(ddof=1)) if len(found) > 1 else math.nan, DIGITS)]


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else math.nan


def _trials(place: int, methods: Mapping[str, Scores], labels: Sequence[str], names: Sequence[str]) -> list[list[object]]:
    return [
        [id_, place, labels.index(label), record.trial.seed, record.status, record.reason or "", _scores(record, names)]
        for label, one in methods.items()
        for id_, record in zip(one.ids, one.records, strict=True)
    ]


def _scores(record: Record, names: Sequence[str]) -> list[float]:
    return [_rounded(record.metrics.get(name, math.nan), DIGITS) for name in names]


class _Named(NamedTuple):
    """A pair that was named before anyone looked: what `bench compare` says of it in a setting, beside its interval."""

    p: float  # Holm over the settings of its kind
    verdict: str


def _families(
    found: Mapping[str, Any], places: Mapping[Setting, int], synthetic: Mapping[Setting, bool], labels: Sequence[str]
) -> list[dict[str, object]]:
    """Every family of tests; `of` says what of: settings, datasets, flips, setting or curve."""
    of_title = {setting.title: setting for setting in places}
    tests: dict[str, dict[Pair, Mapping[str, Any]]] = defaultdict(dict)
    for test in found["tests"]:
        tests[test["family"]][test["a"], test["b"]] = test
    levels = Levels(found["alpha"], found["rope"])
    kinds = [{title: tests[title] for title, s in of_title.items() if synthetic[s] == kind} for kind in (False, True)]
    named = {key: one for kind in kinds for key, one in _named(kind, levels).items()}
    gates = {entry["kind"]: entry["p"] for entry in found["friedman"]}
    families = []
    for family in found["families"]:
        name = family["name"]
        setting = of_title.get(name)
        kind = OVER.sub("", name)
        over = {"settings": "settings", "datasets": "flips" if "sign flips" in name else "datasets"}.get(family["unit"], "curve")
        of = "setting" if setting is not None else over
        lines = [_test(tests[name][pair], named.get((name, *pair))) for pair in combinations(family["methods"], 2) if pair in tests[name]]
        families.append(
            {
                **{key: family[key] for key in ("name", "test", "unit", "n", "size", "correction", "exploratory", "effect", "reason")},
                "of": of,
                "setting": None if setting is None else places[setting],
                "synthetic": synthetic[setting] if setting is not None else kind.startswith("synthetic") if of != "curve" else None,
                **({"what": kind} if of in ("settings", "datasets", "flips") and " " in kind else {}),
                "gate": gates.get(kind) if of == "settings" else None,
                "methods": [labels.index(label) for label in family["methods"]],
                "tests": lines,
            }
        )
    return families


def _test(test: Mapping[str, Any], named: _Named | None) -> list[object]:
    intervals = test["interval"] + test.get("interval_unadjusted", [math.nan, math.nan])  # boards of before have the one of the pair alone
    p, said = (named.p, named.verdict) if named else (math.nan, "")
    own = [test["difference"], *intervals, test["p"], test["p_adjusted"], test["effect"], test["verdict"], test["reason"] or ""]
    return [*own, _rounded(p, TEST_DIGITS), said]


def _named(families: Mapping[str, Mapping[Pair, Mapping[str, Any]]], levels: Levels) -> dict[tuple[str, str, str], _Named]:
    """By setting and pair, the p after Holm over the settings in which the pair was tested, and the verdict by it."""
    where: dict[Pair, list[str]] = defaultdict(list)
    for title, tests in families.items():
        for pair in tests:
            where[_sorted(pair)].append(title)
    found = {}
    for key, titles in where.items():
        lines = [families[title].get(key) or families[title][key[::-1]] for title in titles]
        p = np.array([math.nan if line["p"] is None else line["p"] for line in lines])
        for title, line, q in zip(titles, lines, stats.holm(p).tolist(), strict=True):
            if line["p"] is not None:
                equal = 0.0 if line["verdict"] == "equivalent" else math.nan  # that verdict goes by its own test, whatever the family
                said = verdict(levels, line["difference"], math.nan, math.nan, q, equal)
                found[title, line["a"], line["b"]] = _Named(q, said)
    return found


def _sorted(pair: Pair) -> Pair:
    first, second = sorted(pair)
    return first, second
