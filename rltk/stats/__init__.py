"""Statistics for evaluations: estimates with intervals, comparisons, preferences.

Pure functions of arrays; randomness comes in as a generator. docs/statistics.md says which question asks for
which number and what an interval covers.
"""

from rltk.stats.aggregates import AGGREGATES, interquartile_mean, normalised_score
from rltk.stats.bootstrap import (
    Estimate,
    bootstrap_estimate,
    cluster_bootstrap_interval,
    clustered_mean,
    iqm_bootstrap_interval,
)
from rltk.stats.bradley_terry import (
    Strengths,
    bradley_terry,
    bradley_terry_intervals,
    bradley_terry_of_grids,
    comparisons_from_scores,
    elo,
)
from rltk.stats.frontier import FrontierPoint, best_of_n_kl, frontier_point, pareto_optimal
from rltk.stats.grids import Level, estimable_levels, score_grid
from rltk.stats.paired import Comparison, compare, holm, mcnemar, sign_flip_p_value
from rltk.stats.power import Further, Verdict, detectable_difference, further, verdict
from rltk.stats.preference import length_controlled_win_rate, win_points, win_rate
from rltk.stats.sampling_metrics import max_at_k, pass_at_k, pass_hat_k
from rltk.stats.summaries import Profile, aggregate, performance_profile, probability_of_improvement
from rltk.stats.variance import MeanVariance, mean_variance

__all__ = [
    "AGGREGATES",
    "Comparison",
    "Estimate",
    "FrontierPoint",
    "Further",
    "Level",
    "MeanVariance",
    "Profile",
    "Strengths",
    "Verdict",
    "aggregate",
    "best_of_n_kl",
    "bootstrap_estimate",
    "bradley_terry",
    "bradley_terry_intervals",
    "bradley_terry_of_grids",
    "cluster_bootstrap_interval",
    "clustered_mean",
    "compare",
    "comparisons_from_scores",
    "detectable_difference",
    "elo",
    "estimable_levels",
    "frontier_point",
    "further",
    "holm",
    "interquartile_mean",
    "iqm_bootstrap_interval",
    "length_controlled_win_rate",
    "max_at_k",
    "mcnemar",
    "mean_variance",
    "normalised_score",
    "pareto_optimal",
    "pass_at_k",
    "pass_hat_k",
    "performance_profile",
    "probability_of_improvement",
    "score_grid",
    "sign_flip_p_value",
    "verdict",
    "win_points",
    "win_rate",
]
