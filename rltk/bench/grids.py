"""The records of a bench laid out for statistics: grids ``[runs, prompts, samples]`` of scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rltk.bench.records import Record
from rltk.bench.results import Results
from rltk.rng import numpy_generator
from rltk.stats import AGGREGATES, bootstrap_estimate, estimable_levels, score_grid
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


class Met(NamedTuple):
    """An episode of each of two policies that have the same seed, prompt and number.

    :param runs: the training seeds of the two.
    """

    runs: tuple[int | None, int | None]
    ours: Record
    theirs: Record


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

    def runs(self, policy: str, environment: str, measure: Measure = score) -> Grid:
        """Return ``[S, P, K]``; a row is a training run with the prompts of all its evaluation seeds."""
        kept = [(record, measure(record)) for record in self.records(policy, environment)]
        seen = [(record, value) for record, value in kept if value is not None]
        return score_grid(
            [record.train_seed for record, _ in seen],
            [record.prompt_key for record, _ in seen],
            [value for _, value in seen],
        )

    def meetings(self, policy: str, other: str, environment: str) -> list[Met]:
        """Return the episodes of two policies with the same seed, prompt and number, and whose runs they are.

        Runs meet that have the same number; a policy with one run meets every run of the other.
        """
        ours, theirs = (_by_run(self.records(name, environment)) for name in (policy, other))
        both = min(len(ours), len(theirs)) > 1
        runs = [(seed, seed) for seed in ours if seed in theirs] if both else product(ours, theirs)
        return [
            Met((first, second), record, theirs[second][key])
            for first, second in runs
            for key, record in ours[first].items()
            if key in theirs[second]
        ]

    def pair(self, policy: str, other: str, environment: str) -> tuple[Grid, Grid]:
        """Return the scores of two policies, each ``[S, P, K]``; a row is a pair of runs that met."""
        met = self.meetings(policy, other, environment)
        ours, theirs = [one.ours.score for one in met], [one.theirs.score for one in met]
        return met_grid(met, ours), met_grid(met, theirs)

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
        over = estimable_levels(scores)
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


def met_grid(met: Sequence[Met], values: ArrayLike) -> Grid:
    """Return ``[S, P, K]`` of one value a meeting; a row is a pair of runs that met."""
    return score_grid([one.runs for one in met], [one.ours.prompt_key for one in met], values)


def _by_run(records: Sequence[Record]) -> dict[int | None, dict[Hashable, Record]]:
    runs: dict[int | None, dict[Hashable, Record]] = {}
    for record in records:
        key = record.seed, record.prompt_key, record.prompt, record.sample
        runs.setdefault(record.train_seed, {})[key] = record
    return runs
