"""Scores in one batch at the end are those of stepping, whatever looks at rewards on the way."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.wrappers import vector as vector_wrappers

import rltk_envs  # noqa: F401 - registers the ids
from rltk.rng import EpisodeStream
from rltk.rollout import collect
from rltk_policies.causal_lm.policy import CausalLMPolicy
from tests.text_world import ragged_prompts, tiny_model, word_tokenizer

EPISODES = 17


class Counting:
    """Pays by the tokens alone and counts how it was called."""

    def __init__(self, of):
        self.batches, self._of = [], of

    def score(self, episodes):
        self.batches.append(len(episodes))
        return [self._of(episode) for episode in episodes]


def sums(episode):
    return sum(episode.response_tokens) / 7


def one_a_token(episode):
    return [token / 7 for token in episode.response_tokens]


def sometimes_none(episode):
    return None if episode.response_tokens[0] % 2 else sums(episode)


def mixed(episode):
    return one_a_token(episode) if len(episode.prompt_tokens) % 2 else sometimes_none(episode)


REWARDS = [sums, one_a_token, sometimes_none, mixed]


@pytest.fixture(scope="module")
def policy():
    return CausalLMPolicy(CausalLMPolicy.Config(), model=tiny_model(), tokenizer=word_tokenizer())


def make(reward, num_envs=4):
    return gym.make_vec(
        "rltk/TextGeneration-v0",
        num_envs,
        tokenizer=word_tokenizer(),
        prompts=ragged_prompts(),
        max_new_tokens=7,
        reward=reward,
    )


def stepwise(envs, policy):
    """Return what every episode is paid at each step, by plain stepping."""
    observation, infos = envs.reset(seed=2, options={"first_episode": 0, "episodes": EPISODES})
    session, N = policy.session(envs.num_envs), envs.num_envs
    paid = [[] for _ in range(EPISODES)]
    episode, position = infos["episode_id"], np.zeros(N, dtype=np.int64)
    while (active := episode >= 0).any():
        action = session.act(observation, stream=EpisodeStream(2, episode, position), active=active)
        observation, rewards, terminated, truncated, infos = envs.step(action.actions.numpy())
        for slot in np.flatnonzero(active):
            paid[episode[slot]].append(float(rewards[slot]))
        position = np.where(terminated | truncated, 0, position + 1)
        episode = infos["episode_id"]
    return paid


def paid_in(rollout):
    return [rollout.rewards[row][rollout.mask[row]].tolist() for row in range(len(rollout))]


@pytest.mark.parametrize("of", REWARDS)
def test_deferred_scores_are_those_of_stepping(of, policy):
    """A score of one number per token is paid by stepping in one sum at the end."""
    at_once, one_by_one = Counting(of), Counting(of)
    rollout = collect(make(at_once), policy, episodes=EPISODES, seed=2)
    paid = stepwise(make(one_by_one), policy)
    assert at_once.batches == [EPISODES] and len(one_by_one.batches) > 3
    for row, (episode, deferred) in enumerate(zip(rollout.episodes, paid_in(rollout), strict=True)):
        score = of(episode)
        expected = list(paid[row])
        if isinstance(score, list):
            assert paid[row] == pytest.approx([0.0] * (len(score) - 1) + [sum(score)])
            expected = score
        assert deferred == pytest.approx(expected)
        total = float("nan") if score is None else sum(expected)
        assert rollout.scores[row].item() == pytest.approx(total, nan_ok=True)


@pytest.mark.parametrize("of", REWARDS)
@pytest.mark.parametrize(
    "wrap",
    [
        vector_wrappers.NormalizeReward,
        vector_wrappers.RecordEpisodeStatistics,
        lambda envs: vector_wrappers.ClipReward(envs, -1, 1),
        lambda envs: vector_wrappers.NormalizeReward(vector_wrappers.RecordEpisodeStatistics(envs)),
    ],
)
def test_wrappers_see_what_stepping_pays(of, wrap, policy):
    envs = wrap(make(Counting(of)))
    rollout = collect(envs, policy, episodes=EPISODES, seed=2)
    expected = stepwise(wrap(make(Counting(of))), policy)
    for deferred, paid in zip(paid_in(rollout), expected, strict=True):
        assert deferred == pytest.approx(paid, rel=1e-5)
    bare = collect(make(Counting(of)), policy, episodes=EPISODES, seed=2)
    assert rollout.episodes == bare.episodes
    torch.testing.assert_close(rollout.scores, bare.scores, equal_nan=True)
    torch.testing.assert_close(rollout.logprobs, bare.logprobs)


def test_statistics_count_what_a_rollout_was_paid(policy):
    envs = vector_wrappers.RecordEpisodeStatistics(make(Counting(sums)))
    rollout = collect(envs, policy, episodes=EPISODES, seed=2)
    assert sorted(envs.return_queue) == pytest.approx(sorted(rollout.scores.tolist()))
    assert sorted(envs.length_queue) == sorted(rollout.mask.sum(1).tolist())


def test_scoring_is_deferred_during_the_collection_alone(policy):
    envs = make(Counting(sums), num_envs=1)
    collect(envs, policy, episodes=3, seed=0)
    envs.reset(seed=0)
    assert envs.step(np.array([1]))[1].tolist() == [pytest.approx(1 / 7)]
