"""What GRPO's losses are divided by, against NumPy, whole and in parts."""

import numpy as np
import pytest
import torch

from rltk.config import build_config
from rltk.errors import UserError
from rltk.rng import torch_generator
from rltk_algorithms.grpo import GRPO
from tests.algorithms.linear_world import LENGTHS, gradients, make_policy, make_rollout

DIVISORS = {"sequence": {}, "token": {}, "constant": {"constant_length": 10}}


def update(name, rows=range(8), **options):
    """One gradient step on ragged episodes; the reported loss and the gradient."""
    policy = make_policy()
    options = {"max_grad_norm": 1e9, "loss_aggregation": name, **DIVISORS[name], **options}
    algorithm = GRPO(GRPO.Config(**options), policy=policy, generator=torch_generator("update"))
    rollout = make_rollout(policy).select(torch.tensor(rows))
    return algorithm.update(rollout)["loss"], gradients(policy)


def losses_by_hand():
    """The negative clipped surrogate of each action of each episode."""
    policy = make_policy()
    rollout = make_rollout(policy)
    ratio = np.exp((policy.evaluate(rollout).logprobs.detach() - rollout.logprobs).numpy())
    returns = np.array([rollout.rewards[i, :length].sum() for i, length in enumerate(LENGTHS)])
    for i, length in enumerate(LENGTHS):
        group = returns[i - i % 4 : i - i % 4 + 4]
        advantage = (returns[i] - group.mean()) / (group.std(ddof=1) + 1e-4)
        r = ratio[i, :length]
        yield -np.minimum(r * advantage, np.clip(r, 0.8, 1.2) * advantage)


@pytest.mark.parametrize("name", DIVISORS)
def test_the_reported_loss_is_the_one_by_hand(name):
    losses = list(losses_by_hand())
    expected = {
        "sequence": np.mean([row.mean() for row in losses]),
        "token": np.concatenate(losses).mean(),
        "constant": np.mean([row.sum() / 10 for row in losses]),
    }
    assert update(name)[0] == pytest.approx(expected[name], rel=1e-6)
    assert len({round(float(x), 4) for x in expected.values()}) == 3


@pytest.mark.parametrize("name", DIVISORS)
def test_parts_of_a_mini_batch_give_the_loss_and_the_gradient_of_the_whole(name):
    whole_loss, whole = update(name)
    parts_loss, parts = update(name, max_tokens_per_batch=5)
    assert parts_loss == pytest.approx(whole_loss, rel=1e-6)
    for key, value in whole.items():
        np.testing.assert_allclose(parts[key], value, rtol=1e-6, atol=1e-9, err_msg=key)


@pytest.mark.parametrize("name", DIVISORS)
def test_only_by_tokens_does_an_episode_count_by_who_else_is_in_the_mini_batch(name):
    """Two groups of four: by episodes, the gradient of all is the mean of each group's."""
    _, whole = update(name)
    halves = [update(name, rows=rows)[1] for rows in (range(4), range(4, 8))]
    for key in ("actor.weight", "actor.bias"):
        mean = (halves[0][key] + halves[1][key]) / 2
        assert np.allclose(whole[key], mean, rtol=1e-6, atol=1e-9) == (name != "token"), key


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"loss_aggregation": "constant"},
            r"constant_length: missing, but loss_aggregation=constant divides by it\. Fix: set it, e\.g\. to",
        ),
        (
            {"constant_length": 48},
            r"constant_length: .*sequence does not divide by it, got 48\. Fix: leave it out, or",
        ),
        (
            {"loss_aggregation": "constant", "constant_length": 0},
            r"constant_length: .*got 0\.",
        ),
    ],
)
def test_a_constant_and_what_asks_for_it_belong_together(options, words):
    with pytest.raises(UserError, match=rf"^rl\.algorithm\.{words}") as raised:
        build_config("algorithm", "grpo", options, where="rl.algorithm")
    assert "\n" not in str(raised.value)
