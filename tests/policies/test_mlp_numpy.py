"""What the mlp policy computes in NumPy, and its derivatives by hand, against torch's automatic ones."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rltk.rng import torch_generator
from rltk.types import Rollout
from rltk_policies.mlp import MLPPolicy
from rltk_policies.mlp.networks import Perceptron, build_network

SEEN = gym.spaces.Box(-9, 9, (3,), np.float64)
ACTIONS = {
    "discrete": gym.spaces.Discrete(4),
    "several": gym.spaces.MultiDiscrete([2, 4, 3]),
    "continuous": gym.spaces.Box(-1, 1, (2,), np.float64),
}
LENGTHS = [3, 1, 4]


def network(sizes: tuple[int, ...], activation: str) -> Perceptron:
    generator = torch_generator("network")
    made = build_network(
        sizes, activation=activation, initial_weights="uniform", output_gain=1.0, generator=generator
    )
    return made.double()


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("sizes", [(3, 2), (3, 5, 4, 2)])
def test_a_perceptron_is_differentiable_twice(sizes, activation):
    net = network(sizes, activation)
    x = torch.randn(4, 2, 3, dtype=torch.float64, generator=torch_generator("x")).requires_grad_()
    torch.testing.assert_close(net(x), net.in_torch(x, net.weights))
    assert torch.autograd.gradcheck(lambda *_: net(x), (x, net.weights))
    assert torch.autograd.gradgradcheck(lambda *_: net(x), (x, net.weights))
    fixed = x.detach()
    assert torch.autograd.gradcheck(lambda _: net(fixed), (net.weights,))


def test_the_layers_are_views_of_the_weights():
    net = network((2, 3, 1), "tanh")
    with torch.no_grad():
        (weight, bias), (last, last_bias) = net.layers()
        weight.fill_(1.0), bias.fill_(2.0), last.fill_(3.0), last_bias.zero_()
    assert net.weights.tolist() == [1.0] * 6 + [2.0] * 3 + [3.0] * 3 + [0.0]


def make_policy(actions: gym.Space, activation: str) -> MLPPolicy:
    config = MLPPolicy.Config(hidden_sizes=(6, 5), initial_log_std=-0.3, activation=activation)
    policy = MLPPolicy(config, spaces=(SEEN, actions), generator=torch_generator("mlp")).double()
    with torch.no_grad():
        policy.actor.weights.mul_(5.0)
        policy.critic.weights.add_(0.1)
    return policy


def ragged_batch(actions: gym.Space, *, restricted: bool, padded: bool) -> Rollout:
    generator, lengths = torch_generator("batch"), LENGTHS if padded else [4, 4]
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    zeros = torch.zeros(mask.shape)
    actions.seed(0)
    taken = np.array([[actions.sample() for _ in row] for row in mask])
    allowed = None
    if restricted:
        allowed = torch.rand(*mask.shape, 4, generator=generator) < 0.6
        allowed.scatter_(-1, torch.from_numpy(taken)[..., None], True)
        allowed &= mask[..., None]
    return Rollout(
        mask=mask,
        actions=torch.from_numpy(taken),
        logprobs=zeros,
        rewards=zeros,
        values=zeros,
        bootstrap=zeros[:, 0],
        episode_ids=torch.arange(len(mask)),
        scores=zeros[:, 0],
        observations=torch.randn(*mask.shape, 3, dtype=torch.float64, generator=generator),
        allowed=allowed,
    )


def by_torch(policy: MLPPolicy, batch: Rollout) -> list[torch.Tensor]:
    parameters = policy.distribution_parameters(batch)
    logprobs, entropy = policy.logprobs_and_entropy(parameters, batch.actions)
    return [torch.where(batch.mask, x, 0.0) for x in (logprobs, entropy, policy.value(batch))]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    ("kind", "restricted"),
    [("discrete", False), ("discrete", True), ("several", False), ("continuous", False)],
)
@pytest.mark.parametrize("used", [(0,), (1,), (2,), (0, 1, 2)], ids=["logprobs", "entropy", "values", "all"])
def test_an_evaluation_and_its_gradient_are_those_of_torch(kind, restricted, padded, activation, used):
    policy = make_policy(ACTIONS[kind], activation)
    batch = ragged_batch(ACTIONS[kind], restricted=restricted, padded=padded)
    weights = [policy.actor.weights, policy.critic.weights, policy.log_std]
    evaluation = policy.evaluate(batch)
    mine, theirs = [evaluation.logprobs, evaluation.entropy, evaluation.values], by_torch(policy, batch)
    for ours, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(ours, expected)
    # By random numbers, those in the padding among them.
    slopes = torch.randn(3, *batch.mask.shape, dtype=torch.float64, generator=torch_generator("slopes"))
    gradients = [
        torch.autograd.grad(
            sum((results[i] * slopes[i]).sum() for i in used),
            weights,
            allow_unused=True,
            materialize_grads=True,
        )
        for results in (mine, theirs)
    ]
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected)


def test_a_gradient_by_weights_that_have_changed_is_refused():
    policy = make_policy(ACTIONS["discrete"], "tanh")
    evaluation = policy.evaluate(ragged_batch(ACTIONS["discrete"], restricted=False, padded=True))
    with torch.no_grad():
        policy.actor.weights.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        evaluation.logprobs.sum().backward()


def test_actions_far_from_likely_have_finite_gradients():
    """A probability that is 0 in float32 times its logarithm is 0."""
    policy = make_policy(ACTIONS["discrete"], "tanh").float()
    with torch.no_grad():
        policy.actor.layers()[-1][1].copy_(torch.tensor([0.0, 300.0, 0.0, 0.0]))
    batch = ragged_batch(ACTIONS["discrete"], restricted=False, padded=True)
    batch = batch.replace(observations=batch.observations.float())
    evaluation = policy.evaluate(batch)
    (evaluation.logprobs.sum() + evaluation.entropy.sum()).backward()
    assert torch.isfinite(evaluation.logprobs).all() and torch.isfinite(policy.actor.weights.grad).all()
