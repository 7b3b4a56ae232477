"""Learning on text: the same whatever the budget, the critic read only where asked, memory that stays."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from rltk.errors import UserError
from rltk.evaluation import rollout_logprobs, rollout_values
from rltk.rng import seeded_initialisation, torch_generator
from rltk.rollout import collect
from rltk.types import Rollout
from rltk_algorithms.grpo import GRPO
from rltk_algorithms.ppo import PPO
from rltk_policies.causal_lm.policy import CausalLMPolicy
from tests.allocations import Allocations
from tests.policies.test_causal_lm import make_envs, make_policy
from tests.text_world import tiny_model, word_tokenizer

BUDGETS = [1, 40, 150, 10**6]


def ragged_rollout(policy, episodes=20, **options):
    rollout = collect(make_envs(4, **options), policy, episodes=episodes, seed=3)
    assert len(rollout.parts(40)) > 4 and len(rollout.lengths.unique()) > 4
    return rollout


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_what_is_said_of_a_rollout_does_not_depend_on_the_budget(kind):
    policy = make_policy(kind, critic="separate")
    torch.nn.init.normal_(policy.critic.model.score.weight, generator=torch_generator(0))
    rollout = ragged_rollout(policy)
    for measure in (rollout_logprobs, rollout_values):
        first, *others = (measure(policy, rollout, max_tokens=budget) for budget in BUDGETS)
        assert bool(first[rollout.mask].all()) and not bool(first[~rollout.mask].any())
        for other in others:
            torch.testing.assert_close(other, first, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("critic", ["separate", "detached_head", "shared_trunk"])
def test_a_gradient_does_not_depend_on_the_budget(critic):
    gradients = []
    for budget in BUDGETS:
        policy = make_policy(critic=critic)
        config = PPO.Config(max_tokens_per_batch=budget, max_grad_norm=1e9, entropy_coef=0.1, epochs=1)
        ppo = PPO(config, policy=policy, generator=torch_generator("ppo"))
        metrics = ppo.update(ragged_rollout(policy))
        assert metrics["gradient_steps"] == 1.0
        parameters = [*policy.actor_parameters(), *policy.critic_parameters()]
        gradients.append(torch.cat([p.grad.flatten() for p in parameters]))
    for gradient in gradients[1:]:
        assert (gradient - gradients[0]).norm() < 1e-5 * gradients[0].norm()


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_first_ratio_is_1_whatever_the_budget(budget):
    policy = make_policy(temperature=0.7)
    ppo = PPO(PPO.Config(max_tokens_per_batch=budget, epochs=1), policy=policy, generator=torch_generator(0))
    metrics = ppo.update(ragged_rollout(policy))
    assert metrics["ratio_max"] == pytest.approx(1.0, abs=1e-4) and metrics["approx_kl"] < 1e-8


def test_log_probabilities_alone_cost_no_pass_of_the_critic(monkeypatch):
    policy = make_policy(critic="separate")
    rollout = ragged_rollout(policy)
    expected = policy.evaluate(rollout)
    monkeypatch.setattr(policy.critic, "forward", None)
    logprobs, entropy = policy.action_logprobs(rollout)
    assert torch.equal(logprobs, expected.logprobs) and torch.equal(entropy, expected.entropy)
    grpo = GRPO(GRPO.Config(), policy=policy, generator=torch_generator(0))
    grpo.update(rollout.replace(groups=torch.arange(len(rollout)) // 4))
    torch.testing.assert_close(rollout_logprobs(make_policy(), rollout, max_tokens=99), logprobs.detach())


@pytest.mark.parametrize(("width", "read"), [(15, 14), (16, 16), (17, 16)])
def test_the_last_token_is_not_read_where_that_saves_time(width, read, monkeypatch):
    """Attention is slower over 15 positions than over 16."""
    policy = make_policy(critic="separate")
    rollout = made_up_rollout(5, 32, prompt=4, actions=width - 4)
    expected = policy.model(rollout.tokens).logits.log_softmax(-1)[:, 3:-1]
    expected = expected.gather(-1, rollout.actions[..., None])[..., 0]
    shapes = []
    for model in (policy.model.base_model, policy.critic.model.base_model):

        def forward(forward=model.forward, **given):
            shapes.append(tuple(given["input_ids"].shape))
            return forward(**given)

        monkeypatch.setattr(model, "forward", forward)
    torch.testing.assert_close(policy.evaluate(rollout).logprobs, expected, atol=1e-5, rtol=1e-5)
    assert shapes == [(5, read)] * 2


@pytest.mark.parametrize("critic", ["none", "separate"])
def test_text_that_does_not_fit_the_context_is_refused(critic):
    rollout = ragged_rollout(make_policy())
    longest = int(rollout.lengths.max())
    policy = CausalLMPolicy(
        CausalLMPolicy.Config(critic=critic), model=tiny_model(context=longest), tokenizer=word_tokenizer()
    )
    policy.evaluate(rollout)
    model = policy.model if critic == "none" else policy.critic.model
    model.config.max_position_embeddings = longest - 1
    what = f"texts of up to {longest} tokens do not fit the model's context of {longest - 1}"
    with pytest.raises(UserError, match=what):
        policy.value(rollout) if critic == "separate" else policy.evaluate(rollout)


def test_an_adapter_of_the_output_layer_learns():
    pytest.importorskip("peft")
    options = {"rank": 2, "alpha": 4, "target_modules": ["q_proj", "lm_head"]}
    policy = make_policy("llama", lora=options, temperature=0.7)
    for index, parameter in enumerate(policy.actor_parameters()):
        torch.nn.init.normal_(parameter, std=0.3, generator=torch_generator(index))
    rollout = ragged_rollout(policy)
    now = policy.evaluate(rollout)
    torch.testing.assert_close(rollout.logprobs, now.logprobs.detach(), atol=1e-5, rtol=0)
    plain, _ = policy.logprobs_and_entropy(policy.distribution_parameters(rollout), rollout.actions)
    parameters = policy.actor_parameters()
    ours = torch.autograd.grad(now.logprobs[rollout.mask].sum(), parameters)
    expected = torch.autograd.grad(plain[rollout.mask].sum(), parameters)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    assert all(bool(gradient.any()) for gradient in ours)


def wide_policy(vocabulary, critic):
    with seeded_initialisation("wide"):
        config = GPT2Config(
            n_embd=8,
            n_layer=1,
            n_head=2,
            n_positions=64,
            vocab_size=vocabulary,
            pad_token_id=0,
            eos_token_id=1,
        )
        return CausalLMPolicy(
            CausalLMPolicy.Config(critic=critic), model=GPT2LMHeadModel(config), tokenizer=word_tokenizer()
        )


def made_up_rollout(rows, vocabulary, prompt=4, actions=24):
    tokens = torch.randint(2, vocabulary, (rows, prompt + actions), generator=torch_generator("made up"))
    flat = torch.zeros(rows, actions)
    return Rollout(
        mask=torch.ones(rows, actions, dtype=torch.bool),
        actions=tokens[:, prompt:],
        logprobs=flat,
        rewards=torch.randn(rows, actions, generator=torch_generator("rewards")),
        values=flat,
        bootstrap=flat[:, 0],
        episode_ids=torch.arange(rows),
        scores=flat[:, 0],
        groups=torch.arange(rows) // 2,
        lengths=torch.full((rows,), prompt + actions),
        tokens=tokens,
        action_mask=(torch.arange(prompt + actions) >= prompt).expand(rows, -1),
    )


@pytest.mark.parametrize("algorithm", [PPO, GRPO])
def test_the_memory_of_an_update_does_not_grow_with_the_episodes(algorithm):
    """Beside weights and gradients: a chunk of logits, a micro-batch of the trunk, the sample of the KL."""
    vocabulary, peaks, largest = 4096, [], []
    for rows in (64, 256):
        policy = wide_policy(vocabulary, "detached_head" if algorithm is PPO else "none")
        rollout = made_up_rollout(rows, vocabulary)
        rollout = rollout.replace(logprobs=rollout_logprobs(policy, rollout, max_tokens=1024))
        config = algorithm.Config(max_tokens_per_batch=1024, minibatch_size=rows, epochs=1)
        learner = algorithm(config, policy=policy, generator=torch_generator(0))
        with Allocations() as seen:
            learner.update(rollout)
        peaks.append(seen.peak)
        largest.append(seen.largest)
    sample = 512 // 24 * 24 * vocabulary * 4
    assert largest[0] == largest[1] == sample, "the logits of the actions that the exact KL is measured on"
    assert peaks[1] < 1.05 * peaks[0], "four times the episodes"
    assert peaks[1] < 256 * 24 * vocabulary * 4, "less than the logits of all actions once"
