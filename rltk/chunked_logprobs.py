"""Log-probabilities and entropies of tokens straight from hidden states, a chunk of positions at a time.

The logits of all positions, ``[tokens, vocabulary]`` in float32, are the largest tensor of a language model's
update, and autograd keeps two or three of their size. Here the forward pass keeps three numbers a position,
and the backward pass computes each chunk's logits once more. Memory is then that of one chunk, however many
positions there are; the price is one matrix product in four of the head's. On a CPU the first chunks are kept
instead, up to a fixed size: all of them where the vocabulary is small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from rltk.distributions import categorical_logprobs_and_entropy, restrict

#: Logits of a chunk. On a CPU they stay in its cache; a GPU wants large matrices and few kernels.
_CPU_CHUNK, _GPU_CHUNK = 2**20, 2**26
#: Log-probabilities of all tokens that are kept for the backward pass on a CPU, in numbers.
_CPU_KEPT = 2**24
#: Positions of a chunk at least: fewer make poor use of a matrix unit, however large the vocabulary.
_FEWEST_POSITIONS = 256


def token_logprobs_and_entropy(
    head: nn.Module,
    hidden: Tensor,
    tokens: Tensor,
    *,
    temperature: float = 1.0,
    allowed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and entropies in nats ``[n]`` of ``softmax(head(hidden) / temperature)``.

    Differentiable once, by hidden states and head. The matrix products are in the dtype of the hidden states,
    or in that of an enclosing autocast; softmax and results in float32 at least. A head that is more than a
    linear layer, such as one with an adapter, costs some time more, and no more memory.

    :param head: the output layer, ``[..., d] -> [..., V]``.
    :param hidden: ``[n, d]``.
    :param tokens: ``[n]`` int64 whose log-probability is wanted.
    :param allowed: ``[n, V]`` bool, what may be taken; the others have probability 0. None: everything.
    """
    if type(head) is nn.Linear:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        keep = _CPU_KEPT if device == "cpu" and torch.is_grad_enabled() else 0
        cast = _Cast(dtype, temperature, keep)
        logprobs, entropy = _LinearHead.apply(hidden, head.weight, head.bias, tokens, allowed, cast)
        return logprobs, entropy
    return _of_any_head(head, hidden, tokens, temperature, allowed)


class _LinearHead(torch.autograd.Function):
    """Both results for a linear head, with the derivatives written out."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        allowed: Tensor | None,
        cast: _Cast,
    ) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies ``[n]``."""
        # Log-probability and entropy, and by how much the chosen logits exceed the log-probabilities.
        results = hidden.new_empty(3, len(hidden), dtype=cast.results)
        kept: list[Tensor] = []
        with torch.autocast(hidden.device.type, enabled=False):
            head = cast.parameters(weight, bias)
            for rows in _chunks(hidden, len(weight)):
                limits = None if allowed is None else allowed[rows]
                logits = cast.logits(hidden[rows], head, limits)
                log_all = torch.log_softmax(logits, -1)
                if allowed is None and rows.stop * len(weight) <= cast.keep:
                    kept.append(log_all)
                results[:, rows] = _of_logits(logits, log_all, tokens[rows], limits)
        logprobs, entropy, normalizers = results.unbind()
        ctx.save_for_backward(hidden, weight, bias, tokens, allowed, entropy, normalizers, *kept)
        ctx.cast = cast
        # A loss without the entropy costs no pass for it.
        ctx.set_materialize_grads(False)
        # Copies: what autograd keeps must not be what the caller may write into.
        return logprobs.clone(), entropy.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_logprobs: Tensor | None, by_entropy: Tensor | None) -> Any:
        """Return the gradients of hidden states, weight and bias."""
        hidden, weight, bias, tokens, allowed, entropy, normalizers, *kept = ctx.saved_tensors
        totals = [
            torch.zeros_like(x) if x is not None and wanted else None
            for x, wanted in zip((hidden, weight, bias), ctx.needs_input_grad, strict=False)
        ]
        if by_logprobs is None:
            by_logprobs = torch.zeros_like(entropy)
        with torch.autocast(hidden.device.type, enabled=False):
            head = ctx.cast.parameters(weight, bias)
            for rows, known in zip_longest(_chunks(hidden, len(weight)), kept):
                limits = None if allowed is None else allowed[rows]
                if known is None:
                    log_all = ctx.cast.logits(hidden[rows], head, limits).sub_(normalizers[rows, None])
                else:
                    log_all = known.clone()
                by_entropies = None if by_entropy is None else (by_entropy[rows, None], entropy[rows, None])
                by_logits = _by_logits(
                    log_all, tokens[rows, None], by_logprobs[rows, None], by_entropies, limits
                )
                ctx.cast.add_gradients(totals, rows, by_logits, hidden[rows], head[0])
        return *totals, None, None, None


@dataclass(frozen=True)
class _Cast:
    """What the logits are computed in.

    :param products: dtype of the matrix products.
    :param temperature: divides the logits.
    :param keep: how many log-probabilities the backward pass may find kept.
    """

    products: torch.dtype
    temperature: float
    keep: int = 0

    @property
    def results(self) -> torch.dtype:
        """Dtype of softmax and results."""
        return torch.promote_types(self.products, torch.float32)

    def parameters(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return a head's parameters as the products take them."""
        return weight.to(self.products), None if bias is None else bias.to(self.products)

    def logits(self, hidden: Tensor, head: tuple[Tensor, Tensor | None], allowed: Tensor | None) -> Tensor:
        """Return the logits over the temperature, in a tensor of its own."""
        logits = F.linear(hidden.to(self.products), *head).to(self.results)
        if self.temperature != 1.0:
            logits /= self.temperature
        return logits if allowed is None else logits.masked_fill_(~allowed, -torch.inf)

    def add_gradients(
        self,
        totals: Sequence[Tensor | None],
        rows: slice,
        by_logits: Tensor,
        hidden: Tensor,
        weight: Tensor,
    ) -> None:
        """Add a chunk's share to the gradients of hidden states, weight and bias, where they are wanted."""
        if self.temperature != 1.0:
            by_logits /= self.temperature
        by_logits = by_logits.to(self.products)
        of_hidden, of_weight, of_bias = totals
        if of_hidden is not None:
            of_hidden[rows] = by_logits @ weight
        if of_weight is not None and of_weight.dtype == self.products:
            of_weight.addmm_(by_logits.T, hidden.to(self.products))
        elif of_weight is not None:
            of_weight += by_logits.T @ hidden.to(self.products)
        if of_bias is not None:
            of_bias += by_logits.sum(0)


def _of_logits(logits: Tensor, log_all: Tensor, tokens: Tensor, allowed: Tensor | None) -> Tensor:
    """Return log-probabilities, entropies and normalizers ``[3, c]``; what ``logits`` held is lost.

    :param log_all: their log-softmax; lost too where not everything is allowed.
    """
    logprobs = log_all.gather(-1, tokens[:, None])[:, 0]
    normalizers = logits.gather(-1, tokens[:, None])[:, 0] - logprobs
    probabilities = torch.exp(log_all, out=logits)
    return torch.stack([logprobs, -probabilities.mul_(_finite(log_all, allowed)).sum(-1), normalizers])


def _by_logits(
    log_all: Tensor,
    tokens: Tensor,
    by_logprobs: Tensor,
    by_entropies: tuple[Tensor, Tensor] | None,
    allowed: Tensor | None,
) -> Tensor:
    """Return the gradient of the scaled logits ``[c, V]``; what ``log_all`` held is lost.

    With probabilities p and entropy H, the log-probability of token a has the derivative ``1[i = a] - p_i``
    by logit i, and H has ``-p_i (log p_i + H)``.

    :param by_entropies: ``[c, 1]`` the gradient by the entropies, and these; None where there is no gradient.
    """
    if by_entropies is None:
        result = log_all.exp_().mul_(-by_logprobs)
    else:
        by_entropy, entropy = by_entropies
        probabilities = log_all.exp()
        result = _finite(log_all, allowed).add_(entropy).mul_(by_entropy).add_(by_logprobs)
        result.mul_(probabilities).neg_()
    return result.scatter_add_(1, tokens, by_logprobs)


def _finite(log_all: Tensor, allowed: Tensor | None) -> Tensor:
    """Return log-probabilities with 0 for tokens that cannot be taken, in place."""
    return log_all if allowed is None else log_all.masked_fill_(~allowed, 0.0)


def _chunks(hidden: Tensor, vocabulary: int) -> Iterator[slice]:
    """Yield slices of positions whose logits make one chunk."""
    logits = _CPU_CHUNK if hidden.device.type == "cpu" else _GPU_CHUNK
    size = max(_FEWEST_POSITIONS, logits // vocabulary)
    for start in range(0, len(hidden), size):
        yield slice(start, min(len(hidden), start + size))


def _of_any_head(
    head: nn.Module, hidden: Tensor, tokens: Tensor, temperature: float, allowed: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return both for any head, through autograd, which repeats each chunk's forward pass."""
    vocabulary = int(getattr(head, "out_features", 2**16))

    def of_chunk(hidden: Tensor, tokens: Tensor, allowed: Tensor | None) -> tuple[Tensor, Tensor]:
        logits = head(hidden)
        logits = restrict(logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature, allowed)
        return categorical_logprobs_and_entropy(logits, tokens, restricted=allowed is not None)

    parts = [
        checkpoint(
            of_chunk,
            hidden[rows],
            tokens[rows],
            None if allowed is None else allowed[rows],
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for rows in _chunks(hidden, vocabulary)
    ]
    logprobs, entropy = zip(*parts, strict=True)
    return torch.cat(logprobs), torch.cat(entropy)
