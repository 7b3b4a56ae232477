"""Intervals by resampling whole clusters: prompts, seeds, environments, never single answers.

Answers to one prompt, and runs of one seed, are not independent; treating them so makes an interval up to
three times too narrow (Miller 2024, arXiv 2411.00640). Percentile intervals of few clusters are too narrow as
well: of five, a nominal 95 % interval covers 84 %. :func:`bootstrap_estimate` therefore stretches them around
the estimate until they are, for a mean, as wide as Student's t says. (Hesterberg 2015, arXiv 1411.5279,
corrects the same narrowness by the level of the quantiles, which cannot leave the range of the values.)
"""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from rltk.stats.aggregates import iqm
from rltk.stats.grids import Level, as_grids, run_scores, score_grid
from rltk.stats.resampling import resampled_counts, resampled_runs
from rltk.stats.variance import MeanVariance, mean_variance

#: Turns run scores, one array ``[..., S]`` an environment, into a statistic ``[...]`` or ``[..., T]``.
Statistic = Callable[[Sequence[NDArray[np.float64]]], NDArray[np.float64]]


class Estimate(NamedTuple):
    """A number with the two ends of its interval.

    :param value: the estimate.
    :param low: lower end.
    :param high: upper end.
    """

    value: float
    low: float
    high: float


def bootstrap_estimate(
    scores: Sequence[ArrayLike],
    statistic: Statistic,
    *,
    over: Sequence[Level],
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Estimate:
    """Return a statistic of all environments' run scores with its bootstrap interval.

    Only the levels of ``over`` are drawn anew: of ``("prompt",)`` the interval says what other prompts would
    have given the same policies, of ``("seed", "prompt")`` what other prompts and other training seeds would
    have. Environments stay as they are, each a stratum, unless they are a level themselves.

    :param scores: one grid ``[S, P, K]`` an environment, see :mod:`rltk.stats.grids`.
    :param statistic: one of :mod:`rltk.stats.aggregates`, or a function like them.
    :param bounds: what the statistic cannot pass; the interval is cut there.
    :raises ValueError: a level has one unit only; environments are a level and have unequal numbers of seeds.

    Source: Davison and Hinkley 1997, Bootstrap Methods, section 3.8 (resample the outer level); Owen 2007,
    The pigeonhole bootstrap (seeds and prompts crossed); Agarwal et al. 2021, arXiv 2108.13264 (strata).
    """
    value, low, high = bootstrap_bands(
        scores, statistic, over=over, generator=generator, level=level, resamples=resamples, bounds=bounds
    )
    return Estimate(float(value), float(low), float(high))


def bootstrap_bands(
    scores: Sequence[ArrayLike],
    statistic: Statistic,
    *,
    over: Sequence[Level],
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return a statistic of several numbers ``[T]``, and the lower and upper ends ``[T]``, each on its own.

    Parameters are those of :func:`bootstrap_estimate`.
    """
    grids = as_grids(scores)
    variance = mean_variance(grids, over)
    value = statistic(run_scores(grids))
    blocks = [
        (statistic(runs), np.mean([run.mean(axis=-1) for run in runs], axis=0))
        for runs in resampled_runs(grids, over, generator, resamples)
    ]
    values, means = (np.concatenate(part) for part in zip(*blocks, strict=True))
    values, means = values[~np.isnan(means)], means[~np.isnan(means)]  # a seed may be left without a prompt
    factor = widening(variance, means, level)
    low, high = _quantiles(values, level)
    return (
        value,
        np.clip(value + factor * (low - value), *bounds),
        np.clip(value + factor * (high - value), *bounds),
    )


def clustered_mean(
    values: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Estimate:
    """Return the mean of all values with an interval that resamples whole clusters.

    :param values: ``[N]``, finite.
    :param clusters: ``[N]`` labels, as a rule the prompt of each value; None makes each value one.
    :raises ValueError: fewer than two clusters.
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    grid = score_grid([0] * len(flat), range(len(flat)) if clusters is None else clusters, flat)

    def mean(runs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return runs[0][..., 0]

    return bootstrap_estimate(
        [grid],
        mean,
        over=["prompt"],
        generator=generator,
        level=level,
        resamples=resamples,
        bounds=bounds,
    )


def cluster_bootstrap_interval(
    numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of ``sum(numerators) / sum(denominators)`` over clusters.

    For a mean, give each cluster's sum and count; with one value a cluster the denominators are ones. Of
    fewer than 30 clusters, :func:`clustered_mean` has the better interval.

    :param numerators: ``[C]`` one number a cluster.
    :param denominators: ``[C]`` non-negative weights, counts as a rule; not all zero.
    :param level: share of the bootstrap distribution that lies between the two ends.
    :returns: lower and upper end; NaN where there is no cluster with a positive denominator.
    :raises ValueError: when the two lengths differ.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; clusters as in
    Field and Welsh (2007).
    """
    sums = np.asarray(numerators, dtype=np.float64)
    counts = np.asarray(denominators, dtype=np.float64)
    if sums.shape != counts.shape or sums.ndim != 1:
        raise ValueError(
            f"numerators {sums.shape} and denominators {counts.shape} must be vectors of one length"
        )
    if not counts.any():
        return float("nan"), float("nan")
    with np.errstate(invalid="ignore"):
        ratios = [
            (times @ sums) / (times @ counts) for times in resampled_counts(len(sums), generator, resamples)
        ]
    low, high = _quantiles(np.concatenate(ratios), level)
    return float(low), float(high)


def iqm_bootstrap_interval(
    strata: Sequence[ArrayLike],
    *,
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float]:
    """Return the stratified percentile bootstrap interval of the interquartile mean of all values.

    Runs are resampled within each stratum (an environment), so that each keeps its share (Agarwal et al.
    2021, section 4.1). With few runs the interval is no wider than their range: :func:`bootstrap_estimate`
    does better.

    :param strata: one vector of scores an environment.
    :returns: lower and upper end.
    :raises ValueError: a stratum is empty.
    """
    grids = as_grids(strata)
    blocks = resampled_runs(grids, ["seed"], generator, resamples)
    low, high = _quantiles(np.concatenate([iqm(runs) for runs in blocks]), level)
    return float(low), float(high)


def widening(variance: MeanVariance, means: NDArray[np.float64], level: float) -> float:
    """Return by how much a mean's percentile interval has to be stretched to be as wide as Student's t.

    :param variance: of the mean.
    :param means: ``[B]`` its replicates.
    """
    spread = float(means.var(ddof=1))
    if spread <= 1e-24 * float(means.mean()) ** 2:  # rounding alone makes a constant's replicates differ
        return 1.0
    return stretch(variance.degrees, level) * float(np.sqrt(variance.total / spread))


def stretch(degrees: float, level: float) -> float:
    """Return how many times Student's t is wider than the normal distribution at a level."""
    tail = (1.0 + level) / 2.0
    return float(stdtrit(degrees, tail) / ndtri(tail))


def cluster_stretch(clusters: int, level: float) -> float:
    """Return by how much a percentile interval of so many clusters is too narrow, for a mean.

    Student's t against the normal distribution, and ``C / (C - 1)`` for the variance of resampled means.
    """
    return stretch(clusters - 1, level) * float(np.sqrt(clusters / (clusters - 1)))


def _quantiles(replicates: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Return the lower and upper quantile over the first axis; replicates without any score do not count."""
    tail = (1.0 - level) / 2.0
    return np.nanquantile(replicates, [tail, 1.0 - tail], axis=0)
