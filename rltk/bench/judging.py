"""What attempts are worth: the truth, a proxy, and what else there is to say of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rltk.bench.plan import Cell
from rltk.bench.records import Record
from rltk.bench.tasks import Attempt, Task, prompt_key
from rltk.errors import UserError
from rltk.scoring import Score, score_episodes


def judge(cell: Cell, task: Task, attempts: Sequence[Attempt], reward: Any) -> list[Record]:
    """Return a record of each attempt.

    The score is the environment's ``utility``; where a text environment has none, the reward; without text,
    the return.

    :param reward: a proxy, or None.
    :raises UserError: there is nothing to score by, or a score is not finite.
    """
    rewards: Sequence[Score] = [None] * len(attempts)
    if reward is not None and task.text:
        rewards = score_episodes(reward, [attempt.said for attempt in attempts])
    return [
        _record(cell, task, number, attempt, _total(score))
        for number, (attempt, score) in enumerate(zip(attempts, rewards, strict=True))
    ]


def _record(cell: Cell, task: Task, number: int, attempt: Attempt, reward: float | None) -> Record:
    place, sample = divmod(number, task.samples)
    row = task.rows[place]
    metrics = {} if attempt.episode is None else dict(task.environment.metrics(attempt.episode))
    return Record(
        policy=cell.policy,
        train_seed=cell.train_seed,
        environment=cell.environment,
        seed=cell.seed,
        prompt=task.indices[place],
        prompt_key=prompt_key(row),
        sample=sample,
        score=_score(attempt, metrics.pop("utility", None), reward),
        reward=reward,
        kl=attempt.kl if attempt.kl is not None and math.isfinite(attempt.kl) else None,
        prompt_text=row["prompt"] if task.text else "",
        response=attempt.said.response if task.text else "",
        length=attempt.length,
        terminated=attempt.terminated,
        truncated=attempt.truncated,
        metrics=_floats(metrics),
    )


def _score(attempt: Attempt, utility: float | None, reward: float | None) -> float:
    score = attempt.score if attempt.episode is None else reward if utility is None else utility
    if score is None:
        fix = "set a reward for it in the bench"
        raise UserError("score", "the environment has no truth to score by", fix=fix)
    if not math.isfinite(score):
        raise UserError("score", "it is not finite", got=score, fix="repair the environment")
    return float(score)


def _floats(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the measures that are numbers; JSON has no others."""
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def _total(score: Score) -> float | None:
    return float(sum(score)) if isinstance(score, list) else score
