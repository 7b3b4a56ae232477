"""TRPO on small networks: its direction, its trust region, and what happens when no step is good."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rltk.config import build_config
from rltk.errors import UserError
from rltk.fisher import gauss_newton_products, hessian_products
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
        policy.actor.layers()[-1][0].mul_(100.0)
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


def test_the_fisher_product_is_the_same_over_many_batches():
    policy = make_policy()
    rollout = make_rollout(policy)
    vector = torch.randn(
        flatten(policy.actor_parameters()).numel(), dtype=torch.float64, generator=torch_generator("v")
    )
    whole = make_trpo(policy)._fisher_product(rollout)(vector)
    cut = make_trpo(policy, max_tokens_per_batch=4)._fisher_product(rollout)(vector)
    torch.testing.assert_close(cut, whole, rtol=1e-10, atol=1e-12)


def test_the_gauss_newton_product_equals_the_dense_fisher_matrix():
    policy = make_policy()
    rollout = make_rollout(policy)
    before = [p.detach().clone() for p in policy.actor_parameters()]
    product = make_trpo(policy, damping=0.0, fisher="gauss_newton")._fisher_product(rollout)
    fisher = dense_fisher(policy, rollout)
    vector = torch.randn(len(fisher), generator=torch_generator("v"), dtype=torch.float64)
    torch.testing.assert_close(product(vector), fisher @ vector, rtol=1e-5, atol=1e-8)
    assert all(torch.equal(a, b) for a, b in zip(before, policy.actor_parameters(), strict=True))


def make_language_model():
    return CausalLMPolicy(CausalLMPolicy.Config(), model=tiny_model(), tokenizer=word_tokenizer())


def collect_text(policy, episodes=24, first_episode=0):
    def short_responses(finished):
        return [-float(len(episode.response_tokens)) for episode in finished]

    envs = TextGenerationVectorEnv(
        16, prompts=ragged_prompts(), tokenizer=word_tokenizer(), max_new_tokens=8, reward=short_responses
    )
    return collect(envs, policy, episodes=episodes, seed=0, first_episode=first_episode)


def test_both_forms_of_the_fisher_product_agree_on_a_language_model():
    policy = make_language_model()
    rollout = collect_text(policy)
    vector = torch.randn(flatten(policy.actor_parameters()).numel(), generator=torch_generator("v"))
    # torch gives the padding token's embedding no gradient, though nothing keeps the policy from saying it.
    vector[: policy.model.config.hidden_size] = 0.0
    exact = hessian_products(policy, [rollout])(vector)
    approximate = gauss_newton_products(policy, [rollout])(vector)
    assert (approximate - exact).norm() < 1e-3 * exact.norm()


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
    trpo._loss_and_kl = lambda batches, old: (float("inf"), 0.0)
    metrics = trpo.update(rollout)
    assert metrics["step_fraction"] == 0.0
    assert all(torch.equal(a, b) for a, b in zip(before, policy.actor_parameters(), strict=True))


def test_a_line_search_shortens_the_step_until_the_true_kl_is_within_bounds():
    policy = make_policy()
    rollout = make_rollout(policy)
    old = policy.distribution_parameters(rollout).detach()
    # With next to no damping and so few rows the quadratic model of the KL promises too much.
    metrics = make_trpo(policy, max_kl=0.3, damping=1e-3, backtracks=40).update(rollout)
    assert 0 < metrics["step_fraction"] < 1
    assert mean_kl(policy, rollout, old).item() == pytest.approx(metrics["kl"], rel=1e-5)
    assert metrics["kl"] <= 0.3


@pytest.mark.parametrize("fisher", ["hessian", "gauss_newton"])
def test_every_one_of_several_steps_stays_within_the_trust_region(fisher):
    policy = make_policy()
    trpo = make_trpo(policy, max_kl=0.02, fisher=fisher)
    for _ in range(5):
        rollout = make_rollout(policy)
        old = policy.distribution_parameters(rollout).detach()
        metrics = trpo.update(rollout)
        assert metrics["step_fraction"] > 0
        assert mean_kl(policy, rollout, old).item() <= 0.02 * (1 + 1e-6)


def test_steps_of_a_memoryless_policy_give_the_same_step_as_episodes(monkeypatch):
    results = []
    for memoryless in (True, False):
        monkeypatch.setattr(MLPPolicy, "memoryless", memoryless)
        policy = make_policy()
        make_trpo(policy).update(make_rollout(policy))
        results.append(flatten(policy.actor_parameters()))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-12)


def test_episodes_in_another_order_and_other_batches_give_the_same_step():
    results = []
    for order, budget in (([0, 1, 2, 3, 4, 5], 8192), ([3, 5, 0, 1, 4, 2], 8192), ([0, 1, 2, 3, 4, 5], 5)):
        policy = make_policy()
        rollout = make_rollout(policy).select(torch.tensor(order))
        make_trpo(policy, max_tokens_per_batch=budget).update(rollout)
        results.append(flatten(policy.actor_parameters()))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-7, atol=1e-9)


def test_a_sub_sample_of_the_fisher_rows_is_drawn_from_the_generator():
    steps = []
    for seed in ("one", "one", "two"):
        policy = make_policy()
        trpo = TRPO(TRPO.Config(fisher_rows=3), policy=policy, generator=torch_generator(seed))
        trpo.update(make_rollout(policy))
        steps.append(flatten(policy.actor_parameters()))
    assert torch.equal(steps[0], steps[1])
    assert not torch.equal(steps[0], steps[2])


def test_the_critic_alone_is_fitted_by_the_critic_part():
    policy = make_policy()
    rollout = make_rollout(policy)
    trpo = make_trpo(policy, critic_learning_rate=0.01, critic_epochs=30)
    trpo._loss_and_kl = lambda batches, old: (float("inf"), 0.0)
    actor = flatten(policy.actor_parameters()).clone()
    first = trpo.update(rollout)["value_loss"]
    assert trpo.update(rollout)["value_loss"] < 0.9 * first
    assert torch.equal(actor, flatten(policy.actor_parameters()))


@pytest.mark.parametrize("max_kl", [0, -0.01])
def test_a_trust_region_without_room_is_one_clear_line(max_kl):
    with pytest.raises(UserError, match="max_kl"):
        build_config("algorithm", "trpo", {"max_kl": max_kl}, where="rl.algorithm")


def test_the_same_file_improves_a_language_model():
    policy = make_language_model()
    trpo = make_trpo(policy, max_kl=0.05, critic_epochs=1)
    scores = []
    for iteration in range(4):
        rollout = collect_text(policy, episodes=64, first_episode=64 * iteration)
        scores.append(rollout.scores.mean().item())
        metrics = trpo.update(rollout)
        assert metrics["kl"] <= 0.05
    assert scores[-1] > scores[0] + 0.5


def test_actions_that_are_not_allowed_leave_both_forms_finite_and_equal():
    policy = make_policy()
    rollout = make_rollout(policy)
    allowed = torch.rand(*rollout.mask.shape, 4, generator=torch_generator("allowed")) < 0.5
    allowed.scatter_(-1, rollout.actions[..., None], True)
    rollout = rollout.replace(allowed=allowed)
    vector = torch.randn(
        flatten(policy.actor_parameters()).numel(), generator=torch_generator("v"), dtype=torch.float64
    )
    exact = hessian_products(policy, [rollout])(vector)
    assert exact.norm() > 0
    torch.testing.assert_close(gauss_newton_products(policy, [rollout])(vector), exact, rtol=1e-5, atol=1e-8)
