"""Intervals and rates for evaluations whose observations come in clusters.

Several labelers judge the responses to one prompt, and all pairs of one ranking share their responses, so
such observations are not independent. Whole prompts are resampled, never single judgements; treating the
judgements as independent makes an interval up to three times too narrow (Miller 2024, arXiv 2411.00640).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_DRAWS_AT_ONCE = 1_000_000


def cluster_bootstrap_interval(
    numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of ``sum(numerators) / sum(denominators)`` over clusters.

    For a mean, give each cluster's sum and count; with one value a cluster the denominators are ones.

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
    ratios = _resampled_ratios(sums, counts, generator, resamples)
    tail = (1.0 - level) / 2.0
    low, high = np.nanquantile(ratios, [tail, 1.0 - tail])
    return float(low), float(high)


def _resampled_ratios(
    sums: NDArray[np.float64], counts: NDArray[np.float64], generator: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    """Return ``[resamples]`` ratios, drawn in blocks so that memory does not grow with the clusters."""
    clusters = len(sums)
    block = max(1, _DRAWS_AT_ONCE // clusters)
    ratios = np.empty(resamples)
    for start in range(0, resamples, block):
        chosen = generator.integers(clusters, size=(min(block, resamples - start), clusters))
        with np.errstate(invalid="ignore"):
            ratios[start : start + block] = sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1)
    return ratios


def interquartile_mean(values: ArrayLike) -> float:
    """Return the mean of the middle half: a quarter of the values, rounded down, is left out at each end.

    :param values: ``[n]`` scores, one a training run.
    :raises ValueError: there is no value.

    Source: Agarwal et al. 2021, Deep reinforcement learning at the edge of the statistical precipice,
    arXiv 2108.13264, section 4.3.
    """
    scores = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if not len(scores):
        raise ValueError("no values to take the interquartile mean of")
    return float(_middle(scores).mean())


def iqm_bootstrap_interval(
    strata: Sequence[ArrayLike],
    *,
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float]:
    """Return the stratified percentile bootstrap interval of the interquartile mean of all values.

    Runs are resampled within each stratum (an environment), so that each keeps its share (Agarwal et al.
    2021, section 4.1). With few runs the interval is no wider than their range: read it together with n.

    :param strata: one vector of scores an environment.
    :returns: lower and upper end.
    :raises ValueError: a stratum is empty.
    """
    columns = []
    for stratum in strata:
        scores = np.asarray(stratum, dtype=np.float64).ravel()
        columns.append(scores[generator.integers(len(scores), size=(resamples, len(scores)))])
    means = _middle(np.sort(np.concatenate(columns, axis=1), axis=1)).mean(axis=1)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


def _middle(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sorted values ``[..., n]`` without a quarter, rounded down, at each end."""
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut]


def win_points(ranks: ArrayLike, baseline_ranks: ArrayLike) -> NDArray[np.float64]:
    """Return 1 where a rank beats the baseline's (is lower), 0.5 where they tie, 0 where it loses.

    :param ranks: 1 is the best; any shape.
    :param baseline_ranks: the ranks compared with, of the same shape.
    """
    difference = np.sign(np.asarray(baseline_ranks, dtype=np.float64) - np.asarray(ranks, dtype=np.float64))
    return (difference + 1.0) / 2.0
