"""Aggregates, performance profiles and the probability of improvement, each with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rltk.stats import aggregates
from rltk.stats.aggregates import AGGREGATES, Runs
from rltk.stats.bootstrap import Estimate, bootstrap_bands, bootstrap_estimate
from rltk.stats.grids import Level


@dataclass(frozen=True)
class Profile:
    """A performance profile with pointwise bands.

    :param thresholds: ``[T]``.
    :param values: ``[T]`` share of runs that score more than each threshold.
    :param low: ``[T]`` lower end at each threshold.
    :param high: ``[T]`` upper end.
    """

    thresholds: NDArray[np.float64]
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def aggregate(
    name: str,
    scores: Sequence[ArrayLike],
    *,
    over: Sequence[Level],
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Estimate:
    """Return one of :data:`~rltk.stats.aggregates.AGGREGATES` over environments with its interval.

    :param name: ``mean``, ``iqm``, ``median`` or ``optimality_gap`` (to a score of 1).
    :param scores: one grid ``[S, P, K]`` of normalised scores an environment.
    :param over: the levels that the interval generalises over, see
        :func:`~rltk.stats.bootstrap.bootstrap_estimate`.
    """
    bounds = (0.0, np.inf) if name == "optimality_gap" else (-np.inf, np.inf)
    return bootstrap_estimate(
        scores,
        AGGREGATES[name],
        over=over,
        generator=generator,
        level=level,
        resamples=resamples,
        bounds=bounds,
    )


def performance_profile(
    scores: Sequence[ArrayLike],
    thresholds: Sequence[float],
    *,
    over: Sequence[Level],
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Profile:
    """Return the share of runs above each threshold with pointwise bands.

    :param scores: one grid ``[S, P, K]`` of normalised scores an environment.
    :param thresholds: ``[T]``.
    """

    def curve(runs: Runs) -> NDArray[np.float64]:
        return aggregates.performance_profile(runs, thresholds)

    values, low, high = bootstrap_bands(
        scores, curve, over=over, generator=generator, level=level, resamples=resamples, bounds=(0.0, 1.0)
    )
    return Profile(np.asarray(thresholds, dtype=np.float64), values, low, high)


def probability_of_improvement(
    scores: Sequence[ArrayLike],
    others: Sequence[ArrayLike],
    *,
    over: Sequence[Level] = ("seed",),
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Estimate:
    """Return the chance that a run of one policy beats a run of another in the same environment.

    The two policies' runs are drawn anew apart from each other, so that their numbers may differ.

    :param scores: one grid ``[S, P, K]`` an environment.
    :param others: the other policy's, in the same order of environments.
    :raises ValueError: the numbers of environments differ.
    """
    if len(scores) != len(others):
        raise ValueError(f"{len(scores)} and {len(others)} environments cannot be compared")

    def improvement(runs: Runs) -> NDArray[np.float64]:
        return aggregates.probability_of_improvement(runs[: len(scores)], runs[len(scores) :])

    return bootstrap_estimate(
        [*scores, *others],
        improvement,
        over=over,
        generator=generator,
        level=level,
        resamples=resamples,
        bounds=(0.0, 1.0),
    )
