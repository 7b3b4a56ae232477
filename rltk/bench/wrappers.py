"""Policies around policies: the best of several answers, and demonstrations before each prompt."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from rltk.bench.players import Player
from rltk.bench.tasks import Attempt, Task
from rltk.episode import Episode
from rltk.errors import UserError
from rltk.interfaces import Environment, Row
from rltk.language_modeling import tokenize
from rltk.rng import numpy_generator
from rltk.scoring import Score, score_episodes
from rltk.stats import best_of_n_kl

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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

        That is what a reward model was trained to read. There is no KL: the reference read something else.
        """
        prefix = few_shot_prefix(task.environment, self.shots, task.seed)
        prompted = dataclasses.replace(task, prefix=prefix, stop=self.stop or task.stop, reference=None)
        attempts = self.of.play(prompted)
        prompts = [task.row(episode)["prompt"] for episode in range(task.episodes)]
        plain = as_plain([attempt.said for attempt in attempts], prompts, task.environment, self.tokenizer)
        return [attempt.replace(episode=episode) for attempt, episode in zip(attempts, plain, strict=True)]


def few_shot_prefix(environment: Environment, shots: int, seed: int) -> str:
    """Return demonstrations to read before a prompt, drawn at random out of those that are right."""
    demonstrations = environment.demonstrations("train")
    order = numpy_generator(seed, "shots").permutation(len(demonstrations))
    right = (demonstrations[i] for i in order.tolist() if _is_right(environment, demonstrations[i]))
    return environment.few_shot_prefix(list(islice(right, shots)))


def as_plain(
    episodes: Sequence[Episode],
    prompts: Sequence[str],
    environment: Environment,
    tokenizer: PreTrainedTokenizerBase | None,
) -> list[Episode]:
    """Return episodes as if the policy had read the plain prompts, and ended with EOS where it ended.

    The ids are for judging alone; log-probabilities are those of the ids that were sampled.
    """
    assert tokenizer is not None
    read = tokenize(tokenizer, [environment.format_prompt(prompt) for prompt in prompts])
    plain = []
    for episode, prompt in zip(episodes, read, strict=True):
        response = episode.response_tokens
        if episode.terminated and not episode.turns and response[-1] != tokenizer.eos_token_id:
            response = (*tokenize(tokenizer, [episode.response])[0], int(tokenizer.eos_token_id))
        plain.append(dataclasses.replace(episode, prompt_tokens=tuple(prompt), response_tokens=response))
    return plain


def _is_right(environment: Environment, row: Row) -> bool:
    """Whether a demonstration is worth showing in a prompt; every one is where there is no truth."""
    episode = Episode(row["prompt"], row["response"], columns=row)
    return environment.metrics(episode).get("utility", 1.0) == 1.0


def _total(score: Score) -> float:
    """Return a score as one number; the worst where there is none."""
    if score is None:
        return -math.inf
    return float(sum(score)) if isinstance(score, list) else score
