"""What flows between the parts: actions, rollouts and what policies say about them.

Letters in shapes: ``B`` episodes (or fragments of one), ``T`` actions in the longest of them, ``L`` tokens
in the longest of them, ``N`` environment slots, ``V`` vocabulary entries.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rltk.batching import micro_batches
from rltk.episode import Episode

Metrics = dict[str, float]


@dataclass(frozen=True)
class Action:
    """What a session answers for all slots.

    :param actions: ``[N, ...]`` what to step the environment with.
    :param logprobs: ``[N]`` float32 log-probabilities under the distribution sampled from.
    :param values: ``[N]`` float32 state values, or None where a value costs a pass of its own.
    """

    actions: Tensor
    logprobs: Tensor
    values: Tensor | None = None


@dataclass(frozen=True)
class Evaluation:
    """What a policy says about whole episodes; differentiable, zero where the mask is False.

    :param logprobs: ``[B, T]`` log-probabilities of the actions taken.
    :param entropy: ``[B, T]`` entropies in nats.
    :param values: ``[B, T]`` state values before each action.
    """

    logprobs: Tensor
    entropy: Tensor
    values: Tensor


@dataclass(frozen=True)
class Rollout:
    """A batch of episodes, or of fragments with no episode boundary inside.

    :param mask: ``[B, T]`` bool, True where an action was taken.
    :param actions: ``[B, T, ...]`` the actions; int64 where they are discrete.
    :param logprobs: ``[B, T]`` float32, of the distribution sampled from.
    :param rewards: ``[B, T]`` float32, the reward that followed each action.
    :param values: ``[B, T]`` float32, the critic's value before each action; 0 where no critic was asked.
    :param bootstrap: ``[B]`` float32, the value after the last action; 0 where the episode terminated or no
        critic was asked.
    :param episode_ids: ``[B]`` int64, the order in which the episodes were dealt.
    :param groups: ``[B]`` int64, equal for episodes that answer one prompt; None where no groups were dealt.
    :param lengths: ``[B]`` int64, tokens in each row (text only).
    :param tokens: ``[B, L]`` int64, prompt and response right-padded (text only).
    :param action_mask: ``[B, L]`` bool, True at the tokens that are actions (text only).
    :param observations: ``[B, T, ...]`` what was seen before each action (not text).
    :param allowed: ``[B, T, n]`` bool, which of the n values each action could take, those of several
        components side by side; None where the environment restricts nothing. False throughout the padding.
    :param ref_logprobs: ``[B, T]`` float32, the reference policy's, where there is a reference.
    :param advantages: ``[B, T]`` float32, filled by the algorithm.
    :param returns: ``[B, T]`` float32, filled by the algorithm.
    :param scores: ``[B]`` float32 undiscounted return of the environment alone, of the fragment where
        episodes are cut; NaN where unscorable.
    :param episodes: the episodes themselves (text only).
    """

    mask: Tensor
    actions: Tensor
    logprobs: Tensor
    rewards: Tensor
    values: Tensor
    bootstrap: Tensor
    episode_ids: Tensor
    scores: Tensor
    groups: Tensor | None = None
    lengths: Tensor | None = None
    tokens: Tensor | None = None
    action_mask: Tensor | None = None
    observations: Tensor | None = None
    allowed: Tensor | None = None
    ref_logprobs: Tensor | None = None
    advantages: Tensor | None = None
    returns: Tensor | None = None
    episodes: Sequence[Episode] = ()

    def __len__(self) -> int:
        return self.mask.shape[0]

    @property
    def num_actions(self) -> int:
        """Number of actions in all rows."""
        return int(self.mask.sum())

    def replace(self, **changes: Any) -> Rollout:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to(self, device: torch.device) -> Rollout:
        """Return a copy with every tensor on ``device``."""
        return self.replace(**{name: tensor.to(device) for name, tensor in self._tensors().items()})

    def select(self, rows: Tensor) -> Rollout:
        """Return some rows, trimmed to their longest episode.

        :param rows: int64 row indices.
        """
        selected = {name: tensor[rows] for name, tensor in self._tensors().items()}
        T = int(selected["mask"].sum(1).max()) if len(rows) else 0
        L = int(selected["lengths"].max()) if "lengths" in selected and len(rows) else 0
        for name, tensor in selected.items():
            if name in _PER_ACTION:
                selected[name] = tensor[:, :T]
            elif name in _PER_TOKEN:
                selected[name] = tensor[:, :L]
        episodes = [self.episodes[int(i)] for i in rows] if self.episodes else ()
        return self.replace(**selected, episodes=episodes)

    def steps(self) -> Rollout:
        """Return every action as a row of its own, ``[num_actions, 1]``, in order of row and time.

        For policies that need nothing but the observation, so that mini-batches are of steps. What belongs
        to a row as a whole (``bootstrap``, ``scores``, ``groups``, ``episode_ids``) is repeated.

        :raises ValueError: the rollout is text, whose actions cannot be had one by one.
        """
        if self.tokens is not None:
            raise ValueError("text rollouts have no single steps")
        flat = {
            name: tensor[self.mask][:, None]
            if name in _PER_ACTION
            else tensor.repeat_interleave(self.mask.sum(1), 0)
            for name, tensor in self._tensors().items()
        }
        return self.replace(**flat, episodes=())

    def lengthened(self) -> Rollout:
        """Return a copy with room for one more action in every row; the mask is False there (not text)."""
        return self.replace(
            **{
                name: F.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, 1))
                for name, tensor in self._tensors().items()
                if name in _PER_ACTION
            }
        )

    def row_sizes(self) -> Tensor:
        """Return ``[B]`` int64, how much work each row is: tokens for text, actions otherwise."""
        return self.mask.sum(1) if self.lengths is None else self.lengths

    def micro_batches(self, max_tokens: int) -> list[Tensor]:
        """Return row indices in groups of like length whose padded size is at most ``max_tokens``."""
        groups = micro_batches(self.row_sizes().tolist(), max_tokens)
        return [torch.tensor(group) for group in groups]

    def parts(self, max_tokens: int) -> list[Rollout]:
        """Return the rows in groups whose padded size is at most ``max_tokens``, text by like lengths."""
        if self.tokens is None and self.mask.numel() <= max_tokens:
            return [self]
        if self._is_flat():
            return [self._slice(start, start + max_tokens) for start in range(0, len(self), max_tokens)]
        groups = self.micro_batches(max_tokens)
        return [self] if len(groups) == 1 else [self.select(rows) for rows in groups]

    def minibatches(self, size: int, generator: torch.Generator) -> Iterator[Rollout]:
        """Yield all rows in a random order, ``size`` rows at a time.

        A rollout of at most ``size`` rows is yielded whole, in its own order.

        :param generator: draws the order.
        """
        if len(self) <= size:
            yield self
            return
        order = torch.randperm(len(self), generator=generator)
        if not self._is_flat():
            yield from (self.select(rows) for rows in order.split(size))
            return
        # Single steps need no trimming: one gather an epoch, and views of it.
        pieces = {name: tensor[order].split(size) for name, tensor in self._tensors().items()}
        for each in zip(*pieces.values(), strict=True):
            yield self.replace(**dict(zip(pieces, each, strict=True)))

    def _is_flat(self) -> bool:
        """Return whether every row is a single action, as :meth:`steps` makes them."""
        return self.tokens is None and self.mask.shape[1] == 1

    def _slice(self, start: int, stop: int) -> Rollout:
        return self.replace(**{name: tensor[start:stop] for name, tensor in self._tensors().items()})

    def _tensors(self) -> dict[str, Tensor]:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if isinstance(value, Tensor)}


_PER_ACTION = frozenset(
    [
        "mask",
        "actions",
        "logprobs",
        "rewards",
        "values",
        "observations",
        "allowed",
        "ref_logprobs",
        "advantages",
        "returns",
    ]
)
_PER_TOKEN = frozenset(["tokens", "action_mask"])
