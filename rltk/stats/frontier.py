"""KL, proxy and gold: what a policy gained, by whose measure, and how far it moved for it."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rltk.stats.bootstrap import Estimate, clustered_mean


@dataclass(frozen=True)
class FrontierPoint:
    """One policy: its KL divergence from the reference, the proxy's reward, the true (gold) score."""

    kl: Estimate
    proxy: Estimate
    gold: Estimate


def frontier_point(
    kl: ArrayLike,
    proxy: ArrayLike,
    gold: ArrayLike,
    prompts: Sequence[Hashable],
    *,
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> FrontierPoint:
    """Return the means of one policy's episodes, each with its prompt-clustered interval.

    :param kl: ``[N]`` one estimate an episode; single ones may be negative, their mean is not but for chance.
    :param proxy: ``[N]`` learned rewards.
    :param gold: ``[N]`` true scores.
    :param prompts: ``[N]`` labels of the clusters.
    :raises ValueError: fewer than two prompts.
    """
    estimates = (
        clustered_mean(values, prompts, generator=generator, level=level, resamples=resamples)
        for values in (kl, proxy, gold)
    )
    return FrontierPoint(*estimates)


def pareto_optimal(costs: ArrayLike, gains: ArrayLike) -> NDArray[np.bool_]:
    """Return which points no other beats: none costs less for as much gain, or gains more for the same cost.

    :param costs: ``[M]``, as a rule KL divergences.
    :param gains: ``[M]``, as a rule gold scores.
    """
    cost, gain = np.asarray(costs, dtype=np.float64), np.asarray(gains, dtype=np.float64)
    as_good = (cost[None, :] <= cost[:, None]) & (gain[None, :] >= gain[:, None])
    better = (cost[None, :] < cost[:, None]) | (gain[None, :] > gain[:, None])
    return ~np.any(as_good & better, axis=1)


def best_of_n_kl(n: ArrayLike) -> NDArray[np.float64]:
    """Return ``log n - (n - 1) / n``, the KL divergence of best-of-n from the policy it samples.

    An upper bound where two answers can be equal (Beirami et al. 2024, arXiv 2401.01879).

    Source: Stiennon et al. 2020, arXiv 2009.01325, appendix G.3.
    """
    number = np.asarray(n, dtype=np.float64)
    return np.log(number) - (number - 1.0) / number
