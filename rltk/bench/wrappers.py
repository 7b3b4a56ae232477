"""Policies around policies: the best of several answers, and demonstrations before each prompt."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from rltk.bench.players import Player
from rltk.bench.tasks import Attempt, Task
from rltk.episode import Episode
from rltk.errors import UserError
from rltk.few_shot import as_plain, few_shot_prefix
from rltk.interfaces import Environment
from rltk.scoring import Score, score_episodes
from rltk.stats import best_of_n_kl


class BestOf(Player):
    """Plays ``count`` episodes for each that is asked for, and keeps the one with the best score.

    Of equal scores the first is kept, so that the best of one is the policy itself.

    :param of: who plays.
    :param reward: what scores the episodes; None: the environment's own utility.
    :param from_reference: whether ``of`` is the policy that KL is measured to; then every attempt's is
        that of :func:`rltk.stats.best_of_n_kl`.
    """

    def __init__(self, of: Player, count: int, reward: Any, *, from_reference: bool = False) -> None:
        self.of, self.count, self.reward = of, count, reward
        self.tokenizer = of.tokenizer
        self.kl = float(best_of_n_kl(count)) if from_reference else None

    def play(self, task: Task) -> list[Attempt]:
        """Return the best attempts; see :meth:`rltk.bench.players.Player.play`."""
        many = dataclasses.replace(task, samples=task.samples * self.count, reference=None)
        attempts = self.of.play(many)
        scores = self._scores(task.environment, [attempt.said for attempt in attempts])
        groups = range(0, len(attempts), self.count)
        best = [max(range(start, start + self.count), key=scores.__getitem__) for start in groups]
        return [attempts[index].replace(kl=self.kl) for index in best]

    def _scores(self, environment: Environment, episodes: Sequence[Episode]) -> list[float]:
        if self.reward is not None:
            return [_total(score) for score in score_episodes(self.reward, episodes)]
        measured = [environment.metrics(episode) for episode in episodes]
        if "utility" not in measured[0]:
            fix = "set reward: to choose by"
            raise UserError("best_of", "the environment has no truth to choose by", fix=fix)
        return [float(metrics["utility"]) for metrics in measured]


class FewShot(Player):
    """Puts demonstrations of the environment before each prompt, the same for all prompts of a task.

    :param of: who plays.
    :param shots: how many demonstrations.
    :param stop: texts that end a response.
    """

    def __init__(self, of: Player, shots: int, stop: tuple[str, ...] = ()) -> None:
        self.of, self.shots, self.stop = of, shots, stop
        self.tokenizer = of.tokenizer

    def play(self, task: Task) -> list[Attempt]:
        """Return the attempts as if the plain prompts had been read; see :meth:`Player.play`.

        There is no KL: the reference reads something else.
        """
        assert self.tokenizer is not None
        prefix = few_shot_prefix(task.environment, self.shots, task.seed)
        prompted = dataclasses.replace(task, prefix=prefix, stop=self.stop or task.stop, reference=None)
        attempts = self.of.play(prompted)
        prompts = [task.row(episode)["prompt"] for episode in range(task.episodes)]
        plain = as_plain([attempt.said for attempt in attempts], prompts, task.environment, self.tokenizer)
        return [attempt.replace(episode=episode) for attempt, episode in zip(attempts, plain, strict=True)]


def _total(score: Score) -> float:
    """Return a score as one number; the worst where there is none."""
    if score is None:
        return -math.inf
    return float(sum(score)) if isinstance(score, list) else score
