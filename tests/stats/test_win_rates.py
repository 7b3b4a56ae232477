import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from rltk.stats import clustered_mean, length_controlled_win_rate, win_points, win_rate
from rltk.stats.logistic import fit_logistic


def preferences(seed, number, quality, length_bias):
    """Return points and lengths of two policies where longer answers are preferred by so much."""
    rng = np.random.default_rng(seed)
    ours, theirs = rng.normal(120, 30, size=number).round(), rng.normal(80, 30, size=number).round()
    difference = ours - theirs
    chance = expit(quality + length_bias * np.tanh(difference / difference.std(ddof=1)))
    return (rng.random(number) < chance).astype(float), ours, theirs


def lowest(features, points, weights, precision):
    """Return the coefficients of the lowest penalised loss, without its derivatives."""

    def loss(beta):
        logits = features @ beta
        return (weights * (np.logaddexp(0, logits) - points * logits)).sum() + beta @ precision @ beta / 2

    return minimize(loss, np.zeros(features.shape[1]), tol=1e-10).x


def test_win_points_count_ties_half():
    assert win_points([1, 2, 1], [2, 1, 1]).tolist() == [1.0, 0.0, 0.5]


def test_win_rate_is_the_mean_of_points_within_0_and_1():
    points, prompts = [1, 0.5, 0, 1, 1, 1], ["a", "a", "b", "c", "d", "e"]
    found = win_rate(points, prompts, generator=np.random.default_rng(0))
    plain = clustered_mean(points, prompts, generator=np.random.default_rng(0))
    assert found == (4.5 / 6, plain.low, 1.0) and plain.high > 1.0
    assert win_rate([1.0] * 8, generator=np.random.default_rng(0)) == (1.0, 1.0, 1.0)


def test_logistic_fits_are_scipys_minima():
    rng = np.random.default_rng(1)
    features, points = rng.normal(size=(40, 3)), rng.random(size=40)
    weights, precision = rng.integers(4, size=(5, 40)).astype(float), np.diag([0.1, 1.0, 0.3])
    for row, found in zip(weights, fit_logistic(features, points, weights, precision), strict=True):
        np.testing.assert_allclose(found, lowest(features, points, row, precision), atol=1e-4)


def test_length_is_taken_out_of_the_win_rate():
    points, ours, theirs = preferences(2, 4000, quality=-0.4, length_bias=2.0)
    found = length_controlled_win_rate(
        points, ours, theirs, generator=np.random.default_rng(3), resamples=200
    )
    assert points.mean() > 0.6, "longer answers win more often"
    assert found.low < expit(-0.4) < found.high
    assert found.value == pytest.approx(expit(-0.4), abs=0.03)


def test_the_estimate_is_the_constant_of_a_regression():
    points, ours, theirs = preferences(4, 60, quality=0.3, length_bias=1.0)
    points[::7] = 0.5
    feature = np.tanh((ours - theirs) / (ours - theirs).std(ddof=1))
    features = np.stack([np.ones(60), feature], axis=1)
    theta, _ = lowest(features, points, np.ones(60), np.eye(2) / 9)
    found = length_controlled_win_rate(points, ours, theirs, generator=np.random.default_rng(5), resamples=9)
    assert found.value == pytest.approx(expit(theta), abs=1e-5)


def test_exchanging_the_policies_gives_one_minus_the_rate():
    points, ours, theirs = preferences(6, 80, quality=0.5, length_bias=1.0)
    found = length_controlled_win_rate(points, ours, theirs, generator=np.random.default_rng(7))
    turned = length_controlled_win_rate(1 - points, theirs, ours, generator=np.random.default_rng(7))
    assert (1 - turned.value, 1 - turned.high, 1 - turned.low) == pytest.approx(found, abs=1e-9)


def test_equal_policies_and_equal_lengths():
    points, lengths = np.array([1.0, 0.5, 0.0, 1.0] * 10), np.full(40, 7)
    same = length_controlled_win_rate(
        np.full(40, 0.5), np.arange(40), np.arange(40)[::-1], generator=np.random.default_rng(8)
    )
    assert same == pytest.approx((0.5, 0.5, 0.5))
    found = length_controlled_win_rate(points, lengths, lengths, generator=np.random.default_rng(8))
    assert found.value == pytest.approx(points.mean(), abs=0.01)


def test_a_policy_that_always_wins_has_a_finite_rate_below_1():
    rng = np.random.default_rng(9)
    found = length_controlled_win_rate(np.ones(50), rng.random(50), rng.random(50), generator=rng)
    assert 0.95 < found.value < 1.0 and found.high <= 1.0
    with pytest.raises(ValueError, match="no finite fit without a prior"):
        length_controlled_win_rate(
            np.ones(50), rng.random(50), rng.random(50), generator=rng, prior_sd=np.inf
        )
    with pytest.raises(ValueError, match="one prompt says nothing"):
        length_controlled_win_rate([1, 0], [2, 3], [3, 2], ["a", "a"], generator=rng)
