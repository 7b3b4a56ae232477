"""How a policy did in an environment: its scores and what else was measured of its episodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from rltk.bench.grids import Grids, Interval, Measure, score
from rltk.bench.plan import Cell
from rltk.bench.records import Record
from rltk.stats import max_at_k, normalised_score, pass_at_k, score_grid
from rltk.stats.grids import Grid

Status = Literal["complete", "partial", "error", "left out", "not played"]


@dataclass(frozen=True)
class Standing:
    """A policy in an environment; numbers are of the finished cells only.

    :param cells: how many were planned.
    :param failed: how many of them failed.
    :param reasons: why they failed, or why the policy was left out, each once.
    :param score: mean score.
    :param normalised: the same from 0, random, to 1, the oracle; None where bounds are unknown.
    :param measures: the rest by name: length, truncated, reward, kl, ``pass@k``, ``max@k`` and the
        environment's own, as ``metrics.NAME``.
    """

    policy: str
    environment: str
    status: Status
    cells: int = 0
    failed: int = 0
    reasons: tuple[str, ...] = ()
    episodes: int = 0
    prompts: int = 0
    seeds: int = 0
    train_seeds: int = 0
    score: Interval | None = None
    normalised: Interval | None = None
    measures: Mapping[str, Interval] = field(default_factory=dict)

    def means(self) -> dict[str, Interval]:
        """Return the score, where there is one, and the measures."""
        return {**({} if self.score is None else {"score": self.score}), **self.measures}

    @property
    def flaw(self) -> str:
        """What is missing, in a few characters; "" where nothing is."""
        missing = f"ERROR {self.failed}/{self.cells}" if self.failed else ""
        return "not played" if self.status == "not played" else missing


def standings(grids: Grids) -> list[Standing]:
    """Return a standing of every policy in every environment, environment by environment."""
    config = grids.results.config
    return [_standing(grids, policy, name) for name in config.environments for policy in config.policies]


def bounds_of(grids: Grids, environment: str) -> tuple[float, float] | None:
    """Return the mean scores of a random and of a perfect policy, where both are known and differ."""
    bounds = grids.results.plan["environments"][environment]["bounds"]
    return None if bounds is None or bounds[0] == bounds[1] else (bounds[0], bounds[1])


def _standing(grids: Grids, policy: str, environment: str) -> Standing:
    results, records = grids.results, grids.records(policy, environment)
    for left in results.plan["left_out"]:
        if (left["policy"], left["environment"]) == (policy, environment):
            return Standing(policy, environment, "left out", reasons=(left["reason"],))
    cells = _cells(grids, policy, environment)
    errors = [results.errors[name] for name in cells if name in results.errors]
    played = {(record.train_seed, record.seed) for record in records}
    counts = Standing(
        policy,
        environment,
        _status(len(cells), len(played), len(errors)),
        cells=len(cells),
        failed=len(errors),
        reasons=tuple(dict.fromkeys(errors)),
    )
    if not records:
        return counts
    mean = _mean(grids, policy, environment, "score", score)
    bounds = bounds_of(grids, environment)
    return replace(
        counts,
        episodes=len(records),
        prompts=len({record.prompt_key for record in records}),
        seeds=len({record.seed for record in records}),
        train_seeds=len({record.train_seed for record in records}),
        score=mean,
        normalised=None if bounds is None else mean.mapped(lambda end: float(normalised_score(end, bounds))),
        measures=_measures(grids, policy, environment),
    )


def _cells(grids: Grids, policy: str, environment: str) -> list[str]:
    return [
        str(Cell(policy, item["train_seed"], environment, seed))
        for item in grids.results.plan["policies"]
        if (item["policy"], item["environment"]) == (policy, environment)
        for seed in range(grids.results.config.seeds)
    ]


def _status(cells: int, played: int, failed: int) -> Status:
    if played == cells:
        return "complete"
    if played:
        return "partial"
    return "error" if failed else "not played"


def _measures(grids: Grids, policy: str, environment: str) -> dict[str, Interval]:
    """Return the mean of every measure that the episodes have."""
    records = grids.records(policy, environment)
    names = dict.fromkeys(name for record in records for name in record.metrics)
    measures: dict[str, Measure] = {
        "length": lambda record: float(record.length),
        "truncated": lambda record: float(record.truncated),
        "reward": lambda record: record.reward,
        "kl": lambda record: record.kl,
        **{f"metrics.{name}": _metric(name) for name in names},
    }
    means = {
        name: _mean(grids, policy, environment, name, measure)
        for name, measure in measures.items()
        if any(measure(record) is not None for record in records)
    }
    highest = {"pass": (0.0, 1.0), "max": grids.range([environment])}
    tries = {
        name: grids.estimate("mean", policy, {environment: grid}, name, bounds=highest[name.split("@")[0]])
        for name, grid in _best_of_tries(grids, policy, environment).items()
    }
    return means | tries


def _mean(grids: Grids, policy: str, environment: str, name: str, measure: Measure) -> Interval:
    runs = {environment: grids.runs(policy, environment, measure)}
    return grids.estimate("mean", policy, runs, name, bounds=grids.range([environment], measure))


def _metric(name: str) -> Measure:
    return lambda record: record.metrics.get(name)


def _best_of_tries(grids: Grids, policy: str, environment: str) -> dict[str, Grid]:
    """Return grids of pass@k and max@k, where prompts were answered several times, for k of 1, 2, 4, ...

    A try succeeds that scores what the oracle does; where that is not known, there is no pass@k.
    """
    tries: dict[tuple[int | None, int, str, int], list[float]] = defaultdict(list)
    for record in grids.records(policy, environment):
        tries[_prompt(record)].append(record.score)
    scores = np.array(list(tries.values()))  # every prompt has the same number of tries
    samples, bounds = scores.shape[1], bounds_of(grids, environment)
    if samples == 1:
        return {}
    runs, prompts = [key[0] for key in tries], [key[2] for key in tries]
    values: dict[str, np.ndarray] = {}
    for k in _powers_up_to(samples):
        if bounds is not None:
            best = np.isclose(scores, bounds[1]) | ((scores - bounds[1]) * (bounds[1] - bounds[0]) > 0)
            values[f"pass@{k}"] = pass_at_k(best.sum(axis=1), samples, k)
        values[f"max@{k}"] = max_at_k(scores, k)
    return {name: score_grid(runs, prompts, each) for name, each in sorted(values.items())}


def _prompt(record: Record) -> tuple[int | None, int, str, int]:
    """Return what the tries at one prompt have in common; a split may have the same prompt twice."""
    return record.train_seed, record.seed, record.prompt_key, record.prompt


def _powers_up_to(samples: int) -> list[int]:
    powers = [2**power for power in range(samples.bit_length()) if 2**power < samples]
    return [*powers, samples]
