"""Acting step by step and evaluating whole episodes are the same distribution."""

import numpy as np
import pytest
import torch

from rltk.errors import UserError
from rltk.rollout import collect
from rltk_envs.text_generation import TextGenerationVectorEnv
from rltk_policies.causal_lm.policy import CausalLMPolicy
from tests.text_world import ragged_prompts, tiny_model, word_tokenizer


def make_policy(kind="llama", **options):
    return CausalLMPolicy(
        CausalLMPolicy.Config(**options), model=tiny_model(kind), tokenizer=word_tokenizer()
    )


def make_envs(num_envs, **options):
    options = {"prompts": ragged_prompts(), "max_new_tokens": 12, "reward": response_lengths} | options
    return TextGenerationVectorEnv(num_envs, tokenizer=word_tokenizer(), **options)


def response_lengths(episodes):
    return [float(len(episode.response_tokens)) for episode in episodes]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_stepped_logprobs_equal_teacher_forced_ones(kind, temperature):
    policy = make_policy(kind, temperature=temperature)
    rollout = collect(make_envs(4), policy, episodes=25, seed=3)
    with torch.no_grad():
        evaluation = policy.evaluate(rollout)
    assert len({int(n) for n in rollout.mask.sum(1)}) > 2, "the responses must be ragged"
    torch.testing.assert_close(rollout.logprobs, evaluation.logprobs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_logprobs_equal_a_plain_forward_pass_of_each_episode_alone(kind):
    policy = make_policy(kind)
    rollout = collect(make_envs(3), policy, episodes=8, seed=1)
    for row, episode in enumerate(rollout.episodes):
        tokens = torch.tensor([episode.prompt_tokens + episode.response_tokens])
        with torch.no_grad():
            logprobs = policy.model(tokens).logits[0].log_softmax(-1)
        start = len(episode.prompt_tokens)
        expected = [logprobs[p - 1, tokens[0, p]].item() for p in range(start, tokens.shape[1])]
        assert rollout.logprobs[row][rollout.mask[row]].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_rollout_does_not_depend_on_the_number_of_slots():
    policy = make_policy()
    alone, side_by_side = (collect(make_envs(n), policy, episodes=20, seed=7) for n in (1, 8))
    assert alone.episodes == side_by_side.episodes
    torch.testing.assert_close(alone.logprobs, side_by_side.logprobs, atol=1e-5, rtol=0)
    assert torch.equal(alone.rewards, side_by_side.rewards)


def test_the_same_seed_gives_the_same_rollout_and_another_seed_another():
    policy = make_policy()
    first, again, other = (collect(make_envs(4), policy, episodes=12, seed=s) for s in (5, 5, 6))
    assert torch.equal(first.tokens, again.tokens)
    assert first.episodes != other.episodes


def test_samples_of_one_prompt_differ_and_share_it():
    rollout = collect(make_envs(6, group_size=4, shuffle=False), make_policy(), episodes=8, seed=0)
    prompts = [episode.prompt_tokens for episode in rollout.episodes]
    assert prompts[:4] == [tuple(ragged_prompts()[0])] * 4
    assert prompts[4:] == [tuple(ragged_prompts()[1])] * 4
    assert len({episode.response_tokens for episode in rollout.episodes[:4]}) > 1


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_greedy_acting_equals_generate_token_for_token(kind):
    policy = make_policy(kind)
    rollout = collect(make_envs(4, shuffle=False), policy, episodes=11, seed=0, deterministic=True)
    for episode in rollout.episodes:
        prompt = torch.tensor([episode.prompt_tokens])
        generated = policy.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=12, pad_token_id=0
        )
        assert list(episode.response_tokens) == generated[0, prompt.shape[1] :].tolist()


def test_sampling_follows_the_distribution():
    policy = make_policy()
    prompt = ragged_prompts()[:1]
    envs = make_envs(64, prompts=prompt, max_new_tokens=1)
    rollout = collect(envs, policy, episodes=4000, seed=0)
    with torch.no_grad():
        expected = policy.model(torch.tensor(prompt)).logits[0, -1].softmax(-1).numpy()
    observed = np.bincount(rollout.actions[:, 0].numpy(), minlength=32) / 4000
    # Pearson's statistic over well-filled cells has about as many degrees of freedom as cells.
    cells = expected * 4000 > 5
    statistic = (4000 * (observed - expected)[cells] ** 2 / expected[cells]).sum()
    assert statistic < cells.sum() + 5 * np.sqrt(2 * cells.sum())


def test_values_and_distribution_parameters_match_the_evaluation():
    policy = make_policy(critic="detached_head")
    torch.nn.init.normal_(policy.critic.head.weight, generator=torch.Generator().manual_seed(0))
    rollout = collect(make_envs(4), policy, episodes=6, seed=3)
    evaluation = policy.evaluate(rollout)
    torch.testing.assert_close(rollout.values, evaluation.values.detach(), atol=1e-5, rtol=0)
    logits = policy.distribution_parameters(rollout)
    logprobs, entropy = policy.logprobs_and_entropy(logits, rollout.actions)
    mask = rollout.mask
    torch.testing.assert_close(logprobs[mask], evaluation.logprobs[mask])
    torch.testing.assert_close(entropy[mask], evaluation.entropy[mask])
    assert policy.kl_divergence(logits, logits).abs().max() < 1e-6


def test_a_detached_critic_sends_no_gradient_into_the_policy():
    rollout = collect(make_envs(2), make_policy(), episodes=3, seed=0)
    for critic, reaches in (("detached_head", False), ("shared_trunk", True)):
        policy = make_policy(critic=critic)
        torch.nn.init.ones_(policy.critic.head.weight)
        policy.evaluate(rollout).values.sum().backward()
        assert any(p.grad is not None for p in policy.actor_parameters()) is reaches


def test_saved_and_opened_again_it_is_the_same_policy(tmp_path):
    policy = make_policy()
    torch.nn.init.ones_(policy.critic.head.weight)
    policy.save(tmp_path / "policy")
    opened = CausalLMPolicy(CausalLMPolicy.Config(path=str(tmp_path / "policy")))
    rollout = collect(make_envs(4), policy, episodes=6, seed=3)
    assert torch.equal(policy.evaluate(rollout).logprobs, opened.evaluate(rollout).logprobs)
    assert torch.equal(policy.value(rollout), opened.value(rollout))


def test_text_that_does_not_fit_the_context_is_refused_before_acting():
    with pytest.raises(UserError, match=r"up to 59 tokens do not fit the model's context of 48"):
        collect(make_envs(2, max_new_tokens=50), make_policy(), episodes=1, seed=0)
