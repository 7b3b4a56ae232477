"""TRPO on small networks: its direction, its trust region, and what happens when no step is good."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rltk.linalg import conjugate_gradient, flatten, unflatten
from rltk.losses import masked_sum
from rltk.rng import torch_generator
from rltk.rollout import collect
from rltk.types import Rollout
from rltk_algorithms.trpo import TRPO
from rltk_envs.text_generation import TextGenerationVectorEnv
from rltk_policies.causal_lm.policy import CausalLMPolicy
from rltk_policies.mlp import MLPPolicy
from tests.text_world import ragged_prompts, tiny_model, word_tokenizer

SPACES = (gym.spaces.Box(-1, 1, (3,), np.float64), gym.spaces.Discrete(4))


def make_policy():
    policy = MLPPolicy(
        MLPPolicy.Config(hidden_sizes=(5,)), spaces=SPACES, generator=torch_generator("policy")
    ).double()
    with torch.no_grad():
        # The small initial output layer hides mistakes: nearly uniform policies have a tiny Fisher matrix.
        policy.actor[-1].weight.mul_(100.0)
    return policy


def make_trpo(policy, **options):
    return TRPO(TRPO.Config(**options), policy=policy, generator=torch_generator("trpo"))


def make_rollout(policy):
    generator = torch_generator("rollout")
    mask = torch.arange(4) < torch.tensor([4, 2, 3, 1, 4, 4])[:, None]
    rollout = Rollout(
        mask=mask,
        actions=torch.randint(0, 4, mask.shape, generator=generator),
        logprobs=torch.zeros(mask.shape, dtype=torch.float64),
        rewards=torch.randn(mask.shape, generator=generator, dtype=torch.float64) * mask,
        values=torch.zeros(mask.shape, dtype=torch.float64),
        bootstrap=torch.zeros(6, dtype=torch.float64),
        episode_ids=torch.arange(6),
        scores=torch.zeros(6),
        observations=torch.rand(*mask.shape, 3, generator=generator, dtype=torch.float64) * 2 - 1,
    )
    with torch.no_grad():
        return rollout.replace(logprobs=policy.evaluate(rollout).logprobs)


def mean_kl(policy, rollout, old):
    kl = policy.kl_divergence(old, policy.distribution_parameters(rollout))
    return masked_sum(kl, rollout.mask) / rollout.num_actions


def dense_fisher(policy, rollout):
    """The Fisher matrix as the mean outer product of score vectors, weighted by the probabilities."""
    parameters = policy.actor_parameters()
    logits = policy.distribution_parameters(rollout)
    logprobs = logits.log_softmax(-1)
    size = sum(p.numel() for p in parameters)
    fisher = torch.zeros(size, size, dtype=torch.float64)
    for i, j in rollout.mask.nonzero().tolist():
        for action in range(4):
            score = flatten(torch.autograd.grad(logprobs[i, j, action], parameters, retain_graph=True))
            fisher += logprobs[i, j, action].exp().detach() * torch.outer(score, score)
    return fisher / rollout.num_actions


def test_the_fisher_product_equals_the_dense_fisher_matrix():
    policy = make_policy()
    rollout = make_rollout(policy)
    product = make_trpo(policy, damping=0.0)._fisher_product(rollout)
    fisher = dense_fisher(policy, rollout)
    vector = torch.randn(len(fisher), generator=torch_generator("v"), dtype=torch.float64)
    torch.testing.assert_close(product(vector), fisher @ vector, rtol=1e-8, atol=1e-10)


def test_the_fisher_product_equals_finite_differences_of_the_kl_gradient():
    policy = make_policy()
    rollout = make_rollout(policy)
    parameters = policy.actor_parameters()
    old = policy.distribution_parameters(rollout).detach()
    vector = torch.randn(
        sum(p.numel() for p in parameters), generator=torch_generator("v"), dtype=torch.float64
    )
    gradients = []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, part in zip(parameters, unflatten(vector, parameters), strict=True):
                parameter.add_(sign * 1e-5 * part)
        gradients.append(flatten(torch.autograd.grad(mean_kl(policy, rollout, old), parameters)))
        with torch.no_grad():
            for parameter, part in zip(parameters, unflatten(vector, parameters), strict=True):
                parameter.sub_(sign * 1e-5 * part)
    expected = (gradients[0] - gradients[1]) / 2e-5
    product = make_trpo(policy, damping=0.0)._fisher_product(rollout)
    torch.testing.assert_close(product(vector), expected, rtol=1e-4, atol=1e-7)


def test_the_step_direction_equals_a_dense_solve():
    policy = make_policy()
    rollout = make_rollout(policy)
    trpo = make_trpo(policy, damping=0.1, cg_iterations=60)
    gradient = torch.randn(
        sum(p.numel() for p in policy.actor_parameters()), generator=torch_generator("g"), dtype=torch.float64
    )
    direction = conjugate_gradient(trpo._fisher_product(rollout), gradient, iterations=60, tolerance=1e-20)
    damped = dense_fisher(policy, rollout) + 0.1 * torch.eye(len(gradient), dtype=torch.float64)
    torch.testing.assert_close(direction, torch.linalg.solve(damped, gradient), rtol=1e-5, atol=1e-8)


def test_an_accepted_step_improves_the_surrogate_within_the_trust_region():
    policy = make_policy()
    rollout = make_rollout(policy)
    old = policy.distribution_parameters(rollout).detach()
    metrics = make_trpo(policy, max_kl=0.01).update(rollout)
    assert metrics["improvement"] > 0
    assert 0.001 < metrics["kl"] <= 0.01
    assert mean_kl(policy, rollout, old).item() == pytest.approx(metrics["kl"], rel=1e-5)


def test_a_failed_line_search_puts_every_parameter_back_bit_for_bit():
    policy = make_policy()
    rollout = make_rollout(policy)
    before = [p.detach().clone() for p in policy.actor_parameters()]
    trpo = make_trpo(policy, backtracks=3)
    trpo._loss_and_kl = lambda rollout, old: (float("inf"), 0.0)
    metrics = trpo.update(rollout)
    assert metrics["step_fraction"] == 0.0
    assert all(torch.equal(a, b) for a, b in zip(before, policy.actor_parameters(), strict=True))


def test_the_same_file_improves_a_language_model():
    policy = CausalLMPolicy(CausalLMPolicy.Config(), model=tiny_model(), tokenizer=word_tokenizer())

    def short_responses(episodes):
        return [-float(len(episode.response_tokens)) for episode in episodes]

    envs = TextGenerationVectorEnv(
        16, prompts=ragged_prompts(), tokenizer=word_tokenizer(), max_new_tokens=8, reward=short_responses
    )
    trpo = make_trpo(policy, max_kl=0.05, critic_epochs=1)
    scores = []
    for iteration in range(4):
        rollout = collect(envs, policy, episodes=64, seed=0, first_episode=64 * iteration)
        scores.append(rollout.scores.mean().item())
        metrics = trpo.update(rollout)
        assert metrics["kl"] <= 0.05
    assert scores[-1] > scores[0] + 0.5
