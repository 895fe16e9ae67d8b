"""Predictions of test rows: what a trial hands over, and the scores that all metrics and tests read. Free of torch."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from bench.stats.kinds import kind_of

LOGITS = "logits"  # unnormalised log-probabilities of a method that the suite trains
SCORES = "scores"  # probabilities of a method that fits itself, values in their unit; of every method in files of before there were logits
EVALUATION = "evaluations/"  # heads the name of the outputs under an evaluation's rule


@dataclass(frozen=True)
class Predictions:
    """Test predictions of one trial, as its method gave them. Shapes: ids (N,), target (N,) int64, outputs (N, C) float32 or float64;
    of labels target (N, L) int64 and outputs (N, L), of a value target (N,) float64 and outputs (N, 1) in its unit.

    `outputs` are logits or scores, as `form` says, in the precision that the method computed in: they are stored
    untouched, so nothing that tells two rows apart is lost. Files of before hold probabilities cut to float32. `evaluations` holds the
    outputs (N, C) of the same rows, by the rule of each evaluation. Whoever wants scores takes `scores` and `scores_under`: what
    is scored is then what is stored. `observed` (N, M) bool is what the rows have of the trial's modalities before any rule hides some;
    None where they have all, or nothing was asked under other rules.
    """

    ids: np.ndarray
    target: np.ndarray
    outputs: np.ndarray
    evaluations: Mapping[str, np.ndarray] = field(default_factory=dict)
    form: str = SCORES
    observed: np.ndarray | None = None

    @property
    def scores(self) -> np.ndarray:
        """Probabilities or values (N, C) float64, worked out from the stored outputs each time."""
        return self._scores(self.outputs)

    def scores_under(self, rule: str) -> np.ndarray:
        """Probabilities or values (N, C) float64 of the same rows under the rule of an evaluation. Raises: KeyError if there is none."""
        return self._scores(self.evaluations[rule])

    def _scores(self, outputs: np.ndarray) -> np.ndarray:
        # sums depend on the order of the bytes in their last digits, which a file does not keep for a transposed array
        values = np.ascontiguousarray(outputs, dtype=np.float64)
        return kind_of(self.target).scores(values, self.form == LOGITS)

    def named(self) -> dict[str, np.ndarray]:
        """What a trial computed, and of which rows, by the names that arrays have in a file."""
        arrays = {"ids": self.ids.astype(str), "target": self.target, self.form: self.outputs}
        return arrays | {f"{EVALUATION}{rule}": outputs for rule, outputs in self.evaluations.items()}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Predictions:
        """From arrays by their names. Raises: KeyError if one is absent."""
        evaluations = {name.removeprefix(EVALUATION): array for name, array in arrays.items() if name.startswith(EVALUATION)}
        form = LOGITS if LOGITS in arrays else SCORES
        return cls(arrays["ids"], arrays["target"], arrays[form], evaluations, form, arrays.get("observed"))

    @classmethod
    def read(cls, blob: bytes) -> Predictions:
        """From compressed bytes (npz, no pickles), as databases of before hold them."""
        with np.load(io.BytesIO(blob), allow_pickle=False) as arrays:
            return cls.of(arrays)

    def without_outputs(self) -> Predictions:
        """Its rows alone: ids and targets."""
        return Predictions(self.ids, self.target, np.empty((0, self.outputs.shape[1]), self.outputs.dtype), {}, self.form, self.observed)

    def shares_rows(self, other: Predictions) -> bool:
        """Whether both are of the same test samples with the same targets, in the same order."""
        pairs = ((self.ids, other.ids), (self.target, other.target))
        return all(one is another or np.array_equal(one, another) for one, another in pairs)


def stack(predictions: Mapping[str, Predictions]) -> dict[str, np.ndarray]:
    """Predictions by trial as few arrays: trials tested on the same samples share ids and targets, and outputs of one kind are stacked.

    Part k has `k/ids` (N,), `k/target` (N,) or (N, L), `k/trials` (T,), `k/logits` or `k/scores` (T, N, C) and, for each evaluation's rule,
    `k/evaluations/RULE` (T, N, C); `k/observed` (N, M) where rows lack modalities by nature and there are such rules.
    """
    parts: list[tuple[Predictions, list[str]]] = []
    index: dict[tuple, list[int]] = defaultdict(list)
    for id_, found in predictions.items():
        rows = (found.target.dtype, hash(found.target.tobytes()))
        kind: tuple = (found.form, found.outputs.dtype, found.outputs.shape, tuple(found.evaluations), *rows)
        kind += () if found.observed is None else (found.observed.shape, found.observed.tobytes())
        place = next((number for number in index[kind] if parts[number][0].shares_rows(found)), None)
        if place is None:
            place = len(parts)
            parts.append((found, []))
            index[kind].append(place)
        parts[place][1].append(id_)
    arrays: dict[str, np.ndarray] = {}
    for number, (first, ids) in enumerate(parts):
        own = [predictions[id_] for id_ in ids]
        arrays |= {f"{number}/ids": first.ids.astype(str), f"{number}/target": first.target, f"{number}/trials": np.array(ids)}
        arrays |= {} if first.observed is None else {f"{number}/observed": first.observed}
        arrays[f"{number}/{first.form}"] = np.stack([found.outputs for found in own])
        arrays |= {f"{number}/{EVALUATION}{rule}": np.stack([found.evaluations[rule] for found in own]) for rule in first.evaluations}
    return arrays


def unstack(arrays: Mapping[str, np.ndarray], names: Iterable[str], wanted: Iterable[str]) -> dict[str, Predictions]:
    """The predictions of the wanted trials from the arrays that `stack` made; `names` are the keys of these.

    Files of before the stacking, with `TRIAL/ids` and the like, are read too. Raises: KeyError if an array is absent.
    """
    asked = set(wanted)
    heads: dict[str, list[str]] = defaultdict(list)
    for name in names:
        heads[name.partition("/")[0]].append(name)
    found: dict[str, Predictions] = {}
    for head, own in heads.items():
        if f"{head}/trials" in own:
            part = {name.partition("/")[2]: arrays[name] for name in own}
            shared: dict[str, np.ndarray] = {name: part.pop(name) for name in ("ids", "target", "trials", "observed") if name in part}
            places = [(place, str(id_)) for place, id_ in enumerate(shared["trials"].tolist()) if str(id_) in asked]
            found |= {id_: Predictions.of({**shared, **{name: outputs[place] for name, outputs in part.items()}}) for place, id_ in places}
        elif head in asked:
            found[head] = Predictions.of({name.partition("/")[2]: arrays[name] for name in own})
    return found
