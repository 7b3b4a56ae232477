"""The variance of a mean score, taken apart by what varies: environments, seeds, prompts, samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rltk.stats.grids import Grid, Level, as_grids, cell_values, check_levels, run_scores


@dataclass(frozen=True)
class MeanVariance:
    """The variance of a mean over environments, each the mean of its seeds' scores, as a sum of parts.

    :param environment: what more environments would shrink.
    :param seed: what more seeds would shrink.
    :param prompt: what more prompts would shrink.
    :param residual: what is left between cells of one seed and prompt: more of either shrinks it.
    :param degrees: degrees of freedom of Student's t for the mean.
    """

    environment: float = 0.0
    seed: float = 0.0
    prompt: float = 0.0
    residual: float = 0.0
    degrees: float = 1.0

    @property
    def total(self) -> float:
        """The variance of the mean."""
        return self.environment + self.seed + self.prompt + self.residual


def mean_variance(scores: Sequence[ArrayLike], over: Sequence[Level]) -> MeanVariance:
    """Return the variance of the mean over environments, were the levels of ``over`` drawn anew.

    Seeds and prompts are crossed: every seed answers the same prompts, so both vary (two-way analysis of
    variance with random effects, negative parts cut at 0; degrees of freedom by Satterthwaite 1946, from
    the mean squares). Samples vary within a cell; they add nothing where a level above is drawn anew.

    :param scores: one grid ``[S, P, K]`` an environment.
    :param over: the levels that an interval is to generalise over.
    :raises ValueError: a level is unknown or has one unit only.
    """
    grids = as_grids(scores)
    check_levels(grids, over)
    if "environment" in over:
        means = np.array([runs.mean() for runs in run_scores(grids)])
        return MeanVariance(environment=means.var(ddof=1) / len(means), degrees=len(means) - 1)
    parts = [_within(grid, over) for grid in grids]
    share = len(parts) ** -2.0
    uncertainty = sum(part.total**2 / part.degrees for part in parts)
    return MeanVariance(
        seed=share * sum(part.seed for part in parts),
        prompt=share * sum(part.prompt for part in parts),
        residual=share * sum(part.residual for part in parts),
        degrees=sum(part.total for part in parts) ** 2 / uncertainty if uncertainty else parts[0].degrees,
    )


def _within(grid: Grid, over: Sequence[Level]) -> MeanVariance:
    """Return the variance of one environment's mean."""
    cells = cell_values(grid)
    seeds, prompts = cells.shape
    if "seed" in over and "prompt" in over:
        return _crossed(cells)
    if "seed" in over:
        return MeanVariance(seed=cells.mean(axis=1).var(ddof=1) / seeds, degrees=seeds - 1)
    if "prompt" in over:
        return MeanVariance(prompt=cells.mean(axis=0).var(ddof=1) / prompts, degrees=prompts - 1)
    return _of_samples(grid)


def _crossed(cells: NDArray[np.float64]) -> MeanVariance:
    """Return the variance of the mean of ``[S, P]`` cells with random rows and columns."""
    seeds, prompts = cells.shape
    rows, columns = cells.mean(axis=1), cells.mean(axis=0)
    interaction = cells - rows[:, None] - columns[None, :] + cells.mean()
    freedoms = np.array([seeds - 1, prompts - 1, (seeds - 1) * (prompts - 1)])
    residual = (interaction**2).sum() / freedoms[2]
    squares = np.array([prompts * rows.var(ddof=1), seeds * columns.var(ddof=1), residual]) / cells.size
    seed, prompt = (max(float(square - squares[2]), 0.0) for square in squares[:2])
    total, uncertainty = seed + prompt + squares[2], (squares**2 / freedoms).sum()
    degrees = max(total**2 / uncertainty if uncertainty else 0.0, min(seeds, prompts) - 1.0)
    return MeanVariance(seed=seed, prompt=prompt, residual=float(squares[2]), degrees=float(degrees))


def _of_samples(grid: Grid) -> MeanVariance:
    """Return the variance of the mean over fixed seeds and prompts."""
    counts = (~np.isnan(grid)).sum(axis=2)
    filled = counts > 0
    shares = (counts / counts.sum(axis=1, keepdims=True))[filled] / len(grid)
    of_cells = np.nanvar(grid[filled], axis=1, ddof=1) / counts[filled]
    return MeanVariance(
        residual=float((shares**2 * of_cells).sum()), degrees=float((counts[filled] - 1).sum())
    )
