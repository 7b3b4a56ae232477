"""Tasks: the paper's proportions, splits that never overlap, rows that survive JSON."""

import json
from collections import Counter
from random import Random

import pytest

from rltk_envs.instruct.judge import judge
from rltk_envs.instruct.oracle import demonstrate
from rltk_envs.instruct.tasks import USE_CASES, Task, TaskSampler, all_kinds, split_of

SPLITS = ("train", "validation", "test")


def _draw(split, count, seed=0):
    sampler = TaskSampler(Random(seed), split)
    return [sampler() for _ in range(count)]


def _kind(task):
    return next(kind for kind in all_kinds()[task.use_case] if kind.name == task.kind)


def test_use_cases_are_those_of_table_1_in_its_proportions():
    assert sum(USE_CASES.values()) == pytest.approx(100, abs=0.2)  # the paper's figures are rounded
    counts = Counter(task.use_case for task in _draw("train", 8000))
    for use_case, percent in USE_CASES.items():
        assert counts[use_case] / 80 == pytest.approx(percent, abs=1.7)


def test_every_use_case_has_several_kinds_and_wordings():
    for use_case, kinds in all_kinds().items():
        assert len(kinds) >= 2, use_case
        for kind in kinds:
            assert len(kind.wordings) >= 2
            assert len(kind.test_wordings) >= 1


def test_no_prompt_is_in_two_splits():
    prompts = {split: {task.prompt for task in _draw(split, 2000)} for split in SPLITS}
    assert not prompts["train"] & prompts["validation"]
    assert not prompts["train"] & prompts["test"]
    assert not prompts["validation"] & prompts["test"]


def test_test_wordings_appear_in_test_only():
    for split in SPLITS:
        unseen = 0
        for task in _draw(split, 2000):
            unseen += task.wording >= len(_kind(task).wordings)
        share = unseen / 2000
        assert share == pytest.approx(0.25, abs=0.04) if split == "test" else share == 0


def test_split_of_known_prompts_never_changes():
    """Computed by hand: the first byte of SHA-256, below 180 train, below 218 validation."""
    from hashlib import sha256

    for prompt in ("what is one plus two ?", "describe the dog .", "name two colours ."):
        byte = sha256(prompt.encode()).digest()[0]
        assert split_of(prompt) == ("train" if byte < 180 else "validation" if byte < 218 else "test")


def test_rows_survive_json():
    for task in _draw("train", 300):
        row = json.loads(json.dumps(task.to_row()))
        assert row["prompt"] == task.prompt
        assert Task.from_row(row) == task


def test_same_seed_same_tasks():
    assert _draw("test", 50, seed=3) == _draw("test", 50, seed=3)
    assert _draw("test", 50, seed=3) != _draw("test", 50, seed=4)


@pytest.mark.parametrize("split", SPLITS)
def test_oracle_is_perfect_short_and_various(split):
    rng = Random(1)
    for task in _draw(split, 300):
        responses = {demonstrate(task, rng) for _ in range(4)}
        for response in responses:
            assert judge(task, response, True).utility == 1.0
            assert len(response.split(" ")) <= 16
        assert len(task.prompt.split(" ")) <= 32
        if task.form == "text" and task.expected["shape"] == "statement":
            assert len(responses) > 1
