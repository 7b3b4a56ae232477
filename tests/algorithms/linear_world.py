"""A linear policy in double precision, a rollout for it, and its gradients by hand in NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rltk.rng import torch_generator
from rltk.testing.reference_policy import LinearPolicy, shake
from rltk.types import Rollout

FEATURES, ACTIONS = 3, 4
LENGTHS = (4, 2, 3, 1, 4, 4, 2, 3)


def make_policy() -> LinearPolicy:
    """Return a policy that prefers some actions, with a critic that is wrong."""
    policy = LinearPolicy(FEATURES, ACTIONS).double()
    shake(policy.parameters(), seed=0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(5.0)
    return policy


def make_rollout(policy: LinearPolicy) -> Rollout:
    """Return ragged episodes in groups of four, sampled by a policy a little away from ``policy``."""
    generator = torch_generator("linear world")
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rollout = Rollout(
        mask=mask,
        actions=torch.randint(0, ACTIONS, mask.shape, generator=generator),
        logprobs=torch.zeros(mask.shape, dtype=torch.float64),
        rewards=normal(*mask.shape) * mask,
        values=normal(*mask.shape),
        bootstrap=normal(len(LENGTHS)) * torch.tensor([0.0, 1.0] * (len(LENGTHS) // 2)),
        episode_ids=torch.arange(len(LENGTHS)),
        scores=torch.zeros(len(LENGTHS)),
        groups=torch.arange(len(LENGTHS)) // 4,
        observations=normal(*mask.shape, FEATURES),
    )
    with torch.no_grad():
        logprobs = policy.evaluate(rollout).logprobs
    old = logprobs + 0.3 * normal(*mask.shape)
    return rollout.replace(logprobs=old, ref_logprobs=logprobs + 0.5 * normal(*mask.shape))


#: Of (row, time, log-probability now, old one, value now): the loss's slope by log-probability and by value.
Slopes = Callable[[int, int, float, float, float], tuple[float, float]]


def gradient_by_hand(
    policy: LinearPolicy, rollout: Rollout, slopes: Slopes, *, entropy_coef: float, count: float
) -> dict[str, NDArray[Any]]:
    """Return the gradient of a loss over a rollout by the chain rule, without autograd.

    ``d log p_a / d logits = onehot(a) - p`` and ``d H / d logits = -p (log p + H)``.

    :param slopes: the loss's derivatives at one action.
    :param count: what the sum over actions is divided by.
    """
    weights = {name: parameter.detach().numpy() for name, parameter in policy.named_parameters()}
    gradient = {name: np.zeros_like(weight) for name, weight in weights.items()}
    assert rollout.observations is not None
    for i, j in np.argwhere(rollout.mask.numpy()):
        x = rollout.observations[i, j].numpy()
        logits = weights["actor.weight"] @ x + weights["actor.bias"]
        log_p = logits - np.log(np.exp(logits).sum())
        p, action = np.exp(log_p), int(rollout.actions[i, j])
        value = float(weights["critic.weight"][0] @ x + weights["critic.bias"][0])
        by_logprob, by_value = slopes(i, j, log_p[action], float(rollout.logprobs[i, j]), value)
        entropy = -(p * log_p).sum()
        by_logits = by_logprob * (np.eye(ACTIONS)[action] - p) + entropy_coef * p * (log_p + entropy)
        gradient["actor.weight"] += np.outer(by_logits, x) / count
        gradient["actor.bias"] += by_logits / count
        gradient["critic.weight"][0] += by_value * x / count
        gradient["critic.bias"][0] += by_value / count
    return gradient


def gradients(policy: torch.nn.Module) -> dict[str, NDArray[Any]]:
    """Return what the last gradient step left in each parameter; 0 where nothing."""
    return {
        name: np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy()
        for name, parameter in policy.named_parameters()
    }


def assert_same_gradient(policy: torch.nn.Module, expected: dict[str, NDArray[Any]]) -> None:
    """Assert that the last gradient step was on ``expected``."""
    actual = gradients(policy)
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-6, atol=1e-9, err_msg=name)


def clipped_slope(advantage: float, ratio: float, low: float, high: float) -> float:
    """Return the slope of ``-min(ratio A, clip(ratio) A)`` by the log-probability."""
    counts = ratio < high if advantage > 0 else ratio > low
    return -advantage * ratio if counts else 0.0


def loop_gae(rollout: Rollout, gamma: float, gae_lambda: float) -> NDArray[Any]:
    """Return the advantages ``[B, T]`` by a loop backwards over each episode."""
    advantages = np.zeros(rollout.mask.shape)
    for i, length in enumerate(LENGTHS):
        values = [*rollout.values[i, :length].tolist(), float(rollout.bootstrap[i])]
        tail = 0.0
        for t in reversed(range(length)):
            delta = float(rollout.rewards[i, t]) + gamma * values[t + 1] - values[t]
            tail = delta + gamma * gae_lambda * tail
            advantages[i, t] = tail
    return advantages
