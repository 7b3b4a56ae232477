import numpy as np
import pytest

from rltk.stats import best_of_n_kl, clustered_mean, frontier_point, pareto_optimal


def test_the_kl_of_best_of_n_is_that_of_the_best_of_n_continuous_samples():
    """The rank u of the best has density n u^(n-1): KL is the integral of ``n u^(n-1) log(n u^(n-1))``."""
    u = (np.arange(200_000) + 0.5) / 200_000
    for n in (1, 2, 8, 64):
        density = n * u ** (n - 1)
        log_density = np.log(n) + (n - 1) * np.log(u)
        assert best_of_n_kl(n) == pytest.approx((density * log_density).mean(), abs=1e-3)
    assert best_of_n_kl([1, 2]).tolist() == pytest.approx([0.0, np.log(2) - 0.5])


def test_a_point_has_an_interval_in_every_direction():
    rng = np.random.default_rng(0)
    kl, proxy, gold = rng.normal(size=(3, 40))
    prompts = np.arange(40) // 4
    point = frontier_point(kl, proxy, gold, prompts, generator=np.random.default_rng(1))
    for found, values in ((point.kl, kl), (point.proxy, proxy), (point.gold, gold)):
        expected = clustered_mean(values, prompts, generator=np.random.default_rng(2))
        assert found == pytest.approx(expected, abs=0.05)
        assert found.value == pytest.approx(values.mean())


def test_the_pareto_optimal_points_are_those_that_none_dominates():
    kl, gold = [0.0, 1.0, 2.0, 3.0, 1.0, 2.0], [0.2, 0.5, 0.4, 0.9, 0.5, 0.5]
    assert pareto_optimal(kl, gold).tolist() == [True, True, False, True, True, False]
    rng = np.random.default_rng(3)
    costs, gains = rng.integers(6, size=(2, 30))
    beaten = [
        any(c2 <= c and g2 >= g and (c2, g2) != (c, g) for c2, g2 in zip(costs, gains, strict=True))
        for c, g in zip(costs, gains, strict=True)
    ]
    assert pareto_optimal(costs, gains).tolist() == [not b for b in beaten]
