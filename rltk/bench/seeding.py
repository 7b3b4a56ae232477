"""Initial states that depend on the episode alone, so that all policies begin alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper


class OneEpisodeEach(VectorWrapper):
    """A vector environment of which only the first episode of each slot counts, and how it ended.

    Left to themselves the slots would go on to further episodes, whose initial states depend on how long the
    former ones took, and so on the policy.

    :param seeds: one initial state per slot.
    """

    def __init__(self, envs: VectorEnv, seeds: Sequence[int]) -> None:
        super().__init__(envs)
        self.seeds = list(seeds)
        self.truncated = np.zeros(len(seeds), dtype=bool)
        self._ended = np.zeros(len(seeds), dtype=bool)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin every slot in its own initial state, whatever the seed."""
        self.truncated[:] = self._ended[:] = False
        return self.env.reset(seed=self.seeds, options=options)  # type: ignore[arg-type]

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step, and note how episodes end."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        self.truncated |= truncated & ~terminated & ~self._ended
        self._ended |= terminated | truncated
        return observations, rewards, terminated, truncated, infos
