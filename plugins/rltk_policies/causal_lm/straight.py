"""The forward pass of a step, written out: what transformers computes, without what it does in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rltk_policies.causal_lm.attention import Step, attend_read, share_read
from rltk_policies.causal_lm.blocks import Block, Trunk

#: Rows are filled up to a multiple of this: oneDNN prepares itself for every number of them.
_ROWS_STEP = 8


@dataclass(frozen=True)
class _Pass:
    """What all layers of a pass share.

    :param newest: how many tokens are the newest of their slots.
    :param read: how many tokens there are in all; the rows after them fill up.
    :param rotation: ``[T, 1, head_dim / 2]`` complex, or None.
    :param places: ``[T * 2 * key_heads]`` int64 where the cache takes keys and values.
    :param mask: ``[n * key_heads, 1, window]`` additive.
    """

    slots: Step
    newest: int
    read: int
    rotation: Tensor | None
    places: Tensor
    mask: Tensor


class TrunkOutput(NamedTuple):
    """What a trunk returns, by the name that transformers' own have for it."""

    last_hidden_state: Tensor


class StraightTrunk:
    """Stands in for the trunk of a model that attends over slots.

    :param trunk: the model's weights.
    """

    def __init__(self, trunk: Trunk) -> None:
        self.trunk = trunk

    def __call__(
        self, *, input_ids: Tensor, position_ids: Tensor, slots: Step, **ignored: Any
    ) -> TrunkOutput:
        """Return the hidden states ``[1, n, d]`` of the newest tokens, which come first.

        :param input_ids: ``[1, T]`` int64, as ``position_ids``.
        """
        trunk, count = self.trunk, input_ids.shape[1]
        ids, positions = input_ids[0], position_ids[0]
        if missing := _filled(count) - count:
            ids, positions = F.pad(ids, (0, missing)), F.pad(positions, (0, missing))
        rows = trunk.words.index_select(0, ids)
        if trunk.places is not None:
            rows.add_(trunk.places.index_select(0, positions))
        rotation = None if trunk.rotation is None else trunk.rotation.index_select(0, positions)
        places = self._places(slots, positions[:count])
        mask = slots.mask[:, 0].expand(-1, trunk.key_heads, -1).flatten(0, 1)[:, None]
        shared = _Pass(slots, slots.rows.shape[0], count, rotation, places, mask)
        for index, block in enumerate(trunk.blocks):
            rows = self._block(block, index, rows, shared)
        return TrunkOutput(trunk.norm(rows[: shared.newest])[None])

    def _places(self, slots: Step, positions: Tensor) -> Tensor:
        """Return which rows of a layer's buffer, seen as ``[rows, head_dim]``, take keys and values."""
        rows, prefill, heads = slots.rows, slots.prefill, self.trunk.key_heads
        if prefill is not None:
            rows = torch.cat([rows, prefill.rows[prefill.reader]])
        head = torch.arange(heads) + torch.tensor([[0], [slots.cache.num_rows * heads]])
        first = (rows * heads)[:, None, None] + head
        return (first * slots.cache.positions + positions[:, None, None]).flatten()

    def _block(self, block: Block, index: int, rows: Tensor, shared: _Pass) -> Tensor:
        trunk = self.trunk
        turned = trunk.heads + trunk.key_heads
        heads = block.qkv(block.norm(rows)).view(-1, turned + trunk.key_heads, trunk.head_dim)
        if block.head_norms is not None:
            queries, keys = heads[:, : trunk.heads], heads[:, trunk.heads : turned]
            queries.copy_(block.head_norms[0](queries))
            keys.copy_(block.head_norms[1](keys))
        if shared.rotation is not None:
            torch.view_as_complex(heads[:, :turned].unflatten(-1, (-1, 2))).mul_(shared.rotation)
        if index + 1 == len(trunk.blocks):
            # of what is read before the newest tokens, the last layer has to leave keys and values only
            rows = rows[: _filled(shared.newest)]
        attended = self._attend(block, index, heads, shared, count=rows.shape[0])
        rows = block.out.plus(attended, rows)
        return block.feed(block.feed_norm(rows), rows)

    def _attend(self, block: Block, index: int, heads: Tensor, shared: _Pass, *, count: int) -> Tensor:
        """Take in keys and values and return what rows see, ``[count, heads * head_dim]``."""
        trunk, slots = self.trunk, shared.slots
        n, read, prefill, size = shared.newest, shared.read, slots.prefill, trunk.head_dim
        buffer = slots.cache.buffer(index, heads, trunk.key_heads, parts=2)
        taken, new = buffer.view(-1, size), heads[:read, trunk.heads :].reshape(-1, size)
        newest = n * 2 * trunk.key_heads
        if prefill is not None:
            taken.index_copy_(0, shared.places[newest:], new[newest:])
            # Before the newest tokens, whose places it may copy over.
            share_read(prefill, buffer[0], buffer[1])
        taken.index_copy_(0, shared.places[:newest], new[:newest])
        keys, values = buffer[:, :n].flatten(1, 2)[:, :, : slots.mask.shape[-1]]
        queries = heads[:n, : trunk.heads].reshape(-1, trunk.heads // trunk.key_heads, size)
        scores = torch.baddbmm(shared.mask, queries, keys.transpose(1, 2), alpha=block.scaling)
        attended = torch.bmm(scores.softmax(-1), values).view(n, trunk.heads * size)
        if prefill is None and count == n:
            return attended
        parts = [attended]
        if prefill is not None and count >= read:
            more = attend_read(prefill, heads[n:read, : trunk.heads], buffer[0], buffer[1], block.scaling)
            parts.append(more.flatten(1))
        rest = count - (read if len(parts) > 1 else n)
        return torch.cat([*parts, attended.new_zeros(rest, trunk.heads * size)])


def _filled(count: int) -> int:
    return -(-count // _ROWS_STEP) * _ROWS_STEP
