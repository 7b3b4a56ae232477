"""Twenty questions: which of some animals is meant?"""

from __future__ import annotations

from random import Random

from rltk.interfaces import Row
from rltk_envs.suite.animals import ANIMALS, ATTRIBUTES, agreeing, halving, turns_needed
from rltk_envs.suite.base import Level
from rltk_envs.suite.games import NO_MOVE, Game, Turns, answers

#: How many animals there are, fewest and most of a prompt, and the turns that the best questions take.
_SIZES: dict[Level, tuple[int, int, int, int]] = {
    "easy": (12, 4, 4, 3),
    "medium": (18, 6, 8, 4),
    "hard": (24, 10, 12, 5),
}
_YES, _NO = "yes", "no"


class TwentyQuestions(Game):
    """Find out which of the animals in the prompt the host thinks of, who says yes and no.

    A turn is an attribute, which asks whether it is true of the animal, or the name of an animal. What is
    true of which is the same in every game and not in the prompt: it has to be learnt. Only sets of animals
    come up that questions can halve until one is left: n of them take ceil(log2 n) questions and the name.
    """

    name = "twenty_questions"
    words = (*ANIMALS, *ATTRIBUTES, _YES, _NO, NO_MOVE, ":")
    needed = {level: turns for level, (*_, turns) in _SIZES.items()}
    random_scores = {"easy": 0.001, "medium": 0.001, "hard": 0.002}

    def draw(self, rng: Random, level: Level) -> Row:
        """Return a row with the ``animals`` that come into question and the ``secret``."""
        known, fewest, most, needed = _SIZES[level]
        while True:
            animals = tuple(sorted(rng.sample(list(ANIMALS)[:known], rng.randint(fewest, most))))
            if turns_needed(animals) == needed:
                break
        told = {"prompt": " ".join(animals), "animals": list(animals)}
        return {**told, "secret": rng.choice(animals), "needed": needed}

    def secrets(self, row: Row) -> list[str]:
        """Return the animals of the prompt."""
        return list(row["animals"])

    def answer(self, row: Row, turns: Turns, said: str) -> str:
        """Return whether an attribute is true of the secret; no to another animal."""
        if said not in ANIMALS and said not in ATTRIBUTES:
            return NO_MOVE
        return _YES if said in ANIMALS[row["secret"]] else _NO

    def any_move(self, row: Row, rng: Random) -> str:
        """Return any attribute, or any animal of the prompt."""
        return rng.choice([*ATTRIBUTES, *row["animals"]])

    def oracle(self, row: Row, turns: Turns = ()) -> str:
        """Return a question that leaves as few turns as can be at worst, or the animal where one is left."""
        left = tuple(row["animals"])
        for said, answered in answers(turns):
            if said in ATTRIBUTES:
                left = agreeing(left, said, answered == _YES)
            left = tuple(animal for animal in left if animal != said)
        return left[0] if len(left) == 1 else str(halving(left, turns_needed(left)))
