"""Token-by-token acting: one forward pass per step, over the newest token of every slot and all new text."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rltk.batching import micro_batches
from rltk.errors import UserError
from rltk.policy import MaskableSession
from rltk.rng import EpisodeStream
from rltk.types import Action
from rltk_policies.causal_lm.attention import Prefill, Step, check_model, over_slots, visible
from rltk_policies.causal_lm.blocks import head_of, trunk_of
from rltk_policies.causal_lm.cache import SlotCache
from rltk_policies.causal_lm.compiled import keep_in_place
from rltk_policies.causal_lm.products import Product, fast_products
from rltk_policies.causal_lm.sampling import choose_tokens
from rltk_policies.causal_lm.straight import StraightTrunk

if TYPE_CHECKING:
    from rltk_policies.causal_lm.policy import CausalLMPolicy

#: Padded tokens that one pass reads at most beside the newest ones; bounds its memory.
_READ_AT_ONCE = 8192
#: Attended positions are rounded up to a multiple of this, so that few shapes come up. A CPU has little to
#: gain from that, a GPU records a graph for each.
_WINDOW_STEP = {"cpu": 16, "cuda": 64}


class CausalLMSession(MaskableSession):
    """Acting state of a language model: a slot-wise key-value cache.

    A slot that begins an episode, or whose text grew by more than one token, reads the rest of it in the
    same pass that takes in every active slot's newest token. Slots whose texts begin alike share what was
    read. Active slots always occupy the first rows of the cache, so finished ones cost nothing.
    """

    def __init__(self, policy: CausalLMPolicy, num_envs: int) -> None:
        check_model(policy.model)
        self.policy = policy
        self.num_envs = num_envs
        self._trunk = policy.compiled_trunk
        self._window_step = _WINDOW_STEP.get(policy.device.type, 16)
        self._cache: SlotCache | None = None
        self._straight: StraightTrunk | None = None
        self._head: dict[Tensor, Product] = {}
        self._rows = torch.arange(num_envs, device=policy.device)
        #: ``[num_envs]`` which row of the cache each slot holds.
        self._row = np.arange(num_envs)
        #: ``[num_envs]`` how many tokens of each slot's text are in the cache.
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
        """Sample one token per slot; see :meth:`rltk.policy.MaskableSession.act`."""
        tokens, length = _text(observations)
        if self._cache is None:
            self._cache = SlotCache(self.num_envs, self._checked_width(tokens.shape[1]))
            self._straight = self._written_out(tokens.shape[1])
            self._head = {} if self._straight is None else head_of(self.policy.model)
        self._cached[stream.positions == 0] = 0
        self._compact(self._cache, active)
        slots = np.flatnonzero(active)
        slots = slots[np.argsort(self._row[slots])]
        hidden = self._read(self._cache, slots, tokens, length)
        with fast_products(self.policy.model, self._head):
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

    def _written_out(self, width: int) -> StraightTrunk | None:
        """Return the model's trunk in a form of its own, where acting has one and the option leaves it."""
        if self._trunk is not None or self.policy.autocast is not nullcontext:
            return None
        trunk = trunk_of(self.policy.model, width)
        return None if trunk is None else StraightTrunk(trunk)

    def _checked_width(self, width: int) -> int:
        context = getattr(self.policy.model.config, "max_position_embeddings", None)
        if context is not None and width > context:
            raise UserError(
                "policy",
                f"prompts and responses of up to {width} tokens do not fit the model's context of {context}",
                fix="lower max_new_tokens or max_prompt_tokens, or choose a model with a longer context",
            )
        return width

    def _compact(self, cache: SlotCache, active: NDArray[np.bool_]) -> None:
        """Move active slots beyond the first rows into rows of inactive ones, which forget what they held."""
        count = int(active.sum())
        outside = np.flatnonzero(active & (self._row >= count))
        if not len(outside):
            return
        free = np.flatnonzero(~active & (self._row < count))
        source, target = self._row[outside], self._row[free]
        cache.copy_rows(self._tensor(source), self._tensor(target), int(self._cached[outside].max()))
        self._row[outside], self._row[free] = target, source
        self._cached[free] = 0

    def _read(
        self, cache: SlotCache, slots: NDArray[np.int64], tokens: NDArray[np.int64], length: NDArray[np.int64]
    ) -> Tensor:
        """Read all that is new to ``slots``, which hold the first rows in order.

        :returns: ``[n, d]`` the hidden states of their newest tokens.
        """
        grown = slots[length[slots] - self._cached[slots] > 1]
        groups: list[NDArray[np.int64]] = []
        followers: dict[int, list[int]] = {}
        if len(grown):
            readers, followers = self._share(cache, grown, tokens, length)
            unread = length[readers] - 1 - self._cached[readers]
            groups = [readers[group] for group in micro_batches(unread.tolist(), _READ_AT_ONCE)]
        # Compiled code for a GPU wants the same few shapes in every step: what is read stays apart.
        apart = self._trunk is not None and self.policy.device.type == "cuda"
        last = slots[:0] if apart or not groups else groups.pop()
        for group in groups:
            self._forward(cache, slots[:0], group, followers, tokens, length)
            # Known before the next pass, which may look for the positions that nothing is kept in.
            reached = [other for reader in group.tolist() for other in (reader, *followers[reader])]
            self._cached[reached] = length[reached] - 1
        hidden = self._forward(cache, slots, last, followers, tokens, length)
        self._cached[slots] = length[slots]
        return hidden[: len(slots)]

    def _share(
        self, cache: SlotCache, grown: NDArray[np.int64], tokens: NDArray[np.int64], length: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], dict[int, list[int]]]:
        """Take over what other slots have read of the same text.

        :returns: the slots that have to read, and by slot the others that will copy from it.
        """
        followers: dict[int, list[int]] = {}
        first: dict[bytes, int] = {}
        for slot in grown.tolist():
            begin = length[slot] - 1
            if self._cached[slot] > 0:
                followers[slot] = []
                continue
            text = tokens[slot, :begin]
            donors = np.flatnonzero((self._cached >= begin) & (tokens[:, :begin] == text).all(1))
            if len(donors):
                rows = self._tensor(self._row[[donors[0], slot]])
                cache.copy_rows(rows[:1], rows[1:], int(begin))
                self._cached[slot] = begin
                continue
            reader = first.setdefault(text.tobytes(), slot)
            followers.setdefault(reader, [])
            if reader != slot:
                followers[reader].append(slot)
        return np.array(list(followers), dtype=np.int64), followers

    def _forward(
        self,
        cache: SlotCache,
        slots: NDArray[np.int64],
        readers: NDArray[np.int64],
        followers: dict[int, list[int]],
        tokens: NDArray[np.int64],
        length: NDArray[np.int64],
    ) -> Tensor:
        """Return the hidden states of one pass: newest tokens of ``slots``, then what ``readers`` lack."""
        newest = length[slots] - 1
        ids, positions = tokens[slots, newest], newest
        prefill = None
        if len(readers):
            prefill, more_ids, more = self._prefill(cache, readers, followers, tokens, length)
            ids, positions = np.concatenate([ids, more_ids]), np.concatenate([positions, more])
        at = self._tensor(positions)
        window = self._window(cache, int(length[slots].max(initial=1)), int(length[readers].max(initial=1)))
        mask = visible(at[: len(slots)], window, self.policy.model.dtype)[:, None, None]
        step = Step(cache, self._rows[: len(slots)], at[: len(slots)], mask, prefill)
        inputs = {"position_ids": at[None], "attention_mask": mask, "slots": step}
        if self._straight is not None:
            return self.policy.hidden_states(self._tensor(ids[None]), trunk=self._straight, **inputs)[0]
        allocated = bool(cache.buffers())
        trunk = self._trunk if prefill is None and allocated else None
        with over_slots(self.policy.model), fast_products(self.policy.model):
            hidden = self.policy.hidden_states(self._tensor(ids[None]), trunk=trunk, **inputs)
        if self._trunk is not None and not allocated:
            keep_in_place(cache.buffers())
        return hidden[0]

    def _window(self, cache: SlotCache, longest: int, longest_read: int) -> int:
        """Return how many positions newest tokens attend over, in texts of up to ``longest`` tokens."""
        if self.policy.device.type != "cpu" or self._trunk is not None:
            return min(_round_up(longest, self._window_step), cache.width)
        # slots that pause keep what they hold
        held = max(longest, longest_read, int(self._cached.max()))
        needed = min(_round_up(held, self._window_step), cache.width)
        if needed > cache.positions or cache.positions > 2 * needed:
            cache.resize(needed)
        return cache.positions

    def _prefill(
        self,
        cache: SlotCache,
        readers: NDArray[np.int64],
        followers: dict[int, list[int]],
        tokens: NDArray[np.int64],
        length: NDArray[np.int64],
    ) -> tuple[Prefill, NDArray[np.int64], NDArray[np.int64]]:
        """Return where ``readers`` read, and the tokens ``[m]`` and their positions ``[m]``."""
        begin, end = self._cached[readers], length[readers] - 1
        reader = np.repeat(np.arange(len(readers)), end - begin)
        offset = np.concatenate([np.arange(count) for count in end - begin])
        positions = begin[reader] + offset
        pairs = [(slot, other) for slot in readers.tolist() for other in followers[slot]]
        sources, targets = self._row[np.array(pairs, dtype=np.int64).reshape(-1, 2)].T
        padded = begin[:, None] + np.arange(int((end - begin).max()))
        prefill = Prefill(
            rows=self._tensor(self._row[readers]),
            reader=self._tensor(reader),
            offset=self._tensor(offset),
            positions=self._tensor(positions),
            mask=visible(self._tensor(padded), int(end.max()), self.policy.model.dtype)[:, None],
            sources=self._tensor(sources),
            targets=self._tensor(targets),
        )
        return prefill, tokens[readers[reader], positions], positions

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.policy.device)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _text(observations: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ``tokens [N, L]`` and ``length [N]`` of a text observation."""
    if not isinstance(observations, dict) or not {"tokens", "length"} <= observations.keys():
        fix = "choose a policy for arrays, e.g. mlp, or a text environment"
        raise UserError("policy.name", "'causal_lm' acts on text, and this environment shows none", fix=fix)
    return observations["tokens"], observations["length"][:, 0]
