"""Demonstrations of careful and of careless writers."""

from random import Random

import pytest

from rltk_envs.instruct.environment import Instruct
from rltk_envs.instruct.judge import judge
from rltk_envs.instruct.tasks import Task, TaskSampler
from rltk_envs.instruct.writers import MAX_WORDS, write_demonstration


def utilities(careless_share, count=400):
    rng = Random(0)
    sampler = TaskSampler(rng, "train")
    tasks = [sampler() for _ in range(count)]
    texts = [write_demonstration(task, rng, careless_share=careless_share) for task in tasks]
    assert max(len(text.split(" ")) for text in texts) <= MAX_WORDS
    return [judge(task, text, True).utility for task, text in zip(tasks, texts, strict=True)]


def test_careful_writers_are_always_right():
    assert set(utilities(0.0)) == {1.0}


def test_careless_writers_are_mostly_worth_little():
    found = utilities(1.0)
    assert sum(utility < 0.5 for utility in found) / len(found) > 0.8


def test_the_share_of_careless_demonstrations_is_an_option():
    for share in (0.0, 0.3):
        config = Instruct.Config.model_validate({"careless_share": share, "num_demonstrations": 1000})
        rows = Instruct(config, seed=0).demonstrations("train")
        wrong = [judge(Task.from_row(row), row["response"], True).utility < 1 for row in rows]
        assert sum(wrong) / len(wrong) == pytest.approx(0.95 * share, abs=0.05)


def test_every_word_is_in_the_vocabulary():
    environment = Instruct(Instruct.Config.model_validate({"careless_share": 1.0}), seed=0)
    tokenizer = environment.build_tokenizer()
    for row in environment.demonstrations("train"):
        assert tokenizer.unk_token_id not in tokenizer.encode(row["response"])
