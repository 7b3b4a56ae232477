"""Choose tokens from logits by inverse transform sampling."""

import torch
from torch import Tensor


def choose_tokens(logits: Tensor, uniforms: Tensor, *, deterministic: bool) -> tuple[Tensor, Tensor]:
    """Return tokens ``[n]`` int64 and their log-probabilities ``[n]`` float32.

    One uniform a row picks the first token whose cumulative probability exceeds it.

    :param logits: ``[n, V]`` of the distribution to sample from; minus infinity is never taken.
    :param uniforms: ``[n]`` float64 in [0, 1), on the CPU.
    :param deterministic: take the most probable token.
    """
    logprobs = torch.log_softmax(logits, dim=-1)
    if deterministic:
        chosen = logprobs.argmax(-1)
    else:
        cumulative = logprobs.double().exp().cumsum(-1)
        total = cumulative[:, -1:]
        threshold = uniforms.to(cumulative.device)[:, None] * total
        # Below the total even where the product is rounded up to it: the last token may be a forbidden one.
        threshold = torch.minimum(threshold, torch.nextafter(total, torch.zeros_like(total)))
        chosen = torch.searchsorted(cumulative, threshold, right=True)[:, 0]
    return chosen, logprobs.gather(-1, chosen[:, None])[:, 0]
