"""The token environments as Gymnasium means them: its checker, its vector environment, its wrappers."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as vector_wrappers

import rltk_envs  # noqa: F401 - registers the ids
from rltk.errors import UserError
from rltk_envs.text_generation_single import TextGenerationEnv
from tests.text_world import ragged_prompts, word_tokenizer

EOS, W0, W1, W2 = 1, 3, 4, 5
MODES = [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP]


def length(episodes):
    return [float(len(episode.response_tokens)) for episode in episodes]


def no_repetition(row, tokens):
    """Allow everything but the last token and the prompt's first word; EOS from the second token on."""
    allowed = np.ones(len(word_tokenizer()), dtype=bool)
    allowed[list(tokens[-1:])] = False
    allowed[EOS] = len(tokens) > 1
    return allowed


class Echo:
    def __init__(self, row):
        pass

    def reply(self, turn):
        return None if turn.endswith("w4") else turn


TASKS = {
    "plain": {},
    "stop": {"stop": ("w2 w3", "w7")},
    "talk": {"partner": Echo, "max_turns": 3, "max_reply_tokens": 6},
    "masked": {"allowed_tokens": no_repetition},
    "in order": {"shuffle": False, "group_size": 2},
}


def settings(task, **options):
    shared = {"tokenizer": word_tokenizer(), "prompts": ragged_prompts(), "max_new_tokens": 6}
    return shared | {"reward": length} | TASKS[task] | options


def make_single(task="plain", **options):
    return gym.make("rltk/TextGeneration-v0", **settings(task, **options))


def make_vec(num_envs, task="plain", **options):
    return gym.make_vec("rltk/TextGeneration-v0", num_envs, **settings(task, **options))


def passes_the_checker(env):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


@pytest.mark.parametrize("task", TASKS)
def test_it_passes_the_checker_without_a_warning(task):
    passes_the_checker(make_single(task))


def test_the_environments_that_come_with_it_pass_too():
    passes_the_checker(gym.make("rltk/Instruct-v0"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", [7, [3, 9, 3]])
def test_it_is_gymnasiums_vector_environment_of_single_ones(task, mode, seed):
    """Also the infos and their layout are equal."""
    ours = make_vec(3, task, autoreset_mode=mode)
    theirs = SyncVectorEnv([lambda: TextGenerationEnv(**settings(task))] * 3, autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"]
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    actions = np.random.default_rng(0).choice([EOS, W0, W1, W2, 6, 7], size=(60, 3))
    steps = [(envs.reset(seed=seed), *map(envs.step, actions), envs.reset()) for envs in (ours, theirs)]
    for ours_said, theirs_said in zip(*steps, strict=True):
        assert data_equivalence(ours_said[:-1], theirs_said[:-1], exact=True)
        assert ours_said[-1].keys() == theirs_said[-1].keys()
        for key in ours_said[-1]:
            assert data_equivalence(ours_said[-1][key], theirs_said[-1][key]), key


def test_a_slot_that_ends_resets_in_the_next_step_where_asked_to():
    envs = make_vec(2, autoreset_mode="NextStep", shuffle=False, prompts=["w0", "w1"])
    envs.reset(seed=0)
    observation, rewards, terminated, _, infos = envs.step(np.array([W2, EOS]))
    assert observation["tokens"][1, :2].tolist() == [W0, EOS]
    assert (rewards.tolist(), terminated.tolist()) == ([0.0, 1.0], [False, True])
    assert infos["response"].tolist() == [None, ""] and infos["_response"].tolist() == [False, True]
    assert not any(key.startswith("final") for key in infos)
    observation, rewards, terminated, truncated, infos = envs.step(np.array([W2, EOS]))
    assert observation["tokens"][1, :2].tolist() == [W1, 0]
    assert observation["length"][:, 0].tolist() == [3, 1]
    assert not rewards.any() and not terminated.any() and not truncated.any()
    assert infos["episode_id"].tolist() == [0, 1] and "response" not in infos


def test_a_mode_without_resets_is_refused_in_one_line():
    with pytest.raises(UserError) as caught:
        make_vec(2, autoreset_mode=AutoresetMode.DISABLED)
    assert str(caught.value) == (
        "environment.autoreset_mode: text has no such mode, got 'Disabled'. "
        "Fix: choose 'SameStep' or 'NextStep'."
    )


def test_one_seed_a_slot():
    envs = make_vec(3)
    first = envs.reset(seed=[5, 8, 5])[0]["tokens"]
    assert np.array_equal(first[0], first[2]) and not np.array_equal(first[0], first[1])
    envs.step(np.full(3, EOS))
    again = envs.reset(seed=[None, 8, None])[0]["tokens"]
    assert np.array_equal(again[1], first[1]), "a seed begins the slot's order anew"
    assert not np.array_equal(again[0], first[0]), "without one it goes on"
    with pytest.raises(UserError, match="one for each of the 3 slots, got 2"):
        envs.reset(seed=[1, 2])


def test_what_was_never_seeded_is_random():
    firsts = {
        make_single(prompts=[[token] for token in range(3, 30)]).reset()[0]["tokens"][0] for _ in range(9)
    }
    assert len(firsts) > 1


def test_a_deal_over_all_slots_goes_on_where_it_was():
    envs = make_vec(2, shuffle=False, prompts=["w0", "w1", "w2", "w3", "w4"])
    begin = {"first_episode": 0}
    assert envs.reset(seed=0, options=begin)[1]["episode_id"].tolist() == [0, 1]
    observation, *_, infos = envs.step(np.array([W0, EOS]))
    assert infos["episode_id"].tolist() == [0, 2] and observation["tokens"][1, 0] == W2
    assert envs.reset(options={"episodes": 1})[1]["episode_id"].tolist() == [3, -1]


def play(envs, steps=40):
    """Return the rewards, terminations, truncations and infos of some random actions."""
    actions = np.random.default_rng(1).choice([EOS, W0, W1], size=(steps, envs.num_envs))
    envs.reset(seed=3)
    answers = [envs.step(row) for row in actions]
    rewards, terminated, truncated = (np.stack([answer[i] for answer in answers]) for i in (1, 2, 3))
    return rewards, terminated, truncated, [answer[4] for answer in answers]


@pytest.mark.parametrize("mode", MODES)
def test_statistics_of_episodes_are_right(mode):
    """With this reward an episode's return is its length."""
    envs = vector_wrappers.RecordEpisodeStatistics(make_vec(3, autoreset_mode=mode))
    _, terminated, truncated, infos = play(envs)
    ends = list(zip(*np.nonzero(terminated | truncated), strict=True))
    assert len(ends) > 20
    for step, slot in ends:
        statistics = infos[step]["episode"]
        final = infos[step]["final_info"] if mode == AutoresetMode.SAME_STEP else infos[step]
        said = len(final["finished"][slot].episode.response_tokens)
        assert statistics["l"][slot] == statistics["r"][slot] == said


def scaled(raw, returns):
    """Return rewards ``[T, N]`` over the running deviation of returns: Chan et al.'s update by a batch."""
    count, mean, variance, answers = 1e-4, 0.0, 1.0, []
    for rewards, batch in zip(raw, returns, strict=True):
        difference, total = batch.mean() - mean, count + len(batch)
        spread = variance * count + batch.var() * len(batch) + difference**2 * count * len(batch) / total
        mean, variance, count = mean + difference * len(batch) / total, spread / total, total
        answers.append(rewards / np.sqrt(variance + 1e-8))
    return np.array(answers)


def test_rewards_are_normalised_by_discounted_returns():
    rewards, *_ = play(vector_wrappers.NormalizeReward(make_vec(2), gamma=0.9))
    raw, terminated, truncated, _ = play(make_vec(2))
    running, returns = np.zeros(2), []
    for step in range(len(raw)):
        running = running * 0.9 * ~terminated[step] + raw[step]
        returns.append(running)
        running = np.where(truncated[step] | terminated[step], 0.0, running)
    assert rewards == pytest.approx(scaled(raw, returns))


def test_rewards_of_a_single_environment_are_normalised():
    """There the wrapper's return runs on over the ends that are no termination."""
    env = gym.wrappers.NormalizeReward(make_single(), gamma=0.9)
    raw, terminated, truncated, _ = play(make_vec(1))
    running, returns, rewards = np.zeros(1), [], []
    env.reset(seed=3)
    for step, action in enumerate(np.random.default_rng(1).choice([EOS, W0, W1], size=40)):
        rewards.append([env.step(int(action))[1]])
        running = running * 0.9 * ~terminated[step] + raw[step]
        returns.append(running)
        if terminated[step] or truncated[step]:
            env.reset()
    assert np.array(rewards) == pytest.approx(scaled(raw, returns))


def test_time_limits_and_statistics_of_a_single_environment():
    env = gym.make("rltk/TextGeneration-v0", max_episode_steps=2, **settings("plain"))
    env = gym.wrappers.RecordEpisodeStatistics(env)
    env.reset(seed=0)
    assert env.step(W0)[2:4] == (False, False)
    _, reward, terminated, truncated, info = env.step(W0)
    assert (reward, terminated, truncated) == (0.0, False, True), "a response that goes on is not scored"
    assert info["episode"]["l"] == 2
    env.reset()
    *_, info = env.step(EOS)
    assert (info["episode"]["r"], info["episode"]["l"]) == (1.0, 1)
