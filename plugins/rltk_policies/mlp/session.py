"""Acting with perceptrons in NumPy: calling torch takes longer than networks this small compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rltk.policy import MaskableSession
from rltk.rng import EpisodeStream
from rltk.types import Action
from rltk_policies.mlp.networks import numpy_of

if TYPE_CHECKING:
    from rltk_policies.mlp.policy import MLPPolicy


class MLPSession(MaskableSession):
    """Acting without memory."""

    def __init__(self, policy: MLPPolicy) -> None:
        self.actor = policy.actor.in_numpy()
        self.distribution, self.log_std = policy.distribution, numpy_of(policy.log_std)
        self.features, self.moments, self.clip = policy.features, policy.moments, policy.clip

    def act(
        self,
        observations: Any,
        *,
        stream: EpisodeStream,
        active: np.ndarray,
        deterministic: bool = False,
        allowed: np.ndarray | None = None,
    ) -> Action:
        """Choose one action per slot; see :meth:`rltk.policy.MaskableSession.act`.

        Without values: those of a whole rollout take little longer than those of one step.
        """
        features = self.features.in_numpy(observations)
        if self.moments is not None:
            features = self.moments.normalize(torch.from_numpy(features), clip=self.clip).numpy()
        actions, logprobs = self.distribution.choose(
            self.actor(features), self.log_std, None if deterministic else stream, allowed
        )
        return Action(torch.from_numpy(actions), torch.from_numpy(logprobs))
