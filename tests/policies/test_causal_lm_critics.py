"""Critics of a language model: what their gradients reach, and that acting and evaluating give one value."""

import pytest
import torch

from rltk.models import reward_model_from_policy, save_model
from rltk.rng import torch_generator
from rltk.rollout import collect
from rltk_policies.causal_lm.policy import CausalLMPolicy
from tests.policies.test_causal_lm import make_envs, make_policy
from tests.text_world import tiny_model, word_tokenizer

HEADS = ["detached_head", "shared_trunk"]
KINDS = [*HEADS, "separate", "none"]


def shaken(policy):
    """Move the critic's weights, so that no value is 0."""
    with torch.no_grad():
        for index, parameter in enumerate(policy.critic_parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch_generator("critic", index)))
    return policy


def count_passes(policy, monkeypatch):
    """Return a list that grows by one with every pass through the policy's trunk."""
    passes = []
    trunk = policy.model.base_model
    forward = trunk.forward
    monkeypatch.setattr(trunk, "forward", lambda **inputs: passes.append(1) or forward(**inputs))
    return passes


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("critic", HEADS)
def test_a_head_gives_the_same_values_in_acting_and_evaluating(kind, critic):
    policy = shaken(make_policy(kind, critic=critic))
    rollout = collect(make_envs(4), policy, episodes=25, seed=3)
    evaluation = policy.evaluate(rollout)
    assert len(rollout.values[rollout.mask].unique()) > 50
    torch.testing.assert_close(rollout.values, evaluation.values.detach(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(rollout.values, policy.value(rollout).detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("critic", HEADS)
def test_a_head_costs_no_pass_of_its_own(critic, monkeypatch):
    policy = make_policy(critic=critic)
    passes = count_passes(policy, monkeypatch)
    rollout = collect(make_envs(2, prompts=[[3, 4]], max_new_tokens=5), policy, episodes=2, seed=0)
    longest = rollout.mask.shape[1]
    assert len(passes) == longest, "one pass per token; the first reads the prompts too"
    policy.evaluate(rollout)
    assert len(passes) == 1 + longest


def test_values_are_those_of_the_position_before_each_action():
    """By a plain forward pass of each text alone, the head applied by hand."""
    policy = shaken(make_policy(critic="detached_head"))
    rollout = collect(make_envs(3), policy, episodes=5, seed=1)
    weight, bias = policy.critic.head.weight[0], policy.critic.head.bias[0]
    for row, episode in enumerate(rollout.episodes):
        tokens = torch.tensor([episode.prompt_tokens + episode.response_tokens])
        hidden = policy.model.base_model(tokens).last_hidden_state[0]
        start = len(episode.prompt_tokens) - 1
        expected = (hidden[start:-1] @ weight + bias).detach()
        torch.testing.assert_close(rollout.values[row][rollout.mask[row]], expected, atol=1e-4, rtol=1e-4)


def reached(total, parameters):
    gradients = torch.autograd.grad(total, parameters, allow_unused=True, retain_graph=True)
    return [gradient is not None and bool(gradient.any()) for gradient in gradients]


@pytest.mark.parametrize("critic", KINDS)
def test_gradients_reach_the_parameters_they_should(critic):
    policy = shaken(make_policy(critic=critic))
    rollout = collect(make_envs(3), policy, episodes=5, seed=1)
    evaluation = policy.evaluate(rollout)
    trunk, output = list(policy.model.base_model.parameters()), policy.model.lm_head.weight
    assert all(reached(evaluation.logprobs.sum() + evaluation.entropy.sum(), [*trunk, output]))
    assert set(map(id, policy.actor_parameters())) == set(map(id, [*trunk, output]))
    if critic == "none":
        assert not evaluation.values.requires_grad and policy.critic_parameters() == []
        return
    total = evaluation.values.sum()
    assert all(reached(total, policy.critic_parameters()))
    assert any(reached(total, trunk)) is (critic == "shared_trunk")
    assert not any(reached(total, [output]))
    assert not any(reached(evaluation.logprobs.sum(), policy.critic_parameters()))


def test_without_a_critic_values_are_0_and_there_is_one_model():
    policy = make_policy(critic="none")
    rollout = collect(make_envs(3), policy, episodes=5, seed=1)
    for values in (rollout.values, policy.evaluate(rollout).values, policy.value(rollout)):
        assert torch.equal(values, torch.zeros(rollout.mask.shape))
    assert sum(p.numel() for p in policy.parameters()) == sum(p.numel() for p in tiny_model().parameters())


def test_a_separate_critic_begins_as_the_reward_model(tmp_path):
    save_model(tiny_model(), word_tokenizer(), tmp_path / "sft")
    reward_model = reward_model_from_policy(tmp_path / "sft", "model", seed=3)
    reward_model.config.reward_bias = 0.25
    save_model(reward_model, word_tokenizer(), tmp_path / "rm")
    policy = make_policy(critic_path=str(tmp_path / "rm"))
    rollout = collect(make_envs(3), policy, episodes=5, seed=1)
    values = policy.evaluate(rollout).values.detach()
    torch.testing.assert_close(rollout.values, values)
    for row, episode in enumerate(rollout.episodes):
        before_last = torch.tensor([(episode.prompt_tokens + episode.response_tokens)[:-1]])
        score = reward_model(before_last).logits.item() - 0.25
        assert values[row][rollout.mask[row]][-1].item() == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_without_a_reward_model_a_separate_critic_begins_as_the_trunk_with_values_of_0(kind):
    policy = make_policy(kind, critic="separate")
    own = policy.critic.model.base_model.state_dict()
    for name, weight in policy.model.base_model.state_dict().items():
        assert torch.equal(own[name], weight) and own[name].data_ptr() != weight.data_ptr(), name
    rollout = collect(make_envs(3), policy, episodes=5, seed=1)
    assert torch.equal(policy.value(rollout), torch.zeros(rollout.mask.shape))
    assert make_policy(kind).critic.__class__.__name__ == "HeadCritic"


@pytest.mark.parametrize("critic", KINDS)
def test_saved_and_opened_again_values_are_the_same(critic, tmp_path):
    policy = shaken(make_policy(critic=critic))
    policy.save(tmp_path / "policy")
    opened = CausalLMPolicy(CausalLMPolicy.Config(path=str(tmp_path / "policy"), critic=critic))
    rollout = collect(make_envs(3), policy, episodes=5, seed=1)
    assert torch.equal(policy.value(rollout), opened.value(rollout))
    assert (tmp_path / "policy" / "critic").exists() is (critic != "none")


def test_tokens_that_are_not_allowed_are_never_taken():
    """An environment that allows even tokens and EOS alone; log-probabilities by a softmax over those."""
    policy = make_policy(temperature=0.8)
    envs = make_envs(3)
    envs.action_masks = lambda: (torch.arange(32) % 2 == 0).logical_or(torch.arange(32) == 1).expand(3, 32)
    rollout = collect(envs, policy, episodes=6, seed=2)
    taken = rollout.actions[rollout.mask]
    assert bool(((taken % 2 == 0) | (taken == 1)).all()) and len(taken.unique()) > 5
    evaluation = policy.evaluate(rollout)
    torch.testing.assert_close(rollout.logprobs, evaluation.logprobs.detach(), atol=1e-5, rtol=0)
    free = policy.distribution_parameters(rollout.replace(allowed=None))[0, 0].softmax(-1)
    allowed = rollout.allowed[0, 0]
    expected = (free[rollout.actions[0, 0]] / free[allowed].sum()).log()
    assert rollout.logprobs[0, 0].item() == pytest.approx(expected.item(), abs=1e-5)
