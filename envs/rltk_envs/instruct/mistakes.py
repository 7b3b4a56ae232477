"""Wrong answers, as people and half-trained models give them."""

from __future__ import annotations

from random import Random

from rltk_envs.instruct import vocabulary as v
from rltk_envs.instruct.judge import judge
from rltk_envs.instruct.oracle import demonstrate
from rltk_envs.instruct.tasks import Task, all_kinds

#: Most that a mistaken answer is worth.
WORTH = 0.5
_ATTEMPTS = 20
_KINDS = {(kind.use_case, kind.name): kind for kinds in all_kinds().values() for kind in kinds}


def mistaken(task: Task, rng: Random) -> str:
    """Return a response to the task that the judge finds worth at most ``WORTH``.

    Mostly the right answer to another question of the same kind, or the right one with a word exchanged for
    another of its sort, left out or said twice.
    """
    for _ in range(_ATTEMPTS):
        response = rng.choice((_to_another_question, _to_another_question, _exchanged, _shortened, _doubled))(
            task, rng
        )
        if response and judge(task, response, True).utility <= WORTH:
            return response
    return demonstrate(_KINDS["generation", "sentence"].task(rng), rng) + " ."


def _to_another_question(task: Task, rng: Random) -> str:
    return demonstrate(_KINDS[task.use_case, task.kind].task(rng), rng)


def _exchanged(task: Task, rng: Random) -> str:
    words = demonstrate(task, rng).split(" ")
    places = [i for i, word in enumerate(words) if word in _SORT_OF]
    if places:
        place = rng.choice(places)
        words[place] = rng.choice(_SORT_OF[words[place]])
    return " ".join(words)


def _shortened(task: Task, rng: Random) -> str:
    words = demonstrate(task, rng).split(" ")
    del words[rng.randrange(len(words))]
    return " ".join(words)


def _doubled(task: Task, rng: Random) -> str:
    words = demonstrate(task, rng).split(" ")
    words.insert(rng.randrange(len(words)), rng.choice(words))
    return " ".join(words)


_SORTS = (v.NAMES, v.ANIMALS, v.PLACES, v.FOODS, v.OBJECTS, v.COLOURS, v.ADJECTIVES)
_SORT_OF = {word: sort for sort in _SORTS for word in sort}
