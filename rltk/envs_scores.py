"""What policies that know nothing, and the one that knows all, score in a text environment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rltk.bench.answerers import AnsweringPlayer, Oracle
from rltk.bench.players import Player, PolicyPlayer
from rltk.bench.tasks import Task
from rltk.interfaces import Environment
from rltk.rng import EpisodeStream
from rltk.testing.acting import TokenPolicy
from rltk.types import Action

#: Most tokens that are tried by themselves.
_TOKENS = 200


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


def degenerate_scores(environment: Environment, *, rows: int, seed: int = 0) -> dict[str, float]:
    """Return the mean scores of saying nothing, and of repeating a token, by what is said.

    :param rows: prompts that each is tried on.
    """
    tokenizer = environment.build_tokenizer()
    ordinary = np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)
    spread = np.linspace(0, len(ordinary) - 1, min(len(ordinary), _TOKENS)).astype(np.int64)
    tokens = np.array([tokenizer.eos_token_id, *ordinary[spread]])
    names = ["nothing", *(f"{tokenizer.decode([token])!r} again and again" for token in tokens[1:])]
    scores = _scores(environment, PolicyPlayer(_Repeating(tokens)), rows, len(tokens), seed)  # type: ignore[arg-type]
    return dict(zip(names, scores.mean(0).tolist(), strict=True))


@dataclass(frozen=True)
class _Repeating:
    """Says one token in all of an episode, another one in the next."""

    tokens: NDArray[np.int64]

    def session(self, num_envs: int) -> _Repeating:
        return self

    def act(self, observations: Any, *, stream: EpisodeStream, active: Any, deterministic: bool) -> Action:
        said = self.tokens[stream.episodes % len(self.tokens)]
        return Action(torch.from_numpy(said), torch.zeros(len(said)))


def _measure(environment: Environment, player: Player, episodes: int, seed: int) -> Measured:
    available = len(environment.prompts("test"))
    samples = math.ceil(episodes / available)
    scores = _scores(environment, player, math.ceil(episodes / samples), samples, seed)
    return Measured(float(scores.mean()), float(scores.std(ddof=1) / math.sqrt(scores.size)))


def _scores(
    environment: Environment, player: Player, rows: int, samples: int, seed: int
) -> NDArray[np.float64]:
    """Return the scores ``[prompts, samples]`` of a player on the first prompts of the test split."""
    dealt = environment.prompts("test")[:rows]
    task = Task(environment, True, "test", dealt, range(len(dealt)), seed=seed, samples=samples)
    scores = [environment.metrics(attempt.said)["utility"] for attempt in player.play(task)]
    return np.array(scores).reshape(len(dealt), samples)
