"""Text in several turns: what the partner hears and answers, and how such episodes are laid out."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import rltk_envs  # noqa: F401 - registers the ids
from rltk.errors import UserError
from rltk.rollout import collect
from rltk_policies.causal_lm.policy import CausalLMPolicy
from tests.text_world import ragged_prompts, tiny_model, word_tokenizer

EOS, W0, W1, W2, W3, W4 = 1, 3, 4, 5, 6, 7


class Echo:
    """Says each turn twice; goes away when told `w4`."""

    def __init__(self, row):
        self.row, self.heard = row, []

    def reply(self, turn):
        self.heard.append(turn)
        return None if turn == "w4" else f"{turn} {turn}".strip()


def make(num_envs=None, **options):
    made = {"tokenizer": word_tokenizer(), "prompts": [{"prompt": "w0 w1", "gold": 3}], "partner": Echo}
    made |= {"max_new_tokens": 8, "max_turns": 4, "max_reply_tokens": 6, **options}
    if num_envs is None:
        return gym.make("rltk/TextGeneration-v0", **made)
    return gym.make_vec("rltk/TextGeneration-v0", num_envs, **made)


def play(env, actions):
    env.reset(seed=0)
    for action in actions:
        observation, _, terminated, truncated, info = env.step(action)
    return observation, terminated, truncated, info


def test_the_observation_grows_by_the_answer_in_the_step_that_ends_the_turn():
    env = make()
    env.reset(seed=0)
    observation, _, terminated, truncated, info = env.step(W2)
    assert observation["length"].tolist() == [3]
    observation, _, terminated, truncated, info = env.step(EOS)
    assert observation["tokens"][: observation["length"][0]].tolist() == [W0, W1, W2, EOS, W2, W2]
    assert not terminated and not truncated and "finished" not in info


def test_an_episode_holds_its_turns_and_which_tokens_are_actions():
    _, terminated, truncated, info = play(make(), [W2, W3, EOS, EOS, W4, EOS])
    episode = info["finished"].episode
    assert (terminated, truncated) == (True, False)
    assert episode.turns == (("w2 w3", "w2 w3 w2 w3"), ("", ""), ("w4", ""))
    assert episode.response == "w2 w3 w2 w3 w2 w3 w4"
    assert episode.response_tokens == (W2, W3, EOS, W2, W3, W2, W3, EOS, W4, EOS)
    assert episode.action_mask == (True,) * 3 + (False,) * 4 + (True,) * 3
    assert episode.num_actions == 6


def test_the_partner_is_made_of_the_row_once_an_episode():
    made = []

    def partner(row):
        made.append(Echo(row))
        return made[-1]

    env = make(partner=partner)
    play(env, [W2, EOS, W4, EOS])
    play(env, [W4, EOS])
    assert [echo.row for echo in made] == [{"prompt": "w0 w1", "gold": 3}] * 2
    assert [echo.heard for echo in made] == [["w2", "w4"], ["w4"]]


@pytest.mark.parametrize(
    ("options", "actions", "turns"),
    [
        ({"max_turns": 2}, [W2, EOS, W3, EOS], (("w2", "w2 w2"), ("w3", ""))),
        ({"max_new_tokens": 3}, [W2, EOS, W3], (("w2", "w2 w2"), ("w3", ""))),
        ({"max_new_tokens": 2}, [W2, EOS], (("w2", ""),)),
        ({"max_turns": 1}, [EOS], (("", ""),)),
    ],
)
def test_turns_and_tokens_of_the_policy_are_budgets(options, actions, turns):
    _, terminated, truncated, info = play(make(**options), actions)
    assert (terminated, truncated) == (False, True)
    assert info["finished"].episode.turns == turns


def test_what_ends_with_the_budget_is_not_cut_off_where_the_partner_leaves():
    for options in ({"max_turns": 1}, {"max_new_tokens": 2}):
        assert play(make(**options), [W4, EOS])[1:3] == (True, False)


def test_a_stop_text_ends_a_turn_and_is_looked_for_in_that_turn_only():
    _, _, truncated, info = play(make(stop=("w2 w3",), max_turns=3), [W0, W2, W3, W2, EOS, W3, EOS])
    assert truncated
    assert info["finished"].episode.turns == (("w0", "w0 w0"), ("w2", "w2 w2"), ("w3", ""))


def test_an_answer_that_does_not_fit_is_an_error():
    with pytest.raises(UserError, match="more tokens than max_reply_tokens=6, got 8"):
        play(make(), [W0, W0, W1, W1, EOS])


def test_without_answers_an_episode_has_one_turn_of_actions_alone():
    _, _, _, info = play(make(partner=None), [W2, EOS])
    episode = info["finished"].episode
    assert episode.turns == () and episode.action_mask is None and episode.num_actions == 2


class Talkative:
    """Answers with as many words as its turns so far, other ones each time."""

    def __init__(self, row):
        self.turns = 0

    def reply(self, turn):
        self.turns += 1
        return " ".join(f"w{(7 * self.turns + i) % 20}" for i in range(self.turns % 4))


def talk(kind, num_envs, episodes=18, **options):
    policy = CausalLMPolicy(
        CausalLMPolicy.Config(), model=tiny_model(kind, context=64), tokenizer=word_tokenizer()
    )
    made = {"prompts": ragged_prompts(), "partner": Talkative, "max_new_tokens": 16, "max_turns": 6}
    made |= {"stop": ("w3", "w7", "w11", "w12"), "max_reply_tokens": 3, **options}
    envs = make(num_envs, **made)
    return policy, collect(envs, policy, episodes=episodes, seed=3)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_stepped_logprobs_equal_teacher_forced_ones_over_several_turns(kind):
    policy, rollout = talk(kind, 4)
    turns = [len(episode.turns) for episode in rollout.episodes]
    assert max(turns) > 3 and len(set(turns)) > 2, "the conversations must be of several lengths"
    with torch.no_grad():
        evaluation = policy.evaluate(rollout)
    torch.testing.assert_close(rollout.logprobs, evaluation.logprobs, atol=1e-5, rtol=0)


def test_conversations_do_not_depend_on_the_number_of_slots():
    (_, alone), (_, several), (_, many) = (talk("llama", n) for n in (1, 5, 18))
    assert alone.episodes == several.episodes == many.episodes
    torch.testing.assert_close(alone.logprobs, several.logprobs, atol=1e-5, rtol=0)
    torch.testing.assert_close(alone.logprobs, many.logprobs, atol=1e-5, rtol=0)


def test_a_rollout_counts_actions_and_its_rows_hold_the_answers_too():
    _, rollout = talk("llama", 4)
    for row, episode in enumerate(rollout.episodes):
        length = len(episode.prompt_tokens) + len(episode.response_tokens)
        assert rollout.lengths[row] == length
        assert rollout.tokens[row, :length].tolist() == [*episode.prompt_tokens, *episode.response_tokens]
        assert not rollout.tokens[row, length:].any()
        mask = episode.action_mask or (True,) * len(episode.response_tokens)
        assert rollout.action_mask[row, len(episode.prompt_tokens) : length].tolist() == list(mask)
        assert rollout.action_mask[row].sum() == rollout.mask[row].sum() == episode.num_actions
        said = rollout.tokens[row][rollout.action_mask[row]]
        assert torch.equal(said, rollout.actions[row][rollout.mask[row]])


def test_token_rewards_are_one_an_action():
    def position(episodes):
        return [[float(i) for i in range(episode.num_actions)] for episode in episodes]

    _, rollout = talk("llama", 4, reward=position)
    for row, episode in enumerate(rollout.episodes):
        assert rollout.rewards[row][rollout.mask[row]].tolist() == list(range(episode.num_actions))
    with pytest.raises(UserError, match="token rewards to a response of"):
        talk("llama", 4, reward=lambda episodes: [[0.0] * len(e.response_tokens) for e in episodes])


def test_conversations_are_the_same_one_at_a_time_and_side_by_side():
    actions = np.random.default_rng(0).choice([EOS, W0, W2, W4], size=(40, 3))
    envs = make(3, max_reply_tokens=14)
    single = [make(max_reply_tokens=14) for _ in range(3)]
    observation, _ = envs.reset(seed=4)
    for slot, env in enumerate(single):
        env.reset(seed=4 + slot)
    for row in actions:
        observation, _, terminated, truncated, infos = envs.step(row)
        for slot, env in enumerate(single):
            shown, _, ended, cut, info = env.step(int(row[slot]))
            assert (ended, cut) == (terminated[slot], truncated[slot])
            if ended or cut:
                assert infos["final_info"]["finished"][slot] == info["finished"]
                shown, _ = env.reset()
            assert shown["tokens"].tolist() == observation["tokens"][slot].tolist()
