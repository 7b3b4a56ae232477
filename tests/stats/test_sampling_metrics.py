from functools import partial
from itertools import combinations

import numpy as np
import pytest

from rltk.stats import max_at_k, pass_at_k, pass_hat_k


def over_all_subsets(prompts, k, what):
    """Return for each prompt the mean over all subsets of k of its samples."""
    return [np.mean([what(subset) for subset in combinations(samples, k)]) for samples in prompts]


@pytest.mark.parametrize("k", [1, 2, 3, 5, 7])
def test_success_rates_are_those_of_all_subsets(k):
    samples = [np.arange(7) < count for count in range(8)]
    successes = [int(row.sum()) for row in samples]
    np.testing.assert_allclose(pass_at_k(successes, 7, k), over_all_subsets(samples, k, any))
    np.testing.assert_allclose(pass_hat_k(successes, 7, k), over_all_subsets(samples, k, all))


@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_the_best_of_k_is_that_of_all_subsets(k):
    scores = np.random.default_rng(0).normal(size=(5, 6))
    scores[1] = scores[1].round()  # with ties
    np.testing.assert_allclose(max_at_k(scores, k), over_all_subsets(scores, k, max))


def test_the_best_of_k_zeros_and_ones_is_pass_at_k():
    scores = np.random.default_rng(1).integers(2, size=(9, 16))
    np.testing.assert_allclose(max_at_k(scores, 5), pass_at_k(scores.sum(axis=1), 16, 5))


def test_many_samples_do_not_overflow():
    assert pass_at_k(1, 10_000, 5000) == pytest.approx(0.5)
    assert pass_hat_k(9_999, 10_000, 5000) == pytest.approx(0.5)
    assert max_at_k(np.arange(2000.0), 1000) == pytest.approx(2001 * 1000 / 1001 - 1)  # of uniform ranks


def test_estimates_are_unbiased_where_the_first_k_are_too():
    """The mean over many draws is ``1 - (1 - p)^k``; samples of prompts may differ in number."""
    rng, p = np.random.default_rng(2), 0.2
    numbers = rng.integers(3, 9, size=40_000)
    successes = rng.binomial(numbers, p)
    assert pass_at_k(successes, numbers, 3).mean() == pytest.approx(1 - 0.8**3, abs=0.005)
    assert pass_hat_k(successes, numbers, 3).mean() == pytest.approx(0.2**3, abs=0.002)


@pytest.mark.parametrize("k", [0, 4])
def test_k_beyond_the_samples_is_refused(k):
    for estimate in (
        partial(pass_at_k, [1], 3),
        partial(pass_hat_k, [1], [3]),
        partial(max_at_k, [[1, 2, 3]]),
    ):
        with pytest.raises(ValueError, match=f"k is {k}; a prompt has 3 samples"):
            estimate(k)
