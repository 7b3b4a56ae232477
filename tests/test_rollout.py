"""The collector: layout, rewards, and bootstrapping, on environments whose every value is known."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch

from rltk.errors import UserError
from rltk.fragments import FragmentCollector
from rltk.rng import EpisodeStream, torch_generator
from rltk.rollout import collect
from rltk_envs.text_generation import TextGenerationVectorEnv
from rltk_policies.mlp import MLPPolicy
from tests.policies.test_causal_lm import make_envs, make_policy
from tests.text_world import word_tokenizer


class Counter(gym.Env):
    """Counts its steps; terminates at 3 after an even number of resets, otherwise is cut off at 5."""

    observation_space = gym.spaces.Box(0, 10, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    resets = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.resets = 0, self.resets + 1
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        terminates = self.resets % 2 == 0
        observation = np.full(1, self.count, np.float32)
        return observation, float(self.count), terminates and self.count == 3, self.count == 5, {}


def counter_envs(num_envs, mode=gym.vector.AutoresetMode.SAME_STEP):
    return gym.vector.SyncVectorEnv([Counter] * num_envs, autoreset_mode=mode)


def counter_policy():
    spaces = (Counter.observation_space, Counter.action_space)
    policy = MLPPolicy(MLPPolicy.Config(hidden_sizes=()), spaces=spaces, generator=torch_generator("counter"))
    with torch.no_grad():
        policy.critic.layers()[0][0].fill_(10.0)
    return policy


def test_array_episodes_are_laid_out_whole_and_in_order():
    rollout = collect(counter_envs(1), counter_policy(), episodes=4, seed=0)
    assert rollout.mask.sum(1).tolist() == [5, 3, 5, 3]
    assert rollout.observations[0, :, 0].tolist() == [0, 1, 2, 3, 4]
    assert rollout.rewards[1].tolist() == [1, 2, 3, 0, 0]
    assert rollout.scores.tolist() == [15, 6, 15, 6]
    assert rollout.values[0].tolist() == [0, 10, 20, 30, 40]


def test_truncation_bootstraps_from_the_final_observation_and_termination_does_not():
    rollout = collect(counter_envs(1), counter_policy(), episodes=4, seed=0)
    assert rollout.bootstrap.tolist() == [50.0, 0.0, 50.0, 0.0]


class AlwaysEnds(Counter):
    """Terminates at 3."""

    def reset(self, *, seed=None, options=None):
        self.resets = 1
        return super().reset(seed=seed, options=options)


def at_the_time_limit(num_envs, **options):
    limited = partial(gym.wrappers.TimeLimit, max_episode_steps=3)
    return gym.vector.SyncVectorEnv(
        [lambda: limited(AlwaysEnds())] * num_envs,
        autoreset_mode=gym.vector.AutoresetMode.SAME_STEP,
        **options,
    )


def test_an_end_that_falls_on_the_time_limit_is_an_end():
    rollout = collect(at_the_time_limit(1), counter_policy(), episodes=2, seed=0)
    assert rollout.mask.sum(1).tolist() == [3, 3] and rollout.bootstrap.tolist() == [0.0, 0.0]
    fragments = FragmentCollector(at_the_time_limit(1), counter_policy(), seed=0).collect(6)
    assert fragments.bootstrap.tolist() == [0.0, 0.0]


def test_environments_may_reuse_the_array_of_their_observations():
    rollout = collect(at_the_time_limit(2, copy=False), counter_policy(), episodes=2, seed=0)
    assert rollout.observations[:, :, 0].tolist() == [[0, 1, 2], [0, 1, 2]]
    fragments = FragmentCollector(at_the_time_limit(2, copy=False), counter_policy(), seed=0).collect(6)
    assert fragments.observations[:, :, 0].tolist() == [[0, 1, 2], [0, 1, 2]]


class CountsItsObservations(MLPPolicy):
    """A policy with memory, whose critic says how many observations it has seen of the episode."""

    memoryless = False

    def value(self, batch):
        return torch.where(batch.mask, batch.mask.float().cumsum(1), 0.0)


def test_a_policy_that_remembers_values_the_final_observation_after_all_others():
    spaces = (Counter.observation_space, Counter.action_space)
    policy = CountsItsObservations(MLPPolicy.Config(), spaces=spaces)
    rollout = collect(counter_envs(1), policy, episodes=3, seed=0)
    assert rollout.values[:2].tolist() == [[1, 2, 3, 4, 5], [1, 2, 3, 0, 0]]
    assert rollout.bootstrap.tolist() == [6.0, 0.0, 6.0]


def test_later_episodes_begin_in_other_states():
    envs = gym.make_vec(
        "CartPole-v1", 2, vectorization_mode="sync", vector_kwargs={"autoreset_mode": "SameStep"}
    )
    policy = MLPPolicy(MLPPolicy.Config(), spaces=(envs.single_observation_space, envs.single_action_space))
    begun = [
        collect(envs, policy, episodes=3, seed=0, first_episode=first).observations[:, 0].numpy()
        for first in (0, 3, 0)
    ]
    assert not np.isin(begun[1], begun[0]).any() and np.array_equal(begun[2], begun[0])


def test_without_values_nothing_is_bootstrapped_and_all_else_is_the_same():
    asked, unasked = (
        collect(counter_envs(1), counter_policy(), episodes=4, seed=0, values=values)
        for values in (True, False)
    )
    assert asked.bootstrap.tolist() == [50.0, 0.0, 50.0, 0.0] and asked.values.any()
    assert not unasked.bootstrap.any() and not unasked.values.any()
    for name in ("mask", "actions", "logprobs", "rewards", "observations", "scores"):
        assert torch.equal(getattr(asked, name), getattr(unasked, name)), name


@pytest.mark.parametrize("mode", [gym.vector.AutoresetMode.SAME_STEP, "SameStep"])
def test_the_autoreset_mode_may_be_given_by_its_value(mode):
    envs = counter_envs(1)
    envs.metadata = {"autoreset_mode": mode}
    assert len(collect(envs, counter_policy(), episodes=2, seed=0)) == 2


def test_environments_that_reset_in_the_next_step_are_refused():
    with pytest.raises(UserError, match="must be SAME_STEP, got 'NextStep'"):
        collect(counter_envs(1, gym.vector.AutoresetMode.NEXT_STEP), counter_policy(), episodes=1, seed=0)


def test_deferred_scores_equal_those_of_stepping():
    policy = make_policy()
    deferred = collect(make_envs(4), policy, episodes=9, seed=2)
    envs = make_envs(4)
    observation, infos = envs.reset(seed=2, options={"first_episode": 0, "episodes": 9})
    session, paid = policy.session(4), {}
    episode, position = infos["episode_id"], np.zeros(4, dtype=np.int64)
    while (active := episode >= 0).any():
        action = session.act(observation, stream=EpisodeStream(2, episode, position), active=active)
        observation, rewards, terminated, truncated, infos = envs.step(action.actions.numpy())
        position += 1
        for slot in np.flatnonzero(terminated | truncated):
            paid[int(episode[slot])] = rewards[slot]
            position[slot] = 0
        episode = infos["episode_id"]
    assert [paid[e] for e in range(9)] == deferred.scores.tolist()


def test_token_rewards_go_to_their_tokens_and_unscorable_episodes_are_nan():
    def scores(episodes):
        return [
            None if len(e.prompt_tokens) % 2 else [float(i) for i in range(len(e.response_tokens))]
            for e in episodes
        ]

    rollout = collect(make_envs(3, reward=scores, max_new_tokens=3), make_policy(), episodes=30, seed=0)
    for row, episode in enumerate(rollout.episodes):
        paid = rollout.rewards[row][rollout.mask[row]].tolist()
        if len(episode.prompt_tokens) % 2:
            assert torch.isnan(rollout.scores[row]) and not any(paid)
        else:
            assert paid == list(range(len(paid))) and rollout.scores[row] == sum(paid)
    assert 0 < torch.isnan(rollout.scores).sum() < 30


def test_selecting_rows_trims_to_the_longest_of_them():
    envs = TextGenerationVectorEnv(4, prompts=["w0", "w1 w2"], tokenizer=word_tokenizer(), max_new_tokens=6)
    rollout = collect(envs, make_policy(), episodes=12, seed=1)
    shortest = rollout.mask.sum(1).argmin()
    part = rollout.select(shortest[None])
    assert part.mask.all()
    assert part.tokens[0].tolist() == [*part.episodes[0].prompt_tokens, *part.episodes[0].response_tokens]
    assert part.lengths.item() == part.tokens.shape[1]


def test_streams_depend_on_every_key_and_are_uniform():
    episodes, positions = np.arange(2000), np.zeros(2000, dtype=np.int64)
    draws = EpisodeStream(0, episodes, positions).uniform(3)
    assert np.array_equal(draws, EpisodeStream(0, episodes, positions).uniform(3))
    for other in (EpisodeStream(1, episodes, positions), EpisodeStream(0, episodes, positions + 1)):
        assert abs(np.corrcoef(draws[:, 0], other.uniform(3)[:, 0])[0, 1]) < 0.1
    counts, _ = np.histogram(draws, bins=10, range=(0, 1))
    assert ((counts - 600) ** 2 / 600).sum() < 30


def test_groups_are_the_episodes_of_one_prompt():
    envs = TextGenerationVectorEnv(
        2, prompts=[[3], [4], [5]], tokenizer=word_tokenizer(), max_new_tokens=3, group_size=2
    )
    rollout = collect(envs, make_policy(), episodes=6, seed=0)
    assert rollout.groups.tolist() == [0, 0, 1, 1, 2, 2]
    prompts = [episode.prompt_tokens for episode in rollout.episodes]
    assert prompts[0::2] == prompts[1::2] and len(set(prompts)) == 3
    assert rollout.select(torch.tensor([1, 4])).groups.tolist() == [0, 2]


def test_a_rollout_taken_apart_has_a_row_an_action():
    rollout = collect(counter_envs(1), counter_policy(), episodes=2, seed=0)
    steps = rollout.steps()
    assert steps.mask.shape == (8, 1) and bool(steps.mask.all())
    assert steps.rewards[:, 0].tolist() == [1, 2, 3, 4, 5, 1, 2, 3]
    assert steps.observations[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert steps.bootstrap.tolist() == [50.0] * 5 + [0.0] * 3
    assert steps.episode_ids.tolist() == [0] * 5 + [1] * 3


def test_text_is_not_taken_apart():
    envs = TextGenerationVectorEnv(1, prompts=[[3]], tokenizer=word_tokenizer(), max_new_tokens=3)
    with pytest.raises(ValueError, match="no single steps"):
        collect(envs, make_policy(), episodes=1, seed=0).steps()
