"""Choose tokens from logits by inverse transform sampling."""

import torch
from torch import Tensor


def choose_tokens(
    logits: Tensor, uniforms: Tensor, *, temperature: float, deterministic: bool
) -> tuple[Tensor, Tensor]:
    """Return tokens ``[n]`` int64 and their log-probabilities ``[n]`` float32.

    One uniform a row picks the first token whose cumulative probability exceeds it.

    :param logits: ``[n, V]``.
    :param uniforms: ``[n]`` float64 in [0, 1), on the CPU.
    :param temperature: logits are divided by it; log-probabilities are of the distribution sampled from.
    :param deterministic: take the most probable token.
    """
    logprobs = torch.log_softmax(logits.float() / temperature, dim=-1)
    if deterministic:
        chosen = logprobs.argmax(-1)
    else:
        cumulative = logprobs.double().exp().cumsum(-1)
        threshold = uniforms.to(cumulative.device)[:, None] * cumulative[:, -1:]
        chosen = torch.searchsorted(cumulative, threshold, right=True)[:, 0].clamp(max=logits.shape[1] - 1)
    return chosen, logprobs.gather(-1, chosen[:, None])[:, 0]
