"""Answers as they may be published: nothing in them tells where on a machine something lay. Free of torch."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bench.names import parse_choice, short_names, split_list
from bench.question.suite import suite_from
from bench.question.trial import Trial
from bench.question.winners import winners_of
from bench.records.answers import Answers, named
from bench.records.record import Finding, Record

START = r"(?:file://)?(?:~|\.\.)?/(?!/)"  # of a path of some machine; an address of the web, leaderboards/real and 3/10 have none
DELIMITED = re.compile(rf"(?:^|(?<=['\"=,;(\[])){START}[^'\"\n,;)\]]*")  # up to its delimiter: it may hold blanks
BARE = re.compile(rf"(?<![\w.~/+-]){START}(?:[\w.@+~-]+/)+[\w.@+~-]*|(?<![\w.~/+-])(?:~|\.\.)/[\w.@+-]+")
IN_HOME = re.compile(r"(?<![\w.])(?:file://)?/(?:home|Users)/[^/'\"\n:,;]+/(?=\S)")  # a person's name may hold blanks, in quotes or not
HOME = re.compile(r"(?:/(?:home|Users)/[^/]+|/root)/*")


def public(answers: Answers) -> Answers:
    """The same answers without paths: a method from a file is `mine.py:Mine`, any other path its last part.

    Two files of one name keep as much of their folders as tells them apart. A trial whose options named a path has another id then, for
    the path was part of what it said; so has one of the first harness that named a file.
    """
    trials = [record.trial for record in answers.records]
    names = [name for trial in trials for name in (trial.method, trial.dataset)]
    files = short_names([*names, *_asked(answers)], least=1)
    clean = _Clean(dict(sorted(files.items(), key=lambda item: -len(item[0]))))  # a path may begin with another one
    records = [_record(record, clean) for record in answers.records]
    ids = {record.trial.id: other.trial.id for record, other in zip(answers.records, records, strict=True)}
    suite = suite_from(answers.suite.name, clean(tomllib.loads(answers.suite.to_toml())))
    return Answers(
        suite=suite,
        records=named(records, winners_of(suite)),
        predictions={ids[id_]: found for id_, found in answers.predictions.items() if id_ in ids},
        audits=[Finding(**clean(asdict(finding))) for finding in answers.audits],
        commands=[clean.command(command) for command in answers.commands],
        folder=answers.folder,
        left_out=[clean.text(line) for line in answers.left_out],
    )


def _asked(answers: Answers) -> list[str]:
    """Names by file in the suite: what it asks may have no trial yet."""
    suite = answers.suite
    texts = [*suite.methods, *(name for table in suite.settings for name in table.datasets), *suite.configs, *suite.budgets]
    texts += [name for pair in suite.until_resolved for name in split_list(pair)]
    return [parse_choice(text).name for text in texts]


class _Clean:
    """Takes paths out of texts, wherever they stand in a structure."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files

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
        for name, short in self.files.items():
            text = text.replace(name, short)
        return without_paths(text)


def without_paths(text: str) -> str:
    """The text with every path of a machine as its last part, and a home folder as `~`.

    >>> without_paths("open('/home/Ann Lee/w.pt'): see /srv/lab/a.log, https://example.org/a/b and leaderboards/real")
    "open('w.pt'): see a.log, https://example.org/a/b and leaderboards/real"
    """
    text = IN_HOME.sub("~/", text)
    text = DELIMITED.sub(lambda found: " ".join(map(_last, re.split(rf" (?={START})", found[0]))), text)
    return BARE.sub(lambda found: _last(found[0]), text)


def _last(path: str) -> str:
    path = path.removeprefix("file://")
    if HOME.fullmatch(path):
        return "~"
    return path.rstrip("/").rpartition("/")[2] or path


def _record(record: Record, clean: _Clean) -> Record:
    trial = Trial(**clean(record.trial.as_dict()))
    return Record.from_json(trial, clean(record.as_json()))
