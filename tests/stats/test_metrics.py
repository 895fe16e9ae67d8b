"""bench/stats/metrics.py: scores equal scikit-learn's or numbers worked out by hand."""

import numpy as np
import pytest
from sklearn import metrics as reference

from bench.stats.bootstrap import RESAMPLERS
from bench.stats.kinds import softmax
from bench.stats.metrics import METRICS, expected_calibration_error, metrics_of, score, selection_score
from bench.stats.pseudo import LEAVE_ONE_OUT, PER_SAMPLE


def predictions(classes, n=80, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, n)
    scores = rng.dirichlet(np.ones(classes), n) + 0.5 * np.eye(classes)[target]
    return target, scores / scores.sum(1, keepdims=True)


@pytest.mark.parametrize("digits", [1, 12], ids=["ties", "no-ties"])
@pytest.mark.parametrize("classes", [2, 4])
def test_scores_equal_scikit_learn(classes, digits):
    target, scores = predictions(classes)
    scores = np.round(scores, digits)
    found, reasons = score(target, scores)
    guess = scores.argmax(1)
    assert found["accuracy"] == reference.accuracy_score(target, guess)
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(target, guess))
    assert found["f1_macro"] == pytest.approx(reference.f1_score(target, guess, average="macro"))
    one_hot = np.eye(classes)[target]
    assert found["auroc"] == pytest.approx(
        reference.roc_auc_score(target, scores[:, 1]) if classes == 2 else reference.roc_auc_score(one_hot, scores, average="macro")
    )
    expected = (
        reference.average_precision_score(target, scores[:, 1]) if classes == 2 else reference.average_precision_score(one_hot, scores)
    )
    assert found["auprc"] == pytest.approx(expected)
    assert not reasons


def test_softmax_is_its_formula_and_keeps_ties():
    logits = np.random.default_rng(0).normal(size=(50, 4))
    assert softmax(logits) == pytest.approx(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), abs=1e-15)
    assert softmax(np.array([[0.0, 0, 0], [1e300, -1e300, 0], [-5, -5, -800]])) == pytest.approx(
        np.array([[1, 1, 1], [3, 0, 0], [1.5, 1.5, 0]]) / 3, abs=1e-15
    )
    rows = softmax(np.array([[0.5, 1.25], [64.5, 65.25]]))
    assert np.array_equal(rows[0], rows[1])


def test_brier_of_two_classes_is_the_usual_one():
    target, scores = predictions(2)
    assert METRICS["brier"].of(target, scores) == pytest.approx(reference.brier_score_loss(target, scores[:, 1]))


def test_calibration_error_by_hand():
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.3, 0.7]])
    assert expected_calibration_error(np.array([0, 1, 1, 1]), scores) == pytest.approx(0.5 * 0.4 + 0.5 * 0.3)


def test_absent_class_gives_nan_with_a_reason_and_no_crash():
    target, scores = predictions(3)
    target[target == 2] = 0
    found, reasons = score(target, scores)
    assert np.isnan([found["auroc"], found["auprc"]]).all()
    assert reasons == dict.fromkeys(("auroc", "auprc"), "class 2 is absent from the scored part")
    assert np.isfinite([found[name] for name in ("accuracy", "balanced_accuracy", "f1_macro", "brier", "ece")]).all()


def test_constant_prediction_of_half_positive_scores_half():
    found, _ = score(np.array([0, 1] * 10), np.tile([0.4, 0.6], (20, 1)))
    assert (found["accuracy"], found["auroc"], found["balanced_accuracy"]) == (0.5, 0.5, 0.5)
    assert found["f1_macro"] == pytest.approx((2 / 3) / 2)


def test_a_metric_is_one_row_and_statistics_know_every_row():
    assert all(metric.name == name and metric.meaning for name, metric in METRICS.items())
    assert set(PER_SAMPLE) | set(LEAVE_ONE_OUT) == set(RESAMPLERS) == set(METRICS)
    assert not set(PER_SAMPLE) & set(LEAVE_ONE_OUT)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("metric", metrics_of("classes").values(), ids=metrics_of("classes"))
def test_sure_and_right_is_perfect_and_no_score_leaves_the_range(metric, classes):
    target = np.arange(4 * classes) % classes
    right, wrong = np.eye(classes)[target], np.eye(classes)[(target + 1) % classes]
    assert metric.of(target, right) == metric.perfect
    assert metric.lower <= metric.of(target, wrong) <= metric.upper
    assert metric.sign * metric.of(target, wrong) < metric.sign * metric.perfect


def test_selection_prefers_the_metric_then_the_likelihood():
    target = np.array([0, 1])
    sure, unsure, wrong = ([[p, 1 - p], [1 - p, p]] for p in (0.9, 0.6, 0.1))
    keys = [selection_score("accuracy", target, np.array(scores)) for scores in (sure, unsure, wrong)]
    assert keys[0] > keys[1] > keys[2]
    assert selection_score("brier", target, np.array(sure)) > selection_score("brier", target, np.array(unsure))


def test_selection_by_a_metric_that_is_nan_falls_back_to_likelihood():
    target = np.array([0, 0])
    assert selection_score("auroc", target, np.array([[0.9, 0.1]] * 2)) > selection_score("auroc", target, np.array([[0.6, 0.4]] * 2))
