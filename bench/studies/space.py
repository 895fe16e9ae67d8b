"""What a tuner may try: a method's search space, and one configuration of it after the other. Free of torch.

A space is stated on the method's class (`search`: Config field -> values). A configuration counts once: what was tried is never
drawn again, so a small space ends before its budget does, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, fields
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import registry
from bench.errors import UsageError, unknown
from bench.names import Choice, Value
from bench.question.trial import Trial

if TYPE_CHECKING:
    from optuna.study import Study


SAMPLERS = ("random", "tpe")
BUDGET_FIELDS = ("epochs",)  # the budget belongs to the suite: a method may not choose its own
DRAWS = 200  # at random before the space is looked through in order
LARGEST = 1_000_000  # configurations that are looked through in order
PROPOSALS = 20  # of the TPE sampler before one is drawn at random
Options = Mapping[str, Value]


def key_of(options: Options) -> str:
    """The same text for the same configuration; 1, 1.0 and true are three values.

    >>> key_of({"b": 1, "a": True})
    "[('a', True), ('b', 1)]"
    """
    return repr(sorted(options.items()))


@dataclass(frozen=True)
class Space:
    """The configurations of one method that a tuner may try, given what the suite and the user have fixed."""

    trial: Trial  # the method at its default configuration
    values: Mapping[str, tuple[Value, ...]]  # Config field -> values

    @property
    def size(self) -> int:
        """Configurations, those that break a rule of the Config included."""
        return math.prod(map(len, self.values.values()))

    @property
    def fresh(self) -> int:
        """Configurations besides the default one."""
        default = self.default()
        return self.size - (default.keys() == self.values.keys() and all(value in self.values[name] for name, value in default.items()))

    def default(self) -> dict[str, Value]:
        """The fields of the space as they are in the default configuration, but those without a value."""
        values = {name: getattr(self.config(), name) for name in self.values}
        return {name: value for name, value in values.items() if value is not None}

    def broken_rule(self, options: Options) -> str | None:
        """Why the Config refuses these options, or None."""
        try:
            self.config(options)
        except UsageError as error:
            return str(error)
        return None

    def config(self, options: Options | None = None) -> Any:
        """The method's Config with these options. Raises: UsageError if they break one of its rules."""
        choice = Choice(self.trial.method, self.trial.preset, {**self.trial.options, **(options or {})})
        return registry.config_of(registry.method_class(self.trial.method), choice, self.trial.training)

    def draw(self, generator: np.random.Generator, tried: Set[str]) -> dict[str, Value] | None:
        """A configuration that was not tried, each with the same chance; None if there is none left.

        Raises: UsageError if the space is too large to be looked through and hardly any of it fits the Config.
        """
        reason: str | None = None
        for _ in range(DRAWS):
            options = {name: values[generator.integers(len(values))] for name, values in self.values.items()}
            if key_of(options) not in tried:
                reason = self.broken_rule(options)
                if reason is None:
                    return options
        if self.size > LARGEST:
            raise UsageError(f"search space of {self.trial.label} is contradictory: {DRAWS} configurations drawn, none fits ({reason})")
        every = (dict(zip(self.values, values, strict=True)) for values in product(*self.values.values()))
        left = [options for options in every if key_of(options) not in tried and self.broken_rule(options) is None]
        return left[generator.integers(len(left))] if left else None


def space_of(trial: Trial, fixed: Collection[str] = ()) -> Space:
    """The search space of a trial's method without the fields that its options or the user fix, checked.

    Raises: UsageError if it is empty, or names fields or values that the method's Config does not take.
    """
    cls = registry.method_class(trial.method)
    stated, label = cls.search, trial.label
    where = f"search space of {label}"
    if not isinstance(stated, Mapping):
        raise UsageError(f"{where} must be a mapping, Config field -> values, got {type(stated).__name__}")
    defaults = {field.name: field.default for field in fields(cls.Config)}
    for name, values in stated.items():
        if name not in defaults:
            raise unknown(f"field in the {where}", name, defaults)
        if name in BUDGET_FIELDS:
            raise UsageError(f"{where} names {name}, which is the budget and equal for all methods; take it out of `search`")
        if not isinstance(values, tuple | list) or not values:
            raise UsageError(f"{where} gives {name} no values: write a tuple such as (0.1, 0.3), got {values!r}")
        if len({key_of({name: value}) for value in values}) < len(values):
            raise UsageError(f"{where} gives {name} a value twice: {values!r}; name each once")
        for value in values:
            if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
                raise UsageError(f"{where}: values of {name} must be finite numbers, texts or booleans, got {value!r}")
            if isinstance(defaults[name], bool | int | float | str) and not registry.fits(value, defaults[name]):
                raise UsageError(f"{where}: values of {name} must be of type {type(defaults[name]).__name__}, got {value!r}")
    free = {name: tuple(values) for name, values in stated.items() if name not in trial.options and name not in fixed}
    if not free:
        besides = f" besides what {'is fixed' if set(stated) & set(fixed) else 'its options fix'}" if stated else ""
        raise UsageError(f"{label} has nothing to tune: its class states no `search`{besides}; add one or leave the method out")
    space = Space(trial, free)
    if space.draw(np.random.default_rng(0), set()) is None:
        first = {name: values[0] for name, values in free.items()}
        raise UsageError(f"{where} is contradictory: the Config takes none of its {space.size} configurations ({space.broken_rule(first)})")
    if space.size == 1:
        raise UsageError(f"{where} holds one configuration; give a field a second value or leave the method out")
    return space


def propose(space: Space, study: Study, sampler: str, generator: np.random.Generator, tried: Set[str]) -> dict[str, Value] | None:
    """The next configuration to try; None if none is left. What it draws from is the generator and the study's ended suggestions."""
    if sampler == "tpe":
        options = _propose_tpe(space, study, int(generator.integers(2**32)), tried)
        if options is not None:
            return options
    return space.draw(generator, tried)


def _propose_tpe(space: Space, study: Study, seed: int, tried: Set[str]) -> dict[str, Value] | None:
    """A proposal of Optuna's TPE over all fields together; None while it starts up or repeats itself."""
    import warnings

    import optuna

    with warnings.catch_warnings():  # multivariate was experimental before Optuna 5
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=False)
    here = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
    for _ in range(PROPOSALS):
        options = sampler.sample_relative(study, here, distributions(space))
        if options and key_of(options) not in tried and space.broken_rule(options) is None:
            return options
    return None


def distributions(space: Space) -> dict[str, Any]:
    """The space as Optuna states it."""
    from optuna.distributions import CategoricalDistribution

    return {name: CategoricalDistribution(values) for name, values in space.values.items()}
