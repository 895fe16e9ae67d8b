"""A trial's data: the dataset it names, cut and hidden as it asks."""

from __future__ import annotations

from bench.data.grammar import parse_protocol
from bench.data.loading import load
from bench.data.parts import Parts, build_parts
from bench.datasets.base import Dataset
from bench.names import Choice
from bench.question.trial import Trial


def parts_of(trial: Trial, test: bool = True) -> tuple[Dataset, Parts]:
    """The dataset of a trial and its parts, the test part empty unless asked for.

    Raises: UsageError if the dataset does not load or the protocol cannot act on it.
    """
    dataset, samples = load(Choice(trial.dataset, "", trial.dataset_options))
    protocol = parse_protocol(trial.protocol)
    return dataset, build_parts(dataset, samples, trial.combination, protocol, trial.seed, trial.fixed_seed, trial.vary, test)
