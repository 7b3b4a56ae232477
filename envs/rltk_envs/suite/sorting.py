"""Sort: say the numbers of the prompt in ascending order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from random import Random

from rltk.interfaces import Row
from rltk_envs.suite.base import Level, SuiteEnvironment

DIGITS = "0123456789"
#: Fewest and most digits of a level.
LENGTHS: dict[Level, tuple[int, int]] = {"easy": (3, 5), "medium": (6, 9), "hard": (10, 16)}


class Sort(SuiteEnvironment):
    """Say the digits of the prompt in ascending order, repetitions too.

    The score is the product of two shares: how much of the longer one of prompt and response is in both, and
    how many neighbours in the response are in order. Either alone could be had for nothing, by copying the
    prompt or by repeating one digit; what a policy makes of the product shows whether it looks for such ways.
    """

    name = "sort"
    words = (*DIGITS, ":")
    random_scores = {"easy": 0.109, "medium": 0.145, "hard": 0.159}

    def draw(self, rng: Random, level: Level) -> Row:
        """Return a row whose prompt is digits."""
        return {"prompt": " ".join(rng.choices(DIGITS, k=rng.randint(*LENGTHS[level])))}

    def longest(self, level: Level) -> int:
        """Return the number of digits of the longest prompt."""
        return LENGTHS[level][1]

    def score(self, row: Row, response: str) -> float:
        """Return the share in common times the share in order."""
        said, given = response.split(), row["prompt"].split()
        common = (Counter(said) & Counter(given)).total() / max(len(said), len(given))
        pairs = list(pairwise(said))
        ordered = sum(a <= b for a, b in pairs) / len(pairs) if pairs else 1.0
        return common * ordered

    def oracle(self, row: Row, turns: Sequence[tuple[str, str]] = ()) -> str:
        """Return the digits in order."""
        return " ".join(sorted(row["prompt"].split()))
