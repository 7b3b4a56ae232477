"""Reverse: say the prompt backwards."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from rltk.interfaces import Row
from rltk_envs.suite.base import Level, SuiteEnvironment
from rltk_envs.suite.copying import LENGTHS, LETTERS, draw_letters
from rltk_envs.suite.sequences import likeness


class Reverse(SuiteEnvironment):
    """Say the letters of the prompt backwards.

    The score is 1 less the edit distance to the right response, as a share of the longer one. A letter left
    out costs one letter and not all that follow, so there is something to learn from long before it is right.
    """

    name = "reverse"
    words = (*LETTERS, ":")
    random_scores = {"easy": 0.072, "medium": 0.090, "hard": 0.107}

    def draw(self, rng: Random, level: Level) -> Row:
        """Return a row whose prompt is letters."""
        return {"prompt": draw_letters(rng, level)}

    def longest(self, level: Level) -> int:
        """Return the number of letters of the longest prompt."""
        return LENGTHS[level][1]

    def score(self, row: Row, response: str) -> float:
        """Return how near the response is to the prompt read backwards."""
        return likeness(response.split(), row["prompt"].split()[::-1])

    def oracle(self, row: Row, turns: Sequence[tuple[str, str]] = ()) -> str:
        """Return the prompt read backwards."""
        return " ".join(row["prompt"].split()[::-1])
