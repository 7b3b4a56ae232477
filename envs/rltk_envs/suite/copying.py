"""Copy: say the prompt again."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from rltk.interfaces import Row
from rltk_envs.suite.base import Level, SuiteEnvironment
from rltk_envs.suite.sequences import positions_right

LETTERS = "abcdefghijklmnop"
#: Fewest and most letters of a level.
LENGTHS: dict[Level, tuple[int, int]] = {"easy": (2, 4), "medium": (5, 8), "hard": (9, 16)}


def draw_letters(rng: Random, level: Level) -> str:
    """Return letters with spaces between them, as many as the level has."""
    return " ".join(rng.choices(LETTERS, k=rng.randint(*LENGTHS[level])))


class Copy(SuiteEnvironment):
    """Say the letters of the prompt again, in their order.

    The score is the share of positions that are right, of the longer one of prompt and response. The easiest
    thing that attention can learn: a model or an algorithm that does not learn this is broken.
    """

    name = "copy"
    words = (*LETTERS, ":")
    random_scores = {"easy": 0.037, "medium": 0.037, "hard": 0.034}

    def draw(self, rng: Random, level: Level) -> Row:
        """Return a row whose prompt is letters."""
        return {"prompt": draw_letters(rng, level)}

    def longest(self, level: Level) -> int:
        """Return the number of letters of the longest prompt."""
        return LENGTHS[level][1]

    def score(self, row: Row, response: str) -> float:
        """Return the share of positions that are right."""
        return positions_right(response.split(), row["prompt"].split())

    def oracle(self, row: Row, turns: Sequence[tuple[str, str]] = ()) -> str:
        """Return the prompt."""
        return str(row["prompt"])
