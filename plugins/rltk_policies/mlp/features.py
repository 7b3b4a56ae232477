"""The numbers that a perceptron reads of an observation."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from rltk.action_masks import choices
from rltk.errors import UserError


class Features:
    """Box observations flattened; one-hot vectors of discrete ones, those of several components side by side.

    :param space: the environment's single observation space.
    :ivar size: how many numbers there are.
    :raises UserError: the space is of another sort.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        self._sizes = choices(space)
        if not self._sizes and not isinstance(space, spaces.Box):
            fix = "wrap the environment in gymnasium.wrappers.FlattenObservation"
            raise UserError(
                "policy.name", "'mlp' reads Box and discrete observations only", got=space, fix=fix
            )
        if np.any(getattr(space, "start", 0)):
            fix = "wrap the environment in gymnasium.wrappers.FlattenObservation"
            raise UserError("policy.name", "'mlp' counts observations from 0", got=space, fix=fix)
        self.size = sum(self._sizes) if self._sizes else math.prod(space.shape or ())
        self._starts = np.array(list(accumulate(self._sizes, initial=0))[:-1])

    def in_numpy(self, observations: Any) -> NDArray[np.float32]:
        """Return the features ``[N, size]`` of observations ``[N, ...]``."""
        if not self._sizes:
            return np.asarray(observations, dtype=np.float32).reshape(len(observations), -1)
        places = np.asarray(observations).reshape(len(observations), -1) + self._starts
        features = np.zeros((len(places), self.size), dtype=np.float32)
        np.put_along_axis(features, places, 1.0, axis=1)
        return features

    def in_torch(self, observations: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the features ``[B, T, size]`` of observations ``[B, T, ...]``."""
        if not self._sizes:
            return observations.to(dtype).flatten(2)
        values = observations.reshape(*observations.shape[:2], len(self._sizes)).long().unbind(-1)
        hot = [F.one_hot(value, size) for value, size in zip(values, self._sizes, strict=True)]
        return torch.cat(hot, -1).to(dtype)
