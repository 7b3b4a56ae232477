"""Attention of one forward pass over slots that are at different positions.

transformers' models hand queries, keys and values of each layer to a function chosen by name. This one takes
the tokens of all slots side by side, as one row ``[1, T]``: first the newest token of every slot, then what
some slots still have to read before it. So one pass does both, with no padding between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rltk.errors import UserError
from rltk_policies.causal_lm.cache import SlotCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "rltk_slots"
_FIX = "choose a model with plain causal attention, such as GPT-2, Llama, Qwen or Mistral"


@dataclass
class Prefill:
    """Tokens that slots read before their newest: m of them, of r rows with up to t each.

    :param rows: ``[r]`` int64 rows of the cache that read.
    :param reader: ``[m]`` int64 which of them each token is of.
    :param offset: ``[m]`` int64 how many it has read before it in this pass.
    :param positions: ``[m]`` int64 position of each token.
    :param mask: ``[r, 1, t, window]`` additive, the positions that each token sees.
    :param sources: ``[f]`` int64 rows that others copy what is read from.
    :param targets: ``[f]`` int64 those others.
    """

    rows: Tensor
    reader: Tensor
    offset: Tensor
    positions: Tensor
    mask: Tensor
    sources: Tensor
    targets: Tensor


@dataclass
class Step:
    """Where the tokens of a forward pass stand.

    :param cache: of the slots.
    :param rows: ``[n]`` int64 the first n rows in order; each takes in its newest token.
    :param positions: ``[n]`` int64 position of that token.
    :param mask: ``[n, 1, 1, window]`` additive, the positions that it sees.
    :param prefill: what is read before it, or None.
    """

    cache: SlotCache
    rows: Tensor
    positions: Tensor
    mask: Tensor
    prefill: Prefill | None


def visible(positions: Tensor, window: int, dtype: torch.dtype) -> Tensor:
    """Return an additive mask ``[..., window]`` that lets ``positions [...]`` see all up to themselves."""
    later = torch.arange(window, device=positions.device) > positions[..., None]
    return torch.where(later, -math.inf, 0.0).to(dtype)


def slot_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    slots: Step,
    scaling: float,
    **options: Any,
) -> tuple[Tensor, None]:
    """Write new keys and values into the cache and attend over it; called by the model's layers.

    :param query: ``[1, heads, T, head_dim]``; ``key`` and ``value`` may have fewer heads.
    :returns: ``[1, T, heads, head_dim]``.
    """
    _check_options(options, slots.cache.width)
    queries, new_keys, new_values = (x[0].transpose(0, 1) for x in (query, key, value))
    (keys,), (values,) = (
        slots.cache.buffer((module.layer_idx, name), new, new.shape[1])
        for name, new in {"keys": new_keys, "values": new_values}.items()
    )
    n, prefill = len(slots.rows), slots.prefill
    if prefill is not None:
        token_rows = prefill.rows[prefill.reader]
        keys[token_rows, :, prefill.positions] = new_keys[n:]
        values[token_rows, :, prefill.positions] = new_values[n:]
        share_read(prefill, keys, values)
        read = attend_read(prefill, queries[n:], keys, values, scaling)
        queries, new_keys, new_values = queries[:n], new_keys[:n], new_values[:n]
    keys[slots.rows, :, slots.positions] = new_keys
    values[slots.rows, :, slots.positions] = new_values
    window = slots.mask.shape[-1]
    output = _newest(queries, keys[:n, :, :window], values[:n, :, :window], slots.mask, scaling)
    return (output if prefill is None else torch.cat([output, read]))[None], None


def _newest(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scaling: float) -> Tensor:
    """Return the attention of one query a row, ``[n, heads, head_dim]``."""
    n, heads, size = queries.shape
    # heads that share keys attend as so many queries
    grouped = queries.reshape(n, keys.shape[1], heads // keys.shape[1], size)
    if queries.is_cuda:
        attended = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask, scale=scaling)
    else:  # on the CPU the fused kernel is slower than two products for so few queries
        scores = torch.matmul(grouped * scaling, keys.transpose(2, 3)).add_(mask)
        attended = torch.matmul(scores.softmax(-1), values)
    return attended.reshape(n, heads, values.shape[-1])


def share_read(prefill: Prefill, keys: Tensor, values: Tensor) -> None:
    """Copy what was read to the rows of those whose texts begin alike."""
    window = prefill.mask.shape[-1]
    if len(prefill.sources):
        keys[prefill.targets, :, :window] = keys[prefill.sources, :, :window]
        values[prefill.targets, :, :window] = values[prefill.sources, :, :window]


def attend_read(prefill: Prefill, queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
    """Return the attention ``[m, heads, head_dim]`` of what is read, whose keys and values are there.

    :param queries: ``[m, heads, head_dim]``.
    :param keys: the cache of a layer, as ``values``.
    """
    window = prefill.mask.shape[-1]
    padded = queries.new_zeros(*prefill.mask.shape[::2], *queries.shape[1:])
    padded[prefill.reader, prefill.offset] = queries
    groups = queries.shape[1] // keys.shape[1]
    attended = F.scaled_dot_product_attention(
        padded.transpose(1, 2),
        keys[prefill.rows, :, :window].repeat_interleave(groups, 1),
        values[prefill.rows, :, :window].repeat_interleave(groups, 1),
        attn_mask=prefill.mask,
        scale=scaling,
    )
    return attended.transpose(1, 2)[prefill.reader, prefill.offset]


@contextmanager
def over_slots(model: PreTrainedModel) -> Iterator[None]:
    """Let a model attend over slots inside the block."""
    _make_known()
    config = model.config
    usual = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = usual


@cache
def _make_known() -> None:
    """Give transformers the function by its name."""
    from transformers import AttentionInterface  # see rltk.models on why not above

    AttentionInterface.register(NAME, slot_attention)


def check_model(model: PreTrainedModel) -> None:
    """Require a model whose attention can be exchanged.

    :raises UserError: it cannot.
    """
    other = set(getattr(model.config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if other or not model._supports_attention_backend:
        what = f"acting needs attention layers that can be exchanged, which {model.config.model_type!r} lacks"
        raise UserError("policy.path", what, fix=_FIX)


def _check_options(options: dict[str, Any], width: int) -> None:
    """Refuse what a model asks of its attention beyond seeing all of the text before a token."""
    window = options.get("sliding_window")
    if window is not None and window < width:
        what = f"the model's layers see {window} tokens at a time, and texts have up to {width}"
        raise UserError("policy.path", what, fix=f"shorten the texts, or {_FIX}")
    for name in ("softcap", "s_aux", "position_bias"):
        if options.get(name) is not None:
            what = f"acting does not know the attention of this model, with {name}"
            raise UserError("policy.path", what, fix=_FIX)
