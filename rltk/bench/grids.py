"""The records of a bench laid out for statistics: grids ``[runs, prompts, samples]`` of scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rltk.bench.records import Record
from rltk.bench.results import Results
from rltk.rng import numpy_generator
from rltk.stats import AGGREGATES, Level, bootstrap_estimate, estimable_levels, score_grid
from rltk.stats.grids import Grid, run_scores

#: What is looked at of an episode; None where there is nothing.
Measure = Callable[[Record], float | None]

RESAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval; without ends where one prompt or seed says nothing of others."""

    value: float
    low: float | None
    high: float | None

    def mapped(self, function: Callable[[float], float]) -> Interval:
        """Return the interval of a monotonic function of the number."""
        ends = sorted(function(end) for end in (self.low, self.high) if end is not None)
        return Interval(function(self.value), *(ends if len(ends) == 2 else (None, None)))


def score(record: Record) -> float:
    """Return the truth of an episode."""
    return record.score


class Grids:
    """The finished episodes of a bench, by policy and environment."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self._records: dict[tuple[str, str], list[Record]] = defaultdict(list)
        for record in results.records:
            self._records[record.policy, record.environment].append(record)

    def records(self, policy: str, environment: str) -> list[Record]:
        """Return the episodes, in the order of training seeds, evaluation seeds and prompts."""
        return self._records.get((policy, environment), [])

    def is_trained_anew(self, policy: str, environments: Sequence[str]) -> bool:
        """Return whether there are several training runs of a policy for every one of the environments."""
        return all(
            len({record.train_seed for record in self.records(policy, name)}) > 1 for name in environments
        )

    def runs(self, policy: str, environment: str, measure: Measure = score) -> Grid:
        """Return ``[S, P, K]``; a row is a training run or, of a policy with one, an evaluation seed."""
        anew = self.is_trained_anew(policy, [environment])
        kept = [(record, measure(record)) for record in self.records(policy, environment)]
        seen = [(record, value) for record, value in kept if value is not None]
        return score_grid(
            [record.train_seed if anew else record.seed for record, _ in seen],
            [record.prompt_key for record, _ in seen],
            [value for _, value in seen],
        )

    def pair(self, policy: str, other: str, environment: str) -> tuple[Grid, Grid]:
        """Return the scores of two policies, cell by cell of the same run and prompt.

        Runs are training seeds if one of the two has several, one row beside several being compared with
        each; otherwise they are evaluation seeds. Runs without a prompt that both answered are left out.
        """
        both = self.records(policy, environment), self.records(other, environment)
        prompts = list(dict.fromkeys(record.prompt_key for records in both for record in records))
        trained = [{record.train_seed for record in records} for records in both]
        by_training = max(map(len, trained)) > 1
        labels = [[r.train_seed if by_training else r.seed for r in records] for records in both]
        alone = min(map(len, trained)) == 1 and by_training
        every = sorted({label for side in labels for label in side if label is not None})
        first, second = (
            score_grid(
                side,
                [record.prompt_key for record in records],
                [record.score for record in records],
                all_seeds=list(dict.fromkeys(side)) if alone else every,
                all_prompts=prompts,
            )
            for side, records in zip(labels, both, strict=True)
        )
        met = np.asarray((answered(first) & answered(second)).any(axis=1))
        return _rows(first, met), _rows(second, met)

    def range(self, environments: Sequence[str], measure: Measure = score) -> tuple[float, float]:
        """Return the lowest and the highest that any policy's episode was; no mean is taken to lie beyond."""
        values = [
            value
            for name in environments
            for policy in self.results.config.policies
            for value in map(measure, self.records(policy, name))
            if value is not None
        ]
        return min(values), max(values)

    def estimate(
        self,
        statistic: str,
        policy: str,
        grids: Mapping[str, Grid],
        *what: str,
        bounds: tuple[float, float] = (-math.inf, math.inf),
    ) -> Interval:
        """Return an aggregate of a policy's grids by environment with its interval.

        The interval is over training seeds, where there are several of each environment, and prompts.

        :param statistic: one of :data:`rltk.stats.AGGREGATES`.
        :param what: further names that the random draws depend on.
        :param bounds: what the number cannot pass.
        """
        scores = list(grids.values())
        wanted: list[Level] = ["seed", "prompt"] if self.is_trained_anew(policy, list(grids)) else ["prompt"]
        over = estimable_levels(scores, wanted)
        if not over:
            return Interval(float(AGGREGATES[statistic](run_scores(scores))), None, None)
        estimate = bootstrap_estimate(
            scores,
            AGGREGATES[statistic],
            over=over,
            generator=self.generator(statistic, policy, *grids, *what),
            resamples=RESAMPLES,
            bounds=bounds,
        )
        return Interval(*estimate)

    def generator(self, *what: str) -> np.random.Generator:
        """Return the randomness of one number of the report."""
        return numpy_generator(self.results.config.seed, "report", *what)


def answered(grid: Grid) -> NDArray[np.bool_]:
    """Return ``[S, P]``, whether there is any score of a run and prompt."""
    return np.asarray(~np.isnan(grid).all(axis=2))


def _rows(grid: Grid, kept: NDArray[np.bool_]) -> Grid:
    return grid if len(grid) == 1 and kept.any() else grid[kept]
