"""Statistics from stored predictions alone. Free of torch.

`metrics`: scores. `pseudo`: what each sample contributes to one. `pairs`: two methods in one setting, `many`: every pair of several.
`across`: methods over many settings. `adjust`: many tests at once. `bootstrap`: intervals by resampling. `effects`: how large, how
often, how many seeds. `ranking`: who stands where. `curves`: score over noise. `nested`: whether more modalities do worse.
`groups`: a method's scores by groups of samples.
`sequential`: looking more than once. Scores are higher-is-better everywhere but in `pseudo`, `bootstrap`, `nested` and `ranks`, which
take the metric's name. Bad input raises UsageError (a ValueError); what the data cannot answer comes back as NaN with a reason.
"""

from bench.stats.across import (
    AllPairs,
    Friedman,
    Located,
    Nemenyi,
    SignedRank,
    SignFlip,
    against_control,
    all_pairs,
    bayesian_signed_rank,
    bonferroni_dunn,
    cd_groups,
    friedman,
    hodges_lehmann,
    located_ends,
    minimum_p,
    needed_pairs,
    nemenyi,
    sign_flip,
    signed_rank,
)
from bench.stats.adjust import Ends, benjamini_hochberg, holm, interval_levels
from bench.stats.bootstrap import Interval, bca_interval, bootstrap, percentile_interval, sample_counts, weighted_f1_macro, weighted_scores
from bench.stats.curves import Drop, noise_auc, noise_drop
from bench.stats.effects import (
    Outperformance,
    a12,
    cliffs_delta,
    hedges_g,
    iqm,
    magnitude,
    noether_seeds,
    outperforms,
    seeds_for_equivalence,
    seeds_needed,
)
from bench.stats.many import Estimates, crossed_pairs
from bench.stats.nested import MoreIsWorse, NestedPair, more_is_worse, nested_pairs
from bench.stats.pairs import (
    Estimate,
    Regions,
    crossed_interval,
    crossed_test,
    delong,
    mcnemar,
    mcnemar_median,
    noise_auc_test,
    paired_crossed_test,
    resampled_t,
    seed_permutation,
    welch,
)
from bench.stats.pseudo import pseudo_values
from bench.stats.ranking import Standing, fill_failures, pareto_front, rank_matrix, ranks, standing
from bench.stats.sequential import look_levels, look_sizes, sequential_p, spent_alpha

__all__ = [
    "AllPairs", "Drop", "Ends", "Estimate", "Estimates", "Friedman", "Interval", "Located", "MoreIsWorse", "Nemenyi", "NestedPair",
    "Outperformance", "Regions", "SignFlip", "SignedRank", "Standing", "a12", "against_control", "all_pairs", "bayesian_signed_rank",
    "bca_interval", "benjamini_hochberg", "bonferroni_dunn", "bootstrap", "cd_groups", "cliffs_delta", "crossed_interval",
    "crossed_pairs", "crossed_test", "delong", "fill_failures", "friedman", "hedges_g", "hodges_lehmann", "holm", "interval_levels",
    "iqm", "located_ends", "look_levels", "look_sizes", "magnitude", "mcnemar", "mcnemar_median", "minimum_p", "more_is_worse",
    "needed_pairs", "nemenyi", "nested_pairs", "noether_seeds", "noise_auc", "noise_auc_test", "noise_drop", "outperforms",
    "paired_crossed_test", "pareto_front", "percentile_interval", "pseudo_values", "rank_matrix", "ranks", "resampled_t",
    "sample_counts", "seed_permutation", "seeds_for_equivalence", "seeds_needed", "sequential_p", "sign_flip", "signed_rank",
    "spent_alpha", "standing", "weighted_f1_macro", "weighted_scores", "welch",
]  # fmt: skip
