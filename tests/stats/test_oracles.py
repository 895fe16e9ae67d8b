"""bench/stats against numbers worked out elsewhere: every case of the oracle file, and the paper's own tables under these tests."""

import csv
import json
import math
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench import stats

ORACLES = Path(__file__).parents[1] / "oracles"
CASES = {case["id"]: case for case in json.loads((ORACLES / "stat_oracles.json").read_text(encoding="utf-8"))["cases"]}
CHECKS = {}


def checks(id_):
    def keep(check):
        CHECKS[id_] = check
        return check

    return keep


@pytest.mark.parametrize("id_", CASES)
def test_oracle(id_):
    case = CASES[id_]
    tolerance = case["tolerance"]

    def close(found, name, expected):
        """Within the stated tolerance; answers are printed to ten digits, so never closer than half of the last."""
        limit = tolerance.get(name, tolerance.get("default", 0))
        assert found == pytest.approx(expected, abs=limit, rel=5e-10, nan_ok=True), name

    CHECKS[id_](case["inputs"], case["expected"], close)


def printed():
    """Every number that the MoE-Retriever paper printed."""
    with (ORACLES.parents[1] / "docs" / "sources" / "moe_retriever_tables.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = tuple(row[name] for name in ("table", "dataset", "modality", "noise", "metric"))
            numbers = {name: float(row[name]) for name in ("mean", "std")}
            yield SimpleNamespace(key=key, **{**row, **numbers})


def table_scores(table, metric=None, methods=None):
    """Scores (N, K) of a table of the paper, and its methods."""
    cells = defaultdict(dict)
    for cell in printed():
        if cell.table in table and metric in (None, cell.metric):
            cells[cell.key][cell.method] = cell
    methods = methods or list(next(iter(cells.values())))
    return np.array([[cell[method].mean for method in methods] for cell in cells.values()]), cells


@checks("demsar2006_friedman_nemenyi")
def _(inputs, expected, close):
    for name, answer in expected.items():
        ranks = stats.rank_matrix(np.array(inputs[name]))
        found = stats.friedman(ranks)
        close(found.mean_ranks, "mean_ranks", answer["mean_ranks"])
        close(found.chi2_uncorrected, "chi2", answer["chi2_uncorrected"])
        close(found.chi2, "chi2", answer["chi2_tie_corrected"])
        close(found.p_chi2, "p", answer["p_chi2_tie_corrected"])
        close(found.f_uncorrected, "F", answer["iman_davenport_F_uncorrected"])
        close(found.f, "F", answer["iman_davenport_F_tie_corrected"])
        close(found.p, "p", answer["p_iman_davenport_tie_corrected"])
        assert found.freedom == (answer["df1"], answer["df2"])
        pairs = stats.nemenyi(found.mean_ranks, found.n)
        close(pairs.critical_difference, "CD", answer["nemenyi_CD05"])
        close(pairs.critical_difference / answer["se_rank_diff"], "q", answer["nemenyi_q05"])
        close(stats.nemenyi(found.mean_ranks, found.n, 0.1).critical_difference, "CD", answer["nemenyi_CD10"])
        for row, wanted in zip(pairs.p, answer["nemenyi_p"], strict=True):
            close(row, "nemenyi_p", wanted)


@checks("demsar2006_control_holm")
def _(inputs, expected, close):
    z, p = stats.against_control(inputs["mean_ranks"], inputs["N"], control=0)
    close(z[1:], "z", expected["z"])
    close(p[1:], "p", expected["p_raw"])
    close(stats.holm(p)[1:], "p", expected["p_holm"])
    assert (stats.holm(p)[1:] <= 0.05).tolist() == expected["holm_reject_05"]
    close(stats.bonferroni_dunn(inputs["k"], inputs["N"]), "CD", expected["bonferroni_dunn_CD05"])


@checks("demsar2006_wilcoxon_zeros_ties")
def _(inputs, expected, close):
    differences = np.round(np.subtract(inputs["a"], inputs["b"]), inputs["round_differences_to"])
    for zeros, answer in expected.items():
        found = stats.signed_rank(differences, zeros)
        close(found.plus, "R", answer["R_plus"])
        close(found.minus, "R", answer["R_minus"])
        close(min(found.plus, found.minus), "T", answer["T"])
        close(found.p, "p", answer["p_two_sided_exact_signflip"])
        close(found.p_asymptotic, "p_two_sided_asymptotic", answer["p_two_sided_asymptotic"])
        close(found.effect, "effect", answer["rank_biserial"])
        assert found.nonzero == answer["n_nonzero"]


@checks("hollander_wolfe_depression_wilcoxon")
def _(inputs, expected, close):
    found = stats.signed_rank(np.subtract(inputs["a"], inputs["b"]))
    assert (found.plus, found.minus) == (expected["R_plus"], expected["R_minus"])
    close(found.p_greater, "p", expected["p_greater"])
    close(found.p, "p", expected["p_two_sided"])


@checks("mcnemar_exact")
def _(inputs, expected, close):
    found = stats.mcnemar(np.array([row["b"] for row in inputs]), np.array([row["c"] for row in inputs]))
    close(found, "p", [row["p_exact"] for row in expected])


@checks("benjamini_hochberg_1995_p15")
def _(inputs, expected, close):
    holm, bh = stats.holm(inputs["p"]), stats.benjamini_hochberg(inputs["p"])
    close(holm, "p", expected["holm"])
    close(bh, "p", expected["bh"])
    assert ((holm <= 0.05).sum(), (bh <= 0.05).sum()) == (expected["n_reject_holm_05"], expected["n_reject_bh_05"])


@checks("holm_with_nan_and_ties")
def _(inputs, expected, close):
    found = stats.holm([math.nan if p is None else p for p in inputs["p"]])
    close(found, "p", [float(p) for p in expected["holm"]])


@checks("welch_from_mean_std")
def _(inputs, expected, close):
    for row, answer in zip(inputs, expected, strict=True):
        found = stats.welch(row["mean_a"], row["std_a"], row["n_a"], row["mean_b"], row["std_b"], row["n_b"])
        close([found.difference, found.statistic, found.freedom, found.p], "t", [answer["diff"], answer["t"], answer["df"], answer["p"]])
        close(found.interval(), "ci95", answer["ci95"])


@checks("nadeau_bengio_corrected_t")
def _(inputs, expected, close):
    differences = np.array(inputs["differences"])
    found = stats.resampled_t(differences, inputs["n_test_over_n_train"])
    close([found.difference, found.statistic], "t", [expected["mean"], expected["t"]])
    assert found.freedom == expected["df"]
    close(found.p, "p", expected["p_two_sided"])
    close(stats.resampled_t(differences).p, "p", expected["p_uncorrected_paired_t"])
    close(found.regions(inputs["rope"]), "regions", [expected["prob_a_worse"], expected["prob_rope"], expected["prob_a_better"]])


@checks("crossed_seed_by_sample")
def _(inputs, expected, close):
    found = stats.paired_crossed_test(np.array(inputs["d"], dtype=float))
    close(list(found.parts.values()), "MS", [expected["MS_seed"], expected["MS_sample"], expected["MS_residual"]])
    close([found.difference, found.error**2, found.freedom], "var", [expected["diff"], expected["var"], expected["df"]])
    close([found.statistic, found.p, *found.interval()], "t", [expected["t"], expected["p"], *expected["ci95"]])


@checks("crossed_separate_seed_terms")
def _(inputs, expected, close):
    for row, answer in zip(inputs, expected, strict=True):
        found = stats.crossed_test(np.array(row["a"], dtype=float), np.array(row["b"], dtype=float))
        close(list(found.parts.values()), "v", [answer["v_seed_a"], answer["v_seed_b"], answer["v_sample"]])
        close([found.difference, found.error**2, found.freedom], "var", [answer["diff"], answer["var"], answer["df"]])
        close([found.statistic, found.p, *found.interval()], "t", [answer["t"], answer["p"], *answer["ci95"]])


@checks("seed_level_two_groups")
def _(inputs, expected, close):
    a, b = np.array(inputs["a"]), np.array(inputs["b"])
    found = stats.welch(a.mean(), a.std(ddof=1), len(a), b.mean(), b.std(ddof=1), len(b))
    rng = np.random.default_rng(0)
    close([found.difference, found.p], "welch_p", [expected["diff"], expected["welch_p"]])
    close(stats.seed_permutation(a, b, rng), "p", expected["permutation_p_two_sided"])
    close([stats.a12(a, b), stats.cliffs_delta(a, b)], "A12", [expected["A12"], expected["cliffs_delta"]])
    close(stats.outperforms(a, b, rng).chance, "P", expected["paired_P_a_gt_b"])
    close(stats.hedges_g(a, b), "g", expected["hedges_g"])
    close([stats.iqm(a), stats.iqm(b)], "iqm", [expected["iqm_a"], expected["iqm_b"]])


@checks("minimum_attainable_p")
def _(inputs, expected, close):
    rng = np.random.default_rng(0)
    for n, answer in expected["wilcoxon_two_sided"].items():
        close(stats.minimum_p(int(n)), "p", answer)
        close(stats.signed_rank(np.arange(1.0, int(n) + 1), alpha=1).p, "p", answer)
    for n, answer in expected["sign_flip_clusters"].items():
        close(stats.sign_flip(np.arange(1.0, int(n) + 1), rng, alpha=1).p, "p", answer)
    for n, answer in expected["permutation_or_mannwhitney_two_groups"].items():
        a = np.arange(int(n), dtype=float)
        assert stats.seed_permutation(a + 100, a, rng, draws=200_000) == pytest.approx(answer, rel=1e-9)


@checks("delong_paired")
def _(inputs, expected, close):
    found = stats.delong(np.array(inputs["y"]), np.array(inputs["score_a"]), np.array(inputs["score_b"]))
    close(list(found.parts.values()), "parts", [expected[key] for key in ("auc1", "auc2", "var1", "var2", "cov")])
    close([found.error, found.statistic, found.p], "z", [expected["se_diff"], expected["z"], expected["p"]])
    close(found.interval(), "ci", expected["ci95_diff"])
    same = stats.delong(np.array(inputs["y"]), np.array(inputs["score_a"]), np.array(inputs["score_a"]))
    assert (same.error, same.p) == (0, 1)


@checks("robustness_curve_paper_T4_VAT")
def _(inputs, expected, close):
    for method, scores in inputs["scores"].items():
        answer, drop = expected[method], stats.noise_drop(inputs["noise"], scores)
        close(stats.noise_auc(inputs["noise"], scores), "anc", answer["anc"])
        close([drop.absolute, drop.relative, drop.slope / 10], "drop", [answer["abs_drop"], answer["rel_drop"], answer["slope_per_0_1"]])


@checks("paper_table4_ranking")
def _(inputs, expected, close):
    scores, _ = table_scores("4", methods=inputs["methods"])
    found = stats.friedman(stats.rank_matrix(scores))
    close(found.mean_ranks, "mean_ranks", expected["mean_ranks"])
    close([found.chi2, found.p_chi2], "chi2", [expected["chi2_tie_corrected"], expected["p_chi2_tie_corrected"]])
    close([found.f, found.p], "F", [expected["iman_davenport_F_tie_corrected"], expected["p_iman_davenport_tie_corrected"]])
    close(stats.nemenyi(found.mean_ranks, found.n).critical_difference, "CD", expected["nemenyi_CD05"])
    control = inputs["methods"].index(inputs["control"])
    rivals = [method for method in inputs["methods"] if method != inputs["control"]]
    p = [stats.signed_rank(scores[:, control] - scores[:, inputs["methods"].index(rival)]).p for rival in rivals]
    close(p, "p", [expected["wilcoxon_p_vs"][rival] for rival in rivals])
    close(stats.holm(p), "p", [expected["wilcoxon_holm_vs"][rival] for rival in rivals])


@checks("pareto_front")
def _(inputs, expected, close):
    names, score, cost = zip(*inputs["points"], strict=True)
    front = stats.pareto_front(np.array(score, dtype=float), np.array(cost, dtype=float))
    assert [name for name, on in zip(names, front, strict=True) if on] == expected["front"]


@checks("rank_sets_and_groups")
def _(inputs, expected, close):
    found = stats.standing(np.array(inputs["better"]), -np.array(inputs["means"]))
    assert (found.low.tolist(), found.high.tolist()) == (expected["rank_low"], expected["rank_high"])
    assert list(found.letters) == expected["letters"]
    assert [name for name, best in zip(inputs["methods"], found.best, strict=True) if best] == expected["best_bold"]
    assert [name for name, top in zip(inputs["methods"], found.top, strict=True) if top] == expected["top_group"]


@checks("failed_trial_policy")
def _(inputs, expected, close):
    scores = np.array(inputs["scores"], dtype=float)
    ranks = stats.rank_matrix(scores)
    assert stats.fill_failures(scores, np.array(inputs["floor"])).tolist() == expected["filled_scores"]
    assert ranks.tolist() == expected["ranks"]
    assert ranks.mean(0).tolist() == expected["mean_ranks"]
    complete = np.isfinite(scores).all(1)
    assert complete.sum() == expected["n_complete"]
    assert ranks[complete].mean(0).tolist() == expected["mean_ranks_complete_case"]


@checks("tost_equivalence")
def _(inputs, expected, close):
    found = stats.resampled_t(np.array(inputs["differences"]))
    close(
        [found.difference, found.equivalence(inputs["margin"]), found.p],
        "p",
        [expected["mean"], expected["p_tost"], expected["p_difference"]],
    )
    close(found.interval(0.9), "ci90", expected["ci90"])
    assert found.verdict(inputs["margin"]) == expected["verdict"]


@checks("weighted_macro_f1")
def _(inputs, expected, close):
    counts = np.array(inputs["weights"], dtype=float).T
    found = stats.weighted_f1_macro(np.array(inputs["y"]), np.array([inputs["pred"]]), inputs["n_classes"], counts)
    close(found[0], "macro_f1", expected["macro_f1"])


@checks("bayesian_signed_rank_rope")
def _(inputs, expected, close):
    differences = np.subtract(inputs["a"], inputs["b"])
    found = stats.bayesian_signed_rank(differences, inputs["rope"], np.random.default_rng(0), inputs["prior_strength"])
    close(found, "regions", [expected["prob_b_better"], expected["prob_rope"], expected["prob_a_better"]])
    assert found.decision() == "better"


@checks("prob_outperform_noether")
def _(inputs, expected, close):
    close(stats.outperforms(inputs["a"], inputs["b"], np.random.default_rng(0)).chance, "p", expected["p_outperform"])
    assert stats.noether_seeds(inputs["gamma"], inputs["alpha"], inputs["beta"]) == expected["noether_n"]


@checks("jackknife_pseudo_values")
def _(inputs, expected, close):
    target, score = np.array(inputs["y"]), np.array(inputs["score"])
    close(stats.pseudo_values("auroc", target, np.column_stack([1 - score, score])), "pv", expected["pv_auroc"])
    close(stats.pseudo_values("f1_macro", target, np.eye(2)[inputs["pred"]]), "pv", expected["pv_macro_f1"])


def test_all_pairs_of_the_papers_table_4_give_these_rank_sets_and_letters():
    methods = ["MoE-Retriever", "ShaSpec", "M3Care", "mmFormer", "FuseMoE", "MUSE"]
    scores, _ = table_scores("4", methods=methods)
    pairs = stats.all_pairs(scores)
    found = stats.standing(pairs.better, stats.rank_matrix(scores).mean(0))
    assert pairs.tests == 15
    assert [f"{low}-{high}" for low, high in zip(found.low, found.high, strict=True)] == ["1-2", "2-5", "1-6", "2-5", "2-6", "4-6"]
    assert found.letters == ("a", "b", "abc", "b", "bc", "c")
    assert not found.best.any()


@pytest.mark.parametrize(
    ("tables", "metric", "holm"),
    [(("1", "2"), "accuracy", [0.048, 0.048, 0.002, 0.002, 0.048]), (("1",), "f1_macro", [0.078] * 5)],
    ids=["accuracy of tables 1 and 2", "macro F1 of table 1"],
)
def test_paper_against_each_rival_after_holm(tables, metric, holm):
    scores, cells = table_scores(tables, metric)
    methods = list(next(iter(cells.values())))
    own = methods.index("MoE-Retriever")
    rivals = [name for name in ("mmFormer", "ShaSpec", "M3Care", "FuseMoE", "MUSE") if name in methods]
    p = stats.holm([stats.signed_rank(scores[:, own] - scores[:, methods.index(rival)]).p for rival in rivals])
    assert np.round(p, 3).tolist() == holm


def test_89_of_175_cells_of_the_paper_are_won_with_p_below_5_percent():
    _, cells = table_scores(("1", "2", "4", "5"))
    won = lost = 0
    for cell in cells.values():
        own = cell["MoE-Retriever"]
        for method, row in cell.items():
            if method != "MoE-Retriever":
                found = stats.welch(own.mean, own.std, 3, row.mean, row.std, 3)
                won += found.p < 0.05 and found.difference > 0
                lost += found.p < 0.05 and found.difference < 0
    assert (won, lost) == (89, 2)
