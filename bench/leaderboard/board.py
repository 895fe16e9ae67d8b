"""How the board is made: every number and every mark of the pages, from records and predictions alone."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench.data.grammar import parse_protocol
from bench.leaderboard.files import Files, base_of
from bench.leaderboard.groups import groups_of
from bench.leaderboard.origin import mixtures, on_one_machine, provenance_line
from bench.leaderboard.printed import Printed, of_board
from bench.leaderboard.robustness import Curve, curve_of
from bench.leaderboard.rows import (
    COLLAPSED,
    COSTS,
    DROPS,
    EXTRA_METRICS,
    NOT_AUDITED,
    Board,
    Overall,
    OverallRow,
    Row,
    SettingTable,
    one_question_each,
    what_of,
)
from bench.leaderboard.scores import Scores, check_once, interval, refusal, scores_in
from bench.leaderboard.significance import Across, across
from bench.leaderboard.standing import Bounds, Standing, bounds_of, cost_of, mean_cost, pareto_marks, standing_of
from bench.leaderboard.surface import surface_of
from bench.methods.catalog import UNRANKED, role
from bench.names import Choice, Setting, alike, bare_choice
from bench.question.suite import Suite
from bench.question.winners import winners_of
from bench.records.answers import Answers, by_setting, named
from bench.records.facts import Facts
from bench.records.ids import SALTED
from bench.records.record import Finding, Record, audit_summary
from bench.stats.levels import Levels
from bench.stats.metrics import METRICS
from bench.text import agreeing, and_list, count

CurveKey = tuple[bool, str, str, str]  # whether synthetic; dataset, combination and shape of the protocol


def build(answers: Answers, printed: Iterable[Printed] = (), by: Sequence[str] | None = ()) -> Board:
    """The board of these answers, with what of `printed` has a row on it. Trials planned and not ended count as missing and are flagged.

    `by` names attributes by whose groups its scores are told apart; None stands for all that there are.
    Raises: UsageError if a trial is given twice.
    """
    suite, winners = answers.suite, winners_of(answers.suite)
    records = named(answers.records, winners)
    check_once(records)
    done = [record for record in records if record.status == "done"]
    settings, by_setting, curves, refused = _of_settings(replace(answers, records=records), by)
    settings.sort(key=_order)
    first = alike((base_of(table.dataset), (table.synthetic, table.fingerprint or table.dataset)) for table in settings)
    files = Files.of((table.dataset for table in settings), ())
    settings = [replace(table, page=files.page(table.dataset), counts_as=first[base_of(table.dataset)]) for table in settings]
    failures = [(record, record.reason or "") for record in records if record.status in ("failed", "skipped")]
    kinds = [(kind, unit) for kind in (False, True) for unit in dict.fromkeys(s.unit for s in settings if s.synthetic == kind)]
    units = {unit for _, unit in kinds}
    return Board(
        suite,
        tuple(settings),
        tuple(
            _overall(suite, [s for s in settings if (s.synthetic, s.unit) == kind], by_setting, curves, kind[1] if len(units) > 1 else "")
            for kind in kinds
        ),
        tuple((_text(record), reason) for record, reason in failures),
        warnings_of(answers, records, by_setting, first, refused),
        provenance_line(done),
        tuple(answers.commands),
        of_board(printed, records, answers.metric_of),
        answers.folder,
        tuple(winner for winner in winners if any(winner.made(record.trial) for record in records)),
        answers.withheld,
        answers.cut,
        tuple(dict.fromkeys(record.trial.dataset_label for record in done if record.facts.ids == SALTED)),
    )


def _of_settings(
    answers: Answers, by: Sequence[str] | None
) -> tuple[list[SettingTable], dict[Setting, dict[str, Scores]], dict[CurveKey, Curve], dict[Setting, str]]:
    """Every setting's table and scores, every curve, and why a setting cannot be tested, where it cannot.

    Settings that may lie on one curve are worked on together, and what is known of each test sample is dropped after them: however many
    settings a board has, predictions of one are in memory, and of one curve a number for each sample and trial.
    """
    audited = _audited(answers.audits)
    groups: dict[CurveKey, list[Setting]] = defaultdict(list)
    records = by_setting(answers.records)
    for setting in records:
        groups[False, setting.dataset, setting.combination, parse_protocol(setting.protocol).shape].append(setting)
    tables: dict[Setting, SettingTable] = {}
    kept: dict[Setting, dict[str, Scores]] = {}
    curves: dict[CurveKey, Curve] = {}
    refused: dict[Setting, str] = {}
    for group in groups.values():
        scores: dict[Setting, dict[str, Scores]] = {}
        for setting in group:
            here = answers.in_setting(records[setting])
            scores[setting] = scores_in(here.suite.metric, here.records, here.predictions)
            tables[setting] = _with_groups(_setting_table(here, setting, scores[setting], audited), here, scores[setting], by)
            refused[setting] = refusal(list(scores[setting].values()))
        curves |= _curves(sorted((tables[setting] for setting in group), key=_order), scores, answers.suite.levels)
        kept |= {setting: {label: one.without_samples() for label, one in methods.items()} for setting, methods in scores.items()}
    return [tables[s] for s in records], {s: kept[s] for s in records}, curves, {s: why for s in records if (why := refused[s])}


def _order(table: SettingTable) -> tuple[bool, str, str, str, float]:
    return table.synthetic, table.dataset, table.combination, table.shape, table.noise or 0.0


def warnings_of(
    answers: Answers,
    records: Sequence[Record],
    by_setting: Mapping[Setting, Mapping[str, Scores]],
    first: Mapping[str, str],
    refused: Mapping[Setting, str],
) -> tuple[str, ...]:
    """What a reader must know before any number. `records` as tables name them; `first` maps each dataset to the one it counts as.

    `refused` says why a setting cannot be tested, where it cannot.
    """
    mixed = mixtures([record for record in records if record.status == "done"])
    return (*answers.left_out, *mixed, *_warnings(records, by_setting, refused), *_same_data(first), *_added_seeds(answers.suite))


def _text(record: Record) -> str:
    trial = record.trial
    return f"{trial.label} on {trial.dataset_label}, {trial.protocol}, seed {trial.seed}"


def _warnings(records: Sequence[Record], by_setting: Mapping[Setting, Mapping[str, Scores]], refused: Mapping[Setting, str]) -> list[str]:
    """What a reader must know before the tables, apart from what forbids tests."""
    found = []
    waiting = sum(record.status == "planned" for record in records)
    if waiting:
        found.append(f"{waiting} of {count(len(records), 'planned trial')} {agreeing(waiting, 'has', 'have')} not run")
    peeked = sum(record.facts.test_evaluations not in (None, 1) for record in records if record.status == "done")
    if peeked:
        found.append(f"{count(peeked, 'trial')} scored the test part more than once")
    everyone = [(setting, one) for setting, methods in by_setting.items() for one in methods.values()]
    repeated = [(one.label, setting, one.duplicates) for setting, one in everyone if one.duplicates]
    if repeated:
        label, setting, _ = repeated[0]
        n = sum(more for *_, more in repeated)
        found.append(
            f"{count(n, 'trial')} {agreeing(n, 'has', 'have')} the seed of another one of the same method and setting and "
            f"{agreeing(n, 'is', 'are')} left out (the last one given counts), first {label} on {setting.dataset}, {setting.protocol}"
        )
    return found + [f"{setting.dataset}, {setting.protocol}: {why}; nothing is tested there" for setting, why in refused.items()]


def _same_data(first: Mapping[str, str]) -> list[str]:
    """Datasets that are one under several names; `first` maps each to the one it counts as."""
    names = {own: [name for name, other in first.items() if other == own] for own in first.values()}
    return [f"{and_list(group)} hold the same data: counted as one dataset" for group in names.values() if len(group) > 1]


def _added_seeds(suite: Suite) -> list[str]:
    """Tests of this board take the numbers of seeds as fixed before anyone looked."""
    pairs = "; ".join(" and ".join(pair) for pair in suite.looks.pairs)
    told = "the tests of this page do not allow for it, `bench compare A B` does"
    return [f"{pairs} got more seeds where they were undecided, up to {suite.max_seeds}: {told}"] if pairs else []


def _setting_table(
    answers: Answers, setting: Setting, methods: Mapping[str, Scores], audited: Mapping[tuple[str, str], str]
) -> SettingTable:
    suite, metric, predictions = answers.suite, answers.suite.metric, answers.predictions
    records = [record for one in methods.values() for record in one.records]
    done = [record for record in records if record.status == "done"]
    mixed = "; ".join(mixtures(done))
    bounds = bounds_of(metric, methods)
    standing = standing_of(suite, setting, methods, mixed)
    rows = [_row(suite, one, bounds, standing, audited) for one in methods.values()]
    last = list(UNRANKED)
    rows.sort(key=lambda r: (last.index(r.label) + 2 if r.label in UNRANKED else r.rank is None, r.rank or 0.0, r.label))
    tied = _ties({row.label: row.rank for row in rows if row.n})
    rows = [replace(row, tied=tied.get(row.label, ())) for row in rows]
    facts = done[0].facts if done else Facts()
    reasons = {record.facts.metric_reasons[metric] for record in done if metric in record.facts.metric_reasons}
    return SettingTable(
        *setting,
        synthetic=any(record.facts.synthetic for record in done),
        test_rows=facts.rows.get("test"),
        missing=facts.missing.get("test"),
        rows=tuple(rows),
        surface=surface_of(metric, setting.combination, [row.label for row in rows], records, predictions),
        tests=standing.tests,
        floor=bounds.floor,
        ceiling=bounds.ceiling,
        ceiling_source=bounds.source,
        seeds=tuple(sorted({record.trial.seed for record in records})),
        reasons=tuple(sorted(map(str, reasons))),
        mixed=mixed,
        timed=on_one_machine(done),
        provenance=provenance_line(done),
        fingerprint=records[-1].trial.fingerprint,
        floor_reason=bounds.floor_reason,
        notes=tuple(dict.fromkeys(note for record in done for note in record.facts.notes)),
        concerns=tuple(dict.fromkeys(concern for record in done for concern in record.facts.concerns)),
        beats_floor=standing.beats_floor,
        unit=unit_of(metric, facts),
        metric=metric,
        selection=suite.selection,
    )


def _with_groups(table: SettingTable, answers: Answers, methods: Mapping[str, Scores], by: Sequence[str] | None) -> SettingTable:
    order = [methods[row.label] for row in table.rows]
    return replace(table, groups=groups_of(answers, table.fingerprint, order, by, table.mixed)) if by != () else table


def unit_of(metric: str, facts: Facts) -> str:
    """What scores by a metric are in, where that is the unit of a target: the target by name and unit; else empty."""
    return target_of(facts) if METRICS[metric].in_unit else ""


def target_of(facts: Facts) -> str:
    """The target by name and unit, if it is a value; else empty."""
    if facts.target.get("kind") != "value":
        return ""
    name, unit = str(facts.target["name"]), str(facts.target["unit"])
    return f"{name} ({unit})" if unit not in ("", name) else name


def _row(suite: Suite, one: Scores, bounds: Bounds, standing: Standing, audited: Mapping[tuple[str, str], str]) -> Row:
    """One method in the table of its setting."""
    metric, label, trial = suite.metric, one.label, one.records[0].trial
    sign = METRICS[metric].sign
    is_beaten = standing.best is not None and label != standing.best
    return Row(
        label,
        str(Choice(trial.method, "", trial.options)),
        trial.preset,
        role(trial.method),
        n=len(one.scores),
        planned=len(one.records),
        mean=one.mean,
        sd=float(one.scores.std(ddof=1)) if len(one.scores) > 1 else math.nan,
        interval=interval(metric, one, suite.vary),
        rank=standing.ranks.get(label),
        flags=_flags(metric, one),
        others={
            other: _mean([r.metrics.get(other, math.nan) for r in one.done])
            for other in EXTRA_METRICS[METRICS[metric].kind]
            if other != metric
        },
        cost=cost_of(one),
        audit=_worst_audit(audited.get((bare_choice(r.trial.choice), r.trial.version), NOT_AUDITED) for r in one.records),
        done=len(one.done),
        trials=one.ids,
        above_floor=sign * (one.mean - bounds.floor),
        gap_closed=(one.mean - bounds.floor) / (bounds.ceiling - bounds.floor) if bounds.ceiling != bounds.floor else math.nan,
        place=standing.places.get(label),
        versus=standing.tests.between(label, standing.best) if standing.best is not None and is_beaten else None,
        verified=one.records[0].verified,
        pareto=standing.pareto.get(label, ""),
    )


def _ties(ranks: Mapping[str, float | None]) -> dict[str, tuple[str, ...]]:
    """The others of the same rank (to 10 decimals), by label; whoever has none, or no rank, is left out."""
    sharing: dict[float, list[str]] = defaultdict(list)
    for label, rank in ranks.items():
        if rank is not None and not math.isnan(rank):
            sharing[round(rank, 10)].append(label)
    return {label: tuple(other for other in labels if other != label) for labels in sharing.values() if len(labels) > 1 for label in labels}


def _flags(metric: str, one: Scores) -> tuple[str, ...]:
    flags = []
    if one.collapsed and one.label not in UNRANKED:
        flags.append(f"{COLLAPSED} {one.collapsed}/{len(one.done)}")
    for status, word in (("failed", "failed"), ("skipped", "skipped"), ("planned", "not run")):
        ended = sum(record.status == status for record in one.records)
        if ended:
            flags.append(f"{ended} {word}")
    if len(one.done) > len(one.scored):
        flags.append(f"{len(one.done) - len(one.scored)} without {metric}")
    if one.duplicates:
        flags.append(f"{one.duplicates} duplicate")
    flags += dict.fromkeys(words for record in one.done for words in record.facts.recipe)  # what it was trained with of its own
    if masks := [record.facts.own_masks["missing"] for record in one.done if record.facts.own_masks]:
        before, after = (100 * float(np.mean(shares)) for shares in zip(*masks, strict=True))
        flags.append(f"{DROPS}: {before:.0f} to {after:.0f} % missing in training")
    return tuple(flags)


def _audited(audits: Iterable[Finding]) -> dict[tuple[str, str], str]:
    """What was found in each audited method, by choice and version: a tuned row is audited as the configuration it has."""
    findings: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in audits:
        findings[bare_choice(finding.label), finding.version].append(finding)
    return {key: audit_summary(group) for key, group in findings.items()}


def _worst_audit(texts: Iterable[str]) -> str:
    """One text for several: a failure, then no audit, then the most declared."""
    return max(texts, key=lambda text: (text.startswith("FAILED"), text == NOT_AUDITED, text))


def _overall(
    suite: Suite,
    settings: Sequence[SettingTable],
    by_setting: Mapping[Setting, Mapping[str, Scores]],
    of_kinds: Mapping[CurveKey, Curve],
    unit: str,
) -> Overall:
    """One row a method over all settings of one kind; `of_kinds` are the curves of both, `unit` is this kind's where there are several."""
    metric, levels = suite.metric, suite.levels
    synthetic = settings[0].synthetic
    done = [record for table in settings for one in by_setting[table.setting].values() for record in one.done]
    mixed = "; ".join(mixtures(done))
    keys = dict.fromkeys(map(_curve_key, settings))
    curves = [of_kinds[key] for key in keys if key in of_kinds]
    sign = METRICS[metric].sign
    found: dict[str, list[Row]] = defaultdict(list)
    for setting in settings:
        for row in setting.rows:
            found[row.label].append(row)
    family = [label for label, rows in found.items() if sum(row.rank is not None for row in rows) == len(settings)]
    over = None
    if len(family) > 1:
        distinct = one_question_each(settings)  # under two names of the same data a setting has one value, their mean
        scores = sign * np.array([[_mean_known([s.by_label[label].mean for s in one]) for label in family] for one in distinct])
        complete = np.array([all(s.by_label[label].is_complete for s in one for label in family) for one in distinct])
        floors = sign * np.array([_mean_known([s.floor for s in one]) for one in distinct])
        titles, datasets = zip(*((one[0].title, one[0].counts_as) for one in distinct), strict=True)
        over = across(what_of(synthetic, unit), titles, datasets, family, scores, floors, complete, levels=levels, withheld=mixed)
    rows = [_overall_row(label, own, settings, curves, over) for label, own in found.items()]
    points = {row.label: (math.nan if row.mean is None else row.mean, row.cost["gflops_per_sample"]) for row in rows}
    marks = pareto_marks(metric, points, over.over_settings if over else None)
    rows = [replace(row, pareto=marks.get(row.label, "")) for row in rows]
    last = list(UNRANKED)
    rows.sort(key=lambda r: (last.index(r.label) + 2 if r.label in UNRANKED else r.mean_rank is None, r.mean_rank or 0.0, r.label))
    tied = _ties({row.label: row.mean_rank for row in rows})
    rows = [replace(row, tied=tied.get(row.label, ())) for row in rows]
    return Overall(synthetic, tuple(settings), tuple(curves), tuple(rows), over, mixed, on_one_machine(done), unit)


def _overall_row(
    label: str, rows: Sequence[Row], settings: Sequence[SettingTable], curves: Sequence[Curve], over: Across | None
) -> OverallRow:
    along = [row for curve in curves for row in curve.rows if row.label == label]
    everywhere = len(rows) == len(settings)
    has_curves = everywhere and 0 < len(along) == len(curves)
    scored = everywhere and all(row.n for row in rows)
    return OverallRow(
        label,
        rows[0].method,
        rows[0].preset,
        rows[0].role,
        settings[0].synthetic,
        settings=len(rows),
        complete=everywhere and all(row.is_complete for row in rows),
        n=sum(row.n for row in rows),
        planned=sum(row.planned for row in rows),
        mean_rank=float(over.mean_ranks[over.labels.index(label)]) if over and label in over.labels else None,
        mean=_mean_of_settings(settings, [row.mean for row in rows]) if scored else None,
        gap_closed=_known(_mean_of_settings(settings, [row.gap_closed for row in rows])) if scored else None,
        noise_auc=_known(_mean([row.area for row in along])) if has_curves else None,
        drop=_known(_mean([row.drop for row in along])) if has_curves else None,
        rises=sum(len(row.rises) for row in along),
        scores={setting.title: setting.by_label[label].mean for setting in settings if label in setting.by_label},
        cost={name: mean_cost([row.cost.get(name) for row in rows]) for name in COSTS},
        audit=_worst_audit(row.audit for row in rows),
        flags=_summed((flag for row in rows for flag in row.flags), sum(row.done for row in rows)),
        place=over.places.get(label) if over else None,
        verified=rows[0].verified,
    )


def _curves(settings: Sequence[SettingTable], by_setting: Mapping[Setting, Mapping[str, Scores]], levels: Levels) -> dict[CurveKey, Curve]:
    """One for every dataset, combination and shape of protocol with two missing rates and more; real and synthetic ones apart."""
    groups: dict[CurveKey, list[SettingTable]] = defaultdict(list)
    for setting in settings:
        if setting.noise is not None:
            groups[_curve_key(setting)].append(setting)
    curves = {}
    for key, group in groups.items():
        if len({setting.noise for setting in group}) < 2 or len({setting.noise for setting in group}) < len(group):
            continue
        along = [by_setting[table.setting] for table in group]
        mixed = "; ".join(mixtures([record for level in along for one in level.values() for record in one.done]))
        intervals = [{row.label: row.interval for row in setting.rows} for setting in group]
        noise = [setting.noise for setting in group if setting.noise is not None]
        curves[key] = curve_of(group[0].metric, key[1:], group[0].synthetic, noise, along, intervals, levels, mixed)
    return curves


def _curve_key(table: SettingTable) -> CurveKey:
    return table.synthetic, table.dataset, table.combination, table.shape


def _summed(flags: Iterable[str], done: int) -> tuple[str, ...]:
    """Flags of several settings as one each, out of `done` trials: `collapsed 3/30`, `2 failed`; what counts nothing comes once."""
    counts: dict[str, int] = defaultdict(int)
    others: dict[str, None] = {}
    for flag in flags:
        if found := re.fullmatch(rf"{COLLAPSED} (\d+)/\d+|(\d+) (.+)", flag):
            counts[found[3] or COLLAPSED] += int(found[1] or found[2])
        else:
            others[DROPS if flag.startswith(DROPS) else flag] = None  # how much differs by setting
    summed = (f"{word} {count}/{done}" if word == COLLAPSED else f"{count} {word}" for word, count in sorted(counts.items()))
    return (*summed, *others)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _mean_known(values: Sequence[float]) -> float:
    """Mean of those that are known."""
    return _mean([value for value in values if not math.isnan(value)])


def _mean_of_settings(settings: Sequence[SettingTable], values: Sequence[float]) -> float:
    """Mean over settings, those counted once that are one under two names of the same data. `values`: one a setting."""
    value_of = {id(setting): value for setting, value in zip(settings, values, strict=True)}
    return _mean([_mean([value_of[id(setting)] for setting in one]) for one in one_question_each(settings)])


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
