"""One number, or one curve, for the run scores of all environments.

Every function takes one array ``[..., S]`` of run scores an environment and works along the last axis; the
axes before it are bootstrap replicates. Source: Agarwal et al. 2021, arXiv 2108.13264, section 4.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

Runs = Sequence[NDArray[np.float64]]


def normalised_score(scores: ArrayLike, bounds: tuple[float, float]) -> NDArray[np.float64]:
    """Return ``(score - random) / (oracle - random)``: 0 is a random policy, 1 a perfect one.

    :param scores: of one environment, any shape.
    :param bounds: the environment's mean scores of a random and of a perfect policy.
    :raises ValueError: the two are equal.
    """
    random, oracle = bounds
    if oracle == random:
        raise ValueError(f"a random and a perfect policy both score {random}")
    return (np.asarray(scores, dtype=np.float64) - random) / (oracle - random)


def mean(runs: Runs) -> NDArray[np.float64]:
    """Return the mean over environments of each one's mean over runs."""
    return np.mean([scores.mean(axis=-1) for scores in runs], axis=0)


def median(runs: Runs) -> NDArray[np.float64]:
    """Return the median over environments of each one's mean over runs."""
    return np.median([scores.mean(axis=-1) for scores in runs], axis=0)


def iqm(runs: Runs) -> NDArray[np.float64]:
    """Return the interquartile mean: of all runs' scores, the mean of the middle half."""
    return _middle(np.sort(np.concatenate(runs, axis=-1), axis=-1)).mean(axis=-1)


def optimality_gap(runs: Runs, target: float = 1.0) -> NDArray[np.float64]:
    """Return by how much scores miss the target on average; what exceeds it does not count."""
    return target - np.minimum(np.concatenate(runs, axis=-1), target).mean(axis=-1)


def performance_profile(runs: Runs, thresholds: Sequence[float]) -> NDArray[np.float64]:
    """Return the share of runs that score more than each threshold, ``[..., T]``."""
    scores = np.concatenate(runs, axis=-1)
    return np.stack([(scores > threshold).mean(axis=-1) for threshold in thresholds], axis=-1)


def probability_of_improvement(runs: Runs, others: Runs) -> NDArray[np.float64]:
    """Return the chance that a run beats one of the others', averaged over environments.

    For each environment the Mann-Whitney U divided by the number of pairs; a tie counts half.

    :param runs: the scores of one policy.
    :param others: those of the other in the same environments; the numbers of runs may differ.
    :raises ValueError: the numbers of environments differ.
    """
    pairs = zip(runs, others, strict=True)
    signs = [np.sign(a[..., :, None] - b[..., None, :]).mean(axis=(-2, -1)) for a, b in pairs]
    return (np.mean(signs, axis=0) + 1.0) / 2.0


#: The aggregates of one policy by name.
AGGREGATES: dict[str, Callable[[Runs], NDArray[np.float64]]] = {
    "mean": mean,
    "iqm": iqm,
    "median": median,
    "optimality_gap": partial(optimality_gap, target=1.0),
}


def interquartile_mean(values: ArrayLike) -> float:
    """Return the mean of the middle half: a quarter of the values, rounded down, is left out at each end.

    :param values: ``[n]`` scores, one a training run.
    :raises ValueError: there is no value.
    """
    scores = np.asarray(values, dtype=np.float64).ravel()
    if not len(scores):
        raise ValueError("no values to take the interquartile mean of")
    return float(iqm([scores]))


def _middle(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sorted values ``[..., n]`` without a quarter, rounded down, at each end."""
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut]
