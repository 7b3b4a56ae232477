"""Guess the number: answers, scores and bisection by hand; what all games of several turns have in common."""

from collections import Counter
from math import floor, log2

import pytest

from rltk.episode import Episode
from rltk_envs.suite.games import Host
from rltk_envs.suite.guess_number import GuessNumber

LEVELS = ("easy", "medium", "hard")
ROW = {"prompt": "3 to 9", "lowest": 3, "highest": 9, "secret": "4", "needed": 3}


def made(**options):
    return GuessNumber(GuessNumber.Config(**options), seed=0)


def play(game, row):
    """Return what the oracle says until the game is over."""
    host, turns = Host(game, row), []
    while True:
        said = game.oracle(row, turns)
        reply = host.reply(said)
        turns.append((said, reply or ""))
        if reply is None:
            return turns


def test_the_host_answers_until_the_number_is_said():
    host = Host(made(), ROW)
    said = ["6", "1", "sixty", "60", "", "6 6", "4"]
    heard = ["lower :", "higher :", "? :", "? :", "? :"]
    assert [host.reply(turn) for turn in said[:5]] == heard
    assert host.reply("6") is None  # the sixth turn is the last of three needed and three more
    assert Host(made(), ROW).reply("4") is None


@pytest.mark.parametrize(
    ("said", "utility"),
    [
        (["4"], 1.0),
        (["6", "4"], 1.0),
        (["6", "3", "4"], 1.0),
        (["6", "3", "5", "4"], 0.5),
        (["6", "", "6 4", "5", "4"], 0.25),
        (["9", "8", "7", "6", "5", "4"], 0.125),
        (["9", "8", "7", "6", "5", "3"], 0.0),
        (["9", "8", "7", "6", "5", "3", "4"], 0.0),
        (["6", "4 4"], 0.0),
        ([""], 0.0),
    ],
)
def test_every_turn_too_many_halves_the_score(said, utility):
    turns = tuple((turn, "?") for turn in said)
    metrics = made().metrics(Episode(ROW["prompt"], " ".join(said), columns=ROW, turns=turns))
    counted = {"found": float(utility > 0), "turns": len(said)}
    assert metrics == {"utility": utility, "exact": float(utility == 1.0), **counted}
    assert made().score({**ROW, "turns": turns[:-1]}, said[-1]) == utility


def test_the_oracle_halves_what_is_left_whoever_asked_before():
    game = made()
    assert game.oracle(ROW) == "6"
    assert game.oracle(ROW, [("6", "lower :")]) == "4"
    assert game.oracle(ROW, [("6", "lower :"), ("9", "lower :"), ("hello", "? :"), ("3", "higher :")]) == "4"
    assert game.oracle(ROW, [("1", "higher :")]) == "6"


@pytest.mark.parametrize("level", LEVELS)
def test_the_oracle_needs_no_more_than_bisection_for_every_number(level):
    game = made(level=level)
    sizes = {(row["lowest"], row["highest"]): row for row in game.prompts("train")}
    for (lowest, highest), row in sizes.items():
        count = highest - lowest + 1
        assert row["needed"] == floor(log2(count)) + 1 == game.needed[level]
        games = [play(game, {**row, "secret": str(secret)}) for secret in range(lowest, highest + 1)]
        assert max(map(len, games)) == row["needed"]
        assert all(turns[-1][0] == str(lowest + place) for place, turns in enumerate(games))
        assert all(number <= 2 ** (guesses - 1) for guesses, number in Counter(map(len, games)).items())
