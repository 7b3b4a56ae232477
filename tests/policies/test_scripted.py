"""The scripted policy: the function's actions and answers, and one line for what is wrong with it."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from rltk.errors import UserError
from rltk.rollout import collect
from rltk_policies.scripted import ScriptedPolicy
from tests.policies.test_causal_lm import make_envs
from tests.test_rollout import Counter, counter_envs
from tests.text_world import word_tokenizer

SCRIPT = """
import numpy as np

def parity(observation):
    return int(observation[0]) % 2

def backwards(prompt):
    return " ".join(prompt.split()[::-1])

def push(observation):
    return [0.5, -observation[0]]

def word(observation):
    return "left"

def half(observation):
    return 0.5

def seven(observation):
    return 7

def nothing(prompt):
    return None

def broken(seen):
    raise KeyError("no such thing")

SHARE = 0.5
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def on_counter(script, name, actions=Counter.action_space):
    config = ScriptedPolicy.Config(function=f"{script}:{name}")
    return ScriptedPolicy(config, spaces=(Counter.observation_space, actions))


def on_text(script, name):
    config = ScriptedPolicy.Config(function=f"{script}:{name}")
    return ScriptedPolicy(config, build_tokenizer=word_tokenizer)


def test_it_takes_the_functions_actions(script):
    policy = on_counter(script, "parity")
    rollout = collect(counter_envs(3), policy, episodes=4, seed=0)
    for row in range(4):
        length = int(rollout.mask[row].sum())
        assert rollout.actions[row, :length].tolist() == [count % 2 for count in range(length)]
    evaluation = policy.evaluate(rollout)
    for zeros in (
        rollout.logprobs,
        rollout.values,
        evaluation.logprobs,
        evaluation.entropy,
        evaluation.values,
    ):
        assert torch.equal(zeros, torch.zeros(rollout.mask.shape))


def test_what_it_would_not_have_done_has_probability_0(script):
    policy = on_counter(script, "parity")
    rollout = collect(counter_envs(1), policy, episodes=1, seed=0)
    actions = rollout.actions.clone()
    actions[0, 1] = 0
    assert policy.evaluate(rollout.replace(actions=actions)).logprobs.tolist() == [
        [0.0, -math.inf, 0.0, 0.0, 0.0]
    ]
    p = policy.distribution_parameters(rollout)
    assert policy.kl_divergence(p, p + torch.tensor([0, 1, 0, 0, 0])[:, None]).tolist() == [
        [0, math.inf, 0, 0, 0]
    ]


def test_continuous_actions_keep_the_type_of_the_space(script):
    policy = on_counter(script, "push", gym.spaces.Box(-10, 10, (2,), np.float32))
    action = policy.action(np.array([0.25], np.float32))
    assert action.dtype == np.float32 and action.tolist() == [0.5, -0.25]


def test_it_answers_prompts_and_ends(script):
    """Responses of up to 12 tokens to prompts of up to 9, in slots that are refilled."""
    tokenizer = word_tokenizer()
    policy = on_text(script, "backwards")
    rollout = collect(make_envs(3), policy, episodes=22, seed=0)
    for episode in rollout.episodes:
        words = tokenizer.decode(list(episode.prompt_tokens), skip_special_tokens=True).split()
        assert episode.response.split() == words[::-1] and episode.terminated
    assert torch.equal(policy.evaluate(rollout).logprobs, torch.zeros(rollout.mask.shape))
    other = rollout.replace(
        tokens=torch.where(rollout.action_mask, 5, rollout.tokens), actions=rollout.actions * 0 + 5
    )
    assert bool((policy.evaluate(other).logprobs[rollout.mask] == -math.inf).any())


def test_an_answer_that_is_too_long_is_cut_off(script):
    rollout = collect(
        make_envs(2, prompts=[[3, 4, 5, 6, 7]], max_new_tokens=3),
        on_text(script, "backwards"),
        episodes=4,
        seed=0,
    )
    assert [episode.response_tokens for episode in rollout.episodes] == [(7, 6, 5)] * 4
    assert all(episode.truncated for episode in rollout.episodes)


@pytest.mark.parametrize(("name", "given"), [("word", "'left'"), ("half", "0.5"), ("seven", "7")])
def test_what_is_no_action_is_told(script, name, given):
    words = rf"policy\.function: it returned no action, got {given}\. Fix: return an element of Discrete\(2\)"
    with pytest.raises(UserError, match=words):
        collect(counter_envs(1), on_counter(script, name), episodes=1, seed=0)


def test_what_is_no_text_is_told(script):
    with pytest.raises(UserError, match=r"policy\.function: it returned a NoneType in place of a text\. Fix"):
        collect(make_envs(1), on_text(script, "nothing"), episodes=1, seed=0)


def test_a_function_that_fails_is_named(script):
    words = (
        r"policy\.function: .*script\.py:broken raised KeyError: 'no such thing'\. Fix: repair the function"
    )
    with pytest.raises(UserError, match=words):
        collect(counter_envs(1), on_counter(script, "broken"), episodes=1, seed=0)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("{}:nowhere", "has no nowhere"),
        ("{}:SHARE", "SHARE is no function"),
        ("no_such_module.act", "no_such_module cannot be imported"),
        ("act", "no path of a function"),
    ],
)
def test_a_path_without_a_function_is_refused_by_the_config(script, function, words):
    with pytest.raises(ValidationError, match=words):
        ScriptedPolicy.Config(function=function.format(script))
