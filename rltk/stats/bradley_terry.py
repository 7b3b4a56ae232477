"""Bradley-Terry strengths: how good each policy is, from who was preferred to whom."""

import math
from collections.abc import Hashable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from rltk.stats.aggregates import mean
from rltk.stats.bootstrap import cluster_stretch, widening
from rltk.stats.grids import Grid, Level, as_grids, cluster_numbers, run_scores
from rltk.stats.logistic import fit_logistic
from rltk.stats.resampling import resampled_counts, resampled_runs
from rltk.stats.variance import mean_variance


@dataclass(frozen=True)
class Strengths:
    """Bradley-Terry strengths, log-odds with mean 0, with their intervals.

    :param values: ``[M]``; ``sigmoid(values[i] - values[j])`` is the chance that i is preferred to j.
    :param low: ``[M]`` lower ends, each on its own.
    :param high: ``[M]`` upper ends.
    """

    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def win_chances(self) -> NDArray[np.float64]:
        """Return ``[M, M]``, in row i and column j the chance that i is preferred to j."""
        return expit(self.values[:, None] - self.values[None, :])


def bradley_terry(
    first: ArrayLike, second: ArrayLike, points: ArrayLike, *, policies: int, prior_sd: float = 3.0
) -> NDArray[np.float64]:
    """Return the strength of each policy ``[M]``, log-odds with mean 0.

    :param first: ``[N]`` index of the one policy of each comparison.
    :param second: ``[N]`` index of the other.
    :param points: ``[N]`` 1 where the first was preferred, 0 where the second was, 0.5 for a tie.
    :param policies: how many there are, M.
    :param prior_sd: standard deviation of the normal prior of strengths, which keeps those of undefeated
        policies finite and matters little to others; infinity for maximum likelihood.
    :raises ValueError: a policy is compared with itself; without a prior, a strength is infinite or two
        groups of policies never met.

    Source: Bradley and Terry 1952; ties as half wins as in Chiang et al. 2024, arXiv 2403.04132.
    """
    counts, wins = _pair_totals(first, second, points, np.zeros(np.shape(points), dtype=np.int64), policies)
    return _fit(counts[0], wins[0], policies, prior_sd)


def bradley_terry_intervals(
    first: ArrayLike,
    second: ArrayLike,
    points: ArrayLike,
    prompts: Sequence[Hashable],
    *,
    policies: int,
    generator: np.random.Generator,
    prior_sd: float = 3.0,
    level: float = 0.95,
    resamples: int = 1000,
) -> Strengths:
    """Return strengths with intervals that resample whole prompts and fit anew each time.

    Overlapping intervals of two policies do not mean that they tie: compare the two directly.

    :param prompts: ``[N]`` label of the prompt that each comparison is of; further parameters and errors are
        those of :func:`bradley_terry`.
    :raises ValueError: fewer than two prompts.
    """
    clusters = cluster_numbers(prompts)
    number = int(clusters.max()) + 1
    counts, wins = _pair_totals(first, second, points, clusters, policies)
    values = _fit(counts.sum(axis=0), wins.sum(axis=0), policies, prior_sd)
    blocks = resampled_counts(number, generator, resamples)
    refits = np.concatenate([_fit(times @ counts, times @ wins, policies, prior_sd) for times in blocks])
    low, high = np.quantile(refits, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    wider = cluster_stretch(number, level)
    return Strengths(values, values + wider * (low - values), values + wider * (high - values))


def bradley_terry_of_grids(
    points: Sequence[Sequence[ArrayLike]],
    *,
    policies: int,
    over: Sequence[Level],
    generator: np.random.Generator,
    prior_sd: float = 3.0,
    level: float = 0.95,
    resamples: int = 1000,
) -> Strengths:
    """Return the strengths that fit the win rates of all pairs, with intervals over seeds, prompts or both.

    A win rate is the mean over environments of those of their seeds, and weighs as much as all prompts once.
    All pairs see the same drawn seeds and prompts. The intervals are stretched as those of
    :func:`~rltk.stats.bootstrap.bootstrap_estimate`, each as that of the policy's mean win rate.

    :param points: for the pairs (0, 1), (0, 2), .. (1, 2), .. one grid ``[S, P, K]`` an environment of the
        first one's points, see :func:`~rltk.stats.preference.win_points`; the scores of all pairs in the same
        places.
    :param over: the levels to draw anew; further parameters are those of :func:`bradley_terry`.
    :raises ValueError: a pair is missing or has other seeds, prompts or samples; a level has one unit only.
    """
    pairs = [as_grids(grids) for grids in points]
    features = _features(policies)
    if len(pairs) != len(features):
        raise ValueError(f"{len(pairs)} grids cannot be those of all pairs of {policies} policies")
    if len({tuple(grid.shape for grid in grids) for grids in pairs}) > 1:
        raise ValueError("a pair has other seeds, prompts or samples than another")
    prompts = float(sum(grid.shape[1] for grid in pairs[0]))
    rates = np.array([mean(run_scores(grids)) for grids in pairs])
    drawn = _resampled_rates(pairs, over, generator.spawn(1)[0], resamples)
    values = _fit(np.full(rates.shape, prompts), prompts * rates, policies, prior_sd)
    refits = _fit(np.full(drawn.shape, prompts), prompts * drawn, policies, prior_sd)
    factors = np.array([_widening(pairs, drawn, one, over, level) for one in features.T / (policies - 1)])
    low, high = np.quantile(refits, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return Strengths(values, values + factors * (low - values), values + factors * (high - values))


def comparisons_from_scores(
    scores: ArrayLike,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return first, second, points and prompt ``[N]`` of all pairs of policies on every prompt.

    :param scores: ``[M, P]``, the higher is preferred, equal ones tie; NaN where a policy has none, which
        leaves out its pairs on that prompt.
    """
    values = np.asarray(scores, dtype=np.float64)
    first, second = np.triu_indices(len(values), k=1)
    points = (np.sign(values[first] - values[second]) + 1.0) / 2.0
    pair, prompt = np.nonzero(~np.isnan(points))
    return first[pair], second[pair], points[pair, prompt], prompt


def elo(strengths: ArrayLike, *, centre: float = 1000.0) -> NDArray[np.float64]:
    """Return log-odds on the Elo scale, where 400 points are odds of ten to one: a change of units only."""
    return centre + np.asarray(strengths, dtype=np.float64) * 400.0 / math.log(10.0)


def _pair_totals(
    first: ArrayLike,
    second: ArrayLike,
    points: ArrayLike,
    clusters: NDArray[np.int64],
    policies: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``[C, Q]`` comparisons and points of the lower-numbered policy, for each pair of policies."""
    one, other, won = (np.asarray(values) for values in (first, second, points))
    if (one == other).any():
        raise ValueError("a policy is compared with itself")
    low, high = np.minimum(one, other), np.maximum(one, other)
    numbers = np.zeros((policies, policies), dtype=np.int64)
    rows, columns = np.triu_indices(policies, k=1)
    numbers[rows, columns] = np.arange(len(rows))
    cells = clusters * len(rows) + numbers[low, high]
    size = (int(clusters.max(initial=0)) + 1) * len(rows)
    counts = np.bincount(cells, minlength=size)
    wins = np.bincount(cells, weights=np.where(one < other, won, 1.0 - won), minlength=size)
    shape = (-1, len(rows))
    return counts.reshape(shape).astype(np.float64), wins.reshape(shape).astype(np.float64)


def _fit(
    counts: NDArray[np.float64], wins: NDArray[np.float64], policies: int, prior_sd: float
) -> NDArray[np.float64]:
    """Return strengths ``[..., M]`` from ``[..., Q]`` comparisons and points of all pairs."""
    points = np.divide(wins, counts, out=np.full(counts.shape, 0.5), where=counts > 0)
    # Only differences matter: the constant matrix holds the strengths' mean at 0 and changes nothing else.
    precision = np.eye(policies) / prior_sd**2 + 1.0 / policies
    return fit_logistic(_features(policies), points, counts, precision)


def _features(policies: int) -> NDArray[np.float64]:
    """Return ``[Q, M]``: of each pair 1 at the lower-numbered policy and -1 at the other."""
    rows, columns = np.triu_indices(policies, k=1)
    features = np.zeros((len(rows), policies))
    features[np.arange(len(rows)), rows] = 1.0
    features[np.arange(len(rows)), columns] = -1.0
    return features


def _resampled_rates(
    pairs: Sequence[Sequence[Grid]], over: Sequence[Level], generator: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    """Return win rates ``[B, Q]``, of the same draws for all pairs.

    Draws that leave a seed without a prompt are left out.
    """
    rates = [
        np.concatenate([mean(runs) for runs in resampled_runs(grids, over, deepcopy(generator), resamples)])
        for grids in pairs
    ]
    drawn = np.stack(rates, axis=1)
    return drawn[~np.isnan(drawn).any(axis=1)]


def _widening(
    pairs: Sequence[Sequence[Grid]],
    drawn: NDArray[np.float64],
    weights: NDArray[np.float64],
    over: Sequence[Level],
    level: float,
) -> float:
    """Return the factor of a policy's mean win rate.

    :param drawn: ``[B, Q]`` win rates.
    :param weights: ``[Q]`` of the pairs' points beyond a tie in the policy's own.
    """
    own = [np.tensordot(weights, np.stack(grids) - 0.5, axes=1) for grids in zip(*pairs, strict=True)]
    return widening(mean_variance(own, over), 0.5 + (drawn - 0.5) @ weights, level)
