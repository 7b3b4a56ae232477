"""The token environment, to the letter of Gymnasium."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import rltk
import rltk_envs  # noqa: F401 - registers the ids
from rltk.errors import NonFiniteError, UserError
from rltk.registry import Registry
from rltk_envs.prompts import Deck
from tests.text_world import word_tokenizer

EOS, W0, W1, W2 = 1, 3, 4, 5
ROWS = [{"prompt": "w0 w1", "gold": "w2"}, {"prompt": "w3"}, {"prompt": "w4 w5 w6", "gold": "w7"}]


def make_single(**options):
    return gym.make("rltk/TextGeneration-v0", **settings(options))


def make_vec(num_envs=2, **options):
    return gym.make_vec("rltk/TextGeneration-v0", num_envs, **settings(options))


def settings(options):
    return {"tokenizer": word_tokenizer(), "prompts": ROWS, "max_new_tokens": 4, "shuffle": False} | options


def test_it_passes_the_gymnasium_checker():
    check_env(make_single(reward=lambda episodes: [1.0 for _ in episodes]).unwrapped, skip_render_check=True)


def test_tokens_are_appended_until_eos_terminates():
    env = make_single(reward=lambda episodes: [float(len(e.response_tokens)) for e in episodes])
    observation, _ = env.reset(seed=0)
    assert observation["tokens"].tolist() == [3, 4, 0, 0, 0, 0, 0]
    assert observation["length"].tolist() == [2]
    observation, reward, terminated, truncated, _ = env.step(W2)
    assert (reward, terminated, truncated) == (0.0, False, False)
    observation, reward, terminated, truncated, info = env.step(EOS)
    assert observation["tokens"].tolist() == [3, 4, W2, EOS, 0, 0, 0]
    assert (reward, terminated, truncated) == (2.0, True, False)
    assert info["response"] == "w2"


def test_the_length_budget_truncates_and_eos_at_the_budget_terminates():
    for last, expected in ((W0, (False, True)), (EOS, (True, False))):
        env = make_single()
        env.reset(seed=0)
        for action in (W0, W1, W2):
            assert env.step(action)[2:4] == (False, False)
        assert env.step(last)[2:4] == expected


def test_a_stop_string_ends_the_response_and_is_cut_from_its_text():
    seen = []
    env = make_single(stop=("w1 w2",), reward=lambda episodes: seen.extend(episodes) or [0.0])
    env.reset(seed=0)
    for action in (W0, W1):
        assert not env.step(action)[2]
    assert env.step(W2)[2]
    assert seen[0].response == "w0"
    assert seen[0].response_tokens == (W0, W1, W2)


def test_a_finished_slot_takes_the_next_prompt_in_the_same_step():
    envs = make_vec(2, reward=lambda episodes: [float(e.prompt == "w3") for e in episodes])
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    envs.reset(seed=0, options={"first_episode": 0})
    observation, rewards, terminated, _, infos = envs.step(np.array([W0, EOS]))
    assert terminated.tolist() == [False, True]
    assert rewards.tolist() == [0.0, 1.0]
    assert observation["tokens"][1].tolist() == [7, 8, 9, 0, 0, 0, 0]
    assert infos["final_obs"][0] is None
    assert infos["final_obs"][1]["tokens"].tolist() == [6, EOS, 0, 0, 0, 0, 0]
    assert infos["final_info"]["finished"][1].episode.columns == {}
    assert infos["episode_id"].tolist() == [0, 2]


def test_after_the_last_episode_slots_stay_idle():
    envs = make_vec(2)
    envs.reset(seed=0, options={"first_episode": 5, "episodes": 3})
    observation, *_, infos = envs.step(np.array([EOS, EOS]))
    assert infos["episode_id"].tolist() == [7, -1]
    assert observation["length"][:, 0].tolist() == [2 if 7 % 3 == 0 else 1, 0]
    _, _, terminated, _, infos = envs.step(np.array([EOS, EOS]))
    assert terminated.tolist() == [True, False]
    assert infos["episode_id"].tolist() == [-1, -1]


def test_every_epoch_deals_every_prompt_once_and_groups_share_one():
    deck = Deck(5, group_size=2, shuffle=True, seed=3)
    epochs = [[deck.prompt_index(e) for e in range(10 * k, 10 * k + 10)] for k in range(3)]
    for epoch in epochs:
        assert epoch[::2] == epoch[1::2]
        assert sorted(epoch[::2]) == list(range(5))
    assert epochs[0] != epochs[1]
    assert [deck.prompt_index(e) for e in range(10)] == epochs[0]


def test_a_reward_gets_text_tokens_and_the_columns_of_the_row():
    seen = []
    envs = make_vec(1, reward=lambda episodes: seen.extend(episodes) or [0.0], template="say {prompt} :")
    envs.reset(seed=0)
    envs.step(np.array([EOS]))
    [episode] = seen
    assert (episode.prompt, episode.response, dict(episode.columns)) == ("w0 w1", "", {"gold": "w2"})
    assert episode.prompt_tokens == (2, 3, 4, 2)
    assert episode.response_tokens == (EOS,)


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda episodes: [1.0, 2.0], "returned 2 scores for 1 episodes"),
        (lambda episodes: 1.0, "must return a list with one score per episode, got 'float'"),
        (lambda episodes: ["good"], "must be a number, a list of numbers or None, got 'good'"),
        (lambda episodes: [[0.5, 0.5, 0.5]], "gave 3 token rewards to a response of 1 tokens"),
    ],
)
def test_a_reward_that_breaks_its_contract_is_named(reward, message):
    envs = make_vec(1, reward=reward)
    envs.reset(seed=0)
    with pytest.raises(UserError, match=message):
        envs.step(np.array([EOS]))


def test_a_reward_that_is_not_finite_is_an_error():
    def broken(episodes):
        return [float("nan")]

    envs = make_vec(1, reward=broken)
    envs.reset(seed=0)
    with pytest.raises(NonFiniteError, match="reward 'broken': a score is not finite, got nan"):
        envs.step(np.array([EOS]))


def test_prompts_that_cannot_be_read_are_refused():
    with pytest.raises(UserError, match="there are no prompts"):
        make_vec(prompts=[])
    with pytest.raises(UserError, match=r"prompts\[1\]: the prompt has no tokens"):
        make_vec(prompts=["w0", ""])
    with pytest.raises(UserError, match=r"prompts\[0\]: .* longer than max_prompt_tokens=2, got 3"):
        make_vec(prompts=["w0 w1 w2"], max_prompt_tokens=2)


def test_a_tokenizer_whose_pad_is_its_eos_is_refused():
    tokenizer = word_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    with pytest.raises(UserError, match="EOS token for padding"):
        make_vec(tokenizer=tokenizer)


class Opened(rltk.RewardModel):
    """Notes what is called."""

    name = "opened"
    calls: list[str] = []

    async def setup(self):
        self.calls.append("setup")

    async def score(self, episodes):
        self.calls.append("score")
        return [2.0] * len(episodes)

    async def close(self):
        self.calls.append("close")


class OpenedPlugin:
    @rltk.hookimpl
    def rltk_reward_models(self):
        return [Opened]


@pytest.fixture
def opened(monkeypatch):
    registry = Registry([])
    registry.register(OpenedPlugin(), "opened")
    monkeypatch.setattr("rltk.registry._current", registry)
    monkeypatch.setattr(Opened, "calls", [])
    return Opened


def test_a_reward_made_from_a_name_is_set_up_and_closed_with_the_environment(opened):
    envs = make_vec(1, reward="opened")
    assert opened.calls == ["setup"]
    envs.reset(seed=0)
    assert envs.step(np.array([EOS]))[1].tolist() == [2.0]
    envs.close()
    envs.close()
    assert opened.calls == ["setup", "score", "close"]
    single = make_single(reward="opened")
    single.close()
    assert opened.calls[3:] == ["setup", "close"]


def test_a_reward_handed_over_is_left_to_who_made_it(opened):
    make_vec(1, reward=Opened(Opened.Config())).close()
    assert opened.calls == []
