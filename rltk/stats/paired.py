"""Is A better than B? Two policies on the same prompts and seeds, by their differences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from rltk.stats.aggregates import mean
from rltk.stats.bootstrap import bootstrap_estimate
from rltk.stats.grids import Grid, Level, as_grids, cell_shares, check_levels
from rltk.stats.resampling import DRAWS_AT_ONCE
from rltk.stats.variance import MeanVariance, mean_variance


@dataclass(frozen=True)
class Comparison:
    """What is known of a difference between two policies.

    :param difference: mean of the first minus mean of the second, over environments.
    :param low: lower end of its interval.
    :param high: upper end.
    :param level: of the interval.
    :param p_value: two-sided, of no difference; not yet corrected for other comparisons.
    :param variance: of the difference, in parts.
    :param seeds: how many seeds were compared in the environment that has the most.
    :param prompts: how many prompts, likewise.
    """

    difference: float
    low: float
    high: float
    level: float
    p_value: float
    variance: MeanVariance
    seeds: int
    prompts: int


def compare(
    scores: Sequence[ArrayLike],
    others: Sequence[ArrayLike],
    *,
    over: Sequence[Level],
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Comparison:
    """Return the difference of two policies that answered the same prompts.

    Samples of one prompt and seed are averaged, then subtracted: what makes a prompt hard for both drops
    out. Seeds are paired in their order; a grid of one seed is compared with every seed of the other. A
    prompt that one of them lacks is left out, one that was answered more often weighs more: where both have
    equally many answers in every cell, the difference is that of their means. The interval resamples whole
    prompts, seeds, or both (:func:`~rltk.stats.bootstrap.bootstrap_estimate`). Where one level is drawn anew,
    the p-value is of :func:`sign_flip_p_value` on what its clusters add to the difference; of seeds crossed
    with prompts there is no such test, and the p-value is Student's, with the variance of
    :func:`~rltk.stats.variance.mean_variance`.

    :param scores: of the first policy, one grid ``[S, P, K]`` an environment.
    :param others: of the second, in the same order of environments, seeds and prompts.
    :param over: one or both of ``seed`` and ``prompt``.
    :raises ValueError: the grids do not fit each other, or a level has one unit only.
    """
    if not set(over) <= {"seed", "prompt"}:
        raise ValueError(f"differences vary over seeds and prompts, not over {list(over)}")
    grids = _differences(as_grids(scores), as_grids(others))
    check_levels(grids, over)
    variance = mean_variance(grids, over)
    estimate = bootstrap_estimate(
        grids, mean, over=over, generator=generator, level=level, resamples=resamples
    )
    return Comparison(
        *estimate,
        level=level,
        p_value=_p_value(grids, over, variance, estimate.value, generator, resamples),
        variance=variance,
        seeds=max(grid.shape[0] for grid in grids),
        prompts=max(grid.shape[1] for grid in grids),
    )


def sign_flip_p_value(
    differences: ArrayLike, *, generator: np.random.Generator, resamples: int = 10_000
) -> float:
    """Return the two-sided p-value of differences that are symmetric around 0, one an independent cluster.

    All ``2^C`` assignments of signs are tried where they are no more than ``resamples``, else so many random
    ones, the observed one included. Fewer than six clusters cannot give a p-value below 0.05.

    :param differences: ``[C]``, one number a cluster.
    :raises ValueError: there is no difference.

    Source: Fisher 1935, The Design of Experiments, section 21; SciPy's ``permutation_test``.
    """
    from scipy.stats import permutation_test  # takes half a second to import

    values = np.asarray(differences, dtype=np.float64).ravel()
    if len(values) < 2:
        if not len(values):
            raise ValueError("no differences to test")
        return 1.0
    result = permutation_test(
        (values,),
        lambda flipped, axis: flipped.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, DRAWS_AT_ONCE // len(values)),
        rng=generator.spawn(1)[0],  # how much of it is drawn depends on the size of the batch
    )
    return float(result.pvalue)


def mcnemar(successes: ArrayLike, others: ArrayLike) -> float:
    """Return the exact two-sided p-value that two policies succeed equally often on the same prompts.

    Only prompts on which exactly one of them succeeds count; under no difference each is a fair coin.

    :param successes: ``[P]`` booleans, one sample a prompt.
    :param others: ``[P]`` booleans of the other policy.
    :raises ValueError: the lengths differ.

    Source: McNemar 1947; SciPy's ``binomtest``.
    """
    from scipy.stats import binomtest

    first, second = np.asarray(successes, dtype=bool), np.asarray(others, dtype=bool)
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape} successes are not pairs")
    discordant = int((first != second).sum())
    return float(binomtest(int((first & ~second).sum()), discordant).pvalue) if discordant else 1.0


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values corrected for their number: at most alpha of such families has any false alarm.

    :param p_values: ``[M]``, as a rule one an environment.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted


def _differences(scores: Sequence[Grid], others: Sequence[Grid]) -> list[Grid]:
    """Return ``[S, P, K]`` differences of cell means, each as often as there are pairs of scores in its cell.

    Prompts that one of the two lacks everywhere are left out.
    """
    if len(scores) != len(others):
        raise ValueError(f"{len(scores)} and {len(others)} environments cannot be compared")
    differences = []
    for number, pair in enumerate(zip(scores, others, strict=True)):
        (ours, count), (theirs, count_of_theirs) = map(_cell_means, pair)
        seeds = {len(ours), len(theirs)} - {1}
        if len(seeds) > 1 or ours.shape[1] != theirs.shape[1]:
            raise ValueError(f"environment {number}: {ours.shape} and {theirs.shape} cells are not pairs")
        pairs = np.minimum(count, count_of_theirs)
        met = pairs.any(axis=0)
        repeated = np.arange(pairs.max()) < pairs[:, met, None]
        differences.append(np.where(repeated, (ours - theirs)[:, met, None], np.nan))
    return as_grids(differences)


def _cell_means(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return ``[S, P]`` means and numbers of scores, NaN where there is none."""
    counts = (~np.isnan(grid)).sum(axis=2)
    means = np.divide(np.nansum(grid, axis=2), counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return means, counts


def _p_value(
    grids: Sequence[Grid],
    over: Sequence[Level],
    variance: MeanVariance,
    difference: float,
    generator: np.random.Generator,
    resamples: int,
) -> float:
    if len(set(over)) == 1:
        clusters = [cell_shares(grid).sum(axis=1 if "seed" in over else 0) for grid in grids]
        return sign_flip_p_value(np.concatenate(clusters), generator=generator, resamples=5 * resamples)
    if not variance.total:
        return float(difference == 0.0)
    return float(2.0 * stdtr(variance.degrees, -abs(difference) / np.sqrt(variance.total)))
