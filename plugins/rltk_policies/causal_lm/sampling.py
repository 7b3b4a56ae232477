"""Choose tokens from logits by inverse transform sampling."""

import torch
from torch import Tensor


def choose_tokens(logits: Tensor, uniforms: Tensor, *, deterministic: bool) -> tuple[Tensor, Tensor]:
    """Return tokens ``[n]`` int64 and their log-probabilities ``[n]`` float32.

    One uniform a row picks the first token whose cumulative probability exceeds it.

    :param logits: ``[n, V]`` float32 of the distribution to sample from; minus infinity is never taken. What
        they held is lost.
    :param uniforms: ``[n]`` float64 in [0, 1), on the CPU.
    :param deterministic: take the most probable token.
    """
    probabilities = logits.softmax(-1)
    if deterministic:
        chosen = probabilities.argmax(-1, keepdim=True)
    else:
        # On the CPU a float32 sum is accumulated in float64 and never falls; on a GPU neither is certain.
        dtype = torch.float64 if logits.is_cuda else torch.float32
        cumulative = probabilities.cumsum(-1, dtype=dtype) if logits.is_cuda else logits
        if not logits.is_cuda:
            torch.cumsum(probabilities, -1, out=cumulative)
        total = cumulative[:, -1:]
        threshold = uniforms.to(cumulative)[:, None] * total
        # Below the total even where the product is rounded up to it: the last token may be a forbidden one.
        threshold = torch.minimum(threshold, torch.nextafter(total, torch.zeros_like(total)))
        chosen = torch.searchsorted(cumulative, threshold, right=True)
    return chosen[:, 0], probabilities.gather(-1, chosen)[:, 0].log()
