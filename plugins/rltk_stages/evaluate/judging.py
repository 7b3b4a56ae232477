"""What responses are worth: the truth's measures, the reward model's score, held-out labelers' choices."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rltk.episode import Episode
from rltk.errors import UserError
from rltk.interfaces import Labeler
from rltk.rng import numpy_generator
from rltk.scoring import Score, score_episodes
from rltk.stats import cluster_bootstrap_interval, win_points
from rltk_stages.evaluate.text import Act

if TYPE_CHECKING:
    from rltk.runs import StageContext


@dataclass(frozen=True)
class Judged:
    """What one response is worth.

    :param metrics: the environment's true measures.
    :param reward: the reward model's score, None where there is none.
    """

    metrics: dict[str, float]
    reward: float | None


class Judge:
    """Measures responses and compares them with the baseline's.

    :param baseline: name of the policy that win rates compare with, or None.
    :param reward: scores responses, or None.
    """

    def __init__(self, context: StageContext, baseline: str | None, reward: Any) -> None:
        self.context, self.baseline, self.reward = context, baseline, reward
        self.labelers: Sequence[Labeler] = ()
        if baseline is not None:
            # Without labelers the reward model's score decides, under a name that says so.
            with contextlib.suppress(UserError):
                self.labelers = context.environment.labelers("heldout")

    def judge(self, acts: Mapping[str, Act]) -> dict[str, list[Judged]]:
        """Return what every response of every policy is worth, in the order of the prompts."""
        return {name: self._judge(act.episodes) for name, act in acts.items()}

    def summarise(
        self, name: str, acts: Mapping[str, Act], judged: Mapping[str, list[Judged]]
    ) -> dict[str, Any]:
        """Return the measures of one policy: plain floats, intervals as pairs, None where not measured."""
        act, own = acts[name], judged[name]
        metrics = _averages([item.metrics for item in own])
        summary: dict[str, Any] = {}
        if "utility" in metrics:
            summary["utility"] = metrics.pop("utility")
            summary["utility_ci"] = self._interval([item.metrics["utility"] for item in own], "utility")
        if "utility" in summary and act.greedy:
            greedy = _averages([self.context.environment.metrics(episode) for episode in act.greedy])
            summary["utility_greedy"] = greedy["utility"]
        summary |= self._wins(name, acts, judged)
        summary["reward"] = _mean(item.reward for item in own)
        summary["kl"] = _mean(act.kl)
        summary["length"] = _mean(float(episode.num_actions) for episode in act.rollout.episodes)
        summary["truncated"] = _mean(float(episode.truncated) for episode in act.episodes)
        return summary | metrics | {"corpus_loss": act.corpus_loss}

    def _judge(self, episodes: list[Episode]) -> list[Judged]:
        scores = score_episodes(self.reward, episodes) if self.reward is not None else [None] * len(episodes)
        metrics = [self.context.environment.metrics(episode) for episode in episodes]
        return [
            Judged({key: float(value) for key, value in measured.items()}, _total(score))
            for measured, score in zip(metrics, scores, strict=True)
        ]

    def _wins(self, name: str, acts: Mapping[str, Act], judged: Mapping[str, list[Judged]]) -> dict[str, Any]:
        if self.baseline is None:
            return {}
        if self.labelers:
            key, points = "win_rate", self._labeled_points(acts[name].episodes, acts[self.baseline].episodes)
        elif self.reward is not None:
            key, points = "reward_win_rate", _reward_points(judged[name], judged[self.baseline])
        else:
            return {}
        return {key: _mean(points), f"{key}_ci": self._interval(points, key)}

    def _labeled_points(self, episodes: Sequence[Episode], others: Sequence[Episode]) -> list[float]:
        """Return for each prompt the mean of all labelers' points for ``episodes`` against ``others``."""
        means = []
        for i, pair in enumerate(zip(episodes, others, strict=True)):
            points = [self._points(labeler, i, *pair) for labeler in self.labelers]
            means.append(sum(points) / len(points))
        return means

    def _points(self, labeler: Labeler, index: int, episode: Episode, other: Episode) -> float:
        if episode.response == other.response and episode.terminated == other.terminated:
            return 0.5  # nobody can tell them apart: a tie without the noise of asking
        generator = numpy_generator(self.context.seed, "labeler", labeler.name, index)
        if generator.random() < 0.5:  # which one is shown first must not decide
            other_rank, rank = labeler.rank([other, episode], generator)
        else:
            rank, other_rank = labeler.rank([episode, other], generator)
        return float(win_points(rank, other_rank))

    def _interval(self, values: Sequence[float | None], key: str) -> list[float | None]:
        """Return the 95 % interval of the mean of one value a prompt."""
        known = [value for value in values if value is not None]
        generator = numpy_generator(self.context.seed, "bootstrap", key)
        interval = cluster_bootstrap_interval(known, np.ones(len(known)), generator=generator)
        return [end if math.isfinite(end) else None for end in interval]


def _reward_points(own: Sequence[Judged], others: Sequence[Judged]) -> list[float]:
    pairs = [(a.reward, b.reward) for a, b in zip(own, others, strict=True)]
    scored = [(-a, -b) for a, b in pairs if a is not None and b is not None]
    return [float(win_points(a, b)) for a, b in scored]


def _total(score: Score) -> float | None:
    return float(sum(score)) if isinstance(score, list) else score


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else None


def _averages(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return the mean of every measure over the responses that have it."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: _mean(float(row[key]) for row in rows if key in row) for key in keys}
