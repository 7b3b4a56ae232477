import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from rltk.stats import (
    aggregate,
    aggregates,
    bootstrap_estimate,
    bradley_terry_intervals,
    cluster_bootstrap_interval,
    clustered_mean,
    compare,
    iqm_bootstrap_interval,
    length_controlled_win_rate,
    sign_flip_p_value,
)
from rltk.stats.bootstrap import cluster_stretch
from rltk.stats.resampling import resampled_runs


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


def every_interval():
    """Return what each function that draws returns, from equal seeds."""
    rng = np.random.default_rng(6)
    grid, other = rng.normal(size=(2, 3, 12, 2))
    first, second, prompts = np.arange(60) % 3, (np.arange(60) + 1) % 3, np.arange(60) // 3
    points = rng.integers(3, size=60) / 2.0
    levels = ["environment", "seed", "prompt", "sample"]
    sides = [*([level] for level in levels), levels[1:3], levels]
    draw = {"generator": np.random.default_rng(7)}
    return [
        *(aggregate("iqm", [grid, other], over=over, resamples=101, **draw) for over in sides),
        compare([grid], [other], over=["prompt"], resamples=101, **draw).p_value,
        cluster_bootstrap_interval(points, np.ones(60), resamples=101, **draw),
        clustered_mean(points, prompts, resamples=101, **draw),
        iqm_bootstrap_interval(list(grid[:, :, 0]), resamples=101, **draw),
        sign_flip_p_value(points - 0.4, resamples=301, **draw),
        length_controlled_win_rate(points, first, second, prompts, resamples=101, **draw),
        bradley_terry_intervals(first, second, points, prompts, policies=3, resamples=101, **draw).low,
    ]


def test_intervals_are_functions_of_the_generator_and_not_of_the_block_size(monkeypatch):
    whole = every_interval()
    monkeypatch.setattr("rltk.stats.resampling.DRAWS_AT_ONCE", 150)
    monkeypatch.setattr("rltk.stats.paired.DRAWS_AT_ONCE", 150)
    for found, expected in zip(every_interval(), whole, strict=True):
        assert found == pytest.approx(expected, rel=1e-12)


def test_degenerate_inputs():
    rng = np.random.default_rng(7)
    assert cluster_bootstrap_interval([0.3], [1], generator=rng) == pytest.approx((0.3, 0.3))
    assert all(map(math.isnan, cluster_bootstrap_interval([], [], generator=rng)))
    assert all(map(math.isnan, cluster_bootstrap_interval([0, 0], [0, 0], generator=rng)))
    low, high = cluster_bootstrap_interval([1, 0], [1, 0], generator=rng)
    assert (low, high) == (1.0, 1.0), "resamples without any observation do not count"
    with pytest.raises(ValueError, match="one length"):
        cluster_bootstrap_interval([1, 2], [1], generator=rng)


def test_the_interval_of_the_interquartile_mean_agrees_with_draws_within_strata():
    rng = np.random.default_rng(6)
    strata = [rng.normal(size=9), rng.normal(3, 2, size=6)]
    drawn = np.concatenate([rng.choice(values, size=(4000, len(values))) for values in strata], axis=1)
    means = np.sort(scipy_stats.trim_mean(drawn, 0.25, axis=1))
    low, high = iqm_bootstrap_interval(strata, generator=np.random.default_rng(7), resamples=8000, level=0.9)
    assert (low, high) == pytest.approx((means[200], means[-201]), abs=0.08)
    assert iqm_bootstrap_interval([[4.0]], generator=rng) == (4.0, 4.0)


def test_a_clustered_mean_is_scipys_percentile_interval_stretched():
    values = np.random.default_rng(8).exponential(size=12)
    value, low, high = clustered_mean(values, generator=np.random.default_rng(9), resamples=20_000)
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(10)
    ).confidence_interval
    factor = scipy_stats.t.ppf(0.975, 11) / scipy_stats.norm.ppf(0.975) * math.sqrt(12 / 11)
    assert cluster_stretch(12, 0.95) == pytest.approx(factor)
    expected = value + factor * (np.array(theirs) - value)
    assert (value, low, high) == pytest.approx((values.mean(), *expected), abs=0.02)


def test_unequal_clusters_are_drawn_whole():
    rng = np.random.default_rng(11)
    clusters = np.repeat(np.arange(15), rng.integers(1, 9, size=15))
    values = rng.normal(size=15)[clusters] + 0.1 * rng.normal(size=len(clusters))
    found = clustered_mean(values, clusters, generator=np.random.default_rng(12), resamples=20_000)
    sums, counts = np.bincount(clusters, weights=values), np.bincount(clusters)
    low, high = cluster_bootstrap_interval(
        sums, counts, generator=np.random.default_rng(13), resamples=20_000
    )
    assert found.value == pytest.approx(values.mean())
    # For a ratio the linear variance and the bootstrap's differ by a little more than rounding.
    assert (found.high - found.low) / (high - low) == pytest.approx(cluster_stretch(15, 0.95), rel=0.08)


def loop_over_levels(grid, over, rng):
    """Return the run scores of one replicate by explicit loops; seeds share the prompts that were drawn."""
    seeds, prompts, samples = (
        rng.integers(size, size=size) if level in over else np.arange(size)
        for level, size in zip(("seed", "prompt", "sample"), grid.shape, strict=True)
    )
    values = grid[np.ix_(seeds, prompts, np.arange(grid.shape[2]))]
    if "sample" in over:
        drawn = rng.integers(len(samples), size=values.shape)
        values = np.take_along_axis(values, drawn, axis=2)
    return values.mean(axis=(1, 2))


@pytest.mark.parametrize("over", [["seed"], ["prompt"], ["seed", "prompt"], ["sample"]])
def test_levels_are_drawn_as_by_a_direct_loop(over):
    rng = np.random.default_rng(14)
    grid = rng.normal(size=(4, 6, 3)) + rng.normal(size=(4, 1, 1)) + rng.normal(size=(1, 6, 1))
    expected = np.array([loop_over_levels(grid, over, rng) for _ in range(8000)])
    found = np.concatenate([runs[0] for runs in resampled_runs([grid], over, rng, 8000)])
    np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(found.T), np.cov(expected.T), atol=0.03)


def test_environments_are_drawn_where_they_are_a_level():
    grids = [np.full((2, 1, 1), value) for value in (0.0, 1.0, 5.0)]
    blocks = resampled_runs(grids, ["environment"], np.random.default_rng(15), 20_000)
    means = np.concatenate([np.mean([run.mean(axis=1) for run in runs], axis=0) for runs in blocks])
    assert (means.mean(), means.var()) == pytest.approx((2.0, np.var([0, 1, 5]) / 3), rel=0.03)
    with pytest.raises(ValueError, match="unequal numbers of seeds"):
        list(resampled_runs([grids[0], grids[1][:1]], ["environment"], np.random.default_rng(0), 1))


def test_missing_scores_are_left_out():
    grid = np.array([[[1.0, np.nan], [3.0, 5.0]], [[np.nan, np.nan], [2.0, 4.0]]])
    blocks = list(resampled_runs([grid], ["seed"], np.random.default_rng(16), 50))
    assert set(np.concatenate([runs[0] for runs in blocks]).ravel()) == {3.0}
    value, low, high = aggregate("mean", [grid], over=["prompt"], generator=np.random.default_rng(17))
    assert value == 3.0 and np.isfinite([low, high]).all()


def test_a_constant_has_an_interval_without_width_and_bounds_cut():
    rng = np.random.default_rng(18)
    third = np.full((3, 7, 2), 1 / 3)
    assert aggregate("mean", [third], over=["seed", "prompt"], generator=rng) == pytest.approx([1 / 3] * 3)
    value, low, high = bootstrap_estimate(
        [[0.9, 1.0, 0.4]], aggregates.mean, over=["seed"], generator=rng, bounds=(0.0, 1.0)
    )
    assert (value, high) == pytest.approx((2.3 / 3, 1.0)) and 0.0 <= low < 0.4
    with pytest.raises(ValueError, match="one seed says nothing"):
        aggregate("mean", [[0.5]], over=["seed"], generator=rng)
