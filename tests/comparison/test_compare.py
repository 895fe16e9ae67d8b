"""bench/comparison/compare.py and its page: what two methods' records say, and what they are refused to say."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from bench.comparison.compare import compare
from bench.comparison.page import markdown
from bench.data.protocol import mask_hash
from bench.errors import UsageError
from bench.leaderboard import build, significance_json
from bench.leaderboard import markdown as page_of_board
from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.records.answers import Answers
from bench.records.facts import Facts, Origin
from bench.records.predictions import Predictions
from bench.records.record import Record
from bench.stats import Estimate, crossed_test, holm, look_levels, pseudo_values, resampled_t, sequential_p
from bench.stats.levels import Levels
from bench.stats.metrics import score

SUITE = Suite("made", (Settings(("digits",)),), methods=("muse", "fusemoe"))
BASE = Trial(
    method="muse", preset="paper", options={}, training={}, dataset="digits", dataset_options={}, combination="NE",
    protocol="mcar(0.1)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip
WHERE = {"commit": "abc", "dirty": False, "hardware_id": "11aa", "device": "cpu"}
ROWS = 120
OBSERVED = np.array([[True, True], [True, False], [False, True], [True, True]]).repeat(ROWS // 4, axis=0)
IDS = np.array([f"r{i}" for i in range(ROWS)])


def made(method, seed=0, quality=1.0, status="done", where=None, facts=None, target=None, ids=IDS, **changes):
    """A record and predictions of two classes, the better the higher `quality`; tests share the samples' difficulty."""
    data = {"fingerprint": f"of {changes.get('dataset', BASE.dataset)}", **changes}
    trial = replace(BASE, method=method, seed=seed, **data)
    if status != "done":
        return Record(trial, status, "out of memory"), None
    target = np.arange(ROWS) % 2 if target is None else target
    of_samples = np.random.default_rng(sum(map(ord, trial.dataset + trial.protocol))).normal(size=ROWS)
    of_run = np.random.default_rng([seed, *map(ord, method + trial.dataset + trial.protocol)]).normal(size=ROWS)
    positive = 1 / (1 + np.exp(-((2 * target - 1) * quality + of_samples + 0.5 * of_run)))
    scores = np.column_stack([1 - positive, positive])
    metrics, reasons = score(target, scores)
    found = {
        "histogram": np.bincount(scores.argmax(1), minlength=2).tolist(), "masks": {"test": mask_hash(OBSERVED)}, "missing": {"test": 0.25},
        "rows": {"test": ROWS, "train": 4 * ROWS}, "synthetic": trial.dataset == "gaussian", "metric_reasons": reasons, **(facts or {}),
    }  # fmt: skip
    record = Record(trial, "done", None, metrics, {}, Facts.from_json(found), Origin.from_json({**WHERE, **(where or {})}))
    return record, Predictions(ids, target, scores.astype(np.float32))


def runs(method, quality, seeds=4, **changes):
    return [made(method, seed, quality, **changes) for seed in range(seeds)]


def answers_of(suite, pairs):
    return Answers(suite, [record for record, _ in pairs], {r.trial.id: arrays for r, arrays in pairs if arrays is not None})


def compared(pairs, a="muse", b="fusemoe", **options):
    return compare(answers_of(SUITE, pairs), a, b, **options)


def many(settings=7, gap=1.0, seeds=3, **changes):
    """Both methods in several settings of two datasets."""
    pairs = []
    for number in range(settings):
        where = {"dataset": ("digits", "breast-cancer")[number % 2], "protocol": f"mcar({(number + 1) / 10:g})", **changes}
        pairs += runs("muse", 0.5 + gap, seeds, **where) + runs("fusemoe", 0.5, seeds, **where)
    return pairs


def test_difference_interval_and_p_are_those_of_the_crossed_test():
    a, b = runs("muse", 2.0), runs("fusemoe", 0.5, seeds=3)
    found = compared([*a, *b]).differences[0]
    values = [np.stack([pseudo_values("accuracy", x.target, x.scores) for _, x in side]) for side in (a, b)]
    expected = crossed_test(*values)
    assert found.estimate.difference == pytest.approx(expected.difference)
    assert found.estimate.interval() == pytest.approx(expected.interval())
    assert found.estimate.p == found.p_adjusted == pytest.approx(expected.p)
    assert (found.verdict, found.beyond_rope) == ("better", True)
    assert (found.effect.a12, found.effect.outperforms) == (1, 1)


@pytest.mark.parametrize("metric", ["accuracy", "auroc", "auprc", "f1_macro", "brier", "ece"])
def test_swapping_the_methods_turns_every_sign(metric):
    forth, back = (compared(many(), a, b, metric=metric) for a, b in (("muse", "fusemoe"), ("fusemoe", "muse")))
    turned = {"better": "worse", "worse": "better"}
    for one, other in zip(forth.differences, back.differences, strict=True):
        assert one.estimate.difference == pytest.approx(-other.estimate.difference)
        assert one.estimate.p == pytest.approx(other.estimate.p)
        assert turned.get(one.verdict, one.verdict) == other.verdict
    assert forth.across[0].signed_rank.p == back.across[0].signed_rank.p
    assert turned.get(forth.across[0].verdict, "undecided") == back.across[0].verdict


def test_order_of_records_does_not_matter():
    pairs = many()
    shuffled = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
    assert compared(pairs).as_json() == compared(shuffled).as_json()


def test_lower_is_better_metric_is_turned():
    found = compared(runs("muse", 3.0) + runs("fusemoe", 0.5), metric="brier")
    assert found.differences[0].a.mean < found.differences[0].b.mean
    assert found.differences[0].estimate.difference > 0
    assert found.differences[0].verdict == "better"
    assert "turned because lower is better" in markdown(found)


def test_p_is_adjusted_by_holm_over_the_settings_of_a_kind():
    pairs = many(3, gap=0.4) + runs("muse", 0.7, dataset="gaussian") + runs("fusemoe", 0.6, dataset="gaussian")
    found = compared(pairs).differences
    assert [difference.table.synthetic for difference in found] == [False, False, False, True]
    assert [difference.tests for difference in found] == [3, 3, 3, 1]
    assert [d.p_adjusted for d in found[:3]] == pytest.approx(holm([d.estimate.p for d in found[:3]]))
    assert found[3].p_adjusted == found[3].estimate.p


def test_another_metric_than_the_suites_is_exploratory():
    found = compared(many(3), metric="auroc")
    assert (found.correction, found.exploratory) == ("Benjamini-Hochberg", True)
    assert "**Exploratory**" in markdown(found)
    assert "Exploratory" not in markdown(compared(many(3)))


def test_equal_methods_are_equivalent_within_a_wide_margin_and_undecided_within_a_narrow_one():
    pairs = runs("muse", 1.0, 8) + runs("fusemoe", 1.0, 8)
    assert compared(pairs, rope=0.2).differences[0].verdict == "equivalent"
    narrow = compared(pairs, rope=0.001).differences[0]
    assert narrow.verdict == "undecided"


def test_undecided_pair_says_how_many_seeds_would_settle_it():
    found = compared(runs("muse", 1.1, 3) + runs("fusemoe", 1.0, 3), rope=0.05)
    seeds, what = found.differences[0].seeds_needed
    assert found.differences[0].verdict == "undecided"
    assert seeds > 3
    assert what in ("difference", "equivalence")
    assert f"about {seeds} training runs of each would settle it" in markdown(found)
    assert compared(runs("muse", 3.0) + runs("fusemoe", 0.0)).differences[0].seeds_needed == (None, "")


def test_wilcoxon_over_seven_settings_and_one_value_a_dataset():
    across = compared(many(7)).across[0]
    assert (across.signed_rank.n, across.signed_rank.p, across.verdict) == (7, 2 / 2**7, "better")
    assert across.regions.decision() == "better"
    assert len(across.of_datasets) == 2
    shape = across.as_json()
    assert shape["datasets"]["sign_flip"]["reason"] == "n/a (needs n >= 6; smallest p of 2 is 0.5)"
    assert shape["complete_case"] is None


def test_too_few_settings_are_refused_not_called_insignificant():
    found = compared(many(4))
    assert found.across[0].verdict == "undecided"
    assert found.as_json()["across"]["wilcoxon"]["p"] is None
    assert found.as_json()["across"]["wilcoxon"]["reason"] == "n/a (needs n >= 6)"
    assert found.as_json()["across"]["bayes"]["better"] is None
    assert "n/a (needs n >= 6)" in markdown(found)


def test_settings_of_mixed_protocols_are_not_summed_up_unless_told():
    pairs = many(6) + many(1, protocol="natural")
    found = compared(pairs)
    assert found.across[0].reason.startswith("mixed protocols: mcar, natural")
    assert found.across[0].as_json()["reason"].startswith("n/a (mixed protocols")
    assert len(found.differences) == 7
    assert compared(pairs, allow=["protocols"]).across[0].signed_rank.n == 7


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"where": {"commit": "other"}}, "commits"),
        ({"where": {"hardware_id": "22bb"}}, "hardware"),
        ({"where": {"device": "cuda"}}, "hardware"),
        ({"fingerprint": "other"}, "data"),
        ({"facts": {"masks": {"test": "other"}}}, "data"),
        ({"fixed_seed": 3}, "protocols"),
    ],
    ids=["commit", "hardware", "device", "fingerprint", "test mask", "root seed"],
)
def test_records_that_do_not_belong_together_are_refused_unless_told(changes, kind):
    pairs = runs("muse", 1.0) + runs("fusemoe", 1.0, **changes)
    with pytest.raises(UsageError, match=f"--allow {kind}"):
        compared(pairs)
    assert compared(pairs, allow=[kind]).differences[0].estimate.p > 0


@pytest.mark.parametrize("where", [{"commit": "other"}, {"hardware_id": "22bb"}, {"device": "cuda"}], ids=["commit", "hardware", "device"])
def test_one_dataset_may_come_from_elsewhere_than_the_next(where):
    away = [*runs("muse", 1.0, dataset="av-digits", where=where), *runs("fusemoe", 2.0, dataset="av-digits", where=where)]
    assert len(compared([*runs("muse", 1.0), *runs("fusemoe", 2.0), *away]).differences) == 2


@pytest.mark.parametrize(
    ("changes", "words", "kind"),
    [
        ({"version": "newer"}, "2 versions of the code of muse", "commits"),
        ({"training": {"epochs": 9}}, "2 budgets of muse in digits", "protocols"),
    ],
    ids=["code", "budget"],
)
def test_seeds_of_one_method_that_ran_differently_are_refused_unless_told(changes, words, kind):
    pairs = [*runs("muse", 1.0, 2), made("muse", 2, **changes), *runs("fusemoe", 1.0, 3)]
    with pytest.raises(UsageError, match=f"{words}.*--allow {kind}"):
        compared(pairs)
    assert compared(pairs, allow=[kind]).differences[0].a.n == 3


def test_all_mixtures_are_named_at_once():
    with pytest.raises(UsageError, match=r"2 commits, 2 kinds of hardware.*--allow commits,hardware"):
        compared(runs("muse", 1.0) + runs("fusemoe", 1.0, where={"commit": "x", "hardware_id": "y"}))


def test_allowed_mixture_and_a_dirty_tree_stay_on_the_page():
    page = markdown(compared(runs("muse", 1.0, where={"dirty": True}) + runs("fusemoe", 1.0, where={"commit": "x"}), allow=["commits"]))
    assert "> **Warning:** some records come from a checkout with uncommitted changes." in page
    assert "> **Warning:** records come from 2 commits" in page


@pytest.mark.parametrize("changes", [{"ids": IDS[::-1]}, {"target": np.arange(ROWS) // 2 % 2}], ids=["ids", "labels"])
def test_different_test_samples_are_always_refused(changes):
    with pytest.raises(UsageError, match="different test samples or labels in digits"):
        compared(runs("muse", 1.0) + runs("fusemoe", 1.0, **changes), allow=["data", "protocols"])


def test_duplicate_trials_are_refused():
    pairs = runs("muse", 1.0) + runs("fusemoe", 1.0)
    with pytest.raises(UsageError, match="two finished trials of muse, seed 2"):
        compared([*pairs, made("muse", 2, version="newer")])


def test_one_seed_is_shown_and_not_tested():
    found = compared(runs("muse", 2.0, 1) + runs("fusemoe", 0.5, 3))
    difference = found.differences[0]
    assert math.isnan(difference.estimate.p)
    assert difference.estimate.difference > 0
    assert difference.as_json()["reason"] == "n/a (needs 2 seeds of each method, got 1 and 3)"
    assert "n/a (needs 2 seeds of each method, got 1 and 3)" in markdown(found)


def test_two_seeds_are_tested_with_a_caution():
    caution = "Two training runs of a method are too few to take a small p at its word"
    assert caution in markdown(compared(runs("muse", 2.0, 2) + runs("fusemoe", 0.5, 3)))
    assert caution not in markdown(compared(runs("muse", 2.0, 3) + runs("fusemoe", 0.5, 3)))


def test_failed_and_missing_trials_are_flagged_and_the_rest_is_tested():
    pairs = [*runs("muse", 2.0, 3), made("muse", 3, status="failed"), made("muse", 4, status="planned"), *runs("fusemoe", 0.5, 3)]
    found = compared(pairs)
    assert found.differences[0].as_json()["a"]["flags"] == ["1 failed", "1 not run"]
    assert found.differences[0].verdict == "better"
    assert "Flags of muse: 1 failed, 1 not run." in markdown(found)


def test_method_that_always_failed_counts_as_the_floor_or_the_worst_score():
    pairs = many(6) + [made("muse", seed, status="failed", protocol="mcar(0.8)") for seed in range(3)]
    pairs += runs("fusemoe", 2.0, 3, protocol="mcar(0.8)") + runs("constant", -0.5, 3, protocol="mcar(0.8)")
    found = compared(pairs)
    failed = found.differences[-1]
    assert failed.estimate.reason == "needs 2 seeds of each method with a score, got 0 and 3"
    across = found.across[0]
    constant = np.mean([record.metrics["accuracy"] for record, _ in pairs if record.trial.method == "constant"])
    assert across.filled == ("digits (NE), mcar(0.8)",)
    assert across.differences["digits", "digits (NE), mcar(0.8)"] == pytest.approx(constant - failed.b.mean)
    assert across.as_json()["complete_case"]["n"] == 6
    assert "No score of muse" in markdown(found)
    assert "Counting only the 6 where every planned trial of both gave a score: p = 0.031, effect +1.00." in markdown(found)


def test_setting_where_nothing_has_a_score_is_left_out_by_name():
    pairs = many(6) + [made(method, 0, status="failed", protocol="mcar(0.8)") for method in ("muse", "fusemoe")]
    assert compared(pairs).across[0].left_out == ("digits (NE), mcar(0.8)",)
    nothing = compared(pairs[-2:])
    assert nothing.across[0].reason == "needs a setting where some method has a score"
    assert nothing.as_json()["across"]["difference"] is None


def test_one_class_in_the_test_part_is_told():
    one = np.zeros(ROWS, dtype=int)
    pairs = [pair for method in ("muse", "fusemoe") for pair in runs(method, 1.0, target=one)]
    found = compared(pairs, metric="auroc")
    assert "class 1 is absent from the scored part" in found.differences[0].estimate.reason
    assert compared(pairs).differences[0].estimate.p > 0


def test_two_samples_of_every_class_are_needed_for_auroc():
    target = (np.arange(ROWS) == 3).astype(int)
    pairs = [pair for method in ("muse", "fusemoe") for pair in runs(method, 1.0, target=target)]
    assert compared(pairs, metric="auroc").differences[0].estimate.reason == "class 1 has fewer than two test samples"


def test_constant_predictions_are_flagged_and_tested():
    found = compared(runs("muse", 2.0) + runs("fusemoe", 0.5, facts={"histogram": [ROWS, 0]}))
    assert found.differences[0].b.flags == ("collapsed 4/4",)
    assert found.differences[0].verdict == "better"


def test_predictions_with_nan_are_refused():
    pairs = runs("muse", 1.0) + runs("fusemoe", 1.0)
    pairs[0][1].outputs[0] = np.nan
    with pytest.raises(UsageError, match="scores must be finite"):
        compared(pairs)


def test_absent_predictions_are_told():
    pairs = [(record, None) for record, _ in runs("muse", 2.0)] + runs("fusemoe", 0.5)
    found = compared(pairs).differences[0]
    assert found.estimate.reason == "needs the stored predictions of every trial"
    assert found.estimate.difference > 0


def test_splits_drawn_by_the_seed_take_the_corrected_t_test():
    def split(method, quality, seeds):
        return [made(method, seed, quality, vary="split", ids=np.roll(IDS, seed), facts={"masks": {"test": str(seed)}}) for seed in seeds]

    a, b = split("muse", 1.5, range(5)), split("fusemoe", 1.0, range(1, 5))
    found = compared([*a, *b]).differences[0]
    gaps = np.array([x.metrics["accuracy"] - y.metrics["accuracy"] for (x, _), (y, _) in zip(a[1:], b, strict=True)])
    assert found.estimate.p == pytest.approx(resampled_t(gaps, 1 / 4).p)
    b[0] = (b[0][0], replace(b[0][1], ids=IDS[::-1]))
    with pytest.raises(UsageError, match="different test samples"):
        compared([*a, *b])


def test_patterns_count_wins_and_losses_by_observed_modalities():
    pairs = runs("muse", 2.0) + runs("fusemoe", 0.5)
    found = compared(pairs, observed={mask_hash(OBSERVED): OBSERVED})
    patterns = {pattern.observed: pattern for pattern in found.differences[0].patterns}
    assert {name: pattern.n for name, pattern in patterns.items()} == {"NE": ROWS // 2, "N": ROWS // 4, "E": ROWS // 4}
    right = [
        np.mean([x.scores.argmax(1) == x.target for r, x in pairs if r.trial.method == method], axis=0) for method in ("muse", "fusemoe")
    ]
    only = (OBSERVED == [True, False]).all(1)
    assert patterns["N"].wins == (right[0] > right[1])[only].sum()
    assert patterns["N"].difference == pytest.approx((right[0] - right[1])[only].mean())
    assert sum(p.difference * p.n for p in patterns.values()) / ROWS == pytest.approx(found.differences[0].estimate.difference)
    assert "| NE         |" in markdown(found)
    assert compared(pairs, observed={"another mask": OBSERVED}).differences[0].patterns == ()
    with pytest.raises(UsageError, match="test rows x modalities"):
        compared(pairs, observed={mask_hash(OBSERVED): OBSERVED[:5]})


def test_settings_are_picked_by_their_words_and_the_rest_is_named():
    pairs = many(4) + runs("muse", 1.0, protocol="natural")
    assert len(compared(pairs, settings=["digits", "mcar(0.2)"]).differences) == 3
    assert len(compared(pairs, settings=["breast-cancer mcar(0.4)"]).differences) == 1
    assert compared(pairs).left_out == ("digits (NE), natural: no trial of fusemoe",)
    with pytest.raises(UsageError, match="no setting fits 'adni'"):
        compared(pairs, settings=["adni"])


def test_methods_are_named_as_in_the_table():
    pairs = runs("muse", 1.0) + runs("muse", 1.2, preset="as_released")
    assert compared(pairs, "muse@paper", "muse@as_released").a == "muse"
    with pytest.raises(UsageError, match="did you mean 'muse'"):
        compared(pairs, "mues", "muse")
    with pytest.raises(UsageError, match="needs two methods, got 'muse' twice"):
        compared(pairs, "muse", "muse@paper")
    with pytest.raises(UsageError, match="no setting has trials of both"):
        compared(pairs + runs("shaspec", 1.0, protocol="natural"), "muse", "shaspec")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metric": "acuracy"}, "did you mean 'accuracy'"),
        ({"rope": 0}, "above 0"),
        ({"rope": math.nan}, "above 0"),
        ({"allow": ["comits"]}, "'commits'"),
    ],
    ids=["metric", "rope", "rope NaN", "allow"],
)
def test_bad_options_are_explained(options, words):
    with pytest.raises(UsageError, match=words):
        compared(runs("muse", 1.0) + runs("fusemoe", 1.0), **options)


def test_json_has_the_documented_shape():
    pairs = many(6) + runs("muse", 1.0, dataset="gaussian") + runs("fusemoe", 1.0, dataset="gaussian")
    shape = json.loads(json.dumps(compared(pairs).as_json(), allow_nan=False))
    assert set(shape["settings"][0]) >= {
        "dataset",
        "protocol",
        "noise",
        "difference",
        "interval",
        "p",
        "p_adjusted",
        "verdict",
        "seeds_needed",
    }
    assert shape["settings"][0]["verdict"] in ("better", "worse", "equivalent", "undecided")
    assert shape["across"]["synthetic"] is False
    assert shape["across_synthetic"]["settings"] == 1


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("looks", [False, True], ids=["fixed seeds", "seeds added"])
def test_verdict_and_interval_never_disagree(seed, looks):
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(int(rng.integers(1, 7))):
        where = {"dataset": ("digits", "gaussian")[number % 2], "protocol": f"mcar({(number + 1) / 10:g})"}
        gap = float(rng.choice([0.0, 0.1, 0.3, 0.6]))
        pairs += runs("muse", 0.5 + gap, 5, **where) + runs("fusemoe", 0.5, 5, **where)
    metric = ("accuracy", "auroc")[seed % 2]
    found = compare(answers_of(PLANNED if looks else SUITE, pairs), "muse", "fusemoe", metric=metric)
    for difference in found.differences:
        low, high = difference.interval
        claimed = difference.p_adjusted <= 0.05
        assert (low > -1e-9 or high < 1e-9) if claimed else low <= 0 <= high
        assert low <= difference.estimate.difference <= high
        assert difference.verdict != "better" or low > 0
        assert difference.verdict != "worse" or high < 0
        shape = difference.as_json()
        assert shape["interval"] == [low, high]
        assert shape["interval_unadjusted"] == list(difference.alone)


def test_page_says_it_in_words():
    page = markdown(compared(many(7)))
    assert "On 120 test samples muse scored" in page
    assert "(95 % interval, for all 7 settings at once; above 0, muse is better)" in page
    assert "(95 % interval; above 0, muse is better)" in markdown(compared(many(1)))
    assert "Were the two equally good, a gap at least this large would turn up in" in page
    assert "Verdict: muse is **better**: muse beats fusemoe here, by more than the 1 point that would matter." in page
    assert "Within these settings: p = 0.016 (Wilcoxon's signed-rank test, exact; rank-biserial effect +1.00), verdict **better**." in page
    worse = markdown(compared(many(7), "fusemoe", "muse"))
    assert "Verdict: fusemoe is **worse**: muse beats fusemoe here" in worse
    assert "practically equal" in worse
    assert "equivalent**, for the difference is smaller than the 50 points" in markdown(compared(many(1), rope=0.5))


@pytest.mark.parametrize(
    ("quality", "rope", "words"),
    [
        (
            2.5,
            0.01,
            r"On digits \(NE\), mcar\(0.1\) muse is better than fusemoe: muse is right on \d+\.\d more of 100 samples",
        ),
        (-0.5, 0.01, r"fusemoe is better than muse: fusemoe is right on"),
        (0.55, 0.5, r"muse and fusemoe are equally good for practical purposes: "),
        (0.55, 0.001, r"these runs do not tell whether muse or fusemoe is better: .* can be chance. That does not make them equal."),
    ],
    ids=["better", "worse", "equivalent", "undecided"],
)
def test_page_opens_with_the_answer_in_words(quality, rope, words):
    found = compared(runs("muse", quality, 8) + runs("fusemoe", 0.5, 8), rope=rope)
    assert re.search(words, found.summary)
    assert markdown(found).splitlines()[2] == found.summary == found.as_json()["summary"]
    assert " p" not in found.summary.replace(" practical purposes", "")  # no p, no interval


def test_opening_over_settings_counts_verdicts_and_says_whether_the_lead_is_consistent():
    said = compared(many(7)).summary
    assert said.startswith(
        "Over 7 settings, each a dataset under one rule of what is missing, muse is reliably better in all. On average muse"
    )
    assert re.search(r"is right on \d+\.\d more of 100 samples than fusemoe, a lead too consistent over these settings to be chance", said)
    assert said.endswith("(p = 0.016); 2 datasets are too few to say whether it holds on others.")
    assert "so few settings do not tell whether that would hold in others" in compared(many(4)).summary
    assert "all of them share one dataset, so that nothing follows for others." in compared(many(6, dataset="digits")).summary
    mixed = compared(many(6, seeds=1) + many(1, protocol="natural")).summary
    assert "muse is reliably better in 1 and these runs do not tell which is better in 6." in mixed
    assert "ahead of fusemoe by" in compared(many(7), metric="auroc").summary
    failed = compared([made(method, 0, status="failed") for method in ("muse", "fusemoe")])
    assert "cannot be compared" in failed.summary


PLANNED = replace(SUITE, until_resolved=("fusemoe,muse@paper",), max_seeds=8)  # looks at 3, 5 and 8 seeds


def looked(pairs, suite=PLANNED, a="muse", b="fusemoe", **options):
    return compare(answers_of(suite, pairs), a, b, **options)


def test_planned_looks_are_all_taken_and_allowed_for():
    pairs = runs("muse", 1.2, 5) + runs("fusemoe", 0.8, 5)
    found = looked(pairs)
    difference, alone = found.differences[0], [compared(runs("muse", 1.2, n) + runs("fusemoe", 0.8, n)).differences[0] for n in (3, 5)]
    assert [look.seeds for look in difference.looks.taken] == [3, 5]
    assert [look.estimate.p for look in difference.looks.taken] == pytest.approx([one.estimate.p for one in alone])
    fractions = (3 / 8, 5 / 8, 1.0)
    assert difference.p == difference.p_adjusted == sequential_p(fractions, [one.estimate.p for one in alone])
    assert difference.p > alone[1].p
    assert difference.interval == pytest.approx(alone[1].estimate.interval(1 - look_levels(fractions)[1]))
    assert difference.interval[0] < alone[1].interval[0]
    page = markdown(found)
    assert "looks at 3, 5 seeds of at most 8, 0.0092 of alpha 0.05 spent; interval and p allow for every planned look." in page
    assert "Lan and DeMets 1983" in page
    shape = found.as_json()["settings"][0]["sequential"]
    assert (shape["planned"], [look["seeds"] for look in shape["looks"]], shape["p"]) == ([3, 5, 8], [3, 5], difference.p)


def test_pair_that_got_no_seeds_is_tested_as_ever():
    pairs = runs("mmformer", 1.2) + runs("shaspec", 0.8)
    assert looked(pairs, a="mmformer", b="shaspec").as_json() == compared(pairs, "mmformer", "shaspec").as_json()


def test_method_that_got_seeds_for_another_pair_is_a_warning():
    pairs = runs("muse", 1.2, 8) + runs("shaspec", 0.8)
    found = looked(pairs, b="shaspec")
    assert found.differences[0].as_json() == compared(pairs, b="shaspec").differences[0].as_json()
    assert found.warnings[-1] == "muse got seeds until another pair was resolved; these tests take the number as fixed"
    assert not looked(runs("muse", 1.2, 5) + runs("fusemoe", 0.8, 5)).warnings


def test_trials_of_an_incomplete_look_are_left_out_by_name():
    found = looked(runs("muse", 1.2, 7) + runs("fusemoe", 0.8, 5))
    assert found.differences[0].as_json() == looked(runs("muse", 1.2, 5) + runs("fusemoe", 0.8, 5)).differences[0].as_json()
    assert found.notes == ("digits (NE), mcar(0.1): 2 trials beyond the look at 5 seeds are left out",)


def test_failed_trial_counts_to_its_look():
    pairs = [*runs("muse", 1.2, 4), made("muse", 4, status="failed"), *runs("fusemoe", 0.8, 5)]
    difference = looked(pairs).differences[0]
    assert [look.seeds for look in difference.looks.taken] == [3, 5]
    assert difference.a.flags == ("1 failed",)


def test_before_the_first_look_it_is_said_so():
    pairs = runs("muse", 1.2, 2) + runs("fusemoe", 0.8, 2)
    found = looked(pairs)
    assert found.differences[0].looks is None
    assert found.notes == ("before the first planned look, at 3 seeds, and tested as it stands: digits (NE), mcar(0.1)",)


def test_equivalence_allows_for_looks_too():
    pairs = runs("muse", 1.0, 8) + runs("fusemoe", 1.0, 8)
    difference = looked(pairs, rope=0.2).differences[0]
    assert difference.verdict == "equivalent"
    assert difference.p_equivalence > compared(pairs, rope=0.2).differences[0].p_equivalence


def test_more_seeds_are_futile_where_the_samples_blur_the_difference():
    estimate = Estimate("made", 0.005, 0.03, 9.0, {"seed_a": 1e-6, "seed_b": 1e-6, "sample": 9e-4})
    difference = replace(
        compared(runs("muse", 1.0) + runs("fusemoe", 1.0)).differences[0], estimate=estimate, levels=Levels(), p_adjusted=0.9
    )
    assert difference.is_futile
    assert not replace(difference, estimate=replace(estimate, parts={**estimate.parts, "seed_a": 9e-4})).is_futile
    assert not replace(difference, levels=Levels(rope=0.2)).is_futile


@pytest.mark.parametrize(("rope", "verdict"), [(1.0, "undecided"), (30.0, "equivalent")])
def test_board_and_comparison_decide_by_the_margin_of_the_suite(rope, verdict):
    suite, pairs = replace(SUITE, rope=rope), runs("muse", 1.1, 8) + runs("fusemoe", 1.0, 8)
    answers = answers_of(suite, pairs)
    board, found = build(answers), compare(answers, "muse", "fusemoe")
    assert [difference.verdict for difference in found.differences] == [verdict]
    assert [test.verdict for test in board.settings[0].tests.tests] == [verdict]
    assert json.loads(significance_json(board))["rope"] == found.as_json()["rope"] == rope / 100
    for page in (page_of_board(board), markdown(found)):
        assert ("30 points" in page) == (rope == 30)


# Datasets that hold the same data


def test_two_names_of_the_same_data_are_one_value_over_settings_and_over_datasets():
    pairs = many(7)
    again = [(replace(r, trial=replace(r.trial, dataset=f"copy of {r.trial.dataset}")), arrays) for r, arrays in pairs]
    one, twice = compared(pairs), compared([*pairs, *again])
    assert twice.as_json()["across"]["datasets"]["n"] == one.as_json()["across"]["datasets"]["n"] == 2
    assert twice.across[0].signed_rank == one.across[0].signed_rank
    assert sorted(twice.across[0].values) == pytest.approx(sorted(one.across[0].values))
    assert twice.summary.startswith("Over 7 settings")
    assert "breast-cancer and copy of breast-cancer hold the same data: counted as one dataset" in twice.warnings


def test_options_of_one_dataset_are_one_value_over_datasets():
    pairs = runs("muse", 1.5) + runs("fusemoe", 0.5)
    other = [(replace(r, trial=replace(r.trial, dataset_options={"size": 3}, fingerprint="g")), arrays) for r, arrays in pairs]
    found = compared([*pairs, *other]).across[0]
    assert len(found.values) == 2
    assert len(found.of_datasets) == 1
