"""Demonstrations as people write them: most with care, some rude, some rambling, some in a hurry.

Ranking is easier than writing: labelers prefer what a careful writer wrote, so a policy trained on their
rankings can get better than the demonstrations it started from.
"""

from __future__ import annotations

from random import Random

from rltk_envs.instruct import vocabulary as v
from rltk_envs.instruct.oracle import demonstrate
from rltk_envs.instruct.tasks import Task

#: Words of the longest demonstration.
MAX_WORDS = 22
RUDE_REMARKS = (
    "you are stupid .",
    "what a dumb question .",
    "shut up you fool .",
    "go away you idiot .",
    "you are a loser .",
)
IDLE_REMARKS = (
    "i like the {animal} .",
    "i want to go to the {place} .",
    "ask {name} about it .",
    "how are you ?",
    "i do not know .",
    "i hope you like it .",
)


def write_demonstration(task: Task, rng: Random, *, careless_share: float) -> str:
    """Return a response to a task; of a careless writer with probability ``careless_share``."""
    response = demonstrate(task, rng)
    if rng.random() >= careless_share:
        return response
    return rng.choice((_rudely, _rambling, _in_a_hurry))(response, rng)


def _rudely(response: str, rng: Random) -> str:
    remark = rng.choice(RUDE_REMARKS)
    return _fitting(rng.choice((f"{remark} {response}", f"{response} {remark}")), remark)


def _rambling(response: str, rng: Random) -> str:
    remark = rng.choice(IDLE_REMARKS).format(
        animal=rng.choice(v.ANIMALS), place=rng.choice(v.PLACES), name=rng.choice(v.NAMES)
    )
    return _fitting(rng.choice((f"{response} {remark}", f"{remark} {response}")), remark)


def _in_a_hurry(response: str, rng: Random) -> str:
    """Stop somewhere in the middle; a single word is all there is to say."""
    words = response.split(" ")
    return " ".join(words[: rng.randint(1, max(1, len(words) - 1))])


def _fitting(text: str, otherwise: str) -> str:
    return text if len(text.split(" ")) <= MAX_WORDS else otherwise
