"""Mistaken answers are worth little to the judge, whatever the task, and differ."""

from random import Random

import pytest

from rltk_envs.instruct.judge import judge
from rltk_envs.instruct.mistakes import WORTH, mistaken
from rltk_envs.instruct.tasks import all_kinds

KINDS = [kind for kinds in all_kinds().values() for kind in kinds]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.use_case}-{kind.name}")
def test_a_mistake_is_worth_little(kind):
    rng = Random(0)
    tasks = [kind.task(rng) for _ in range(20)]
    responses = [mistaken(task, rng) for task in tasks]
    assert max(judge(task, text, True).utility for task, text in zip(tasks, responses, strict=True)) <= WORTH
    assert len(set(responses)) > 3
