"""The animals of the twenty questions, and how few questions tell some of them apart."""

from __future__ import annotations

from functools import cache
from itertools import count

#: What is true of each animal; no two are alike in all of it.
ANIMALS = {
    "ant": {"lays"},
    "bat": {"flies", "furry", "hunts", "night"},
    "bear": {"big", "furry", "hunts", "swims"},
    "bee": {"flies", "lays"},
    "cat": {"furry", "hunts", "night", "tame"},
    "cow": {"big", "tame"},
    "deer": {"big", "furry"},
    "dog": {"furry", "hunts", "tame"},
    "duck": {"flies", "lays", "swims", "tame"},
    "eagle": {"flies", "hunts", "lays"},
    "fox": {"furry", "hunts", "night"},
    "frog": {"lays", "swims"},
    "hen": {"lays", "tame"},
    "lion": {"big", "furry", "hunts"},
    "mouse": {"furry", "night"},
    "owl": {"flies", "hunts", "lays", "night"},
    "penguin": {"hunts", "lays", "swims"},
    "pig": {"tame"},
    "rabbit": {"furry", "tame"},
    "seal": {"furry", "hunts", "swims"},
    "shark": {"big", "hunts", "swims"},
    "snake": {"hunts", "lays"},
    "swan": {"flies", "lays", "swims"},
    "whale": {"big", "swims"},
}
#: What can be asked: does it fly, is it big, does it lay eggs, is it about at night, ...
ATTRIBUTES = tuple(sorted(set().union(*ANIMALS.values())))
Animals = tuple[str, ...]


def agreeing(animals: Animals, attribute: str, answer: bool) -> Animals:
    """Return those animals of which an attribute is true, or is not."""
    return tuple(animal for animal in animals if (attribute in ANIMALS[animal]) == answer)


def turns_needed(animals: Animals) -> int:
    """Return how many turns the best questions take at worst, the one that names the animal included."""
    return next(turns for turns in count(1) if are_enough(turns, animals))


def are_enough(turns: int, animals: Animals) -> bool:
    """Return whether so many turns always do, the one that names the animal included."""
    return turns > 0 and (len(animals) == 1 or halving(animals, turns) is not None)


@cache
def halving(animals: Animals, turns: int) -> str | None:
    """Return a question after whose answer ``turns - 1`` turns are enough; None where there is none.

    A question has two answers, so no more than 2 ** (turns - 1) animals can be told apart.
    """
    if len(animals) > 2 ** (turns - 1):
        return None
    for attribute in ATTRIBUTES:
        parts = [agreeing(animals, attribute, answer) for answer in (True, False)]
        if all(part and are_enough(turns - 1, part) for part in parts):
            return attribute
    return None
