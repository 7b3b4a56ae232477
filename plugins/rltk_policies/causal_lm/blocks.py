"""The weights of GPT-2 and of Llama's family, laid out for a pass that is written out.

They are the model's own, but for the projections to queries, keys and values, which Llama has in three
matrices, and which are joined here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rltk_policies.causal_lm.products import Product, use_onednn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LLAMA_LIKE = ("LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model")
#: Rotations by position that depend on nothing else.
_ROTATIONS = ("default", "linear", "llama3")
_GELUS = ("NewGELUActivation", "GELUTanh")
_PARTS = ("Conv1D", "Dropout", "Embedding", "LayerNorm", "Linear", "ModuleList", "SiLUActivation", *_GELUS)

Norm = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Block:
    """A layer of attention and a feed-forward one.

    :param qkv: gives queries, keys and values of all heads, side by side; where there is a rotation, the two
        halves of each query and key alternate.
    :param head_norms: of queries and of keys, or None.
    :param feed: a function of normed rows and of the rows that the result is added to.
    """

    norm: Norm
    qkv: Product
    head_norms: tuple[Norm, Norm] | None
    scaling: float
    out: Product
    feed_norm: Norm
    feed: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Trunk:
    """All that comes before the LM head.

    :param places: ``[positions, d]`` embeddings of positions, or None.
    :param rotation: ``[positions, 1, head_dim / 2]`` complex, what turns the pairs of queries and keys; or
        None.
    """

    words: Tensor
    places: Tensor | None
    rotation: Tensor | None
    heads: int
    key_heads: int
    head_dim: int
    blocks: list[Block]
    norm: Norm


def head_of(model: PreTrainedModel) -> dict[Tensor, Product]:
    """Return the product of the LM head by its weights; none where it is another kind of layer."""
    head: Any = model.get_output_embeddings()
    if not use_onednn(model) or not _as_made(head) or head.weight.dtype != torch.float32:
        return {}
    return {head.weight: Product(head.weight, head.bias, onednn=True)}


def trunk_of(model: PreTrainedModel, width: int) -> Trunk | None:
    """Return the trunk of a model, or None where only the model's own code knows what it computes.

    :param width: positions that a text can have.
    """
    base: Any = model.base_model
    floats = all(parameter.dtype == torch.float32 for parameter in base.parameters())
    if base.training or model.device.type != "cpu" or not floats or not all(map(_as_made, base.modules())):
        return None
    kind, onednn = type(base).__name__, use_onednn(model)
    if kind == "GPT2Model" and not base.config.add_cross_attention:
        return _gpt2(base, onednn) if type(base.h[0].mlp.act).__name__ in _GELUS else None
    if kind in _LLAMA_LIKE and _llama_as_usual(base, width):
        return _llama(base, onednn, width)
    return None


def _as_made(part: nn.Module) -> bool:
    """Return whether a layer does what its class says, and its class is known here."""
    kind = type(part)
    own = kind.__module__.startswith("transformers.models.")
    if kind.__name__ not in _PARTS and not own:
        return False
    return not (part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part))


def _gpt2(base: Any, onednn: bool) -> Trunk:
    config = base.config

    def product(layer: Any) -> Product:
        return Product(layer.weight.t(), layer.bias, onednn=onednn)

    def block(layer: Any) -> Block:
        grow, shrink = product(layer.mlp.c_fc), product(layer.mlp.c_proj)
        return Block(
            norm=_layer_norm(layer.ln_1),
            qkv=product(layer.attn.c_attn),
            head_norms=None,
            scaling=layer.attn.scaling,
            out=product(layer.attn.c_proj),
            feed_norm=_layer_norm(layer.ln_2),
            feed=lambda normed, rows: shrink.plus(grow.gelu(normed), rows),
        )

    return Trunk(
        words=base.wte.weight.detach(),
        places=base.wpe.weight.detach(),
        rotation=None,
        heads=config.n_head,
        key_heads=config.n_head,
        head_dim=config.n_embd // config.n_head,
        blocks=[block(layer) for layer in base.h],
        norm=_layer_norm(base.ln_f),
    )


def _llama_as_usual(base: Any, width: int) -> bool:
    config = base.config
    window = getattr(config, "sliding_window", None)
    return (
        config.rope_parameters.get("rope_type") in _ROTATIONS
        and getattr(config, "partial_rotary_factor", None) in (None, 1.0)
        and (window is None or window >= width)
        and type(base.layers[0].mlp.act_fn).__name__ == "SiLUActivation"
    )


def _llama(base: Any, onednn: bool, width: int) -> Trunk:
    attention = base.layers[0].self_attn
    size = attention.head_dim

    def product(layer: Any) -> Product:
        return Product(layer.weight, layer.bias, onednn=onednn)

    def block(layer: Any) -> Block:
        attention, mlp = layer.self_attn, layer.mlp
        gate, up, down = (product(part) for part in (mlp.gate_proj, mlp.up_proj, mlp.down_proj))
        norms = [getattr(attention, name, None) for name in ("q_norm", "k_norm")]
        alternated = [_rms_norm(norm, lambda scale: _alternate(scale, size)) for norm in norms if norm]
        return Block(
            norm=_rms_norm(layer.input_layernorm),
            qkv=_joined(attention, size, onednn),
            head_norms=(alternated[0], alternated[1]) if alternated else None,
            scaling=attention.scaling,
            out=product(attention.o_proj),
            feed_norm=_rms_norm(layer.post_attention_layernorm),
            feed=lambda normed, rows: down.plus(up.times(normed, gate.silu(normed)), rows),
        )

    positions = torch.arange(width, device=base.device)[None]
    cos, sin = (x[0, :, : size // 2].contiguous() for x in base.rotary_emb(base.norm.weight, positions))
    return Trunk(
        words=base.embed_tokens.weight.detach(),
        places=None,
        rotation=torch.complex(cos, sin).detach()[:, None],
        heads=attention.q_proj.out_features // size,
        key_heads=attention.k_proj.out_features // size,
        head_dim=size,
        blocks=[block(layer) for layer in base.layers],
        norm=_rms_norm(base.norm),
    )


def _joined(attention: Any, size: int, onednn: bool) -> Product:
    """Return one product for queries, keys and values."""
    parts = [attention.q_proj, attention.k_proj, attention.v_proj]
    turned = [_alternate(part.weight, size) for part in parts[:2]]
    weight = torch.cat([*turned, parts[2].weight])
    if parts[0].bias is None:
        return Product(weight, None, onednn=onednn)
    turned = [_alternate(part.bias, size) for part in parts[:2]]
    return Product(weight, torch.cat([*turned, parts[2].bias]), onednn=onednn)


def _alternate(rows: Tensor, size: int) -> Tensor:
    """Return ``[heads * size, ...]`` with the two halves of each head in turn, so that pairs lie together."""
    return rows.unflatten(0, (-1, 2, size // 2)).transpose(1, 2).flatten(0, 2)


def _layer_norm(layer: Any) -> Norm:
    shape, scale, shift = layer.normalized_shape, layer.weight.detach(), layer.bias.detach()
    return partial(F.layer_norm, normalized_shape=shape, weight=scale, bias=shift, eps=layer.eps)


def _rms_norm(layer: Any, order: Callable[[Tensor], Tensor] = lambda scale: scale) -> Norm:
    scale = order(layer.weight.detach())
    eps = layer.variance_epsilon
    return partial(F.rms_norm, normalized_shape=tuple(scale.shape), weight=scale, eps=eps)
