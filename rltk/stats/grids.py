"""Scores as arrays: one grid ``[seeds, prompts, samples]`` an environment, NaN where there is no score.

The first axis holds what was trained or run anew, as a rule the training seeds; a policy that was not
trained has one row. The second holds prompts, the same for every row; in environments without prompts,
episodes. Where every seed had prompts of its own, a row holds NaN at the others' prompts. NaN is left out of
every mean.
"""

from collections.abc import Hashable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Level = Literal["environment", "seed", "prompt", "sample"]
Grid = NDArray[np.float64]


def as_grids(scores: Sequence[ArrayLike]) -> list[Grid]:
    """Return one ``[S, P, K]`` float64 array an environment, from ``[S]``, ``[S, P]`` or ``[S, P, K]``.

    :raises ValueError: there is no environment, or one has a seed without any score, an infinite score, or
        another number of axes.
    """
    grids = []
    for number, values in enumerate(scores):
        grid = np.asarray(values, dtype=np.float64)
        if not 1 <= grid.ndim <= 3 or not grid.size:
            raise ValueError(f"environment {number}: scores {grid.shape} are no [seeds, prompts, samples]")
        grid = grid.reshape(grid.shape + (1,) * (3 - grid.ndim))
        if np.isinf(grid).any() or np.isnan(grid).all(axis=(1, 2)).any():
            raise ValueError(f"environment {number}: a score is infinite, or a seed has none")
        grids.append(grid)
    if not grids:
        raise ValueError("no environment to summarise")
    return grids


def score_grid(
    seeds: Sequence[Hashable],
    prompts: Sequence[Hashable],
    scores: ArrayLike,
    *,
    all_seeds: Sequence[Hashable] | None = None,
    all_prompts: Sequence[Hashable] | None = None,
) -> Grid:
    """Return ``[S, P, K]`` from one entry per episode; K is the most scores of one seed and prompt.

    To compare two policies, lay both out by the same ``all_seeds`` and ``all_prompts``.

    :param seeds: ``[N]`` labels.
    :param prompts: ``[N]`` labels; equal ones are one cluster.
    :param scores: ``[N]``; those of one seed and prompt stay in the order given.
    :param all_seeds: labels of the rows, each once; by default those there are, in order of appearance.
    :param all_prompts: labels of the columns, likewise.
    :raises ValueError: the lengths differ.
    :raises KeyError: a label is not among ``all_seeds`` or ``all_prompts``.
    """
    rows = _numbered(seeds if all_seeds is None else all_seeds)
    columns = _numbered(prompts if all_prompts is None else all_prompts)
    cells: list[list[list[float]]] = [[[] for _ in columns] for _ in rows]
    for seed, prompt, score in zip(seeds, prompts, np.asarray(scores, dtype=np.float64), strict=True):
        cells[rows[seed]][columns[prompt]].append(float(score))
    samples = max((len(cell) for row in cells for cell in row), default=0)
    filled = [[cell + [np.nan] * (samples - len(cell)) for cell in row] for row in cells]
    return np.array(filled, dtype=np.float64).reshape(len(rows), len(columns), samples)


def cluster_numbers(labels: Sequence[Hashable]) -> NDArray[np.int64]:
    """Return ``[N]`` numbers from 0, equal where the labels are.

    :raises ValueError: fewer than two labels differ.
    """
    numbers = _numbered(labels)
    if len(numbers) < 2:
        raise ValueError("one prompt says nothing of how prompts differ")
    return np.array([numbers[label] for label in labels], dtype=np.int64)


def run_scores(grids: Sequence[Grid]) -> list[NDArray[np.float64]]:
    """Return the mean score of every seed, one vector ``[S]`` an environment."""
    return [np.nanmean(grid, axis=(1, 2)) for grid in grids]


def cell_values(grid: Grid) -> NDArray[np.float64]:
    """Return ``[S, P]`` values whose plain mean is the mean over seeds of the seed's mean score.

    Where every cell has equally many scores, these are the cells' means. Otherwise they are the linear terms
    of a ratio of sums (Cochran 1977, Sampling Techniques, section 2.11), so that variances of plain means are
    right for large samples. Seeds with prompts of their own are strata: each one's terms vary about its mean.
    """
    counts = (~np.isnan(grid)).sum(axis=2)
    totals = counts.sum(axis=1, keepdims=True)
    means = np.nansum(grid, axis=(1, 2), keepdims=True)[..., 0] / totals
    return means + (np.nansum(grid, axis=2) - means * counts) * grid.shape[1] / totals


def cell_shares(grid: Grid) -> NDArray[np.float64]:
    """Return ``[S, P]``, what each cell adds to the mean over seeds of the seed's mean score: its terms."""
    totals = (~np.isnan(grid)).sum(axis=(1, 2))[:, None]
    return np.nansum(grid, axis=2) / totals / len(grid)


def estimable_levels(
    scores: Sequence[ArrayLike], wanted: Sequence[Level] = ("seed", "prompt")
) -> list[Level]:
    """Return those of the wanted levels of which every environment has two or more."""
    sizes = _level_sizes(as_grids(scores))
    return [level for level in wanted if min(sizes[level]) > 1]


def check_levels(grids: Sequence[Grid], over: Sequence[Level]) -> None:
    """Raise ValueError unless the levels are known and each has at least two units everywhere."""
    if not over or not set(over) <= set(get_args(Level)):
        raise ValueError(f"levels {list(over)} are not one or more of {', '.join(get_args(Level))}")
    sizes = _level_sizes(grids)
    for level in over:
        if min(sizes[level]) < 2:
            raise ValueError(f"one {level} says nothing of how {level}s differ; leave it out of the levels")


def _numbered(labels: Sequence[Hashable]) -> dict[Hashable, int]:
    return {label: number for number, label in enumerate(dict.fromkeys(labels))}


def _level_sizes(grids: Sequence[Grid]) -> dict[Level, list[int]]:
    """Return how many units each level has, of samples in the emptiest cell that is not empty."""
    counts = [(~np.isnan(grid)).sum(axis=2) for grid in grids]
    return {
        "environment": [len(grids)],
        "seed": [grid.shape[0] for grid in grids],
        "prompt": [int(count.any(axis=0).sum()) for count in counts],
        "sample": [int(count[count > 0].min()) for count in counts],
    }
