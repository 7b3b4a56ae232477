"""Demonstrations: responses that the judge gives full marks, many for each task."""

from __future__ import annotations

import dataclasses
from random import Random

from rltk_envs.instruct import grammar
from rltk_envs.instruct import vocabulary as v
from rltk_envs.instruct.judge import judge
from rltk_envs.instruct.tasks import Task

_ATTEMPTS = 100_000
_MAX_WORDS = 16


def demonstrate(task: Task, rng: Random) -> str:
    """Return a correct response, at most 16 words long.

    :raises RuntimeError: when none is found, which a task that can be solved never causes.
    """
    for _ in range(_ATTEMPTS):
        response = _WRITERS[task.form](task, rng)
        if len(response.split(" ")) <= _MAX_WORDS and judge(task, response, True).utility == 1.0:
            return response
    raise RuntimeError(f"no demonstration found for {task.prompt!r}")


def _text(task: Task, rng: Random) -> str:
    shape, mentions = task.expected["shape"], task.expected["mentions"]
    mark = grammar.SHAPES[shape][1]
    cast = grammar.EVERYTHING
    if "use" in task.constraint:  # rare in free writing, so the search would be long
        qualities = [task.constraint["use"], rng.choice(v.ADJECTIVES)]
        cast = dataclasses.replace(cast, adjectives=qualities, colours=qualities)
    sentences = (grammar.write(rng, shape, mentions, cast) for _ in range(task.expected["sentences"]))
    return " ".join(word for sentence in sentences for word in (*sentence, mark))


def _list(task: Task, rng: Random) -> str:
    members = [member for member in task.expected["members"] if member != task.constraint.get("avoid")]
    items = members if task.expected["all"] else rng.sample(members, task.expected["count"])
    return " , ".join(items)


def _answer(task: Task, rng: Random) -> str:
    return rng.choice(list(task.expected["accepted"]))


_WRITERS = {"text": _text, "list": _list, "answer": _answer}
