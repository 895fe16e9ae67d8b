"""Answers as they may be published: nothing tells where on a machine something lay, or whose a row is. Free of torch."""

from __future__ import annotations

import getpass
import re
import shlex
import socket
import tomllib
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

from bench import registry
from bench.data.attributes import Attributes
from bench.names import parse_choice, short_names, split_list
from bench.question import budgets
from bench.question.suite import suite_from
from bench.question.trial import Trial
from bench.question.winners import winners_of
from bench.records.answers import Answers, StoredPredictions, named, portion
from bench.records.ids import PRIVATE, SALTED, Salter, kinds_of, new_salt
from bench.records.predictions import Predictions
from bench.records.record import Finding, Record

SEP = r"[\\/]+"  # of a path; what Python quotes has backslashes twice
# Of a path of some machine: /x, ~/x, ~ann/x, ../x, C:\x, \\server\x; an address of the web, leaderboards/real and 3/10 have none
START = r"(?:file:/{0,2})?(?:(?:~(?:[A-Za-z_][\w.-]*)?|\.\.)?/(?!/)|[A-Za-z]:[\\/]|\\\\+[\w.$-]+\\)"
NOT_BEFORE = r"(?<![\w.~/+\\-])"
DELIMITED = re.compile(rf"(?:^|(?<=['\"=,;(\[])){START}[^'\"\n,;)\]]*")  # up to its delimiter: it may hold blanks
BARE = re.compile(
    rf"{NOT_BEFORE}{START}(?:[\w.@+~$-]+{SEP})+[\w.@+~-]*|{NOT_BEFORE}(?:~(?:[A-Za-z_][\w.-]*)?|\.\.|[A-Za-z]:){SEP}[\w.@+-]+"
    rf"|{NOT_BEFORE}\\\\+[\w.$-]+\\+[\w.@+-]+"
)
USERS = r"(?:/(?:home|Users)/|[A-Za-z]:[\\/]+(?:Users|Documents and Settings)[\\/]+)"
IN_HOME = re.compile(rf"(?<![\w.])(?:file:/{{0,3}})?{USERS}[^\\/'\"\n:,;]+{SEP}(?=\S)")  # a person's name may hold blanks, in quotes or not
HOME = re.compile(rf"(?:{USERS}[^\\/]+|/root)[\\/]*")
ADDRESS = re.compile(  # of a share, a bucket, another machine; of the web only if its host is a machine nearby
    r"\b(?:(?!https?:)[a-z][a-z0-9+.]*://|https?://(?:[^\s/@'\"]+@)?(?:[\w-]+|[\d.]+)(?::\d+)?(?:/|$|(?=[\s'\"])))[^\s'\"<>,;)\]]*"
)
LOGIN = re.compile(r"(?<=://)[^\s/@'\"]+@")  # in an address of the web
REMOTE = re.compile(r"(?<![\w.])[\w.-]+@[\w.-]+:(?=[~/\w])")  # ann@server:/x
COMMON = frozenset(("root", "user", "users", "test", "data", "localhost", "admin", "home", "jovyan", "runner", "docker", "ubuntu"))


def public(answers: Answers) -> Answers:
    """The same answers without paths and private ids: a method from a file is `mine.py:Mine`, any other path its last part.

    Ids of samples are hashed with the salt of the answers' results folder, wherever they stand (see `bench.records.ids`). Two files of one
    name keep as much of their folders as tells them apart. A trial whose options named a path has another id then, for the path was part
    of what it said; so has one of the first harness that named a file.
    """
    trials = [record.trial for record in answers.records]
    names = [name for trial in trials for name in (trial.method, trial.dataset)]
    files = short_names([*names, *_asked(answers)], least=1)
    clean = _Clean(dict(sorted(files.items(), key=lambda item: -len(item[0]))))  # a path may begin with another one
    kinds = kinds_of(answers.records, read_by_all=answers.salt is None)
    hidden = {name for name, kind in kinds.items() if kind == PRIVATE}
    salter = Salter(answers.salt() if answers.salt is not None else new_salt()) if hidden else None
    if salter is not None:
        _learn_ids(answers, hidden, salter)
    records = []
    for record in answers.records:
        own = salter if record.trial.dataset in hidden else None
        records.append(_record(record, clean, kinds[record.trial.dataset], own))
    ids = {record.trial.id: other.trial.id for record, other in zip(answers.records, records, strict=True)}
    suite = suite_from(answers.suite.name, clean(tomllib.loads(answers.suite.to_toml())))
    return Answers(
        suite=suite,
        records=named(records, winners_of(suite)),
        predictions=_salted(answers, ids, hidden, salter),
        audits=[Finding(**clean(asdict(finding))) for finding in answers.audits],
        commands=[clean.command(command) for command in answers.commands],
        folder=answers.folder,
        withheld=answers.withheld,
        cut=answers.cut,
        left_out=[clean.text(line) for line in answers.left_out],
        attributes=_public_attributes(answers, hidden, salter),
    )


def _public_attributes(answers: Answers, hidden: Container[str], salter: Salter | None) -> dict[str, Attributes]:
    """Attributes of test rows under the ids that these are published by, of datasets that say so and whose owners forbid nothing."""
    rows: dict[str, dict[str, None]] = {}
    private, refused = set(), set()
    for _, here in answers.by_setting():
        for record in here.records:
            trial = record.trial
            if trial.fingerprint not in answers.attributes:
                continue
            if record.facts.restricted or registry.terms_of(trial.dataset)[0]:
                refused.add(trial.fingerprint)
            if trial.dataset in hidden:
                private.add(trial.fingerprint)
            if trial.id in here.predictions:
                rows.setdefault(trial.fingerprint, {}).update(dict.fromkeys(map(str, here.predictions[trial.id].ids.tolist())))
    found = {}
    for fingerprint, ids in rows.items():
        own = answers.attributes[fingerprint]
        if own.is_public and fingerprint not in refused:
            found[fingerprint] = own.only(ids, salter.of if salter is not None and fingerprint in private else str)
    return found


def _learn_ids(answers: Answers, hidden: Container[str], salter: Salter) -> None:
    """Afterwards `salter` knows all ids of test rows of hidden datasets: whatever text names one is cleaned of it."""
    for _, here in answers.by_setting():
        last: list[str] = []
        for record in here.records:
            if record.trial.dataset in hidden and record.trial.id in here.predictions:
                own = here.predictions[record.trial.id].ids.tolist()
                for id_ in own if own != last else ():
                    salter.of(str(id_))
                last = own


def _salted(answers: Answers, ids: Mapping[str, str], hidden: Container[str], salter: Salter | None) -> Mapping[str, Predictions]:
    """The predictions of these records by the ids that their trials get, those of hidden datasets under hashed ids."""
    before = {new: old for old, new in ids.items()}
    salted = {ids[record.trial.id] for record in answers.records if record.trial.dataset in hidden}

    def read(wanted: Sequence[str]) -> dict[str, Predictions]:
        stored = portion(answers.predictions, [before[id_] for id_ in wanted])
        found = {id_: stored[before[id_]] for id_ in wanted if before[id_] in stored}
        return {id_: salter.predictions(own) if salter is not None and id_ in salted else own for id_, own in found.items()}

    return StoredPredictions(before, read)


def _asked(answers: Answers) -> list[str]:
    """Names by file in the suite: what it asks may have no trial yet."""
    suite = answers.suite
    texts = [*suite.methods, *(name for table in suite.settings for name in table.datasets), *suite.configs]
    texts += [*suite.budgets, *(name for table in suite.budgets.values() for name in budgets.of_methods(table)), *suite.metrics]
    texts += [name for pair in suite.until_resolved for name in split_list(pair)]
    return [parse_choice(text).name for text in texts]


class _Clean:
    """Takes paths out of texts, wherever they stand in a structure."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files
        self.known: dict[str, str] = {}  # texts that were cleaned: most stand in many records

    def __call__(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {self(key): self(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(self, value))
        return self.text(value) if isinstance(value, str) else value

    def command(self, text: str) -> str:
        """A command line as `shlex.join` writes it, cleaned word by word: quotes may hold more than a path with blanks."""
        try:
            words = shlex.split(text)
        except ValueError:
            return self.text(text)
        return shlex.join(map(self.text, words)) if shlex.join(words) == text else self.text(text)

    def text(self, text: str) -> str:
        if text not in self.known:
            clean = text
            for name, short in self.files.items():
                clean = clean.replace(name, short)
            self.known[text] = without_paths(clean)
        return self.known[text]


def without_paths(text: str) -> str:
    """The text with every path of a machine as its last part, and a home folder as `~`.

    >>> without_paths("open('/home/Ann Lee/w.pt'): see /srv/lab/a.log, https://example.org/a/b and leaderboards/real")
    "open('w.pt'): see a.log, https://example.org/a/b and leaderboards/real"
    """
    text = ADDRESS.sub(lambda found: found[0] if found[0].startswith("file:") else _last(found[0]), text)
    text = IN_HOME.sub("~/", REMOTE.sub("", LOGIN.sub("", text)))
    text = DELIMITED.sub(lambda found: " ".join(map(_last, re.split(rf" (?={START})", found[0]))), text)
    return BARE.sub(lambda found: _last(found[0]), text)


def _last(path: str) -> str:
    if HOME.fullmatch(re.sub("^file:/{0,2}(?=/)|^file:/*", "", path)):
        return "~"
    return re.split(SEP, path.rstrip("\\/"))[-1] or path


@lru_cache
def _own_names() -> re.Pattern[str] | None:
    """This machine and who works on it, as words that a message may hold; None if they tell nothing."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name, as in a container
        user = ""
    host = socket.gethostname()
    names = {user, host, host.partition(".")[0]}
    telling = sorted((name for name in names if len(name) > 2 and name.lower() not in COMMON), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, telling))})(?!\w)") if telling else None


def without_names(text: str) -> str:
    """A message without the name of this machine and of its user."""
    names = _own_names()
    return text if names is None else names.sub("...", text)


def _record(record: Record, clean: _Clean, kind: str, salter: Salter | None) -> Record:
    """One of a dataset whose ids are of a kind; `salter` if these must be hashed."""

    def told(text: str) -> str:
        return clean.text(without_names(text if salter is None else salter.text(text)))

    trial = Trial(**clean(record.trial.as_dict()))
    facts = record.facts
    evaluations = {rule: replace(one, metric_reasons=_each(one.metric_reasons, told)) for rule, one in facts.evaluations.items()}
    facts = replace(
        facts,
        ids=SALTED if kind == PRIVATE else facts.ids,
        notes=[told(line) for line in facts.notes],
        concerns=[told(line) for line in facts.concerns],
        metric_reasons=_each(facts.metric_reasons, told),
        evaluations=evaluations,
    )
    origin = replace(record.provenance, node=None)
    record = replace(record, reason=None if record.reason is None else told(record.reason), facts=facts, provenance=origin)
    return Record.from_json(trial, clean(record.as_json()))


def _each(texts: Mapping[str, str], told: Callable[[str], str]) -> dict[str, str]:
    return {name: told(text) for name, text in texts.items()}
