"""Randomness without global state: seeds derived from names, uniforms from counters.

A rollout must not depend on how many slots or workers produced it, so every token draws its uniform
from a stateless stream keyed by (seed, episode, position) instead of from a shared generator.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    # Not imported at run time: environments draw their rows without it, and a list must not wait for it.
    import torch


def derive_seed(*parts: object) -> int:
    """Return a 63-bit seed that depends on every part, e.g. ``derive_seed(seed, "rl", iteration)``."""
    digest = hashlib.sha256("\x1f".join(map(repr, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def numpy_generator(*parts: object) -> np.random.Generator:
    """Return a NumPy generator seeded by :func:`derive_seed`."""
    return np.random.default_rng(derive_seed(*parts))


def torch_generator(*parts: object) -> torch.Generator:
    """Return a CPU torch generator seeded by :func:`derive_seed`."""
    import torch

    return torch.Generator().manual_seed(derive_seed(*parts))


@contextlib.contextmanager
def seeded_initialisation(*parts: object) -> Iterator[None]:
    """Seed torch's global generator inside the block and restore it after.

    Model constructors draw initial weights from the global generator and take no other.
    """
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(derive_seed(*parts))
        yield


def _splitmix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of SplitMix64 (Steele et al. 2014): a bijective 64-bit mixing function."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@dataclass(frozen=True)
class EpisodeStream:
    """One independent stream of uniforms a row, keyed by (seed, episode, position).

    :param seed: the seed of the collection.
    :param episodes: ``[N]`` int64, the episode each row is in.
    :param positions: ``[N]`` int64, the number of actions each row has taken in its episode.
    """

    seed: int
    episodes: NDArray[np.int64]
    positions: NDArray[np.int64]

    def uniform(self, draws: int = 1) -> NDArray[np.float64]:
        """Return ``[N, draws]`` float64 uniforms in [0, 1)."""
        return _uniforms(self.seed, self.episodes, self.positions, draws)

    def rows(self, index: NDArray[np.int64]) -> EpisodeStream:
        """Return the streams of some rows."""
        return EpisodeStream(self.seed, self.episodes[index], self.positions[index])


class UniformsAhead:
    """Streams whose uniforms are drawn for many positions at a time, since a few take as long as hundreds.

    For whoever takes every position in turn. The uniforms are those of :class:`EpisodeStream`, whatever is
    asked for and in whatever order.

    :param seed: the seed of the collection.
    :param positions: how many to draw at a time.
    """

    def __init__(self, seed: int, positions: int = 64) -> None:
        self.seed = seed
        self._offsets = np.arange(positions)
        self._episodes = self._first = np.zeros(0, dtype=np.int64)
        self._drawn = np.zeros((0, 0, 0))

    def stream(self, episodes: NDArray[np.int64], positions: NDArray[np.int64]) -> EpisodeStream:
        """Return the streams of some rows, as :class:`EpisodeStream` takes them."""
        return _StreamAhead(self.seed, episodes, positions, self)

    def uniform(
        self, episodes: NDArray[np.int64], positions: NDArray[np.int64], draws: int
    ) -> NDArray[np.float64]:
        """Return ``[N, draws]`` uniforms."""
        if self._drawn.shape != (len(episodes), len(self._offsets), draws):
            self._episodes, self._first = np.full_like(episodes, -1), positions.copy()
            self._drawn = np.zeros((len(episodes), len(self._offsets), draws))
        offset = positions - self._first
        missing = (episodes != self._episodes) | (offset < 0) | (offset >= len(self._offsets))
        if missing.any():
            self._draw(np.flatnonzero(missing), episodes, positions, draws)
            offset[missing] = 0
        return self._drawn[np.arange(len(episodes)), offset]

    def _draw(
        self,
        rows: NDArray[np.int64],
        episodes: NDArray[np.int64],
        positions: NDArray[np.int64],
        draws: int,
    ) -> None:
        self._episodes[rows], self._first[rows] = episodes[rows], positions[rows]
        coming = positions[rows, None] + self._offsets
        self._drawn[rows] = _uniforms(self.seed, episodes[rows, None], coming, draws)


@dataclass(frozen=True)
class _StreamAhead(EpisodeStream):
    ahead: UniformsAhead

    def uniform(self, draws: int = 1) -> NDArray[np.float64]:
        return self.ahead.uniform(self.episodes, self.positions, draws)


def _uniforms(
    seed: int, episodes: NDArray[np.int64], positions: NDArray[np.int64], draws: int
) -> NDArray[np.float64]:
    """Return ``[..., draws]`` uniforms in [0, 1), one for each episode, position and number of the draw."""
    key = _splitmix64(np.full(episodes.shape, seed, dtype=np.uint64))
    key = _splitmix64(key ^ episodes.astype(np.uint64))
    key = _splitmix64(key ^ positions.astype(np.uint64))
    bits = _splitmix64(key[..., None] ^ np.arange(1, draws + 1, dtype=np.uint64))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
