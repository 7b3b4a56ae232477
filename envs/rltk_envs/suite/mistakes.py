"""Slips of the pen: what becomes of a right response when somebody does not look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

#: Slips that are tried before a task is taken to have no wrong response.
_ATTEMPTS = 1000


def spoiled(words: Sequence[str], others: Sequence[str], rng: Random) -> Iterator[list[str]]:
    """Yield responses that differ from a right one by a word: another one, one too many, or one left out.

    :param others: the words to take another one from.
    :raises RuntimeError: after many, none of which was wrong enough for the caller.
    """
    for _ in range(_ATTEMPTS):
        place, slip = rng.randrange(len(words)), rng.choice(("replace", "insert", "leave out"))
        instead = {
            "replace": [rng.choice(others)],
            "insert": [rng.choice(others), words[place]],
            "leave out": [],
        }
        yield [*words[:place], *instead[slip], *words[place + 1 :]]
    raise RuntimeError(f"no slip makes a wrong response of {list(words)}")
