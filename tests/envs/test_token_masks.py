"""Tasks that allow some tokens only: in infos and by method, in one slot and in many, and in a rollout."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import rltk_envs  # noqa: F401 - registers the ids
from rltk.errors import UserError
from rltk.rollout import collect
from rltk_policies.causal_lm.policy import CausalLMPolicy
from tests.text_world import ragged_prompts, tiny_model, word_tokenizer

EOS, W0, W1, W2 = 1, 3, 4, 5
SIZE = len(word_tokenizer())


def rising(row, tokens):
    """Allow tokens beyond the last one, and EOS."""
    allowed = np.arange(SIZE) > (tokens[-1] if tokens else 20)
    allowed[EOS] = True
    return allowed


def settings(**options):
    shared = {"tokenizer": word_tokenizer(), "prompts": ragged_prompts(), "max_new_tokens": 5}
    return shared | {"allowed_tokens": rising} | options


def make_vec(num_envs, **options):
    return gym.make_vec("rltk/TextGeneration-v0", num_envs, **settings(**options))


def test_a_mask_says_what_may_come_next():
    env = gym.make("rltk/TextGeneration-v0", **settings())
    _, info = env.reset(seed=0)
    assert info["action_mask"].dtype == np.int8 and info["action_mask"].shape == (SIZE,)
    assert np.flatnonzero(info["action_mask"]).tolist() == [EOS, *range(21, SIZE)]
    *_, info = env.step(24)
    assert np.flatnonzero(info["action_mask"]).tolist() == [EOS, *range(25, SIZE)]
    assert np.array_equal(env.unwrapped.action_masks(), info["action_mask"].astype(bool))
    *_, info = env.step(EOS)
    assert "action_mask" not in info, "after the end nothing comes"
    assert env.unwrapped.action_masks().all()


def test_slots_have_masks_of_their_own_and_gymnasium_samples_from_them():
    envs = make_vec(3)
    _, infos = envs.reset(seed=0)
    for _ in range(20):
        assert infos["_action_mask"].all()
        assert np.array_equal(envs.unwrapped.action_masks(), infos["action_mask"].astype(bool))
        actions = envs.action_space.sample(mask=tuple(infos["action_mask"]))
        assert infos["action_mask"][np.arange(3), actions].all()
        *_, infos = envs.step(actions)


def test_slots_that_are_not_to_act_have_no_mask():
    envs = make_vec(2)
    envs.reset(seed=0, options={"episodes": 2})
    *_, infos = envs.step(np.array([25, EOS]))
    assert infos["_action_mask"].tolist() == [True, False]
    assert not infos["action_mask"][1].any() and envs.unwrapped.action_masks()[1].all()


def test_without_restrictions_nothing_is_said_of_masks():
    for env in (
        make_vec(2, allowed_tokens=None),
        gym.make("rltk/TextGeneration-v0", **settings(allowed_tokens=None)),
    ):
        assert "action_mask" not in env.reset(seed=0)[1]
        assert not hasattr(env.unwrapped, "action_masks")


def test_the_task_reads_the_row_and_the_tokens_after_the_prompt():
    asked = []

    def ask(row, tokens):
        asked.append((row, tokens))
        return np.ones(SIZE, dtype=bool)

    envs = make_vec(1, allowed_tokens=ask, prompts=[{"prompt": "w0 w1", "gold": 3}])
    envs.reset(seed=0)
    envs.step(np.array([W2]))
    row = {"prompt": "w0 w1", "gold": 3}
    assert asked == [(row, ()), (row, (W2,))]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.ones(3, dtype=bool), r"must return 32 booleans.*, got 'bool of shape \(3,\)'"),
        (np.ones(SIZE, dtype=np.int8), "must return 32 booleans.*, got 'int8 of shape"),
        (np.zeros(SIZE, dtype=bool), "it allows no token at all"),
    ],
)
def test_an_answer_that_is_no_mask_is_an_error(answer, message):
    with pytest.raises(UserError, match=message):
        make_vec(1, allowed_tokens=lambda row, tokens: answer).reset(seed=0)


@pytest.mark.parametrize("num_envs", [1, 4])
def test_a_policy_takes_allowed_tokens_and_evaluates_them_as_it_acted(num_envs):
    policy = CausalLMPolicy(CausalLMPolicy.Config(), model=tiny_model(), tokenizer=word_tokenizer())
    rollout = collect(make_vec(num_envs), policy, episodes=14, seed=1)
    assert rollout.allowed.gather(-1, rollout.actions[..., None])[..., 0][rollout.mask].all()
    for episode in rollout.episodes:
        words = [token for token in episode.response_tokens if token != EOS]
        assert words == sorted(set(words)) and all(word > 20 for word in words)
    with torch.no_grad():
        torch.testing.assert_close(rollout.logprobs, policy.evaluate(rollout).logprobs, atol=1e-5, rtol=0)
