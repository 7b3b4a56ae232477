"""Guess the number: between two others, with "higher" and "lower" as the only help."""

from __future__ import annotations

from random import Random

from rltk.interfaces import Row
from rltk_envs.suite.base import Level
from rltk_envs.suite.games import NO_MOVE, Game, Turns, answers

#: Fewest and most numbers that come into question, which all take the same number of guesses; the largest.
_SIZES: dict[Level, tuple[int, int, int]] = {"easy": (4, 7, 30), "medium": (8, 15, 40), "hard": (16, 31, 50)}
_HIGHER, _LOWER = "higher", "lower"


class GuessNumber(Game):
    """Find the number that the host thinks of; it says whether it is higher or lower than a guess.

    The prompt says between which numbers it is, both included. Who always guesses the middle one of those
    that are left needs floor(log2 n) + 1 guesses at worst for n numbers, and nobody needs fewer.
    """

    name = "guess_number"
    words = (
        *(str(number) for number in range(1, _SIZES["hard"][2] + 1)),
        "to",
        _HIGHER,
        _LOWER,
        NO_MOVE,
        ":",
    )
    needed = {level: most.bit_length() for level, (_, most, _) in _SIZES.items()}
    random_scores = {"easy": 0.001, "medium": 0.001, "hard": 0.001}

    def draw(self, rng: Random, level: Level) -> Row:
        """Return a row with the ``lowest`` and the ``highest`` number and the ``secret``."""
        fewest, most, largest = _SIZES[level]
        size = rng.randint(fewest, most)
        lowest = rng.randint(1, largest - size + 1)
        highest = lowest + size - 1
        told = {"prompt": f"{lowest} to {highest}", "lowest": lowest, "highest": highest}
        return {**told, "secret": str(rng.randint(lowest, highest)), "needed": size.bit_length()}

    def secrets(self, row: Row) -> list[str]:
        """Return the numbers of the range."""
        return [str(number) for number in range(row["lowest"], row["highest"] + 1)]

    def answer(self, row: Row, turns: Turns, said: str) -> str:
        """Return whether the secret is higher or lower than what was said."""
        if said not in self.words or not said.isdecimal():
            return NO_MOVE
        return _HIGHER if int(row["secret"]) > int(said) else _LOWER

    def any_move(self, row: Row, rng: Random) -> str:
        """Return any number between those of the prompt."""
        return str(rng.randint(row["lowest"], row["highest"]))

    def oracle(self, row: Row, turns: Turns = ()) -> str:
        """Return the middle one of the numbers that agree with all answers."""
        lowest, highest = row["lowest"], row["highest"]
        for said, answered in answers(turns):
            if answered == _HIGHER:
                lowest = max(lowest, int(said) + 1)
            if answered == _LOWER:
                highest = min(highest, int(said) - 1)
        return str((lowest + highest) // 2)
