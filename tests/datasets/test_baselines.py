"""Simple baselines on the real data give what independent code gave: nothing was lost or leaked on the way into the suite.

Expected values: scikit-learn on the raw files (imputation, missing indicators, standardising, logistic regression with C = 0.1), test
accuracy, macro-F1 and AUROC in per cent, mean of three stratified 70/15/15 splits (mosi: the authors' split, one run).
"""

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.data.grammar import parse_protocol, parse_rule
from bench.data.loading import load
from bench.data.parts import build_parts
from bench.methods.flatten import flatten
from bench.names import parse_choice
from bench.question.plan import plan
from bench.question.suite import read_suite, with_options
from bench.training.trial import run_trial

EXPECTED = {  # dataset: (seeds, accuracy, macro-F1, AUROC)
    "support2": ("0-2", 69.9, 69.4, 76.7),
    "support2[modalities=panels]": ("0-2", 69.9, 69.4, 76.7),
    "uci-heart": ("0-2", 81.4, 81.2, 89.7),
    "av-digits": ("0-2", 99.3, 99.3, 100.0),
    "mosi-utterance": ("0", 75.7, 74.4, 82.6),
}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("dataset", EXPECTED)
def test_logistic_regression_scores_as_elsewhere(real_data, dataset):
    seeds, *expected = EXPECTED[dataset]
    options = {"methods": "mean-logistic", "datasets": dataset, "protocols": "natural", "vary": "split", "seeds": seeds}
    records = [run_trial(trial)[0] for trial in plan(with_options(read_suite("quick"), options))]
    found = [100 * np.mean([record.metrics[metric] for record in records]) for metric in ("accuracy", "f1_macro", "auroc")]
    assert found == pytest.approx(expected, abs=2)


INDICATED = {  # accuracy, macro-F1, AUROC: their regression sees which single values are missing, ours which modalities are
    "mi-complications": (89.7, 77.1, 88.8),
    "eicu-demo": (88.6, 56.7, 69.9),
}


@pytest.mark.parametrize("dataset", INDICATED)
def test_logistic_regression_with_single_gaps_scores_as_elsewhere(real_data, dataset):
    """The regression of the expected values, on our rows as they are learnt and before they are scaled, in our splits."""
    source, samples, _ = load(parse_choice(dataset))
    found = []
    for seed in range(3):
        parts = build_parts(source, samples, samples.schema.combination, parse_protocol("natural"), seed, 0, "split")
        train, test = (parts.learnt(parts.hider(part, parse_rule("natural"))) for part in ("train", "test"))
        imputer = SimpleImputer(strategy="median", add_indicator=True)
        model = make_pipeline(imputer, StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(flatten(train), train.target)
        died = model.predict_proba(flatten(test))[:, 1]
        macro = f1_score(test.target, died > 0.5, average="macro")
        found.append((accuracy_score(test.target, died > 0.5), macro, roc_auc_score(test.target, died)))
    assert (100 * np.mean(found, axis=0)).tolist() == pytest.approx(INDICATED[dataset], abs=3)
