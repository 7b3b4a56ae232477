"""Bradley-Terry strengths on the 1987 season of the American League's Eastern Division.

Agresti 2002, Categorical Data Analysis, second edition, section 10.6, table 10.11: estimates relative to
Baltimore, standard errors about 0.3. The R package BradleyTerry2 has the results by home and away; here are
their sums.
"""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import t

from rltk.stats import (
    bradley_terry,
    bradley_terry_intervals,
    bradley_terry_of_grids,
    comparisons_from_scores,
    elo,
    win_points,
)

TEAMS = ["Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore"]
# Row beat column so many times.
WINS = np.array(
    [
        [0, 7, 9, 7, 7, 9, 11],
        [6, 0, 7, 5, 11, 9, 9],
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ]
)
PUBLISHED = [1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.0]


def games(wins=WINS):
    """Return first, second and points, one entry a game, the winner named first or second in turn."""
    winners, losers = (np.repeat(index, wins.ravel()) for index in np.indices(wins.shape).reshape(2, -1))
    turned = np.arange(len(winners)) % 2 == 0
    first, second = np.where(turned, winners, losers), np.where(turned, losers, winners)
    return first, second, turned.astype(float)


def test_the_published_estimates():
    strengths = bradley_terry(*games(), policies=7, prior_sd=np.inf)
    assert len(games()[0]) == 273
    np.testing.assert_allclose(strengths - strengths[-1], PUBLISHED, atol=0.005)
    assert strengths.mean() == pytest.approx(0, abs=1e-12)


def test_the_published_standard_errors_are_those_of_a_bootstrap_over_games():
    first, second, points = games()
    found = bradley_terry_intervals(
        first,
        second,
        points,
        range(273),
        policies=7,
        prior_sd=np.inf,
        generator=np.random.default_rng(0),
    )
    # Of a strength against the mean of seven; against Baltimore the book has 0.3.
    errors = (found.high - found.low) / (2 * 1.96)
    assert np.all((errors > 0.17) & (errors < 0.28))
    assert np.all((found.low < found.values) & (found.values < found.high))


def test_the_default_prior_matters_little():
    strengths = bradley_terry(*games(), policies=7)
    np.testing.assert_allclose(strengths - strengths[-1], PUBLISHED, atol=0.02)


def test_the_fit_is_the_minimum_that_scipy_finds():
    wins = np.random.default_rng(1).integers(6, size=(5, 5)) * (1 - np.eye(5, dtype=int))

    def penalised(theta):
        loss = (wins * np.logaddexp(0, theta[None, :] - theta[:, None])).sum()
        return loss + (theta**2).sum() / 2 / 1.5**2

    best = minimize(penalised, np.zeros(5), tol=1e-12).x
    np.testing.assert_allclose(bradley_terry(*games(wins), policies=5, prior_sd=1.5), best, atol=1e-4)


def test_ties_are_half_wins():
    tied = bradley_terry([0, 1], [1, 0], [0.5, 0.5], policies=2)
    np.testing.assert_allclose(tied, [0, 0], atol=1e-12)
    both = bradley_terry([0, 0, 1], [1, 1, 0], [1, 1, 1], policies=2)
    halves = bradley_terry([0, 0, 0], [1, 1, 1], [1, 0.5, 0.5], policies=2)
    np.testing.assert_allclose(both, halves)
    exact = bradley_terry([0, 0, 0], [1, 1, 1], [1, 0.5, 0.5], policies=2, prior_sd=np.inf)
    assert exact[0] - exact[1] == pytest.approx(np.log(2))


def test_an_undefeated_policy_is_finite_with_a_prior_and_refused_without():
    first, second, points = [0] * 20 + [1, 1], [1] * 10 + [2] * 10 + [2, 2], [1.0] * 20 + [1.0, 0.0]
    found = bradley_terry(first, second, points, policies=3)
    assert found[0] > 2 and np.isfinite(found).all()
    with pytest.raises(ValueError, match="no finite fit without a prior"):
        bradley_terry(first, second, points, policies=3, prior_sd=np.inf)


def test_a_policy_nobody_met_is_average():
    assert bradley_terry([0, 0], [1, 1], [1, 0], policies=3) == pytest.approx([0, 0, 0])
    with pytest.raises(ValueError, match="compared with itself"):
        bradley_terry([0], [0], [1], policies=2)


def test_scores_of_all_policies_make_all_pairs():
    first, second, points, prompts = comparisons_from_scores([[1.0, 2.0], [1.0, np.nan], [0.0, 3.0]])
    rows = sorted(zip(first.tolist(), second.tolist(), points.tolist(), prompts.tolist(), strict=True))
    assert rows == [(0, 1, 0.5, 0), (0, 2, 0.0, 1), (0, 2, 1.0, 0), (1, 2, 1.0, 0)]


def test_prompts_are_drawn_whole():
    """The same ten answers ten times over are no more evidence than once."""
    rng = np.random.default_rng(2)
    once = comparisons_from_scores(rng.normal([[0.5], [0.0], [0.2]], 1.0, size=(3, 40)))
    tenfold = [np.repeat(part, 10) for part in once]
    few, many = (
        bradley_terry_intervals(*data, policies=3, prior_sd=100.0, generator=np.random.default_rng(3))
        for data in (once, tenfold)
    )
    np.testing.assert_allclose(few.values, many.values, atol=1e-3)
    np.testing.assert_allclose(few.high - few.low, many.high - many.low, rtol=0.01)
    with pytest.raises(ValueError, match="one prompt says nothing"):
        bradley_terry_intervals([0, 0], [1, 1], [1, 0], [5, 5], policies=2, generator=rng)


def test_chances_and_elo_are_transforms():
    found = bradley_terry_intervals(
        *games(), range(273), policies=7, prior_sd=np.inf, generator=np.random.default_rng(4), resamples=20
    )
    chances = found.win_chances()
    np.testing.assert_allclose(chances + chances.T, 1.0)
    assert chances[0, 6] == pytest.approx(1 / (1 + np.exp(-1.58)), abs=0.001)
    np.testing.assert_allclose(elo([0.0, np.log(10)]), [1000.0, 1400.0])
    np.testing.assert_allclose(elo(np.log(10) / 2, centre=0.0), 200.0)


def points_of(scores):
    """Return for every pair of policies ``[S, P, K]`` points of the first, from ``[M, S, P, K]`` scores."""
    return [win_points(-ours, -theirs) for ours, theirs in itertools.combinations(scores, 2)]


def test_strengths_of_grids_are_those_of_their_win_rates():
    """Environments count alike, and seeds within them, whatever their numbers of prompts."""
    rng = np.random.default_rng(5)
    small, large = (points_of(rng.normal(size=(3, 2, size, 2))) for size in (10, 30))
    rates = [(one.mean() + other.mean()) / 2 for one, other in zip(small, large, strict=True)]
    found = bradley_terry_of_grids(
        [list(pair) for pair in zip(small, large, strict=True)], policies=3, over=["prompt"], generator=rng
    )
    repeated = np.repeat(np.arange(3), 40)
    expected = bradley_terry(
        np.array([0, 0, 1])[repeated], np.array([1, 2, 2])[repeated], np.array(rates)[repeated], policies=3
    )
    np.testing.assert_allclose(found.values, expected, atol=1e-8)


def test_of_one_seed_the_intervals_are_those_over_prompts():
    scores = np.random.default_rng(6).normal([[0.5], [0.0], [0.2]], 1.0, size=(3, 40))
    listed = bradley_terry_intervals(
        *comparisons_from_scores(scores), policies=3, generator=np.random.default_rng(7), resamples=4000
    )
    found = bradley_terry_of_grids(
        [[one] for one in points_of(scores[:, None, :, None])],
        policies=3,
        over=["prompt"],
        generator=np.random.default_rng(8),
        resamples=4000,
    )
    np.testing.assert_allclose(found.values, listed.values)
    np.testing.assert_allclose(found.high - found.low, listed.high - listed.low, rtol=0.06)


def test_strengths_over_seeds_vary_as_those_of_seeds_do():
    """Were there a prompt only, seeds would be all there is: their strengths have Student's interval."""
    rng = np.random.default_rng(9)
    scores = rng.normal(size=(3, 6, 1, 1)) + 0.5 * rng.normal(size=(3, 6, 400, 1))
    found = bradley_terry_of_grids(
        [[one] for one in points_of(scores)], policies=3, over=["seed"], generator=rng, resamples=4000
    )
    # The strength of a policy is nearly linear in its rates: by the jackknife over seeds.
    left = [
        bradley_terry_of_grids(
            [[np.delete(one, seed, axis=0)] for one in points_of(scores)],
            policies=3,
            over=["seed"],
            generator=rng,
            resamples=2,
        ).values
        for seed in range(6)
    ]
    error = np.sqrt(5 / 6 * ((left - np.mean(left, axis=0)) ** 2).sum(axis=0))
    np.testing.assert_allclose(found.high - found.low, 2 * t.ppf(0.975, 5) * error, rtol=0.25)


def test_grids_of_pairs_that_differ_are_refused():
    rng, grid = np.random.default_rng(10), np.ones((2, 5, 1))
    with pytest.raises(ValueError, match="2 grids cannot be those of all pairs of 3 policies"):
        bradley_terry_of_grids([[grid], [grid]], policies=3, over=["prompt"], generator=rng)
    with pytest.raises(ValueError, match="other seeds, prompts or samples"):
        bradley_terry_of_grids([[grid], [grid], [grid[:1]]], policies=3, over=["prompt"], generator=rng)
