"""Scores, pseudo-values and bootstraps of labels and values: as scikit-learn, scipy, and leaving rows out or drawing them one by one have
them."""

import numpy as np
import pytest
import scipy.stats
from sklearn import metrics as sk

from bench.errors import UsageError
from bench.stats import pseudo_values
from bench.stats.bootstrap import sample_counts, weighted_scores
from bench.stats.kinds import KINDS, kind_of, wrong_targets
from bench.stats.metrics import METRICS, listed_metrics, metric_for, metrics_of, score, selection_score


def labelled(n=40, labels=4, unknown=0.15, seed=0, digits=1):
    """Targets with cells that nobody knows, and probabilities rounded so that ties occur."""
    rng = np.random.default_rng(seed)
    target = (rng.random((n, labels)) < 0.4).astype(np.int64)
    scores = np.clip(np.round(rng.random((n, labels)) * 0.7 + 0.3 * target, digits), 0, 1)
    target[rng.random((n, labels)) < unknown] = -1
    return target, scores


def valued(n=40, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.normal(150, 70, n)
    return target, (0.6 * target + rng.normal(60, 30, n))[:, None]


MAKE = {"labels": labelled, "value": valued}
CASES = [(metric.kind, name) for name, metric in METRICS.items() if metric.kind in MAKE]
every_metric = pytest.mark.parametrize(("kind", "metric"), CASES, ids=[name for _, name in CASES])


def by_scikit_learn(metric, target, scores):
    """The mean over labels of a score of the rows that know each, or one over all known cells."""
    known = target >= 0
    binary = {
        "auroc": sk.roc_auc_score,
        "auprc": sk.average_precision_score,
        "f1": lambda t, s: sk.f1_score(t, s > 0.5, zero_division=0.0),
        "brier": sk.brier_score_loss,
    }[metric.split("_")[1]]
    if metric.endswith("micro"):
        return binary(target[known], scores[known])
    return np.mean([binary(target[known[:, k], k], scores[known[:, k], k]) for k in range(target.shape[1])])


@pytest.mark.parametrize("unknown", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("metric", metrics_of("labels"))
def test_scores_of_labels_are_those_of_scikit_learn(metric, seed, unknown):
    target, scores = labelled(unknown=unknown, seed=seed)
    assert METRICS[metric].of(target, scores) == pytest.approx(by_scikit_learn(metric, target, scores), abs=1e-12)


def test_without_unknown_cells_scikit_learn_averages_alike():
    target, scores = labelled(unknown=0)
    for average in ("macro", "micro"):
        end = "_micro" * (average == "micro")
        found, _ = score(target, scores)
        assert found[f"label_auroc{end}"] == pytest.approx(sk.roc_auc_score(target, scores, average=average))
        assert found[f"label_auprc{end}"] == pytest.approx(sk.average_precision_score(target, scores, average=average))
        assert found[f"label_f1{end}"] == pytest.approx(sk.f1_score(target, scores > 0.5, average=average, zero_division=0.0))


@pytest.mark.parametrize("seed", range(3))
def test_scores_of_values_are_those_of_scikit_learn_and_scipy(seed):
    target, scores = valued(seed=seed)
    x = scores[:, 0]
    found, reasons = score(target, scores)
    assert not reasons
    r = scipy.stats.pearsonr(x, target).statistic
    expected = {
        "mae": sk.mean_absolute_error(target, x),
        "rmse": sk.root_mean_squared_error(target, x),
        "r2": sk.r2_score(target, x),
        "pearson": r,
        "concordance": 2 * r * x.std() * target.std() / (x.var() + target.var() + (x.mean() - target.mean()) ** 2),
    }
    assert found == pytest.approx(expected)


def test_labels_too_rare_for_a_test_are_called_by_their_names():
    target = np.zeros((6, 3), np.int64)
    target[:3, 1] = 1
    untested = KINDS["labels"].why_untested
    said = "have fewer than two test samples with it, or without it"
    assert untested(target, 3, ("stroke", "fever", "death")) == f"labels stroke, death {said}"
    assert untested(target, 3, ()) == f"labels 0, 2 {said}"


def test_label_absent_from_a_part_is_nan_with_a_reason():
    target, scores = labelled()
    target[:, 2] = np.minimum(target[:, 2], 0)
    found, reasons = score(target, scores)
    assert np.isnan([found["label_auroc"], found["label_auprc"]]).all()
    assert reasons == dict.fromkeys(("label_auroc", "label_auprc"), "label 2 has no yes, or no no, in the scored part")
    assert score(target, scores, ("stroke", "fever", "death", "sepsis")[: target.shape[1]])[1] == dict.fromkeys(
        ("label_auroc", "label_auprc"), "label death has no yes, or no no, in the scored part"
    )
    assert np.isfinite([found[name] for name in ("label_auroc_micro", "label_auprc_micro", "label_f1", "label_brier")]).all()
    target[:, 2] = -1
    assert set(score(target, scores)[1]) == {"label_auroc", "label_auprc", "label_brier"}


def test_correlation_of_one_answer_is_nan_with_a_reason_and_errors_are_not():
    target, scores = valued()
    found, reasons = score(target, np.full_like(scores, 3.3))
    assert reasons == {"pearson": "every row got the same prediction"}
    assert found["concordance"] == pytest.approx(0)
    assert found["r2"] < 0
    _, reasons = score(np.full_like(target, 0.1), scores)
    assert reasons == dict.fromkeys(("r2", "pearson"), "the target has one value in the whole scored part")


def slow(metric, target, scores):
    n, whole = len(target), METRICS[metric].of(target, scores)
    return [n * whole - (n - 1) * METRICS[metric].of(np.delete(target, i, axis=0), np.delete(scores, i, axis=0)) for i in range(n)]


@pytest.mark.parametrize("seed", range(4))
@every_metric
def test_pseudo_values_equal_leaving_out_each_row_with_all_its_cells(kind, metric, seed):
    target, scores = MAKE[kind](seed=seed)
    found = pseudo_values(metric, target, scores)
    if metric == "rmse":  # the delta method: the first step of the same
        whole = METRICS[metric].of(target, scores)
        assert found.mean() == pytest.approx(whole)
        assert np.corrcoef(found, slow(metric, target, scores))[0, 1] > 0.999
        return
    assert np.allclose(found, slow(metric, target, scores), atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("digits", [0, 1, 6])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("metric", ["label_auroc_micro", "label_auprc_micro"])
def test_micro_pseudo_values_hold_with_any_ties_and_unknown_cells(metric, seed, digits):
    target, scores = labelled(n=17, labels=3, unknown=0.4, seed=seed, digits=digits)
    assert np.allclose(pseudo_values(metric, target, scores), slow(metric, target, scores), atol=1e-9)


def test_pseudo_values_are_nan_where_a_label_hangs_on_one_row():
    target, scores = labelled(unknown=0)
    target[:, 0] = 0
    target[3, 0] = 1
    assert np.isnan(pseudo_values("label_auroc", target, scores)).all()
    assert np.isfinite(pseudo_values("label_auroc_micro", target, scores)).all()


@every_metric
def test_weighted_scores_are_those_of_the_drawn_rows(kind, metric):
    made = [MAKE[kind](n=60, seed=0)[0], np.stack([MAKE[kind](n=60, seed=seed)[1] for seed in range(2)])]
    counts = sample_counts(made[0], 20, np.random.default_rng(0))
    found = weighted_scores(metric, *made, counts)
    assert found.shape == (2, 20)
    for replicate in range(20):
        rows = np.repeat(np.arange(60), counts[:, replicate].astype(int))
        for seed in range(2):
            assert found[seed, replicate] == pytest.approx(METRICS[metric].of(made[0][rows], made[1][seed][rows]), abs=1e-5)


@every_metric
def test_sure_and_right_is_perfect(kind, metric):
    target, scores = MAKE[kind]()
    right = np.where(target == 1, 1.0, 0.0) if kind == "labels" else target[:, None]
    known = METRICS[metric]
    assert known.of(target, right) == pytest.approx(known.perfect)
    assert known.lower <= known.of(target, scores) <= known.upper
    assert known.sign * known.of(target, scores) < known.sign * known.perfect


def test_targets_tell_their_kind():
    for kind, target in (("classes", np.arange(3)), ("labels", labelled()[0]), ("value", valued()[0])):
        assert kind_of(target) is KINDS[kind]
        assert wrong_targets(target, {"classes": 3, "labels": 4, "value": 1}[kind]) == ""
    assert "whole numbers" in wrong_targets(np.zeros((3, 2)), 2)
    assert "1, 0 or -1" in wrong_targets(np.full((3, 2), 2), 2)
    assert "finite" in wrong_targets(np.array([0.0, np.nan]), 1)
    assert "no score" in wrong_targets(np.array([0, 3]), 3)


def test_checkpoints_are_selected_by_the_metric_then_by_what_breaks_ties():
    target, scores = valued()
    better = scores * 0.5 + target[:, None] * 0.5
    assert selection_score("mae", target, better) > selection_score("mae", target, scores)
    assert selection_score("pearson", target, np.ones_like(scores))[0] == -np.inf
    asked, said = labelled()
    surer = np.where(asked == 1, np.minimum(said + 0.1, 1), np.maximum(said - 0.1, 0))
    assert selection_score("label_f1", asked, surer) > selection_score("label_f1", asked, said)


def test_one_metric_of_each_kind_is_taken_and_others_are_refused_with_those_that_fit():
    assert listed_metrics("accuracy") == ("accuracy",)
    assert metric_for("mae, auroc", "classes", "digits") == "auroc"
    with pytest.raises(
        UsageError, match="of each kind of target one metric ranks and one selects, got 'mae,rmse'; metrics of a kind are value: mae"
    ):
        listed_metrics("mae,rmse")
    with pytest.raises(
        UsageError, match=r"accuracy is no score of the target of diabetes, .* kind value; metrics that fit: mae, rmse, r2, pearson"
    ):
        metric_for("accuracy", "value", "diabetes")
    with pytest.raises(UsageError, match="unknown metric 'maee', did you mean 'mae'"):
        listed_metrics("maee")
