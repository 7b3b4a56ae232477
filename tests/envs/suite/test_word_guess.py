"""The word game: marks, hints, masks and the fewest guesses by hand."""

from itertools import permutations

import gymnasium as gym
import numpy as np
import pytest

from rltk.bench.answerers import AnsweringPlayer, Oracle
from rltk.bench.tasks import Task
from rltk_envs.suite.games import Host
from rltk_envs.suite.word_guess import WordGuess
from rltk_envs.suite.word_lists import LETTERS, WORDS, groups, guesses_needed, marks

WORD_ROW = {"words": ["ear", "oil", "rat", "tar"], "secret": "t a r", "needed": 2}
ROW = {"prompt": "e a r , o i l , r a t , t a r", **WORD_ROW}


def made(**options):
    return WordGuess(WordGuess.Config(**options), seed=0)


@pytest.mark.parametrize(
    ("guess", "secret", "expected"),
    [
        ("tar", "tar", "+++"),
        ("rat", "tar", "-+-"),
        ("oil", "tar", "..."),
        ("eel", "lee", "-+-"),
        ("eel", "ale", "-.-"),  # one e of two is in the word, and the left one counts
        ("eel", "ear", "+.."),
        ("spoon", "stone", "+.+.-"),  # the one o is in its place, and the other stands for nothing
        ("state", "taste", "---++"),
    ],
)
def test_marks_by_hand(guess, secret, expected):
    assert marks(guess, secret) == expected


def test_words_have_the_length_that_they_are_listed_under_and_stand_there_once():
    for length, text in WORDS.items():
        words = text.split()
        assert {len(word) for word in words} == {length} and len(set(words)) == len(words)
    assert "".join(LETTERS) == "adeilnoprst"


def test_the_host_marks_words_of_the_prompt_and_no_others():
    host = Host(made(), ROW)
    heard = [host.reply(said) for said in ("r a t", "t a p", "rat", "e a r")]
    assert heard == ["- + - :", "? :", "? :", ". + + :"]
    assert host.reply("t a r") is None


def test_at_the_hard_level_a_guess_that_contradicts_a_mark_is_refused():
    host = Host(made(level="hard"), ROW)
    assert host.reply("o i l") == ". . . :"
    assert host.reply("o i l") == "? :"  # o is not in the word
    assert host.reply("e a r") == ". + + :"
    assert host.reply("r a t") == "? :"
    assert host.reply("t a r") is None


def plainly_needed(words):
    """Return how many guesses find any of some words, by trying all that can be right in every turn."""
    if len(words) <= 1:
        return len(words)
    return 1 + min(max(map(plainly_needed, groups(guess, words)), default=0) for guess in words)


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("tar",), 1),
        (("rat", "tar"), 2),
        (("ear", "oil", "rat", "tar"), 2),  # rat: -+- tar, .+- ear, ... oil
        (("lap", "nap", "rap", "tap"), 4),  # all alike in what they have in common: one after the other
    ],
)
def test_the_guesses_needed_by_hand(words, needed):
    assert guesses_needed(words) == needed == plainly_needed(words)
    assert all(guesses_needed(order) == needed for order in permutations(words))


def test_the_oracle_says_what_can_be_right():
    game = made()
    assert game.oracle(ROW) == "e a r"  # tells all others apart: oil ..., rat .+-, tar .++
    assert game.oracle(ROW, [("e a r", ". + + :")]) == "t a r"
    assert game.oracle(ROW, [("o i l", ". . . :"), ("hello", "? :"), ("r a t", "- + - :")]) == "t a r"


@pytest.mark.parametrize("level", ["easy", "hard"])
def test_masks_allow_the_letters_of_welcome_words_and_nothing_else(level):
    game = made(level=level, masked=True)
    assert game.score_bounds() is None
    assert game.may_follow(ROW, []) == {"e", "o", "r", "t"}
    assert game.may_follow(ROW, ["r"]) == {"a"}
    assert game.may_follow(ROW, ["r", "a", "t"]) == set() == game.may_follow(ROW, ["d"])
    heard = ["r", "a", "t", "<eos>", "-", "+", "-", ":"]
    assert game.may_follow(ROW, heard) == ({"t"} if level == "hard" else {"e", "o", "r", "t"})
    assert game.may_follow(ROW, [*heard, *["t", "a"]]) == {"r"}


def test_an_episode_of_allowed_tokens_is_a_game_of_words():
    env = gym.make("rltk/WordGuess-v0", level="hard", masked=True, split="test", heldout_prompts=20)
    rng = np.random.default_rng(0)
    for episode in range(20):
        _, info = env.reset(seed=episode)
        over = False
        while not over:
            token = rng.choice(np.flatnonzero(info["action_mask"]))
            _, reward, over, truncated, info = env.step(int(token))
            assert not truncated
        played = info["finished"].episode
        row = {"prompt": played.prompt, **played.columns}
        assert all(said in made().secrets(row) and answered != "? :" for said, answered in played.turns)
        assert len({said for said, _ in played.turns}) == len(played.turns)
        assert reward == made().gold(played)


def test_the_oracle_keeps_within_the_masks():
    game = made(level="hard", masked=True, heldout_prompts=40)
    rows, tokenizer = game.prompts("test"), game.build_tokenizer()
    task = Task(game, True, "test", rows, range(len(rows)), seed=0, samples=1)
    played = AnsweringPlayer(Oracle(game, tokenizer), tokenizer).play(task)
    assert [game.gold(attempt.said) for attempt in played] == [1.0] * 40
