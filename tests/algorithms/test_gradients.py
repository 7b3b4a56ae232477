"""The gradient of every algorithm's step against one computed by hand, without autograd."""

import numpy as np
import pytest

from rltk.rng import torch_generator
from rltk_algorithms.a2c import A2C
from rltk_algorithms.grpo import GRPO
from rltk_algorithms.ppo import PPO
from rltk_algorithms.reinforce import Reinforce
from rltk_algorithms.rloo import RLOO
from tests.algorithms.linear_world import (
    LENGTHS,
    assert_same_gradient,
    clipped_slope,
    gradient_by_hand,
    loop_gae,
    make_policy,
    make_rollout,
)

UNCLIPPED = {"max_grad_norm": 1e9}
STEPS = sum(LENGTHS)


def update(component, policy, rollout, **options):
    config = component.Config(**UNCLIPPED, **options)
    return component(config, policy=policy, generator=torch_generator("update")).update(rollout)


def returns_of(rollout):
    return [float(rollout.rewards[i, :length].sum()) for i, length in enumerate(LENGTHS)]


def whitened(advantages, mask):
    valid = advantages[mask]
    return (advantages - valid.mean()) / np.sqrt(valid.var() + 1e-8)


@pytest.mark.parametrize("value_clip_range", [None, 0.3])
@pytest.mark.parametrize("normalize", [True, False])
def test_ppo(value_clip_range, normalize):
    policy = make_policy()
    rollout = make_rollout(policy)
    raw = loop_gae(rollout, 0.9, 0.8)
    advantages = whitened(raw, rollout.mask.numpy()) if normalize else raw
    targets = raw + rollout.values.numpy()

    def slopes(i, j, logprob, old_logprob, value):
        by_logprob = clipped_slope(advantages[i, j], np.exp(logprob - old_logprob), 0.8, 1.2)
        error, old = value - targets[i, j], float(rollout.values[i, j])
        if value_clip_range is None:
            return by_logprob, 0.7 * error
        clipped = old + np.clip(value - old, -value_clip_range, value_clip_range)
        stuck = (clipped - targets[i, j]) ** 2 > error**2
        return by_logprob, 0.0 if stuck else 0.7 * error

    expected = gradient_by_hand(policy, rollout, slopes, entropy_coef=0.02, count=STEPS)
    update(
        PPO,
        policy,
        rollout,
        epochs=1,
        gamma=0.9,
        gae_lambda=0.8,
        value_coef=0.7,
        entropy_coef=0.02,
        value_clip_range=value_clip_range,
        normalize_advantages=normalize,
    )
    assert_same_gradient(policy, expected)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
@pytest.mark.parametrize("gae_lambda", [1.0, 0.5])
def test_a2c(optimizer, gae_lambda):
    policy = make_policy()
    rollout = make_rollout(policy)
    advantages = loop_gae(rollout, 0.9, gae_lambda)
    targets = advantages + rollout.values.numpy()

    def slopes(i, j, logprob, old_logprob, value):
        return -advantages[i, j], 0.7 * (value - targets[i, j])

    expected = gradient_by_hand(policy, rollout, slopes, entropy_coef=0.02, count=STEPS)
    options = {"gamma": 0.9, "gae_lambda": gae_lambda, "value_coef": 0.7, "entropy_coef": 0.02}
    update(A2C, policy, rollout, optimizer=optimizer, **options)
    assert_same_gradient(policy, expected)


@pytest.mark.parametrize("baseline", ["value", "none"])
def test_reinforce(baseline):
    policy = make_policy()
    rollout = make_rollout(policy)
    with_critic = baseline == "value"
    # With lambda 1 the advantage is the return less the value; without a critic nothing is bootstrapped.
    bare = rollout if with_critic else rollout.replace(bootstrap=0 * rollout.bootstrap)
    returns = loop_gae(bare, 0.9, 1.0) + rollout.values.numpy()

    def slopes(i, j, logprob, old_logprob, value):
        compared = float(rollout.values[i, j]) if with_critic else 0.0
        return compared - returns[i, j], (value - returns[i, j] if with_critic else 0.0)

    expected = gradient_by_hand(policy, rollout, slopes, entropy_coef=0.02, count=STEPS)
    update(Reinforce, policy, rollout, baseline=baseline, gamma=0.9, entropy_coef=0.02)
    assert_same_gradient(policy, expected)


def group_of(i):
    return range(4) if i < 4 else range(4, 8)


@pytest.mark.parametrize("clip_range", [None, 0.4])
def test_rloo(clip_range):
    policy = make_policy()
    rollout = make_rollout(policy)
    returns = returns_of(rollout)
    advantages = [returns[i] - sum(returns[j] for j in group_of(i) if j != i) / 3 for i in range(8)]
    # One ratio for a whole response: the product of its tokens'.
    now = policy.evaluate(rollout).logprobs.detach()
    ratios = ((now - rollout.logprobs) * rollout.mask).sum(1).exp().tolist()
    bounds = (0.0, np.inf) if clip_range is None else (1 - clip_range, 1 + clip_range)

    def slopes(i, j, logprob, old_logprob, value):
        return clipped_slope(advantages[i], ratios[i], *bounds), 0.0

    expected = gradient_by_hand(policy, rollout, slopes, entropy_coef=0.02, count=8)
    update(RLOO, policy, rollout, clip_range=clip_range, entropy_coef=0.02)
    assert_same_gradient(policy, expected)


@pytest.mark.parametrize("scale", ["group", "none"])
@pytest.mark.parametrize("aggregation", ["sequence", "token", "constant"])
def test_grpo(scale, aggregation):
    policy = make_policy()
    rollout = make_rollout(policy)
    returns = np.array(returns_of(rollout))
    groups = [returns[list(group_of(i))] for i in range(8)]
    advantages = [returns[i] - group.mean() for i, group in enumerate(groups)]
    if scale == "group":
        advantages = [a / (g.std(ddof=1) + 1e-4) for a, g in zip(advantages, groups, strict=True)]

    def slopes(i, j, logprob, old_logprob, value):
        by_policy = clipped_slope(advantages[i], np.exp(logprob - old_logprob), 0.8, 1.3)
        # d/dx of exp(ref - x) - 1 - (ref - x).
        by_kl = 1 - np.exp(float(rollout.ref_logprobs[i, j]) - logprob)
        share = 1 / LENGTHS[i] if aggregation == "sequence" else 1.0
        return share * (by_policy + 0.05 * by_kl), 0.0

    count = {"sequence": 8, "token": STEPS, "constant": 8 * 6}[aggregation]
    expected = gradient_by_hand(policy, rollout, slopes, entropy_coef=0.0, count=count)
    options = {"clip_range": 0.2, "clip_range_high": 0.3, "kl_loss_coef": 0.05}
    if aggregation == "constant":
        options["constant_length"] = 6
    update(GRPO, policy, rollout, scale_rewards=scale, loss_aggregation=aggregation, **options)
    assert_same_gradient(policy, expected)
