"""Word guess: which of some words is it, by what a guess has in common with it?"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from rltk.interfaces import Row
from rltk_envs.suite.base import Level
from rltk_envs.suite.games import NO_MOVE, Game, Turns, answers
from rltk_envs.suite.word_lists import (
    ABSENT,
    ELSEWHERE,
    LETTERS,
    PLACED,
    WORDS,
    guesses_after,
    guesses_needed,
    marks,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

#: Letters of a word, and words of a prompt.
_SIZES: dict[Level, tuple[int, int]] = {"easy": (3, 4), "medium": (4, 6), "hard": (5, 8)}
#: Levels at which a guess has to agree with everything that was answered.
_STRICT = ("hard",)


class WordGuess(Game):
    """Find the word that the host thinks of, among those of the prompt; it marks each letter of a guess.

    A mark says that a letter is in its place, elsewhere in the word, or not there. At the hard level a guess
    that contradicts the marks of former ones is refused. Spelling, copying, and putting two and two together.
    """

    name = "word_guess"
    words = (*LETTERS, PLACED, ELSEWHERE, ABSENT, ",", NO_MOVE, ":")
    needed = {"easy": 3, "medium": 3, "hard": 3}
    random_scores = {"easy": 0.0, "medium": 0.0, "hard": 0.0}

    class Config(Game.Config):
        """Options of the word game."""

        masked: bool = Field(
            False, description="Allow only letters that spell a word that would not be refused."
        )

    config: Config

    def draw(self, rng: Random, level: Level) -> Row:
        """Return a row with the ``words`` that come into question and the ``secret``."""
        letters, count = _SIZES[level]
        while True:
            words = tuple(sorted(rng.sample(WORDS[letters].split(), count)))
            needed = guesses_needed(words)
            if needed <= self.needed[level]:
                break
        told = {"prompt": " , ".join(map(" ".join, words)), "words": list(words), "needed": needed}
        return {**told, "secret": " ".join(rng.choice(words))}

    def secrets(self, row: Row) -> list[str]:
        """Return the words of the prompt, letter by letter."""
        return [" ".join(word) for word in row["words"]]

    def lengths(self, level: Level) -> tuple[int, int]:
        """Return the number of letters, which is that of marks."""
        letters, _ = _SIZES[level]
        return letters, letters

    def answer(self, row: Row, turns: Turns, said: str) -> str:
        """Return the marks of a word of the prompt."""
        if said not in map(" ".join, self._welcome(row, turns)):
            return NO_MOVE
        return " ".join(marks(_word(said), _word(row["secret"])))

    def any_move(self, row: Row, rng: Random) -> str:
        """Return any word of the prompt."""
        return " ".join(rng.choice(row["words"]))

    def oracle(self, row: Row, turns: Turns = ()) -> str:
        """Return a word that agrees with all answers and leaves as few guesses as can be at worst."""
        left = _agreeing(row, turns)
        best: str = min(left, key=lambda guess: guesses_after(guess, left))
        return " ".join(best)

    def task_options(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Return who answers and, where asked for, which letters may come next."""
        options = super().task_options(tokenizer)
        if not self.config.masked:
            return options

        def allowed_tokens(row: Row, tokens: tuple[int, ...]) -> NDArray[np.bool_]:
            follow = self.may_follow(row, tokenizer.convert_ids_to_tokens(list(tokens)))
            mask = np.zeros(len(tokenizer), dtype=np.bool_)
            mask[tokenizer.convert_tokens_to_ids(sorted(follow)) or [tokenizer.eos_token_id]] = True
            return mask

        return {**options, "allowed_tokens": allowed_tokens}

    def may_follow(self, row: Row, said: Sequence[str]) -> set[str]:
        """Return the letters that go on towards a welcome word; none where one is complete, or out of reach.

        :param said: all that followed the prompt, token by token.
        """
        *before, now = " ".join(said).split(":")
        turns = [(turn, f"{marked.strip()} :") for turn, marked in map(_turn, before)]
        begun = _word(now)
        welcome = [word for word in self._welcome(row, turns) if word.startswith(begun)]
        return {word[len(begun)] for word in welcome if word != begun}

    def score_bounds(self) -> tuple[float, float] | None:
        """Return the scores of random tokens and of the oracle; None where tokens are restricted."""
        return None if self.config.masked else super().score_bounds()

    def _welcome(self, row: Row, turns: Turns) -> Sequence[str]:
        return _agreeing(row, turns) if self.config.level in _STRICT else row["words"]


def _agreeing(row: Row, turns: Turns) -> tuple[str, ...]:
    """Return the words of the prompt that would have been answered as the secret was."""
    marked = [(_word(said), _word(answered)) for said, answered in answers(turns) if answered != NO_MOVE]
    return tuple(word for word in row["words"] if all(marks(said, word) == seen for said, seen in marked))


def _word(letters: str) -> str:
    return letters.replace(" ", "")


def _turn(text: str) -> tuple[str, str]:
    """Return what was said and answered, of a turn as the tokens tell it."""
    said, _, answered = text.partition("<eos>")
    return said.strip(), answered.strip()
