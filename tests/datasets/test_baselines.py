"""Simple baselines on the real data give what independent code gave: nothing was lost or leaked on the way into the suite.

Expected values: scikit-learn on the raw files (imputation, missing indicators, standardising, logistic regression with C = 0.1), test
accuracy, macro-F1 and AUROC in per cent, mean of three stratified 70/15/15 splits (mosi: the authors' split, one run).
"""

import numpy as np
import pytest

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
