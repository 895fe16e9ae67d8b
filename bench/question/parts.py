"""A trial's data: the dataset it names, cut and hidden as it asks."""

from __future__ import annotations

from bench.data.grammar import parse_protocol
from bench.data.loading import load, load_same
from bench.data.parts import Parts, build_parts
from bench.datasets.base import Dataset
from bench.names import Choice
from bench.question.trial import Trial


def parts_of(trial: Trial, test: bool = True) -> tuple[Dataset, Parts]:
    """The dataset of a trial and its parts, the test part empty unless asked for.

    Raises: UsageError if the dataset does not load, is not the one the trial was planned on, or the protocol cannot act on it.
    """
    choice = Choice(trial.dataset, "", trial.dataset_options)
    if trial.harness < 2 and load(choice).samples.fingerprint()[:16] == trial.fingerprint:  # it knew of nothing but samples
        dataset, samples, _ = load(choice)
    else:
        dataset, samples, _ = load_same(choice, trial.fingerprint)
    protocol = parse_protocol(trial.protocol)
    return dataset, build_parts(dataset, samples, trial.combination, protocol, trial.seed, trial.fixed_seed, trial.vary, test)
