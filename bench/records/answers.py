"""A question with what came of it: what boards, comparisons, looks and guides read, wherever it is stored. Free of torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from bench import registry
from bench.data.attributes import Attributes
from bench.errors import UsageError, unknown
from bench.names import Choice, Setting, alike, bare, bare_choice, is_file, method_label, short_names
from bench.question.suite import Suite, with_options, without_datasets
from bench.question.trial import Trial
from bench.question.winners import Winner
from bench.records.predictions import Predictions
from bench.records.record import Finding, Record
from bench.stats.metrics import METRICS, listed_metrics, metric_for, metrics_of
from bench.text import agreeing, count


class StoredPredictions(Mapping[str, Predictions]):
    """Predictions by trial, read from where they are stored when one is first asked for, all of them in one go.

    Whoever needs them setting by setting takes those of each (`Answers.by_setting`) and lets them go.
    """

    def __init__(self, ids: Iterable[str], read: Callable[[Sequence[str]], dict[str, Predictions]]) -> None:
        self.ids, self.read = tuple(dict.fromkeys(ids)), read

    @cached_property
    def _found(self) -> dict[str, Predictions]:
        return self.read(self.ids)

    def __getitem__(self, id_: str) -> Predictions:
        return self._found[id_]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def portion(predictions: Mapping[str, Predictions], ids: Iterable[str]) -> Mapping[str, Predictions]:
    """The predictions of these trials: stored ones of others are not read, and those at hand are all given."""
    return StoredPredictions(ids, predictions.read) if isinstance(predictions, StoredPredictions) else predictions


@dataclass(frozen=True)
class Answers:
    """A suite and every record that may stand on its board. Records of tuned trials bear the name of their winner."""

    suite: Suite
    records: Sequence[Record]
    predictions: Mapping[str, Predictions] = field(default_factory=dict)  # by trial; a trial may have none
    audits: Sequence[Finding] = ()
    commands: Sequence[str] = ()  # that made them
    folder: str = ""  # of a published board, as a reader of the repository names it
    left_out: Sequence[str] = ()  # what is not among the records because it belongs to other code, data or harness, in words
    salt: Callable[[], bytes] | None = None  # of a results folder, whose ids of samples are in clear; None where they may be read by all
    withheld: bool = False  # published without predictions
    cut: tuple[str, ...] = ()  # files of a published board that lie in pieces
    attributes: Mapping[str, Attributes] = field(default_factory=dict)  # fingerprint of a dataset -> groups that its samples are in

    def of(self, records: Sequence[Record]) -> Answers:
        """The answers of these records alone; stored predictions of others are not read."""
        return replace(self, records=records, predictions=portion(self.predictions, (record.trial.id for record in records)))

    def metric_of(self, record: Record) -> str:
        """The metric that ranks the setting of a record."""
        return self.suite.metric_on(record.trial.dataset_choice)

    def in_setting(self, records: Sequence[Record]) -> Answers:
        """The answers of records of one setting, with what the suite asks of its dataset."""
        return replace(self.of(records), suite=self.suite.on(records[0].trial.dataset_choice))

    def by_setting(self) -> Iterator[tuple[Setting, Answers]]:
        """The answers of each setting, in the order of their first records; whoever drops them has predictions of one in memory."""
        for setting, records in by_setting(self.records).items():
            yield setting, self.in_setting(records)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The suite's metrics that rank some of these records: one for each kind of target, which some datasets may have in place of."""
        first = {_kind(record): record for record in reversed(self.records)}
        own = {METRICS[name].kind: name for name in listed_metrics(self.suite.metric)}
        of_tables = {
            kind: metric_for(self.metric_of(record), kind, record.trial.dataset) for kind, record in first.items() if kind not in own
        }
        return (*(name for kind, name in own.items() if kind in first), *of_tables.values()) or (next(iter(own.values())),)

    def by_metric(self) -> Iterator[Answers]:
        """What makes one board each: the answers that one of the suite's metrics ranks."""
        for metric in self.metrics:
            yield self.of_kind_of(metric)

    def of_kind_of(self, metric: str | None) -> Answers:
        """The answers on targets of the kind that a metric scores, ranked and selected by what the suite says for it.

        Their suite asks no dataset with answers of another kind, so that it can be asked again.
        Raises: UsageError if there are none, or without a metric if the answers are of several kinds.
        """
        if metric is None:
            if len(self.metrics) > 1:
                said = ", ".join(self.metrics)
                raise UsageError(
                    f"these answers are on targets of several kinds, each with a board of its own; take one of --metric {said}"
                )
            metric = self.metrics[0]
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS)
        kind, suite = METRICS[metric].kind, self.suite
        is_one = len(listed_metrics(suite.metric)) == len(listed_metrics(suite.selection)) == 1 and METRICS[suite.metric].kind == kind
        tables = {name: {key: own for key, own in table.items() if METRICS[own].kind == kind} for name, table in suite.metrics.items()}
        if is_one and tables == suite.metrics:
            return self
        records = [record for record in self.records if _kind(record) == kind]
        if not records:
            fit = [name for own in self.metrics for name in metrics_of(METRICS[own].kind)]
            raise UsageError(f"{metric} scores no target of these answers; metrics that fit: {', '.join(fit)}")
        own, selection = ({METRICS[name].kind: name for name in listed_metrics(text)}.get(kind) for text in (suite.metric, suite.selection))
        kept = {name: table for name, table in tables.items() if table}
        others = {record.trial.dataset_choice for record in self.records if _kind(record) != kind}
        narrowed = replace(suite, metric=own or metric, selection=selection or records[0].trial.selection, metrics=kept)
        return replace(self.of(records), suite=without_datasets(narrowed, others))

    def by(self, metric: str | None) -> Answers:
        """The same answers ranked by another metric, if one is given. Raises: UsageError as `of_kind_of`."""
        found = self.of_kind_of(metric)
        return replace(found, suite=with_options(found.suite, {"metric": metric})) if metric else found


def _kind(record: Record) -> str:
    """The kind of target that a trial was on: the metric that selected its checkpoint is of it."""
    return METRICS[record.trial.selection].kind


def by_setting(records: Iterable[Record]) -> dict[Setting, list[Record]]:
    """Records by their setting, as tables name it."""
    found: dict[Setting, list[Record]] = defaultdict(list)
    for record in records:
        found[record.trial.setting].append(record)
    return dict(found)


def current(runs: Sequence[Sequence[Record]]) -> tuple[list[Record], list[str]]:
    """The records of runs, oldest first, that belong together, and in words what is left out.

    Where a trial was planned twice, the latest plan counts. A row is of one code and one data: what the latest run of a method, or of a
    dataset, was of; and all are of the latest run's harness.
    """
    latest: dict[tuple[str, Setting, int], Record] = {}
    versions: dict[str, set[str]] = {}
    data: dict[str, set[str]] = {}
    harnesses: set[int] = set()
    for records in runs:
        mine: dict[str, set[str]] = defaultdict(set)
        theirs: dict[str, set[str]] = defaultdict(set)
        for record in records:
            trial = record.trial
            latest[trial.label, trial.setting, trial.seed] = record
            mine[trial.label].add(trial.version)
            theirs[trial.dataset_label].add(trial.fingerprint)
        versions, data = versions | mine, data | theirs
        harnesses = {record.trial.harness for record in records} or harnesses
    kept, counts = [], Counter[str]()
    for record in latest.values():
        trial = record.trial
        if trial.harness not in harnesses:
            reason = f"of version {trial.harness} of the harness"
        elif trial.version not in versions[trial.label]:
            reason = f"of {trial.label} of other code (version {trial.version})"
        elif trial.fingerprint not in data[trial.dataset_label]:
            reason = f"on {trial.dataset_label} when it was other data (fingerprint {trial.fingerprint})"
        else:
            kept.append(record)
            continue
        counts[reason] += record.status != "planned"
    return kept, [
        f"left out: {count(n, 'trial')} {reason}; `bench run` asks {agreeing(n, 'it', 'them')} anew" for reason, n in counts.items() if n
    ]


def named(records: Iterable[Record], winners: Sequence[Winner]) -> list[Record]:
    """The records with their trials named as tables name them: tuned ones after their winner, files by what tells them apart.

    A file of the same name with the same code, or the same data, is the same thing wherever it lies.
    """
    records = list(records)
    trials = [record.trial for record in records]
    methods = _short(((trial.method, trial.version) for trial in trials), registry.method_names())
    datasets = _short(((trial.dataset, trial.fingerprint) for trial in trials), registry.dataset_names())
    found = []
    for record, trial in zip(records, trials, strict=True):
        winner = next((winner for winner in winners if winner.made(trial)), None)
        row, data = trial.row, trial.data
        if not row and winner is not None:
            row = winner.called(methods)
        elif not row and trial.method in methods:
            row = method_label(methods[trial.method], trial.preset, trial.options)
        if not data and trial.dataset in datasets:
            data = str(Choice(datasets[trial.dataset], "", trial.dataset_options))
        found.append(record if (row, data) == (trial.row, trial.data) else replace(record, trial=trial.called(row, data)))
    return found


def _short(known: Iterable[tuple[str, str]], taken: Container[str]) -> dict[str, str]:
    """Names by file, each given with the hash of its code or data -> what tables call them."""
    first = alike((name, (bare(name), hash_)) for name, hash_ in known if is_file(name))
    short = short_names(first.values(), taken)
    return {name: short[own] for name, own in first.items()}


def like(trials: Iterable[Trial], records: Iterable[Record]) -> list[Trial]:
    """The trials under the names that records of the same methods and datasets bear."""
    rows, data = {}, {}
    for trial in (record.trial for record in records):
        rows[_code(trial)], data[_data(trial)] = trial.row, trial.data
    return [t.called(rows.get(_code(t), t.row), data.get(_data(t), t.data)) for t in trials]


def _code(trial: Trial) -> tuple[str, str]:
    return bare_choice(trial.choice), trial.version


def _data(trial: Trial) -> tuple[str, str]:
    return bare_choice(trial.dataset_choice), trial.fingerprint
