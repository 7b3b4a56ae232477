"""What algorithms report of an update, the same names in all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor

from rltk.advantages import explained_variance, masked_mean, masked_variance
from rltk.batching import micro_batches
from rltk.losses import kl_k3, masked_sum
from rltk.policy import Policy
from rltk.types import Metrics, Rollout

#: Actions on which the exact KL of an update is measured; over a large vocabulary each is a long row.
_KL_ACTIONS = 512


class Diagnostics:
    """Keeps what was seen in all micro-batches of all gradient steps, and works it out once, at the end.

    A dozen reductions cost a small network's step a fifth more time, and on a GPU each number read is a wait.

    :param clip_range: how far below 1 a ratio counts, and above where ``clip_range_high`` is None; None where
        nothing is clipped.
    """

    def __init__(self, clip_range: float | None = None, clip_range_high: float | None = None) -> None:
        self._clip = clip_range, clip_range if clip_range_high is None else clip_range_high
        self._masks: list[Tensor] = []
        self._entries: dict[str, list[Tensor]] = defaultdict(list)
        self._steps: list[Metrics] = []

    def add(self, mask: Tensor, *, logprobs: Tensor, old_logprobs: Tensor, **entries: Tensor) -> None:
        """Add a micro-batch.

        :param mask: True where an entry counts; of actions ``[B, T]``, or ``[B]`` where whole rows are meant.
        :param logprobs: log-probabilities before the gradient step, in the shape of the mask.
        :param old_logprobs: those of the policy that acted.
        :param entries: further numbers whose mean is reported under their name.
        """
        self._masks.append(mask)
        for name, x in {"logprobs": logprobs, "old_logprobs": old_logprobs, **entries}.items():
            self._entries[name].append(x.detach())

    def add_step(self, step: Metrics) -> None:
        """Add numbers of a gradient step, such as :func:`rltk.training.gradient_step` returns."""
        self._steps.append(step)

    def metrics(self) -> Metrics:
        """Return means over all entries and over all steps, and the largest ratio.

        ``approx_kl`` estimates KL(acted || now) by k3; it, ``ratio_max`` and ``clip_fraction`` are of the
        policy before each gradient step, so that in a first step nothing but rounding may show in them.
        """
        names = {name: [step[name] for step in self._steps] for step in self._steps[:1] for name in step}
        means = {name: sum(values) / len(values) for name, values in names.items()}
        return {**means, **self._of_entries(), "gradient_steps": float(len(self._steps))}

    def _of_entries(self) -> Metrics:
        mask = torch.cat([x.flatten() for x in self._masks])
        entries = {name: torch.cat([x.flatten() for x in parts]) for name, parts in self._entries.items()}
        logprobs, old_logprobs = entries.pop("logprobs"), entries.pop("old_logprobs")
        ratio = torch.where(mask, torch.exp(logprobs - old_logprobs), 0.0)
        entries["approx_kl"] = kl_k3(old_logprobs, logprobs)
        low, high = self._clip
        if low is not None and high is not None:
            entries["clip_fraction"] = ((ratio < 1.0 - low) | (ratio > 1.0 + high)).to(ratio)
        numbers = {name: masked_mean(x, mask) for name, x in entries.items()} | {"ratio_max": ratio.max()}
        return dict(zip(numbers, torch.stack(list(numbers.values())).tolist(), strict=True))


def advantage_metrics(
    advantages: Tensor, returns: Tensor, mask: Tensor, values: Tensor | None = None
) -> Metrics:
    """Return mean and deviation of the advantages, the mean return and what the critic explains of it.

    :param advantages: as they come out of the estimator, not whitened; ``[B, T]``, or ``[B]`` of episodes.
    :param values: the critic's, where there is a critic to judge.
    """
    numbers = {
        "advantage_mean": masked_mean(advantages, mask),
        "advantage_std": masked_variance(advantages, mask).sqrt(),
        "returns_mean": masked_mean(returns, mask),
    }
    if values is not None:
        numbers["explained_variance"] = explained_variance(values, returns, mask)
    return dict(zip(numbers, torch.stack(list(numbers.values())).tolist(), strict=True))


@torch.no_grad()
def exact_kl(policy: Policy, rollout: Rollout) -> Callable[[], float]:
    """Remember the policy's distributions on some rows; return what measures how far it has moved since.

    :param rollout: rows evenly spread over it, with about 512 actions in all, are looked at.
    :returns: a function that gives the mean exact KL(old || new) in nats per action.
    """
    samples = _samples(rollout)
    before = [policy.distribution_parameters(sample) for sample in samples]

    @torch.no_grad()
    def measure() -> float:
        after = [policy.distribution_parameters(sample) for sample in samples]
        each = zip(samples, before, after, strict=True)
        total = sum(masked_sum(policy.kl_divergence(old, new), sample.mask) for sample, old, new in each)
        return float(total) / max(sum(sample.num_actions for sample in samples), 1)

    return measure


def _samples(rollout: Rollout) -> list[Rollout]:
    """Return rows evenly spread over a rollout with about ``_KL_ACTIONS`` actions, like lengths together."""
    length = rollout.num_actions / max(len(rollout), 1)
    rows = min(len(rollout), max(1, int(_KL_ACTIONS / max(length, 1))))
    sample = rollout.select(torch.arange(rows) * len(rollout) // rows)
    if sample.mask.numel() <= _KL_ACTIONS:
        return [sample]
    groups = micro_batches(sample.mask.sum(1).tolist(), _KL_ACTIONS)
    return [sample.select(torch.tensor(group)) for group in groups]
