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

    One uniform a row picks the first token whose cumulative probability exceeds it.

    :param logits: ``[n, V]`` float32 of the distribution to sample from; minus infinity is never taken.
    :param uniforms: ``[n]`` float64 in [0, 1), on the CPU.
    :param deterministic: take the most probable token.
    """
    probabilities = logits.softmax(-1)
    if deterministic:
        chosen = probabilities.argmax(-1, keepdim=True)
    else:
        # A CPU adds up float32 in float64, so that the sums never fall; a GPU has to be told.
        cumulative = probabilities.cumsum(-1, dtype=torch.float64 if logits.is_cuda else torch.float32)
        total = cumulative[:, -1:]
        threshold = uniforms.to(cumulative)[:, None] * total
        # Below the total even where the product is rounded up to it: the last token may be a forbidden one.
        threshold = torch.minimum(threshold, torch.nextafter(total, torch.zeros_like(total)))
        chosen = torch.searchsorted(cumulative, threshold, right=True)
    return chosen[:, 0], probabilities.gather(-1, chosen)[:, 0].log()
