"""Reading whole texts with GPT-2 on a CPU: the same hidden states as its own forward pass, for less work.

- What several texts have in common at their start is read once: the answers to one prompt share its keys and
  values.
- The last block goes on, after its attention, only with the positions whose hidden states are asked for.
- Its feed-forward layers are those of :mod:`rltk.feed_forward`.

Only for models that are GPT-2 and nothing else; for all others there is their own forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rltk.feed_forward import feed_forward

if TYPE_CHECKING:
    from transformers.models.gpt2.modeling_gpt2 import GPT2Attention, GPT2Block, GPT2Model

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
#: Common starts are read once where that saves at least this share of the tokens: it takes a mask.
_WORTH_SHARING = 1 / 16


def gpt2_hidden_states(trunk: nn.Module, tokens: Tensor, places: Tensor) -> Tensor | None:
    """Return the last hidden states ``[n, d]`` at some places, differentiable once.

    :param trunk: a model without its head.
    :param tokens: ``[B, L]`` right-padded.
    :param places: ``[n]`` int64 in the flattened tokens.
    :returns: None where the trunk is not GPT-2 as transformers has it, in evaluation mode, on a CPU, with
        weights that are either all trained or all not.
    """
    from transformers.models.gpt2.modeling_gpt2 import GPT2Model  # see rltk.models on why not above

    if not isinstance(trunk, GPT2Model) or not len(places) or not _is_plain(trunk):
        return None
    texts = _Texts.sharing(tokens, places)
    x = texts.embedded(trunk.wte, trunk.wpe)
    for block in trunk.h:
        last = block is trunk.h[-1]
        attended = texts.attention(block, x, only_ends=last)
        if last:
            chosen = texts.in_ends(places)
            attended, x = attended.index_select(0, chosen), x[texts.shared :].index_select(0, chosen)
        projection, mlp = block.attn.c_proj, block.mlp
        x = torch.addmm(x, attended, projection.weight) + projection.bias
        layers = [(layer.weight, layer.bias) for layer in (mlp.c_fc, mlp.c_proj)]
        x = x + feed_forward(block.ln_2(x), *layers)
    hidden: Tensor = trunk.ln_f(x)
    return hidden


@dataclass(frozen=True)
class _Texts:
    """Texts cut into their starts, each distinct one once, and their ends.

    :param starts: ``[G, S]``; no column where nothing is shared.
    :param ends: ``[B, L - S]``.
    :param owner: ``[B]`` the start of each end.
    """

    starts: Tensor
    ends: Tensor
    owner: Tensor

    @classmethod
    def sharing(cls, tokens: Tensor, places: Tensor) -> _Texts:
        """Cut in front of the first column that is asked for, where that saves enough."""
        count, width = tokens.shape
        size = int((places % width).min())
        if size and count > 1:
            starts, owner = torch.unique(tokens[:, :size], dim=0, return_inverse=True)
            if (count - len(starts)) * size >= _WORTH_SHARING * tokens.numel():
                return cls(starts, tokens[:, size:], owner)
        return cls(tokens[:0, :0], tokens, tokens.new_zeros(0))

    @property
    def shared(self) -> int:
        """How many tokens all starts have together."""
        return self.starts.numel()

    def in_ends(self, places: Tensor) -> Tensor:
        """Return where places of the whole texts are in the flattened ends."""
        size, width = self.starts.shape[1], self.ends.shape[1]
        return places // (size + width) * width + places % (size + width) - size

    def embedded(self, words: nn.Module, positions: nn.Module) -> Tensor:
        """Return the sums of both embeddings ``[tokens, d]``, first of the starts, then of the ends."""
        size, width = self.starts.shape[1], self.ends.shape[1]
        place = positions(torch.arange(size + width))
        parts = [(self.starts, place[:size]), (self.ends, place[size:])]
        return torch.cat([(words(tokens) + places).flatten(0, 1) for tokens, places in parts])

    def attention(self, block: GPT2Block, x: Tensor, *, only_ends: bool) -> Tensor:
        """Return what the heads of a block give, ``[tokens, d]``, before their projection.

        :param only_ends: leave the starts out.
        """
        layer, weights = block.attn, block.attn.c_attn
        projected = torch.addmm(weights.bias, block.ln_1(x), weights.weight)
        query, *pair = _heads(projected[self.shared :], self.ends, layer)
        if not self.shared:
            return _joined(_attend(query, *pair, scale=layer.scaling))
        start, *start_pair = _heads(projected[: self.shared], self.starts, layer)
        pair = [
            torch.cat([x.index_select(0, self.owner), y], 2) for x, y in zip(start_pair, pair, strict=True)
        ]
        ends = _joined(_attend(query, *pair, scale=layer.scaling))
        if only_ends:
            return ends
        return torch.cat([_joined(_attend(start, *start_pair, scale=layer.scaling)), ends])


def _heads(projected: Tensor, tokens: Tensor, layer: GPT2Attention) -> list[Tensor]:
    """Return queries, keys and values ``[rows, heads, columns, size]``."""
    split = projected.view(*tokens.shape, 3, layer.num_heads, layer.head_dim)
    return [x.transpose(1, 2) for x in split.unbind(2)]


def _attend(query: Tensor, key: Tensor, value: Tensor, *, scale: float) -> Tensor:
    """Return causal attention of the last positions to all."""
    ends, width = query.shape[2], key.shape[2]
    if ends == width:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)
    later = torch.full((ends, width), -torch.inf, dtype=query.dtype).triu(width - ends + 1)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=later, scale=scale)


def _joined(heads: Tensor) -> Tensor:
    """Return ``[rows * columns, d]`` of ``[rows, heads, columns, size]``."""
    return heads.transpose(1, 2).flatten(0, 1).flatten(1)


def _is_plain(trunk: GPT2Model) -> bool:
    """Return whether the pass written out here is the one that the model itself would take."""
    config, parameters = trunk.config, list(trunk.parameters())
    return (
        not trunk.training
        and not torch.is_autocast_enabled("cpu")
        and config._attn_implementation == "sdpa"
        and not config.add_cross_attention
        and all(p.is_cpu and p.dtype in (torch.float32, torch.float64) for p in parameters)
        and (not torch.is_grad_enabled() or all(p.requires_grad for p in parameters))
        and all(_is_untouched(module) for module in trunk.modules())
    )


@cache
def _parts() -> frozenset[type[nn.Module]]:
    """Return the classes that GPT-2 is made of."""
    from transformers.activations import GELUTanh
    from transformers.models.gpt2.modeling_gpt2 import GPT2MLP, GPT2Attention, GPT2Block, GPT2Model
    from transformers.pytorch_utils import Conv1D

    own = (GPT2Model, GPT2Block, GPT2Attention, GPT2MLP, GELUTanh, Conv1D)
    return frozenset([*own, nn.Embedding, nn.LayerNorm, nn.Dropout, nn.ModuleList])


def _is_untouched(module: nn.Module) -> bool:
    state = vars(module)
    return type(module) in _parts() and "forward" not in state and not any(state[hooks] for hooks in _HOOKS)
