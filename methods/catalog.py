"""The methods known by name. Importable without torch: classes are named, not imported."""

from __future__ import annotations

PAPER: dict[str, str] = {  # the methods the suite exists to compare
    "moe-retriever": "bench.methods.moe_retriever:MoERetriever",
    "mmformer": "bench.methods.mmformer:MMFormer",
    "shaspec": "bench.methods.shaspec:ShaSpec",
    "m3care": "bench.methods.m3care:M3Care",
    "muse": "bench.methods.muse:Muse",
    "fusemoe": "bench.methods.fusemoe:FuseMoE",
    "flexmoe": "bench.methods.flexmoe:FlexMoE",
    "simmlm": "bench.methods.simmlm:SimMLM",
    "healnet": "bench.methods.healnet:HEALNet",
    "i2m2": "bench.methods.i2m2:I2M2",
    "mfm": "bench.methods.mfm:MFM",
}
REFERENCE: dict[str, str] = {  # what a method must beat to be worth its name
    "constant": "bench.methods.constant:Constant",
    "best-single": "bench.methods.best_single:BestSingle",
    "mean-logistic": "bench.methods.mean_logistic:MeanLogistic",
    "gradient-boosting": "bench.methods.gradient_boosting:GradientBoosting",
    "mean-mlp": "bench.methods.mean_mlp:MeanMLP",
    "dropout-transformer": "bench.methods.dropout_transformer:DropoutTransformer",
}
FLOOR = "constant"  # looks at nothing: what a method gains is counted from it
CEILING = "bayes"  # joins by itself where a dataset knows its exact posterior: nobody can do better
UNRANKED: dict[str, str] = {FLOOR: "floor", CEILING: "ceiling"}
METHODS: dict[str, str] = PAPER | REFERENCE | {CEILING: "bench.methods.bayes:Bayes"}
GROUPS: dict[str, tuple[str, ...]] = {"all": (*PAPER, *REFERENCE), "paper": tuple(PAPER), "reference": tuple(REFERENCE)}


def role(name: str) -> str:
    """What a method is there for: paper, reference, floor or ceiling; outside, if it is not listed here."""
    return UNRANKED.get(name) or ("paper" if name in PAPER else "reference" if name in REFERENCE else "outside")
