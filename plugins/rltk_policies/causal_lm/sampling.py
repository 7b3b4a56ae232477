"""Choose tokens from logits: leave out unlikely ones, then inverse transform sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Truncation:
    """Which tokens of a distribution are left out; what remains is normalised anew.

    :param top_k: keep the k most probable.
    :param top_p: keep the fewest, most probable first, whose probabilities sum to p (Holtzman et al. 2020,
        arXiv 1904.09751, section 3.1); of those that top_k left.
    :param min_p: keep those at least this many times as probable as the most probable one (Nguyen et al.
        2024, arXiv 2407.01082, section 3).
    """

    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __bool__(self) -> bool:
        return self != Truncation()

    def apply(self, logits: Tensor) -> Tensor:
        """Return logits ``[..., V]``, minus infinity where a token is left out; equal ones stay together."""
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            fewest = logits.topk(self.top_k, -1).values[..., -1:]
            logits = logits.masked_fill(logits < fewest, -math.inf)
        if self.top_p is not None:
            ordered = logits.sort(-1, descending=True).values
            probabilities = ordered.softmax(-1)
            before = probabilities.cumsum(-1) - probabilities
            kept = ordered.masked_fill(before >= self.top_p, math.inf)
            kept[..., 0] = ordered[..., 0]
            logits = logits.masked_fill(logits < kept.amin(-1, keepdim=True), -math.inf)
        if self.min_p is not None:
            fewest = logits.amax(-1, keepdim=True) + math.log(self.min_p)
            logits = logits.masked_fill(logits < fewest, -math.inf)
        return logits


def choose_tokens(logits: Tensor, uniforms: Tensor, *, deterministic: bool) -> tuple[Tensor, Tensor]:
    """Return tokens ``[n]`` int64 and their log-probabilities ``[n]`` float32.

    One uniform per row picks the first token whose cumulative probability exceeds it.

    :param logits: ``[n, V]`` float32 of the distribution to sample from; minus infinity is never taken.
    :param uniforms: ``[n]`` float64 in [0, 1), on the CPU.
    :param deterministic: take the most probable token.
    """
    probabilities = logits.softmax(-1)
    if deterministic:
        chosen = probabilities.argmax(-1, keepdim=True)
    else:
        chosen = _first_beyond(probabilities, uniforms.to(logits.device)[:, None])
    return chosen[:, 0], probabilities.gather(-1, chosen)[:, 0].log()


def _first_beyond(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Return ``[n, 1]`` the first tokens whose cumulative probabilities exceed ``uniforms [n, 1]``.

    Looks for a block of tokens first and then inside it, so that only sums of blocks are added up.
    """
    V = probabilities.shape[-1]
    size = 2 ** round(math.log2(V) / 2)
    whole = V // size * size
    blocks = probabilities[:, :whole].unflatten(1, (-1, size)).sum(-1)
    if whole < V:
        blocks = torch.cat([blocks, probabilities[:, whole:].sum(-1, keepdim=True)], -1)
    ends = blocks.cumsum(-1, dtype=torch.float64)
    threshold = _below(uniforms * ends[:, -1:], ends[:, -1:])
    block = torch.searchsorted(ends, threshold, right=True)
    begun = (ends - blocks).gather(-1, block)
    tokens = block * size + torch.arange(size, device=block.device)
    inside = probabilities.gather(-1, tokens.clamp(max=V - 1)).masked_fill_(tokens >= V, 0.0)
    sums = inside.cumsum(-1, dtype=torch.float64)
    offset = torch.searchsorted(sums, _below(threshold - begun, sums[:, -1:]), right=True)
    return block * size + offset


def _below(threshold: Tensor, total: Tensor) -> Tensor:
    """Return the threshold, at least 0 and less than the total: what comes last may be forbidden."""
    return torch.minimum(threshold.clamp(min=0.0), torch.nextafter(total, torch.zeros_like(total)))
