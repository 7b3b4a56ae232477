"""What no algorithm's update may depend on: order, padding, how batches are cut; what none may accept."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rltk.config import build_config
from rltk.errors import NonFiniteError, UserError
from rltk.registry import get_registry
from rltk.rng import torch_generator
from rltk.rollout import collect
from rltk.training import weights
from rltk.types import Rollout
from rltk_envs.text_generation import TextGenerationVectorEnv
from rltk_policies.causal_lm.policy import CausalLMPolicy
from tests.algorithms.linear_world import gradients, make_policy, make_rollout
from tests.text_world import ragged_prompts, tiny_model, word_tokenizer

#: One gradient step on the whole rollout, so that the gradient it leaves behind is the whole update.
ONE_STEP = {"epochs": 1, "minibatch_size": 64}
OPTIONS = {
    "a2c": {"normalize_advantages": True},
    "grpo": {**ONE_STEP, "kl_loss_coef": 0.1},
    "ppo": {**ONE_STEP, "value_clip_range": None},
    "reinforce": {},
    "rloo": ONE_STEP,
}
NAMES = sorted(OPTIONS)


def make_algorithm(name, policy, seed="algorithm", **options):
    config = build_config("algorithm", name, {**OPTIONS.get(name, {}), **options}, where="rl.algorithm")
    component = get_registry().get("algorithm", name, where="rl.algorithm.name")
    return component(config, policy=policy, generator=torch_generator(seed))


def make_language_model():
    policy = CausalLMPolicy(CausalLMPolicy.Config(), model=tiny_model(), tokenizer=word_tokenizer())
    torch.nn.init.normal_(policy.critic.head.weight, generator=torch_generator("head"))
    return policy


def text_rollout(policy):
    def distinct_tokens(finished):
        return [float(len(set(episode.response_tokens))) for episode in finished]

    envs = TextGenerationVectorEnv(
        8,
        prompts=ragged_prompts(),
        tokenizer=word_tokenizer(),
        max_new_tokens=10,
        reward=distinct_tokens,
        group_size=4,
    )
    rollout = collect(envs, policy, episodes=24, seed=0)
    noise = torch.randn(rollout.mask.shape, generator=torch_generator("reference"))
    return rollout.replace(ref_logprobs=rollout.logprobs + 0.3 * noise)


def text_gradients(name, rollout, **options):
    policy = make_language_model()
    make_algorithm(name, policy, max_grad_norm=1e9, **options).update(rollout)
    return gradients(policy)


def furthest(first, second):
    """The largest difference as a share of the largest gradient."""
    size = max(np.abs(x).max() for x in first.values())
    return max(np.abs(x - second[name]).max() for name, x in first.items()) / size


@pytest.fixture(scope="module")
def text():
    rollout = text_rollout(make_language_model())
    return SimpleNamespace(rollout=rollout, expected={n: text_gradients(n, rollout) for n in NAMES})


@pytest.mark.parametrize("name", NAMES)
def test_accumulating_over_small_batches_leaves_the_gradient_unchanged(name, text):
    assert furthest(text.expected[name], text_gradients(name, text.rollout, max_tokens_per_batch=40)) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_permuted_episodes_leave_the_gradient_unchanged(name, text):
    order = torch.randperm(24, generator=torch_generator("order"))
    assert furthest(text.expected[name], text_gradients(name, text.rollout.select(order))) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_more_padding_on_the_right_leaves_the_gradient_unchanged(name, text):
    wider = padded(text.rollout, 5)
    assert furthest(text.expected[name], text_gradients(name, wider)) < 1e-6


def padded(rollout, columns):
    """The rollout with columns of other numbers where the mask is False; padding is always on the right."""
    per_action = ("logprobs", "rewards", "values", "ref_logprobs")
    per_token = {"tokens": rollout.tokens, "actions": rollout.actions}
    pad = torch.nn.functional.pad
    return rollout.replace(
        mask=pad(rollout.mask, (0, columns)),
        action_mask=pad(rollout.action_mask, (0, columns)),
        **{name: pad(getattr(rollout, name), (0, columns), value=7.0) for name in per_action},
        **{name: pad(x, (0, columns)) for name, x in per_token.items()},
    )


@pytest.mark.parametrize("name", [*NAMES, "trpo"])
def test_the_seed_alone_decides_an_update(name):
    results = []
    for seed in ("one", "one", "two"):
        policy = make_policy()
        options = {"minibatch_size": 3} if name in ("grpo", "ppo", "rloo", "trpo") else {}
        make_algorithm(name, policy, seed, **options).update(make_rollout(policy))
        results.append(torch.cat([p.detach().flatten() for p in policy.parameters()]))
    assert torch.equal(results[0], results[1])
    # Those that take one step on everything draw nothing.
    assert torch.equal(results[0], results[2]) == (not options)


@pytest.mark.parametrize("name", [*NAMES, "trpo"])
@pytest.mark.parametrize("field", ["rewards", "logprobs", "values"])
def test_what_is_not_finite_stops_before_any_weight_changes(name, field):
    policy = make_policy()
    rollout = make_rollout(policy)
    spoilt = getattr(rollout, field).clone()
    spoilt[-1, 0] = math.nan
    before = {key: value.clone() for key, value in weights(policy).items()}
    with pytest.raises(NonFiniteError, match=f"{name}: {field} of 1 of 23 actions"):
        make_algorithm(name, policy).update(rollout.replace(**{field: spoilt}))
    assert all(torch.equal(value, before[key]) for key, value in weights(policy).items())


@pytest.mark.parametrize("name", ["grpo", "rloo"])
def test_without_groups_there_is_one_clear_line(name):
    policy = make_policy()
    rollout = make_rollout(policy).replace(groups=None)
    with pytest.raises(UserError) as raised:
        make_algorithm(name, policy).update(rollout)
    message = str(raised.value)
    assert f"{name!r} compares several answers to one prompt" in message
    assert "Fix: set rl.group_size=4 or more; on control tasks choose an algorithm without groups." in message
    assert "\n" not in message


def test_a_kl_loss_without_a_reference_is_one_clear_line():
    policy = make_policy()
    rollout = make_rollout(policy).replace(ref_logprobs=None)
    with pytest.raises(UserError, match=r"no reference policy .*, got 0\.1\. Fix: set rl\.reference, or"):
        make_algorithm("grpo", policy).update(rollout)


@pytest.mark.parametrize("name", ["grpo", "rloo"])
def test_an_episode_that_lost_its_group_is_counted_and_teaches_nothing(name):
    policy = make_policy()
    rollout = make_rollout(policy)
    kept = rollout.select(torch.tensor([0, 1, 2, 3, 6]))
    options = {"max_grad_norm": 1e9, **({"kl_loss_coef": 0.0} if name == "grpo" else {})}
    metrics = make_algorithm(name, policy, **options).update(kept)
    assert metrics["lone"] == pytest.approx(1 / 5)
    lonely = gradients(policy)
    policy = make_policy()
    make_algorithm(name, policy, **options).update(rollout.select(torch.arange(4)))
    # The divisor counts it.
    for key, value in gradients(policy).items():
        np.testing.assert_allclose(value * 4 / 5, lonely[key], rtol=1e-9, atol=1e-12)


def bandit_rollout(policy: torch.nn.Module, seed: int) -> Rollout:
    """Two hundred and fifty-six pulls in groups of four; the best of four arms depends on the observation."""
    generator = torch_generator("bandit", seed)
    observations = torch.randn(64, 3, generator=generator, dtype=torch.float64).repeat_interleave(4, 0)[
        :, None
    ]
    shape = (256, 1)
    rollout = Rollout(
        mask=torch.ones(shape, dtype=torch.bool),
        actions=torch.zeros(shape, dtype=torch.int64),
        observations=observations,
        bootstrap=torch.zeros(256, dtype=torch.float64),
        episode_ids=torch.arange(256),
        groups=torch.arange(256) // 4,
        scores=torch.zeros(256),
        **{key: torch.zeros(shape, dtype=torch.float64) for key in ("logprobs", "rewards", "values")},
    )
    with torch.no_grad():
        logits = policy.distribution_parameters(rollout)
        actions = torch.multinomial(logits[:, 0].softmax(-1), 1, generator=generator)
        rollout = rollout.replace(actions=actions)
        now = policy.evaluate(rollout)
    best = torch.where(observations[:, :, 0] > 0, 1, 2)
    rewards = (actions == best).double()
    scores = rewards[:, 0]
    return rollout.replace(logprobs=now.logprobs, values=now.values, rewards=rewards, scores=scores)


FAST = {
    "a2c": {"optimizer": "adam", "learning_rate": 0.1},
    "grpo": {"learning_rate": 0.1, "epochs": 2},
    "ppo": {"learning_rate": 0.05, "epochs": 4},
    "reinforce": {"learning_rate": 0.1},
    "rloo": {"learning_rate": 0.1, "epochs": 2},
    "trpo": {"max_kl": 0.05},
}


@pytest.mark.parametrize("name", sorted(FAST))
def test_it_learns_a_contextual_bandit(name):
    policy = make_policy()
    options = {"kl_loss_coef": 0.0} if name == "grpo" else {}
    algorithm = make_algorithm(name, policy, **FAST[name], **options)
    scores = []
    for seed in range(40):
        rollout = bandit_rollout(policy, seed)
        scores.append(rollout.scores.mean().item())
        algorithm.update(rollout, progress=seed / 40)
    assert scores[0] < 0.3
    assert scores[-1] > 0.7
