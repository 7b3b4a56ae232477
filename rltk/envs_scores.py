"""What policies that know nothing, and the one that knows all, score in a text environment."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rltk.bench.answerers import AnsweringPlayer, Oracle
from rltk.bench.players import Player, PolicyPlayer
from rltk.bench.tasks import Task
from rltk.interfaces import Environment
from rltk.testing.acting import TokenPolicy, always


@dataclass(frozen=True)
class Measured:
    """The mean score of some episodes, and its standard error if the episodes are independent."""

    mean: float
    error: float


def random_score(environment: Environment, *, episodes: int, seed: int = 0) -> Measured:
    """Return the score of tokens that are all drawn with the same probability, special ones too."""
    size = len(environment.build_tokenizer())
    policy = TokenPolicy(lambda uniforms: (uniforms[:, 0] * size).astype(np.int64))
    return _measure(environment, PolicyPlayer(policy), episodes, seed)  # type: ignore[arg-type]


def oracle_score(environment: Environment, *, episodes: int, seed: int = 0) -> Measured:
    """Return the score of the environment's oracle.

    :raises UserError: it has none.
    """
    tokenizer = environment.build_tokenizer()
    return _measure(environment, AnsweringPlayer(Oracle(environment, tokenizer), tokenizer), episodes, seed)


def degenerate_scores(environment: Environment, *, episodes: int, seed: int = 0) -> dict[str, Measured]:
    """Return the scores of saying nothing, and of repeating each token, by what is said."""
    tokenizer = environment.build_tokenizer()
    ordinary = sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids))
    said = {"nothing": int(tokenizer.eos_token_id)} | {
        f"{tokenizer.decode([token])!r} again and again": token for token in ordinary
    }
    players: dict[str, Callable[[], Player]] = {
        name: (lambda token=token: PolicyPlayer(always(token)))  # type: ignore[misc, arg-type]
        for name, token in said.items()
    }
    return {name: _measure(environment, player(), episodes, seed) for name, player in players.items()}


def _measure(environment: Environment, player: Player, episodes: int, seed: int) -> Measured:
    rows = environment.prompts("test")
    samples = math.ceil(episodes / len(rows))
    rows = rows[: math.ceil(episodes / samples)]
    task = Task(environment, True, "test", rows, range(len(rows)), seed=seed, samples=samples)
    attempts = player.play(task)
    scores = np.array([environment.metrics(attempt.said)["utility"] for attempt in attempts])
    return Measured(float(scores.mean()), float(scores.std(ddof=1) / math.sqrt(len(scores))))
