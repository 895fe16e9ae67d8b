"""How near the methods come to the exact posterior of the synthetic `gaussian` data, and whether any goes above it. Prints JSON.

    python benchmarks/gaussian_ceiling.py OUT      (OUT: results of `bench run --methods all --datasets gaussian --noise 0,0.3 ...`)

A method significantly above Bayes would have seen something it must not see. For each rate and method: accuracy of the method less
that of `bayes` on the same test rows and masks, mean over seeds, with the crossed seed x sample 95 % interval of the difference.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from bench.records.folder import answers_of
from bench.stats import crossed_interval, pseudo_values


def main(out: str) -> None:
    answers = answers_of(out)
    done = [record for record in answers.records if record.status == "done" and record.trial.dataset == "gaussian"]
    arrays = answers.of(done).predictions
    result: dict[str, dict[str, object]] = {}
    for protocol in sorted({record.trial.protocol for record in done}):
        hits: dict[str, dict[int, np.ndarray]] = {}
        for record in done:
            if record.trial.protocol == protocol:
                found = arrays[record.trial.id]
                hits.setdefault(record.trial.label, {})[record.trial.seed] = pseudo_values("accuracy", found.target, found.scores)
        bayes = hits.pop("bayes")
        rows = {}
        for label, by_seed in hits.items():
            values = np.stack([by_seed[seed] - bayes[seed] for seed in sorted(by_seed)])
            low, high = crossed_interval(values, values.mean(1))
            rows[label] = {"difference": round(values.mean(), 4), "low": round(low, 4), "high": round(high, 4), "above": bool(low > 0)}
        ordered = dict(sorted(rows.items(), key=lambda item: -item[1]["difference"]))
        accuracy = round(float(np.mean(list(bayes.values()))), 4)
        result[protocol] = {
            "bayes_accuracy": accuracy,
            "any_significantly_above": any(row["above"] for row in rows.values()),
            "methods": ordered,
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
