"""Drawing seeds, prompts, samples and environments anew, many times, in bounded memory.

Every replicate takes its random numbers in one stretch of the generator's stream, so that results do not
depend on how many replicates are held at once.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rltk.stats.grids import Grid, Level

Vectors = NDArray[np.float64]

#: The most numbers of one kind that are held at a time.
DRAWS_AT_ONCE = 1_000_000


def resampled_runs(
    grids: Sequence[Grid], over: Sequence[Level], generator: np.random.Generator, resamples: int
) -> Iterator[list[Vectors]]:
    """Yield blocks of replicates, each block one array ``[B, S]`` of run scores an environment.

    :param grids: ``[S, P, K]`` an environment.
    :param over: levels to draw anew, with replacement; those of one environment apart from the others'.
    :raises ValueError: environments are drawn anew and have unequal numbers of seeds.
    """
    sizes = [_draws(grid, over) for grid in grids]
    environments = len(grids) if "environment" in over else 0
    if environments and len({len(grid) for grid in grids}) > 1:
        raise ValueError("environments with unequal numbers of seeds cannot stand in for one another")
    cells = sum(max(size, grid.size) for size, grid in zip(sizes, grids, strict=True))
    for block in _blocks(resamples, cells):
        uniforms = generator.random((block, sum(sizes) + environments))
        pieces = np.split(uniforms, np.cumsum(sizes), axis=1)
        runs = [_runs(grid, over, piece) for grid, piece in zip(grids, pieces, strict=False)]
        if environments:
            stacked = np.stack(runs, axis=1)
            chosen = _indices(pieces[-1], environments)[..., None]
            runs = list(np.moveaxis(np.take_along_axis(stacked, chosen, axis=1), 1, 0))
        yield runs


def resampled_counts(clusters: int, generator: np.random.Generator, resamples: int) -> Iterator[Vectors]:
    """Yield blocks ``[B, C]``: how often each of C clusters is drawn, C times with replacement."""
    for block in _blocks(resamples, clusters):
        yield _multiplicities(generator.random((block, clusters)))


def _blocks(resamples: int, numbers: int) -> Iterator[int]:
    """Yield sizes of blocks of replicates that need so many numbers each."""
    size = max(1, DRAWS_AT_ONCE // max(numbers, 1))
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def _draws(grid: Grid, over: Sequence[Level]) -> int:
    seeds, prompts, samples = grid.shape
    numbers: dict[Level, int] = {"seed": seeds, "prompt": prompts, "sample": seeds * prompts * samples}
    return sum(number for level, number in numbers.items() if level in over)


def _runs(grid: Grid, over: Sequence[Level], uniforms: Vectors) -> Vectors:
    """Return run scores ``[B, S]``; all seeds see the same drawn prompts."""
    seeds, prompts, samples = grid.shape
    values = np.broadcast_to(grid, (len(uniforms), *grid.shape))
    if "sample" in over:
        drawn = _indices(uniforms[:, -grid.size :], samples).reshape(-1, *grid.shape)
        values = np.take_along_axis(values, drawn, axis=3)
    else:
        values = values[:1]
    sums, counts = np.nansum(values, axis=3), (~np.isnan(values)).sum(axis=3).astype(np.float64)
    times = np.ones((len(uniforms), prompts))
    if "prompt" in over:
        start = seeds if "seed" in over else 0
        times = _multiplicities(uniforms[:, start : start + prompts])
    with np.errstate(invalid="ignore"):
        runs = ((sums @ times[..., None]) / (counts @ times[..., None]))[..., 0]
    return np.take_along_axis(runs, _indices(uniforms[:, :seeds], seeds), axis=1) if "seed" in over else runs


def _indices(uniforms: Vectors, size: int) -> NDArray[np.int64]:
    return (uniforms * size).astype(np.int64)


def _multiplicities(uniforms: Vectors) -> Vectors:
    """Return how often each column is drawn, ``[B, C]``, by one draw a column."""
    rows, columns = uniforms.shape
    cells = _indices(uniforms, columns) + columns * np.arange(rows)[:, None]
    return np.bincount(cells.ravel(), minlength=uniforms.size).reshape(rows, columns).astype(np.float64)
