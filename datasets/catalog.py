"""The datasets known by name. Importable without torch: classes are named, not imported."""

from __future__ import annotations

DATASETS: dict[str, str] = {
    "digits": "bench.datasets.digits:Digits",
    "breast-cancer": "bench.datasets.breast_cancer:BreastCancer",
    "gaussian": "bench.datasets.gaussian:GaussianClasses",
}
