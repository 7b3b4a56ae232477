"""Text generation for one prompt at a time."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rltk_envs.text_generation import TextGenerationVectorEnv
from rltk_envs.text_slots import Observation


class TextGenerationEnv(gym.Env[Observation, int]):
    """The same environment with one slot, reset by hand; the options are :class:`TextGenerationVectorEnv`'s.

    ``reset(seed=s)`` begins with episode 0 of the order that is drawn from ``s``; without a seed it goes on
    with the next episode.
    """

    metadata = {"render_modes": []}

    def __init__(self, **options: Any) -> None:
        # A slot that resets in the next step shows how its episode ended; the next step is never taken.
        self._slots = TextGenerationVectorEnv(1, **options, autoreset_mode=AutoresetMode.NEXT_STEP)
        self.action_space = self._slots.single_action_space
        self.observation_space = self._slots.single_observation_space
        if hasattr(self._slots, "action_masks"):
            self.action_masks = self._action_masks

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode.

        :param options: as in :meth:`TextGenerationVectorEnv.reset`.
        """
        super().reset(seed=seed)
        observations, infos = self._slots.reset(seed=seed, options=options)
        return _only(observations), _info(infos)

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Append one token to the response."""
        observations, rewards, terminated, truncated, infos = self._slots.step(np.array([action]))
        ended = bool(terminated[0]), bool(truncated[0])
        return _only(observations), float(rewards[0]), *ended, _info(infos)

    def close(self) -> None:
        """Close the reward model that was made from a name."""
        self._slots.close()

    def _action_masks(self) -> NDArray[np.bool_]:
        """Return ``[V]`` which tokens may come next."""
        masks: NDArray[np.bool_] = self._slots.action_masks()[0]
        return masks


def _only(observations: Observation) -> Observation:
    return {key: value[0] for key, value in observations.items()}


def _info(infos: dict[str, Any]) -> dict[str, Any]:
    """Return what the infos of one slot say; numbers become Python's."""
    said = {key: infos[key][0] for key in infos if not key.startswith("_") and infos[f"_{key}"][0]}
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in said.items()}
