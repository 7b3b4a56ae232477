"""Aggregates against rliable 1.2.0 (https://github.com/google-research/rliable).

The reference numbers came from rliable on the scores below, with 50,000 replicates for the intervals of
aggregates and 20,000 for the others, NumPy's global seed set before: rliable draws from it, whatever
``random_state`` it is given.
"""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from rltk.stats import (
    AGGREGATES,
    aggregate,
    aggregates,
    interquartile_mean,
    iqm_bootstrap_interval,
    normalised_score,
    performance_profile,
    probability_of_improvement,
)
from rltk.stats.bootstrap import stretch
from rltk.stats.variance import mean_variance

# Runs by tasks.
A = np.array(
    [
        [0.62, 0.10, 0.95, 0.41],
        [0.71, 0.05, 1.10, 0.38],
        [0.55, 0.22, 0.88, 0.52],
        [0.80, 0.12, 1.21, 0.29],
        [0.67, 0.31, 0.99, 0.45],
        [0.49, 0.08, 1.05, 0.60],
    ]
)
B = np.array(
    [
        [0.50, 0.12, 0.90, 0.41],
        [0.66, 0.01, 0.97, 0.30],
        [0.58, 0.20, 1.02, 0.47],
        [0.43, 0.15, 0.85, 0.33],
        [0.61, 0.05, 1.10, 0.36],
    ]
)
OF_RLIABLE = {
    "mean": (0.5645833333, 0.5254166667, 0.605),
    "median": (0.5408333333, 0.4841666667, 0.5983333333),
    "iqm": (0.5425, 0.4858333333, 0.5983333333),
    "optimality_gap": (0.4504166667, 0.4154166667, 0.4845833333),
}
THRESHOLDS = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
PROFILE = [1.0, 0.8333333333, 0.6666666667, 0.4166666667, 0.25, 0.125]
PROFILE_LOW = [1.0, 0.75, 0.5833333333, 0.3333333333, 0.25, 0.0416666667]
PROFILE_HIGH = [1.0, 0.9166666667, 0.75, 0.5, 0.25, 0.2083333333]


def unstretched(ends, value, factor):
    """Return the ends of the percentile interval that a stretched one came from."""
    return value + (np.asarray(ends) - value) / factor


def factor(*scores):
    """Six runs a task make resampled means vary 5/6 as much as they should; then Student's t."""
    variance = mean_variance([column for table in scores for column in table.T], ["seed"])
    return stretch(variance.degrees, 0.95) * np.sqrt(6 / 5)


@pytest.mark.parametrize("name", AGGREGATES)
def test_aggregates_and_their_percentile_intervals_are_rliables(name):
    value, low, high = aggregate(
        name, list(A.T), over=["seed"], generator=np.random.default_rng(0), resamples=20_000
    )
    expected = OF_RLIABLE[name]
    assert value == pytest.approx(expected[0], abs=1e-9)
    assert unstretched((low, high), value, factor(A)) == pytest.approx(expected[1:], abs=0.003)


def test_the_plain_interval_of_the_interquartile_mean_is_rliables():
    ends = iqm_bootstrap_interval(list(A.T), generator=np.random.default_rng(1), resamples=20_000)
    assert ends == pytest.approx(OF_RLIABLE["iqm"][1:], abs=0.003)


def test_performance_profile_is_rliables():
    profile = performance_profile(
        list(A.T), THRESHOLDS, over=["seed"], generator=np.random.default_rng(2), resamples=20_000
    )
    np.testing.assert_allclose(profile.values, PROFILE, atol=1e-9)
    values = np.array(PROFILE)
    np.testing.assert_allclose(
        profile.low, np.clip(values + factor(A) * (PROFILE_LOW - values), 0, 1), atol=0.004
    )
    np.testing.assert_allclose(
        profile.high, np.clip(values + factor(A) * (PROFILE_HIGH - values), 0, 1), atol=0.004
    )


def test_probability_of_improvement_is_rliables():
    value, low, high = probability_of_improvement(
        list(A.T), list(B.T), generator=np.random.default_rng(3), resamples=20_000
    )
    assert value == pytest.approx(0.6666666667, abs=1e-9)
    variance = mean_variance([*A.T, *B.T], ["seed"])
    resampled = sum(c.var() / len(c) for c in (*A.T, *B.T)) / 64
    wider = stretch(variance.degrees, 0.95) * np.sqrt(variance.total / resampled)
    assert unstretched((low, high), value, wider) == pytest.approx((0.4916666667, 0.825), abs=0.02)


def test_probability_of_improvement_is_mann_whitneys_u():
    rng = np.random.default_rng(4)
    ours, theirs = rng.integers(5, size=(3, 9)) * 1.0, rng.integers(5, size=(3, 6)) * 1.0
    each = [scipy_stats.mannwhitneyu(a, b).statistic / 54 for a, b in zip(ours, theirs, strict=True)]
    assert aggregates.probability_of_improvement(list(ours), list(theirs)) == pytest.approx(np.mean(each))
    with pytest.raises(ValueError, match="3 and 2 environments"):
        probability_of_improvement(list(ours), list(theirs[:2]), generator=rng)


def test_environments_may_have_unequal_numbers_of_runs():
    runs = [np.array([0.0, 1.0]), np.array([0.2, 0.4, 0.6, 2.0])]
    assert aggregates.mean(runs) == pytest.approx((0.5 + 0.8) / 2)
    assert aggregates.iqm(runs) == pytest.approx((0.2 + 0.4 + 0.6 + 1.0) / 4)
    assert aggregates.optimality_gap(runs) == pytest.approx(1 - (0 + 1 + 0.2 + 0.4 + 0.6 + 1) / 6)


def test_interquartile_mean_by_hand():
    assert interquartile_mean([7]) == 7
    assert interquartile_mean([1, 2, 9]) == 4  # a quarter of three, rounded down, is none
    assert interquartile_mean([100, 3, -50, 2, 4]) == 3
    assert interquartile_mean([8, 1, 3, 5, 900, 2, 4, -7]) == (2 + 3 + 4 + 5) / 4
    with pytest.raises(ValueError, match="no values"):
        interquartile_mean([])


def test_interquartile_mean_agrees_with_scipys_trimmed_mean():
    values = np.random.default_rng(5).exponential(size=37)
    assert interquartile_mean(values) == pytest.approx(scipy_stats.trim_mean(values, 0.25))


def test_scores_are_normalised_by_the_environments_bounds():
    np.testing.assert_allclose(normalised_score([-200.0, 0.0, 500.0], (0.0, 500.0)), [-0.4, 0.0, 1.0])
    with pytest.raises(ValueError, match="both score"):
        normalised_score([1.0], (0.5, 0.5))
