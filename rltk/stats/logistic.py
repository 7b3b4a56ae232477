"""Logistic regression with a normal prior, many at once: what the preference models are made of."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

_STEPS = 100
_LONGEST_STEP = 2.0
_TOLERANCE = 1e-9
#: Log-odds that no number of comparisons supports: probabilities round to 0 and 1, and steps to nothing.
_INFINITE = 30.0


def fit_logistic(
    features: NDArray[np.float64],
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    precision: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the coefficients ``[..., D]`` that maximise the penalised log-likelihood, by Newton's method.

    ``sum_n w_n (y_n log p_n + (1 - y_n) log(1 - p_n)) - beta' precision beta / 2`` with
    ``p_n = sigmoid(x_n beta)``. Leading axes are separate fits: a bootstrap's refits are one call.

    :param features: ``[..., N, D]``.
    :param points: ``[..., N]`` in 0 .. 1.
    :param weights: ``[..., N]``, at least 0.
    :param precision: ``[D, D]`` of the prior, symmetric; zeros for none.
    :raises ValueError: the maximum lies at infinity, which a prior prevents.
    """
    transposed = np.swapaxes(features, -1, -2)
    shape = np.broadcast_shapes(points.shape, weights.shape)[:-1]
    beta = np.zeros((*shape, features.shape[-1]))
    for _ in range(_STEPS):
        logits = (features @ beta[..., None])[..., 0]
        p = expit(logits)
        gradient = (transposed @ (weights * (points - p))[..., None])[..., 0] - beta @ precision
        hessian = (transposed * (weights * p * (1.0 - p))[..., None, :]) @ features + precision
        try:
            step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        except np.linalg.LinAlgError:
            break
        longest = np.abs(step).max(axis=-1, keepdims=True)
        beta = beta + step * (_LONGEST_STEP / np.maximum(longest, _LONGEST_STEP))
        if longest.max() < _TOLERANCE and np.abs(logits).max() < _INFINITE:
            return beta
    raise ValueError("the preferences have no finite fit without a prior: give a finite prior_sd")
