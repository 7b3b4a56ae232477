import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from rltk.stats import (
    cluster_bootstrap_interval,
    interquartile_mean,
    iqm_bootstrap_interval,
    win_points,
)


def loop_interval(sums, counts, rng, resamples, level):
    ratios = []
    for _ in range(resamples):
        chosen = [int(rng.integers(len(sums))) for _ in sums]
        ratios.append(sum(sums[i] for i in chosen) / sum(counts[i] for i in chosen))
    ratios.sort()
    cut = int(resamples * (1 - level) / 2)
    return ratios[cut], ratios[-cut - 1]


def test_interval_agrees_with_scipy_on_a_plain_mean():
    values = np.random.default_rng(0).exponential(size=80)
    ours = cluster_bootstrap_interval(
        values, np.ones(80), generator=np.random.default_rng(1), resamples=20_000
    )
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_interval_agrees_with_a_direct_loop_on_unequal_clusters():
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 9, size=40)
    sums = np.array([rng.binomial(n, 0.4) for n in counts])
    ours = cluster_bootstrap_interval(
        sums, counts, generator=np.random.default_rng(4), resamples=8000, level=0.9
    )
    assert ours == pytest.approx(loop_interval(sums, counts, rng, 4000, 0.9), abs=0.012)


def test_interval_covers_the_truth_at_its_level_where_observations_are_clustered():
    rng = np.random.default_rng(5)
    clustered, independent, trials = 0, 0, 200
    for _ in range(trials):
        cluster_means = rng.beta(2, 2, size=60)
        wins = rng.binomial(5, cluster_means)
        low, high = cluster_bootstrap_interval(wins, np.full(60, 5), generator=rng, resamples=400)
        clustered += low <= 0.5 <= high
        half = 1.96 * math.sqrt(0.25 / 300)
        independent += abs(wins.sum() / 300 - 0.5) <= half
    assert 0.90 <= clustered / trials <= 0.99
    assert independent < clustered


def test_interval_is_a_function_of_the_generator_and_not_of_the_block_size(monkeypatch):
    sums, counts = np.arange(10.0), np.ones(10)
    whole = cluster_bootstrap_interval(sums, counts, generator=np.random.default_rng(6))
    monkeypatch.setattr("rltk.stats.resampling.DRAWS_AT_ONCE", 35)
    assert cluster_bootstrap_interval(sums, counts, generator=np.random.default_rng(6)) == whole


def test_degenerate_inputs():
    rng = np.random.default_rng(7)
    assert cluster_bootstrap_interval([0.3], [1], generator=rng) == pytest.approx((0.3, 0.3))
    assert all(map(math.isnan, cluster_bootstrap_interval([], [], generator=rng)))
    assert all(map(math.isnan, cluster_bootstrap_interval([0, 0], [0, 0], generator=rng)))
    low, high = cluster_bootstrap_interval([1, 0], [1, 0], generator=rng)
    assert (low, high) == (1.0, 1.0), "resamples without any observation do not count"
    with pytest.raises(ValueError, match="one length"):
        cluster_bootstrap_interval([1, 2], [1], generator=rng)


def test_win_points_count_ties_half():
    assert win_points([1, 2, 1], [2, 1, 1]).tolist() == [1.0, 0.0, 0.5]


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


def test_the_interval_of_the_interquartile_mean_agrees_with_a_direct_loop_within_strata():
    rng = np.random.default_rng(6)
    strata = [rng.normal(size=9), rng.normal(3, 2, size=6)]
    means = sorted(
        scipy_stats.trim_mean(np.concatenate([rng.choice(s, size=len(s)) for s in strata]), 0.25)
        for _ in range(4000)
    )
    low, high = iqm_bootstrap_interval(strata, generator=np.random.default_rng(7), resamples=8000, level=0.9)
    assert (low, high) == pytest.approx((means[200], means[-201]), abs=0.08)
    assert iqm_bootstrap_interval([[4.0]], generator=rng) == (4.0, 4.0)
