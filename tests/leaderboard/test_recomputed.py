"""Every number of a printed board of labels and of a value, worked out anew from stored predictions: by scikit-learn, by leaving samples
out one by one, and by the mean squares of the crossed design as `docs/use/statistics.md` has it."""

import csv
import io
import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

import bench
from bench.leaderboard import build, markdown
from bench.leaderboard.tables import significance_json, table_csv
from bench.records.answers import Answers
from bench.records.database import Store

METHODS = "constant,mean-logistic,mean-mlp,best-single"
RANKED = ("best-single", "mean-logistic", "mean-mlp")
DATA = {
    "label_auroc": ("gaussian[target=labels,n=300,labels=2]", -1.0, 100, 1),
    "mae": ("diabetes", 1.0, 1, 3),
}
SEEDS = 3


def score_of(metric, target, scores):
    return sk.roc_auc_score(target, scores) if metric == "label_auroc" else sk.mean_absolute_error(target, scores[:, 0])


def leaving_out(metric, target, scores):
    """Jackknife values, each sample left out in turn. Shapes: -> (N,)."""
    n, every = len(target), score_of(metric, target, scores)
    others = [np.delete(np.arange(n), i) for i in range(n)]
    return np.array([n * every - (n - 1) * score_of(metric, target[rows], scores[rows]) for rows in others])


class Method:
    """The seeds of one method: their scores (S,) and the value of each sample (S, N)."""

    def __init__(self, metric, arrays):
        self.scores = np.array([score_of(metric, one.target, one.scores) for one in arrays])
        self.values = np.array([leaving_out(metric, one.target, one.scores) for one in arrays])

    @property
    def of_seeds(self):
        return self.scores.var(ddof=1) / SEEDS if np.ptp(self.scores) > 1e-10 else 0.0

    @property
    def residual(self):
        """Mean square of the interaction, over S N."""
        x = self.values
        left = x - x.mean(1, keepdims=True) - x.mean(0) + x.mean()
        return (left**2).sum() / ((SEEDS - 1) * (x.shape[1] - 1)) / x.size

    def interval(self):
        sample = max(self.values.mean(0).var(ddof=1) / self.values.shape[1] - self.residual, 0)
        return ends(self.scores.mean(), self.of_seeds + sample, [self.of_seeds])


def freedom(variance, of_seeds):
    below = sum(part**2 / (SEEDS - 1) for part in of_seeds)
    return variance**2 / below if below else math.inf


def ends(centre, variance, of_seeds):
    reach = stats.t.ppf(0.975, freedom(variance, of_seeds)) * math.sqrt(variance)
    return centre - reach, centre + reach


def compared(a, b, sign):
    """Difference, 95 % interval of the pair alone, and p; above 0, a is better."""
    difference = sign * (a.scores.mean() - b.scores.mean())
    apart = (a.values.mean(0) - b.values.mean(0)).var(ddof=1) / a.values.shape[1] - a.residual - b.residual
    parts = [a.of_seeds, b.of_seeds]
    variance = sum(parts) + max(apart, 0)
    p = 2 * stats.t.sf(abs(difference) / math.sqrt(variance), freedom(variance, parts))
    return difference, ends(difference, variance, parts), p


def holm(p):
    order, found, most = np.argsort(p), np.empty(len(p)), 0.0
    for place, which in enumerate(order):
        most = max(most, min(1.0, (len(p) - place) * p[which]))
        found[which] = most
    return found


@pytest.fixture(scope="module", params=DATA)
def board(request, tmp_path_factory):
    metric, out = request.param, tmp_path_factory.mktemp("runs")
    bench.run(methods=METHODS, datasets=DATA[metric][0], noise=0.3, seeds=range(SEEDS), training={"epochs": 3}, out=out, jobs=1, quiet=True)
    with Store(out, create=False) as store:
        records = [record for record in store.records() if record.status == "done"]
        stored = store.predictions(record.trial.id for record in records)
    methods = {}
    for label in METHODS.split(","):
        methods[label] = Method(metric, [stored[r.trial.id] for r in sorted(records, key=lambda r: r.trial.seed) if r.trial.label == label])
    ceiling = [record.metrics[metric] for record in records if record.trial.method == "bayes"]
    bound = float(np.mean(ceiling)) if ceiling else 0.0  # a perfect error
    clean = [replace(record, provenance=replace(record.provenance, dirty=False)) for record in records]  # else nothing is tested
    return metric, build(Answers(bench.board(out, metric=metric).suite, clean, stored)), methods, bound


def text(metric, value):
    _, _, factor, digits = DATA[metric]
    shown = factor * value
    return f"{shown:.{digits}f}" if digits == 1 or abs(shown) >= 0.01 or round(shown, 8) == 0 else f"{shown:.3g}"


def lines_of(page):
    return [[cell.strip(" *●") for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]


def row_with(page, head, label):
    """The cells of a method in the table that has this column, by the names of columns."""
    lines = lines_of(page)
    at = next(place for place, cells in enumerate(lines) if head in cells)
    row = next(cells for cells in lines[at + 2 :] if cells[lines[at].index("Method")].startswith(label))
    return dict(zip(lines[at], row, strict=True))


def test_means_spreads_and_intervals_are_those_of_the_predictions(board):
    metric, found, methods, _ = board
    page = markdown(found)
    for label, method in methods.items():
        cells = row_with(page, f"{metric}, mean ± SD (n)", label)
        mean, sd = text(metric, method.scores.mean()), text(metric, method.scores.std(ddof=1))
        assert cells[f"{metric}, mean ± SD (n)"] == f"{mean} ± {sd} ({SEEDS})"
        low, high = method.interval()
        low, high = max(low, 0), min(high, 1 if metric == "label_auroc" else math.inf)
        assert row_with(page, "95 % interval", label)["95 % interval"] == f"{text(metric, low)}-{text(metric, high)}"


def test_distances_to_floor_and_ceiling_are_those_of_the_predictions(board):
    metric, found, methods, ceiling = board
    sign, floor = -DATA[metric][1], methods["constant"].scores.mean()
    for label in RANKED:
        cells = row_with(markdown(found), "Above floor", label)
        above = methods[label].scores.mean() - floor
        shown = text(metric, abs(above))
        assert cells["Above floor"] == ("+" if sign * above >= 0 else "-") + shown
        assert float(cells["Gap closed %"]) == pytest.approx(100 * above / (ceiling - floor), abs=0.51)


def test_tests_ranks_and_verdicts_follow_from_the_predictions(board):
    metric, found, methods, _ = board
    sign = -DATA[metric][1]
    pairs = list(itertools.combinations(RANKED, 2))
    own = {pair: compared(methods[pair[0]], methods[pair[1]], sign) for pair in pairs}
    adjusted = dict(zip(pairs, holm(np.array([own[pair][2] for pair in pairs])), strict=True))
    tests = found.settings[0].tests
    assert tests.reason == ""
    for (a, b), (difference, alone, p) in own.items():
        test = tests.between(a, b)
        assert test.difference == pytest.approx(difference, abs=1e-9)
        assert test.p == pytest.approx(p, rel=1e-6)
        assert test.p_adjusted == pytest.approx(adjusted[a, b], rel=1e-6)
        assert test.alone == pytest.approx(alone, rel=1e-6)
        assert test.low <= test.alone[0] + 1e-12
        assert test.high >= test.alone[1] - 1e-12
        expected = ("better" if difference > 0 else "worse") if adjusted[a, b] <= 0.05 else "undecided"
        assert test.verdict.rstrip("*") in (expected, "equivalent")
    order = sorted(RANKED, key=lambda label: -sign * methods[label].scores.mean())
    rows = found.settings[0].by_label
    assert [rows[label].rank for label in order] == [1, 2, 3]
    for label in RANKED:
        beaten = [
            other for other in RANKED if other != label
            and adjusted[tuple(sorted((label, other)))] <= 0.05
            and sign * (methods[label].scores.mean() - methods[other].scores.mean()) < 0
        ]  # fmt: skip
        beats = [
            other for other in RANKED if other != label
            and adjusted[tuple(sorted((label, other)))] <= 0.05
            and sign * (methods[label].scores.mean() - methods[other].scores.mean()) > 0
        ]  # fmt: skip
        assert (rows[label].place.low, rows[label].place.high) == (1 + len(beaten), len(RANKED) - len(beats))


def test_tables_to_publish_carry_the_same_numbers(board):
    metric, found, methods, _ = board
    table = {line["method"]: line for line in csv.DictReader(io.StringIO(table_csv(found)))}
    for label, method in methods.items():
        assert float(table[label]["mean"]) == pytest.approx(method.scores.mean(), rel=1e-6)
        assert float(table[label]["sd"]) == pytest.approx(method.scores.std(ddof=1), rel=1e-5, abs=1e-9)
    told = [test for test in json.loads(significance_json(found))["tests"] if test["family"] == found.settings[0].tests.name]
    assert len(told) == 3
    for test in told:
        difference, alone, p = compared(methods[test["a"]], methods[test["b"]], -DATA[metric][1])
        assert [test["difference"], *test["interval_unadjusted"]] == pytest.approx([difference, *alone], rel=1e-5, abs=1e-7)
        assert test["p"] == pytest.approx(p, rel=1e-4, abs=1e-7)
