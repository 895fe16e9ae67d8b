"""Predictions of test rows: what a trial hands over, what is stored, and what statistics read. Free of torch."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

EVALUATION = "evaluations/"  # heads the name of the scores under an evaluation's rule


@dataclass(frozen=True)
class Predictions:
    """Test predictions of one trial. Shapes: ids (N,), target (N,) int64, scores (N, C) float32, rows summing to 1.

    `evaluations` holds the scores (N, C) of the same rows, by the rule of each evaluation.
    """

    ids: np.ndarray
    target: np.ndarray
    scores: np.ndarray
    evaluations: Mapping[str, np.ndarray] = field(default_factory=dict)

    def named(self) -> dict[str, np.ndarray]:
        """All arrays by the names they have in a file."""
        arrays = {"ids": self.ids.astype(str), "target": self.target, "scores": self.scores}
        return arrays | {f"{EVALUATION}{rule}": scores for rule, scores in self.evaluations.items()}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Predictions:
        """From arrays by their names. Raises: KeyError if one is absent."""
        evaluations = {name.removeprefix(EVALUATION): array for name, array in arrays.items() if name.startswith(EVALUATION)}
        return cls(arrays["ids"], arrays["target"], arrays["scores"], evaluations)

    def write(self) -> bytes:
        """As compressed bytes (npz, no pickles), which `read` takes."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self.named())  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def read(cls, blob: bytes) -> Predictions:
        with np.load(io.BytesIO(blob), allow_pickle=False) as arrays:
            return cls.of(arrays)

    def shares_rows(self, other: Predictions) -> bool:
        """Whether both are of the same test samples with the same targets, in the same order."""
        pairs = ((self.ids, other.ids), (self.target, other.target))
        return all(one is another or np.array_equal(one, another) for one, another in pairs)


def stack(predictions: Mapping[str, Predictions]) -> dict[str, np.ndarray]:
    """Predictions by trial as few arrays: trials tested on the same samples share ids and targets, and their scores are stacked.

    Test part k has `k/ids` (N,), `k/target` (N,), `k/trials` (T,), `k/scores` (T, N, C) and, for each evaluation's rule,
    `k/evaluations/RULE` (T, N, C).
    """
    parts: list[tuple[Predictions, list[str]]] = []
    index: dict[tuple, list[int]] = defaultdict(list)
    for id_, found in predictions.items():
        kind = (found.scores.shape, tuple(found.evaluations), len(found.ids), hash(found.target.tobytes()))
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
        arrays[f"{number}/scores"] = np.stack([found.scores for found in own])
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
            shared = {name: part.pop(name) for name in ("ids", "target", "trials")}
            places = [(place, str(id_)) for place, id_ in enumerate(shared["trials"].tolist()) if str(id_) in asked]
            found |= {id_: Predictions.of({**shared, **{name: scores[place] for name, scores in part.items()}}) for place, id_ in places}
        elif head in asked:
            found[head] = Predictions.of({name.partition("/")[2]: arrays[name] for name in own})
    return found
