"""Token-by-token acting: one forward pass a step for all slots, prefill only where the text grew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rltk.errors import UserError
from rltk.policy import MaskableSession
from rltk.rng import EpisodeStream
from rltk.types import Action
from rltk_policies.causal_lm.cache import Placement, SlotCache
from rltk_policies.causal_lm.sampling import choose_tokens

if TYPE_CHECKING:
    from rltk_policies.causal_lm.policy import CausalLMPolicy


class CausalLMSession(MaskableSession):
    """Acting state of a language model: a slot-wise key-value cache.

    A slot that begins an episode, or whose text grew by more than one token, is prefilled up to its last
    token; slots with equal text share one prefill. Then every active slot takes part in one pass over its
    last token. Active slots always occupy the first rows of the cache, so finished ones cost nothing.
    """

    def __init__(self, policy: CausalLMPolicy, num_envs: int) -> None:
        self.policy = policy
        self.num_envs = num_envs
        self._cache: SlotCache | None = None
        self._row = np.arange(num_envs)
        self._cached = np.zeros(num_envs, dtype=np.int64)

    @torch.no_grad()
    def act(
        self,
        observations: Any,
        *,
        stream: EpisodeStream,
        active: NDArray[np.bool_],
        deterministic: bool = False,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Action:
        """Sample one token a slot; see :meth:`rltk.policy.MaskableSession.act`."""
        tokens, length = _text(observations)
        if self._cache is None:
            self._cache = self._allocate(tokens.shape[1])
        self._cached[stream.positions == 0] = 0
        self._compact(active)
        slots = np.flatnonzero(active)
        slots = slots[np.argsort(self._row[slots])]
        grown = slots[length[slots] - self._cached[slots] > 1]
        if len(grown):
            self._prefill(grown, tokens, length)
        hidden = self._decode(slots, tokens, length)
        logits = self.policy.logits(hidden, None if allowed is None else self._tensor(allowed[slots]))
        uniforms = torch.from_numpy(stream.rows(slots).uniform()[:, 0])
        chosen, logprobs = choose_tokens(logits, uniforms, deterministic=deterministic)
        index = self._tensor(slots)
        values = self.policy.values_in_passing(hidden)
        return Action(
            self._for_all_slots(chosen, index),
            self._for_all_slots(logprobs, index),
            None if values is None else self._for_all_slots(values, index),
        )

    def _for_all_slots(self, some: Tensor, index: Tensor) -> Tensor:
        """Return ``[N]`` zeros with ``some`` at the slots of ``index``."""
        return some.new_zeros(self.num_envs).index_copy(0, index, some)

    def _allocate(self, width: int) -> SlotCache:
        config = self.policy.model.config
        context = getattr(config, "max_position_embeddings", None)
        if context is not None and width > context:
            raise UserError(
                "policy",
                f"prompts and responses of up to {width} tokens do not fit the model's context of {context}",
                fix="lower max_new_tokens or max_prompt_tokens, or choose a model with a longer context",
            )
        return SlotCache(num_layers=config.num_hidden_layers, num_rows=self.num_envs, width=width)

    def _compact(self, active: NDArray[np.bool_]) -> None:
        """Move active slots that lie beyond the first rows into rows of inactive ones."""
        assert self._cache is not None
        count = int(active.sum())
        outside = np.flatnonzero(active & (self._row >= count))
        if not len(outside):
            return
        free = np.flatnonzero(~active & (self._row < count))
        source, target = self._row[outside], self._row[free]
        self._cache.copy_rows(
            self._tensor(source), self._tensor(target), width=max(int(self._cached[outside].max()), 1)
        )
        self._row[outside], self._row[free] = target, source

    def _prefill(
        self, slots: NDArray[np.int64], tokens: NDArray[np.int64], length: NDArray[np.int64]
    ) -> None:
        """Read all tokens of ``slots`` that are not in the cache yet, but for the last."""
        assert self._cache is not None
        key = np.column_stack([self._cached[slots], length[slots] - 1, tokens[slots]])
        fresh = self._cached[slots] == 0
        # A slot that goes on from its own cache shares with nobody: make its key unique.
        key = np.column_stack([np.where(fresh, -1, slots), key])
        _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
        readers = slots[first]
        count = length[readers] - 1 - self._cached[readers]
        offsets = np.arange(int(count.max()))
        positions = self._cached[readers][:, None] + offsets
        # Padding of shorter rows lands where later tokens will overwrite it.
        positions = np.minimum(positions, self._cache.width - 1)
        batch = np.take_along_axis(tokens[readers], positions, axis=1)
        self._forward(batch, positions, rows=self._row[readers])
        followers = np.flatnonzero(~np.isin(np.arange(len(slots)), first))
        if len(followers):
            source = self._row[readers[group.reshape(-1)[followers]]]
            self._cache.copy_rows(
                self._tensor(source),
                self._tensor(self._row[slots[followers]]),
                width=int(length[slots].max()),
            )
        self._cached[slots] = length[slots] - 1

    def _decode(
        self, slots: NDArray[np.int64], tokens: NDArray[np.int64], length: NDArray[np.int64]
    ) -> Tensor:
        """Read the last token of ``slots``, which hold the first rows in order; return hidden states."""
        positions = length[slots][:, None] - 1
        hidden = self._forward(np.take_along_axis(tokens[slots], positions, axis=1), positions, rows=None)
        self._cached[slots] = length[slots]
        return hidden[:, -1]

    def _forward(
        self, batch: NDArray[np.int64], positions: NDArray[np.int64], *, rows: NDArray[np.int64] | None
    ) -> Tensor:
        assert self._cache is not None
        at = self._tensor(positions)
        window = int(positions.max()) + 1
        self._cache.placement = Placement(None if rows is None else self._tensor(rows), at, window)
        visible = torch.arange(window, device=at.device) <= at[:, :, None]
        mask = torch.zeros(visible.shape, dtype=self.policy.model.dtype, device=at.device)
        mask.masked_fill_(~visible, torch.finfo(mask.dtype).min)
        return self.policy.hidden_states(
            self._tensor(batch), position_ids=at, attention_mask=mask[:, None], past_key_values=self._cache
        )

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.policy.device)


def _text(observations: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ``tokens [N, L]`` and ``length [N]`` of a text observation."""
    if not isinstance(observations, dict) or not {"tokens", "length"} <= observations.keys():
        fix = "choose a policy for arrays, e.g. mlp, or a text environment"
        raise UserError("policy.name", "'causal_lm' acts on text, and this environment shows none", fix=fix)
    return observations["tokens"], observations["length"][:, 0]
