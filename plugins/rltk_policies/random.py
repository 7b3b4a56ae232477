"""The random policy: every action is as likely as any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces as gym_spaces
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from rltk.distributions import restrict
from rltk.errors import UserError
from rltk.hookspecs import hookimpl
from rltk.interfaces import ComponentConfig
from rltk.policy import MaskableSession, Policy
from rltk.rng import EpisodeStream
from rltk.types import Action, Rollout
from rltk_policies.action_distributions import (
    ActionDistribution,
    Categoricals,
    Chosen,
    learnable_distribution,
)
from rltk_policies.baseline import Baseline

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class RandomPolicy(Baseline):
    """Draws from all actions alike: values, points of a box, or tokens; nothing can be learned."""

    name = "random"
    trainable = False

    class Config(ComponentConfig):
        """Options of ``random``."""

        tokenizer_path: str | None = Field(
            None,
            examples=["$RUN/stages/sft/policy"],
            description="Folder or hub id of the tokenizer whose tokens to draw from (text only); null: the "
            "environment's own.",
        )

    def __init__(
        self,
        config: Config,
        *,
        spaces: tuple[gym_spaces.Space[Any], gym_spaces.Space[Any]] | None = None,
        device: torch.device | str = "cpu",
        build_tokenizer: Callable[[], PreTrainedTokenizerBase] | None = None,
    ) -> None:
        super().__init__(config, spaces=spaces, device=device, build_tokenizer=build_tokenizer)
        space = gym_spaces.Discrete(len(self.tokenizer)) if self.spaces is None else self.spaces[1]
        self.distribution = _uniform(space)

    def session(self, num_envs: int) -> RandomSession:
        """Return acting state; it remembers nothing."""
        return RandomSession(self.distribution, self.device)

    def distribution_parameters(self, batch: Rollout) -> Tensor:
        """Return logits ``[B, T, n]``: 0, or minus infinity where not allowed; nothing for Box actions."""
        zero = torch.zeros((), device=batch.mask.device)
        logits = zero.expand(*batch.mask.shape, self.distribution.outputs)
        return restrict(logits, None if batch.allowed is None else batch.allowed | ~batch.mask[..., None])

    def logprobs_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies ``[B, T]``; log-densities of Box actions."""
        return self.distribution.logprobs_and_entropy(parameters, actions)

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the exact KL(p || q) ``[B, T]``: 0 where the same actions are allowed."""
        return self.distribution.kl_divergence(p, q)


class RandomSession(MaskableSession):
    """Acting without looking."""

    def __init__(self, distribution: ActionDistribution, device: torch.device) -> None:
        self.distribution, self.device = distribution, device

    def act(
        self,
        observations: Any,
        *,
        stream: EpisodeStream,
        active: np.ndarray,
        deterministic: bool = False,
        allowed: np.ndarray | None = None,
    ) -> Action:
        """Choose one action per slot; see :meth:`rltk.policy.MaskableSession.act`."""
        equal = np.broadcast_to(np.float32(0.0), (len(active), self.distribution.outputs))
        actions, logprobs = self.distribution.choose(
            equal, np.zeros(0, dtype=np.float32), None if deterministic else stream, allowed
        )
        answer = (torch.from_numpy(actions), torch.from_numpy(logprobs), torch.zeros(len(active)))
        return Action(*(tensor.to(self.device) for tensor in answer))


class UniformCategories(Categoricals):
    """Categoricals with equal logits, which need no sum over the values."""

    def choose(
        self,
        outputs: NDArray[np.float32],
        log_std: NDArray[np.float32],
        stream: EpisodeStream | None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Chosen:
        """Return actions and log-probabilities; the first values where there is no stream."""
        if allowed is not None:
            return super().choose(outputs, log_std, stream, allowed)
        sizes = np.array(self.sizes)
        actions = np.zeros((len(outputs), len(sizes)), dtype=np.int64)
        if stream is not None:
            actions = (stream.uniform(len(sizes)) * sizes).astype(np.int64)
        logprobs = np.full(len(outputs), -np.log(sizes).sum(), dtype=np.float32)
        return actions.reshape(-1, *self.shape), logprobs


class UniformBox(ActionDistribution):
    """The uniform distribution on a bounded box; it has no parameters.

    :param space: the box, one-dimensional.
    """

    outputs = log_stds = 0

    def __init__(self, space: gym_spaces.Box) -> None:
        self.low, self.high = space.low.astype(np.float32), space.high.astype(np.float32)
        self.entropy = float(np.log(self.high - self.low).sum())

    def choose(
        self,
        outputs: NDArray[np.float32],
        log_std: NDArray[np.float32],
        stream: EpisodeStream | None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Chosen:
        """Return points with their log-densities; the middle where there is no stream."""
        share = np.full((len(outputs), len(self.low)), 0.5)
        if stream is not None:
            share = stream.uniform(len(self.low))
        actions = (self.low + share * (self.high - self.low)).astype(np.float32)
        return actions, np.full(len(outputs), -self.entropy, dtype=np.float32)

    def logprobs_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-densities, minus infinity outside, and entropies ``[...]``."""
        low, high = (torch.from_numpy(bound).to(actions) for bound in (self.low, self.high))
        inside = ((actions >= low) & (actions <= high)).all(-1)
        entropy = torch.full(inside.shape, self.entropy, device=actions.device)
        return torch.where(inside, -entropy, -torch.inf), entropy

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return zeros ``[...]``: there is one such distribution."""
        return p.new_zeros(p.shape[:-1])


def _uniform(space: gym_spaces.Space[Any]) -> ActionDistribution:
    if isinstance(space, gym_spaces.Box) and len(space.shape) == 1:
        if not space.is_bounded():
            fix = "choose an environment with bounded actions"
            raise UserError("policy.name", "'random' needs bounds to draw between", got=space, fix=fix)
        return UniformBox(space)
    categoricals = learnable_distribution("random", space)
    assert isinstance(categoricals, Categoricals)
    return UniformCategories(categoricals.sizes, categoricals.shape)


@hookimpl
def rltk_policies() -> list[type[Policy]]:
    """Provide ``random``."""
    return [RandomPolicy]
