"""The datasets known by name. Importable without torch: classes are named, not imported."""

from __future__ import annotations

DATASETS: dict[str, str] = {
    "digits": "bench.datasets.digits:Digits",
    "breast-cancer": "bench.datasets.breast_cancer:BreastCancer",
    "diabetes": "bench.datasets.diabetes:Diabetes",
    "gaussian": "bench.datasets.gaussian:GaussianClasses",
    "support2": "bench.datasets.support2:Support2",
    "uci-heart": "bench.datasets.uci_heart:UciHeart",
    "three-sources": "bench.datasets.three_sources:ThreeSources",
    "mi-complications": "bench.datasets.mi_complications:MiComplications",
    "eicu-demo": "bench.datasets.eicu_demo:EicuDemo",
    "av-digits": "bench.datasets.av_digits:AvDigits",
    "mosi-utterance": "bench.datasets.mosi_utterance:MosiUtterance",
    "cmu-mosi": "bench.datasets.cmu_mosi:CmuMosi",
    "enrico": "bench.datasets.enrico:Enrico",
    "adni": "bench.datasets.adni:Adni",
    "mimic-iv": "bench.datasets.mimic_iv:MimicIv",
}
# Whose ids anybody may see: row numbers, or names that their source has published. It stands here and not in their classes, whose text is
# part of the fingerprint where they learn from data.
PUBLIC_IDS = frozenset(
    (
        "digits", "breast-cancer", "diabetes", "gaussian", "support2", "uci-heart", "three-sources", "mi-complications", "eicu-demo",
        "av-digits", "mosi-utterance", "cmu-mosi", "enrico",
    )
)  # fmt: skip
