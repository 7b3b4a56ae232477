"""Twenty questions: the facts, answers and the best questions by hand."""

from itertools import combinations
from math import ceil, log2

import pytest

from rltk_envs.suite.animals import ANIMALS, ATTRIBUTES, agreeing, are_enough, turns_needed
from rltk_envs.suite.games import Host
from rltk_envs.suite.twenty_questions import TwentyQuestions

FOUR = ("cat", "dog", "owl", "swan")
ROW = {"prompt": "cat dog owl swan", "animals": list(FOUR), "secret": "dog", "needed": 3}


def made(**options):
    return TwentyQuestions(TwentyQuestions.Config(**options), seed=0)


def fewest_turns(animals):
    """Return the turns of the best questions and names by trying all, names of animals among them."""
    if len(animals) == 1:
        return 1
    parts = [[agreeing(animals, attribute, answer) for answer in (True, False)] for attribute in ATTRIBUTES]
    asking = [max(map(fewest_turns, both)) for both in parts if all(both)]
    naming = [fewest_turns(tuple(set(animals) - {named})) for named in animals]
    return 1 + min([*asking, *naming])


def test_no_two_animals_are_alike_and_no_word_is_both():
    assert all(ANIMALS[one] != ANIMALS[other] for one, other in combinations(ANIMALS, 2))
    assert not set(ANIMALS) & set(ATTRIBUTES)
    assert ATTRIBUTES == ("big", "flies", "furry", "hunts", "lays", "night", "swims", "tame")


def test_the_host_says_yes_and_no():
    host = Host(made(), ROW)
    heard = [host.reply(said) for said in ("furry", "flies", "cat", "horse", "tame ?")]
    assert heard == ["yes :", "no :", "no :", "? :", "? :"]
    assert host.reply("dog") is None


@pytest.mark.parametrize(
    ("animals", "turns"),
    [
        (("cat",), 1),
        (("cat", "dog"), 2),
        (FOUR, 3),
        (("lion", "penguin", "seal", "swan"), 3),  # furry: lion, seal; then big, or flies
        (("hen", "pig", "rabbit"), 3),
        (("ant", "bee", "hen", "pig"), 3),  # tame: hen, pig; then lays, or flies
        (("ant", "hen", "frog", "snake"), 4),  # all lay; one each is tame, swims, hunts: one out at a time
    ],
)
def test_the_turns_needed_by_hand(animals, turns):
    assert turns_needed(animals) == turns == fewest_turns(animals)
    assert are_enough(turns, animals) and not are_enough(turns - 1, animals)


def test_the_oracle_asks_what_halves_and_names_what_is_left():
    game = made()
    first = game.oracle(ROW)
    assert len(agreeing(FOUR, first, True)) == 2
    assert game.oracle(ROW, [("furry", "yes :"), ("night", "no :")]) == "dog"
    assert game.oracle(ROW, [("furry", "yes :"), ("cat", "no :"), ("hello", "? :")]) == "dog"
    assert game.oracle(ROW, [("furry", "no :")]) in ATTRIBUTES


@pytest.mark.parametrize("level", ["easy", "medium", "hard"])
def test_only_sets_that_can_be_halved_come_up(level):
    for row in made(level=level, num_prompts=500).prompts("train"):
        assert row["needed"] == ceil(log2(len(row["animals"]))) + 1 == turns_needed(tuple(row["animals"]))
        assert row["prompt"].split() == row["animals"] == sorted(row["animals"])
        assert row["secret"] in row["animals"]
