"""Win rates: how often one policy's answer is preferred to another's, and how often if lengths were equal."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from rltk.stats.bootstrap import Estimate, cluster_stretch, clustered_mean
from rltk.stats.grids import cluster_numbers
from rltk.stats.logistic import fit_logistic
from rltk.stats.resampling import resampled_counts


def win_points(ranks: ArrayLike, baseline_ranks: ArrayLike) -> NDArray[np.float64]:
    """Return 1 where a rank beats the baseline's (is lower), 0.5 where they tie, 0 where it loses.

    :param ranks: 1 is the best; any shape.
    :param baseline_ranks: the ranks compared with, of the same shape.
    """
    difference = np.sign(np.asarray(baseline_ranks, dtype=np.float64) - np.asarray(ranks, dtype=np.float64))
    return (difference + 1.0) / 2.0


def win_rate(
    points: ArrayLike,
    prompts: Sequence[Hashable] | None = None,
    *,
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Estimate:
    """Return the share of points with an interval that resamples prompts.

    :param points: ``[N]`` 1 for a win, 0.5 for a tie, 0 for a loss.
    :param prompts: ``[N]`` labels; None makes each comparison a prompt of its own.
    :raises ValueError: fewer than two prompts.
    """
    return clustered_mean(
        points, prompts, generator=generator, level=level, resamples=resamples, bounds=(0.0, 1.0)
    )


def length_controlled_win_rate(
    points: ArrayLike,
    lengths: ArrayLike,
    other_lengths: ArrayLike,
    prompts: Sequence[Hashable] | None = None,
    *,
    generator: np.random.Generator,
    prior_sd: float = 3.0,
    level: float = 0.95,
    resamples: int = 1000,
) -> Estimate:
    """Return the win rate that answers as long as the other's would have, by a model of the preferences.

    ``logit P(win) = theta + phi tanh((length - other length) / s)`` with s the standard deviation of the
    differences, fitted to the points; the estimate is ``sigmoid(theta)``. Exchanging the two policies gives
    one minus it. The interval resamples prompts and fits anew, s held fixed. AlpacaEval's leaderboard adds a
    term for the difficulty of its own 805 prompts and a regularisation towards its own gamed baselines,
    neither of which other prompts have: this is its minimal model. What length does beyond this curve, or
    what else goes with it, is not controlled for.

    :param points: ``[N]`` 1 for a win, 0.5 for a tie, 0 for a loss.
    :param lengths: ``[N]`` of the policy's answers, in any unit.
    :param other_lengths: ``[N]`` of the other's.
    :param prompts: ``[N]`` labels; None makes each comparison a prompt of its own.
    :param prior_sd: standard deviation of the normal prior of theta and phi, which keeps them finite.
    :raises ValueError: fewer than two prompts.

    Source: Dubois et al. 2024, Length-controlled AlpacaEval, arXiv 2404.04475, section 3.
    """
    won = np.asarray(points, dtype=np.float64).ravel()
    difference = np.asarray(lengths, dtype=np.float64).ravel() - np.asarray(other_lengths).ravel()
    clusters = cluster_numbers(range(len(won)) if prompts is None else prompts)
    number = int(clusters.max()) + 1
    scale = difference.std(ddof=1) or 1.0
    features = np.stack([np.ones_like(won), np.tanh(difference / scale)], axis=1)
    precision = np.eye(2) / prior_sd**2
    theta = fit_logistic(features, won, np.ones_like(won), precision)[0]
    blocks = resampled_counts(number, generator, resamples)
    refits = [fit_logistic(features, won, times[:, clusters], precision)[:, 0] for times in blocks]
    ends = np.quantile(np.concatenate(refits), [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    wider = cluster_stretch(number, level)
    low, high = expit(theta + wider * (ends - theta))
    return Estimate(float(expit(theta)), float(low), float(high))
