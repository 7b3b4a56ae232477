"""Who did better, episode by episode: two policies at the same prompt with the same sampling seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rltk import stats
from rltk.bench.grids import RESAMPLES, Grids, Interval, Met, met_grid
from rltk.stats.grids import Grid

#: Each one fits the model anew to all episodes.
_REFITS = 400


def win_rate(grids: Grids, policy: str, other: str, environments: Sequence[str]) -> Interval:
    """Return the share of episodes in which a policy scores more than another, ties half.

    Over several environments the mean of theirs. The interval is over training seeds, where one of the two
    has several of each environment, and prompts.

    :raises ValueError: they never met.
    """
    points = points_won(grids, policy, other, environments)
    estimate = stats.bootstrap_estimate(
        points,
        stats.AGGREGATES["mean"],
        over=stats.estimable_levels(points),
        generator=grids.generator("win rate", policy, other, *environments),
        resamples=RESAMPLES,
        bounds=(0.0, 1.0),
    )
    return Interval(*estimate)


def points_won(grids: Grids, policy: str, other: str, environments: Sequence[str]) -> list[Grid]:
    """Return the points of a policy against another, ``[S, P, K]`` an environment, a row a pair of runs."""
    met = [grids.meetings(policy, other, name) for name in environments]
    return [met_grid(each, _won(each)) for each in met]


def length_controlled(grids: Grids, policy: str, other: str, environment: str) -> Interval | None:
    """Return the win rate were the answers equally long; None without text.

    The interval is over prompts.
    """
    if not grids.results.plan["environments"][environment]["text"]:
        return None
    met = grids.meetings(policy, other, environment)
    estimate = stats.length_controlled_win_rate(
        _won(met),
        [one.ours.length for one in met],
        [one.theirs.length for one in met],
        [one.ours.prompt_key for one in met],
        generator=grids.generator("length-controlled", policy, other, environment),
        resamples=_REFITS,
    )
    return Interval(*estimate)


def _won(met: Sequence[Met]) -> NDArray[np.float64]:
    return stats.win_points([one.theirs.score for one in met], [one.ours.score for one in met])
