"""The dialogue world: what the customer says, what is paid, and that demonstrations read as episodes do."""

import warnings
from random import Random

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import rltk_envs  # noqa: F401 - registers the ids
from rltk.episode import Episode
from rltk.testing import check_environment
from rltk_envs.dialogue import Dialogue, utilities
from rltk_envs.dialogue_customer import Customer, listen

ROW = {
    "prompt": "hello , i am ann . 2 tea please",
    "orders": [[2, "tea"], [1, "pie"]],
    "question": "how much is that in all ?",
    "answer": "3",
}


@pytest.fixture(scope="module")
def world():
    sizes = {"num_prompts": 60, "heldout_prompts": 30, "num_demonstrations": 30}
    return Dialogue(Dialogue.Config(**sizes), seed=0)


def test_it_keeps_the_contract_of_environments():
    check_environment("dialogue")


def test_it_passes_gymnasiums_checker_by_its_id():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make("rltk/Dialogue-v0").unwrapped)


def test_a_customer_hears_repeats_and_asks():
    customer = Customer(ROW)
    assert customer.reply("2 tea") == "customer : yes , and 1 pie please clerk :"
    assert customer.reply("2 pie") == "customer : no , 1 pie please clerk :"
    assert customer.reply("1 pie") == "customer : yes , how much is that in all ? clerk :"
    assert customer.reply("3") is None


@pytest.mark.parametrize(
    ("said", "utility", "orders_taken", "answered"),
    [
        (["2 tea", "1 pie", "3"], 1.0, 1.0, 1.0),
        (["2 tea", "1 pie", "4"], 2 / 3, 1.0, 0.0),
        (["1 tea", "2 tea", "1 pie", "3"], (0.5 + 1 + 1) / 3, 1.0, 1.0),
        (["2 tea", "pie", "two pie", "1 pie", "3"], 1 / 3, 0.5, 0.0),
        (["2", "tea"], 0.0, 0.0, 0.0),
        (["2 tea"], 1 / 3, 0.5, 0.0),
        ([], 0.0, 0.0, 0.0),
    ],
)
def test_the_utility_is_the_share_of_what_was_right(world, said, utility, orders_taken, answered):
    episode = Episode(ROW["prompt"], "", columns=ROW, turns=tuple((turn, "?") for turn in (*said, "")))
    metrics = world.metrics(episode)
    expected = {"utility": utility, "orders_taken": orders_taken, "answered": answered}
    assert metrics == pytest.approx(expected)
    assert utilities([episode]) == [metrics["utility"]]
    assert listen(ROW, said).utility == pytest.approx(utility)


def test_the_oracle_says_what_is_right_whatever_was_said_before(world):
    assert world.oracle(ROW) == "2 tea"
    assert world.oracle(ROW, [("1 tea", "customer : no , 2 tea please clerk :")]) == "2 tea"
    assert world.oracle(ROW, [("2 tea", "..."), ("1 pie", "...")]) == "3"


@pytest.mark.parametrize("split", ["train", "test"])
def test_demonstrations_read_what_episodes_show(world, split):
    """Turn by turn, the tokens of a demonstration's prompt are those of the observation."""
    tokenizer = world.build_tokenizer()
    rows = world.demonstrations(split)
    dialogues = [row for row in rows if not row["turns"]]
    env = gym.make("rltk/Dialogue-v0", prompts=dialogues, shuffle=False)
    for number, row in enumerate(rows):
        if not row["turns"]:
            observation, _ = env.reset(seed=0 if number == 0 else None)
            terminated = False
        read = tokenizer.encode(world.format_prompt(row["prompt"]), add_special_tokens=False)
        assert observation["tokens"][: observation["length"][0]].tolist() == read
        assert not terminated
        for token in (*tokenizer.encode(row["response"]), tokenizer.eos_token_id):
            observation, reward, terminated, truncated, info = env.step(token)
        assert not truncated
        if terminated:
            assert reward == pytest.approx(world.metrics(info["finished"].episode)["utility"])
    assert terminated


def test_careful_clerks_are_right_and_careless_ones_as_often_wrong_as_asked():
    def wrong(share):
        sizes = {"num_prompts": 1, "num_demonstrations": 200, "careless_share": share}
        world = Dialogue(Dialogue.Config(**sizes), seed=0)
        rows = world.demonstrations("train")
        return np.mean([row["response"] != world.oracle(row, row["turns"]) for row in rows])

    assert wrong(0.0) == 0.0 and wrong(0.3) == pytest.approx(0.3, abs=0.05) and wrong(1.0) == 1.0


def test_answers_of_the_customer_fit_and_know_the_words(world):
    tokenizer, longest = world.build_tokenizer(), 0
    for row in world.prompts("train"):
        customer = Customer(row)
        for said in ("", *(f"{count} {thing}" for count, thing in row["orders"])):
            reply = customer.reply(said)
            tokens = tokenizer.encode(reply, add_special_tokens=False)
            assert tokenizer.decode(tokens) == reply
            longest = max(longest, len(tokens))
    options = world.text_options("train")
    assert longest <= options["max_reply_tokens"]
    most_said = 2 * max(len(row["orders"]) for row in world.prompts("train")) + 1
    assert options["max_turns"] == most_said and world.config.max_new_tokens >= 3 * most_said


def test_random_words_and_the_oracle_score_its_bounds(world):
    low, high = world.score_bounds()
    rows = world.prompts("test")
    random = Random(0)
    env = gym.make("rltk/Dialogue-v0", prompts=rows, shuffle=False)
    paid = []
    for number in range(len(rows)):
        env.reset(seed=0 if number == 0 else None)
        done = False
        while not done:
            _, reward, terminated, truncated, _ = env.step(random.randrange(env.action_space.n))
            done = terminated or truncated
        paid.append(reward)
    assert np.mean(paid) == pytest.approx(low, abs=0.01)
    perfect = [listen(row, said_by_the_oracle(world, row)).utility for row in rows]
    assert np.mean(perfect) == high


def said_by_the_oracle(world, row):
    turns, customer = [], Customer(row)
    while not customer.left:
        said = world.oracle(row, turns)
        turns.append((said, customer.reply(said) or ""))
    return [said for said, _ in turns]
