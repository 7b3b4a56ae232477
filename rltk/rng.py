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
    with np.errstate(over="ignore"):
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
        key = _splitmix64(np.full(len(self.episodes), self.seed, dtype=np.uint64))
        key = _splitmix64(key ^ self.episodes.astype(np.uint64))
        key = _splitmix64(key ^ self.positions.astype(np.uint64))
        bits = _splitmix64(key[:, None] ^ np.arange(1, draws + 1, dtype=np.uint64)[None, :])
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def rows(self, index: NDArray[np.int64]) -> EpisodeStream:
        """Return the streams of some rows."""
        return EpisodeStream(self.seed, self.episodes[index], self.positions[index])
