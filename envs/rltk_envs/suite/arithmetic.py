"""Arithmetic: sums, differences and products, digit by digit."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from rltk.interfaces import Row
from rltk_envs.suite.base import Level, SuiteEnvironment
from rltk_envs.suite.sequences import positions_right

#: Largest number of a sum or difference.
_LARGEST: dict[Level, int] = {"easy": 9, "medium": 99, "hard": 999}
_OPERATIONS: dict[Level, str] = {"easy": "+-", "medium": "+-", "hard": "+-*"}
#: The most that a response in the wrong may be worth.
_WRONG = 0.5


class Arithmetic(SuiteEnvironment):
    """Add and subtract numbers of one, two or three digits; the hardest level multiplies too.

    A character is a token. The right number is worth 1; any other text half the share of its characters that
    are right, counted from the last, where a carry cannot have gone wrong yet. The plain case of rewards that
    can be verified: ``exact`` says whether the number is right.
    """

    name = "arithmetic"
    words = (*"0123456789+-*=",)
    space = ""
    template = "{prompt}="
    random_scores = {"easy": 0.020, "medium": 0.021, "hard": 0.022}

    def draw(self, rng: Random, level: Level) -> Row:
        """Return a row with an ``answer``; factors are at most 99 and 9."""
        operation = rng.choice(_OPERATIONS[level])
        largest = (99, 9) if operation == "*" else (_LARGEST[level], _LARGEST[level])
        a, b = (rng.randint(0, number) for number in largest)
        answer = {"+": a + b, "-": a - b, "*": a * b}[operation]
        return {"prompt": f"{a}{operation}{b}", "answer": str(answer)}

    def longest(self, level: Level) -> int:
        """Return the number of characters of the longest sum or difference."""
        return max(len(str(2 * _LARGEST[level])), len(str(-_LARGEST[level])))

    def score(self, row: Row, response: str) -> float:
        """Return 1 for the right number, less for some of its last digits."""
        if response == row["answer"]:
            return 1.0
        return _WRONG * positions_right(response[::-1], row["answer"][::-1])

    def oracle(self, row: Row, turns: Sequence[tuple[str, str]] = ()) -> str:
        """Return the number."""
        return str(row["answer"])
