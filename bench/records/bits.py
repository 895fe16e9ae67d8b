"""Two trials' predictions put side by side, bit for bit. Free of torch."""

from __future__ import annotations

import math

import numpy as np

from bench.records.predictions import SCORES, Predictions
from bench.stats.kinds import kind_of

LAST_BITS = 2.0**-50  # relative; what two exponentials in double precision may differ by


def differences(stored: Predictions, new: Predictions) -> tuple[tuple[str, ...], int, float, int | None]:
    """Names of arrays that are not the same to the last bit, rows, largest difference of a score, rows told otherwise.

    Of a trial stored when probabilities were cut to float32, the bits are those of the new probabilities cut so.
    """
    then, now = stored.named(), (cut(new, stored) if is_cut(stored) and not is_cut(new) else new).named()
    differing = tuple(sorted(name for name in then.keys() | now.keys() if not _same(then.get(name), now.get(name))))
    differing = tuple(name.replace("evaluations/", "evaluation ", 1) for name in differing)
    if {"ids", "target"} & set(differing) or stored.outputs.shape != new.outputs.shape:
        return differing, len(stored.ids), math.nan, None
    changed = int((kind_of(stored.target).answers(stored.scores) != kind_of(stored.target).answers(new.scores)).any(1).sum())
    if not differing:
        return differing, len(stored.ids), 0.0, changed
    shared = [rule for rule, outputs in new.evaluations.items() if rule in stored.evaluations and outputs.shape == stored.outputs.shape]
    pairs = [(stored.scores, new.scores), *((stored.scores_under(rule), new.scores_under(rule)) for rule in shared)]
    return differing, len(stored.ids), max(float(np.abs(a - b).max()) for a, b in pairs), changed


def is_cut(predictions: Predictions) -> bool:
    """Whether they are probabilities in float32, as every method's were before logits were stored."""
    return predictions.form == SCORES and predictions.outputs.dtype == np.float32


def cut(new: Predictions, stored: Predictions) -> Predictions:
    """The new predictions in the form of stored ones that were cut to float32."""
    evaluations = {rule: _as_float32(new.scores_under(rule), stored.evaluations.get(rule)) for rule in new.evaluations}
    return Predictions(new.ids, new.target, _as_float32(new.scores, stored.outputs), evaluations, SCORES, new.observed)


def _as_float32(scores: np.ndarray, stored: np.ndarray | None) -> np.ndarray:
    """The scores in float32; halfway between two of these the last bit of an exponential decides, and either is what was stored."""
    cut = scores.astype(np.float32)
    if stored is None or stored.shape != cut.shape:
        return cut
    low, high = ((scores * (1 + step)).astype(np.float32) for step in (-LAST_BITS, LAST_BITS))
    return np.where((low <= stored) & (stored <= high), stored, cut)


def _same(then: np.ndarray | None, now: np.ndarray | None) -> bool:
    if then is None or now is None or then.shape != now.shape:
        return False
    if then.dtype.kind in "US":
        return bool((then == now).all())
    return then.dtype == now.dtype and then.tobytes() == now.tobytes()
