"""What several samples of one prompt say: pass@k, pass^k and max@k, without bias.

Each is an average over all subsets of k of the n samples, in closed form; taking the first k instead depends
on their order and wastes the rest. The functions give one value a prompt: their mean, with an interval that
resamples prompts, is :func:`rltk.stats.bootstrap.clustered_mean` (with bounds of 0 and 1).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pass_at_k(successes: ArrayLike, samples: ArrayLike, k: int) -> NDArray[np.float64]:
    """Return for each prompt the chance that at least one of k samples succeeds: ``1 - C(n-c, k) / C(n, k)``.

    :param successes: ``[P]`` how many of the prompt's samples succeeded, c.
    :param samples: ``[P]`` or one number, n.
    :raises ValueError: a prompt has fewer than k samples, or k is below 1.

    Source: Chen et al. 2021, arXiv 2107.03374, equation 1.
    """
    count, of = np.broadcast_arrays(np.asarray(successes), np.asarray(samples))
    return 1.0 - _all_of_k(of - count, of, k)


def pass_hat_k(successes: ArrayLike, samples: ArrayLike, k: int) -> NDArray[np.float64]:
    """Return for each prompt the chance that all of k samples succeed: ``C(c, k) / C(n, k)``.

    Parameters and errors are those of :func:`pass_at_k`.

    Source: Yao et al. 2024, tau-bench, arXiv 2406.12045.
    """
    count, of = np.broadcast_arrays(np.asarray(successes), np.asarray(samples))
    return _all_of_k(count, of, k)


def max_at_k(scores: ArrayLike, k: int) -> NDArray[np.float64]:
    """Return for each prompt the expected best score of k samples, for scores of any kind.

    With the n scores in ascending order ``r_(1) .. r_(n)``, ``sum_i C(i-1, k-1) / C(n, k) r_(i)``: of all
    subsets of k, so many have ``r_(i)`` as their best. On zeros and ones it is pass@k.

    :param scores: ``[P, n]``.
    :raises ValueError: there are fewer than k samples, or k is below 1.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64), axis=-1)
    n = ordered.shape[-1]
    _check(np.array(n), k)
    places = np.arange(1, n + 1)[:, None]
    smaller = np.arange(1, k)
    weights = (k / n) * (np.maximum(places - smaller, 0) / (n - smaller)).prod(axis=1)
    return ordered @ weights


def _all_of_k(count: NDArray[np.int64], of: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Return ``C(count, k) / C(of, k)`` as a product of k ratios, which neither overflows nor cancels."""
    _check(of, k)
    taken = np.arange(k)
    return (np.maximum(count[..., None] - taken, 0) / (of[..., None] - taken)).prod(axis=-1)


def _check(samples: NDArray[np.int64], k: int) -> None:
    if k < 1 or (samples < k).any():
        raise ValueError(f"k is {k}; a prompt has {samples.min()} samples")
