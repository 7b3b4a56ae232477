"""How policies did over all environments at once: aggregates, profiles and strengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from rltk import stats
from rltk.bench.grids import RESAMPLES, Grids, Interval
from rltk.bench.standings import Standing, bounds_of
from rltk.bench.winning import points_won
from rltk.stats.grids import Grid

#: Where performance profiles are drawn.
THRESHOLDS = tuple(round(number / 50, 2) for number in range(51))


@dataclass(frozen=True)
class Overall:
    """A policy over the shared environments; None where it did not finish them all.

    :param aggregates: ``mean``, ``iqm``, ``median`` and ``optimality_gap`` of normalised scores.
    :param profile: share of runs above each of :data:`THRESHOLDS`.
    :param strength: Bradley-Terry on the scale of Elo.
    """

    policy: str
    aggregates: dict[str, Interval] | None = None
    profile: tuple[Interval, ...] | None = None
    strength: Interval | None = None


def shared_environments(grids: Grids, standings: Sequence[Standing]) -> tuple[str, ...]:
    """Return the environments that all policies can be compared in at once.

    Those with bounds that no policy is left out of; without any, the environment of a bench that has one.
    """
    config = grids.results.config
    left_out = {standing.environment for standing in standings if standing.status == "left out"}
    open_to_all = [name for name in config.environments if name not in left_out]
    bounded = tuple(name for name in open_to_all if bounds_of(grids, name))
    return bounded or (tuple(open_to_all) if len(config.environments) == 1 else ())


def finishers(standings: Sequence[Standing], environments: Sequence[str]) -> list[str]:
    """Return the policies that finished every cell of the environments."""
    within = [standing for standing in standings if standing.environment in environments]
    flawed = {standing.policy for standing in within if standing.status != "complete"}
    return [policy for policy in dict.fromkeys(item.policy for item in within) if policy not in flawed]


def overall(grids: Grids, policies: Sequence[str], environments: Sequence[str]) -> list[Overall]:
    """Return every policy of the bench over some environments; numbers of those in ``policies`` only."""
    strengths = _strengths(grids, policies, environments)
    return [
        Overall(
            policy,
            *(_normalised(grids, policy, environments) if policy in policies else (None, None)),
            strength=strengths.get(policy),
        )
        for policy in grids.results.config.policies
    ]


def _normalised(
    grids: Grids, policy: str, environments: Sequence[str]
) -> tuple[dict[str, Interval] | None, tuple[Interval, ...] | None]:
    """Return aggregates and profile; None of them where scores cannot be normalised."""
    scores: dict[str, Grid] = {}
    ends: list[float] = []
    for name in environments:
        bounds = bounds_of(grids, name)
        if bounds is None:
            return None, None
        scores[name] = stats.normalised_score(grids.runs(policy, name), bounds)
        ends += stats.normalised_score(grids.range([name]), bounds).tolist()
    limits = dict.fromkeys(stats.AGGREGATES, (min(ends), max(ends))) | {"optimality_gap": (0.0, np.inf)}
    aggregates = {
        name: grids.estimate(name, policy, scores, bounds=limits[name]) for name in stats.AGGREGATES
    }
    return aggregates, _profile(grids, policy, scores)


def _profile(grids: Grids, policy: str, scores: dict[str, Grid]) -> tuple[Interval, ...]:
    grids_of_all = list(scores.values())
    over = stats.estimable_levels(grids_of_all)
    if not over:
        runs = stats.grids.run_scores(grids_of_all)
        shares = stats.aggregates.performance_profile(runs, THRESHOLDS).tolist()
        return tuple(Interval(share, None, None) for share in shares)
    generator = grids.generator("profile", policy, *scores)
    profile = stats.performance_profile(
        grids_of_all, THRESHOLDS, over=over, generator=generator, resamples=RESAMPLES
    )
    ends = zip(profile.values.tolist(), profile.low.tolist(), profile.high.tolist(), strict=True)
    return tuple(Interval(*point) for point in ends)


def _strengths(grids: Grids, policies: Sequence[str], environments: Sequence[str]) -> dict[str, Interval]:
    """Return the Bradley-Terry strengths that fit the win rates of all pairs, as Elo.

    The interval is over training seeds, where one of the policies has several of each environment, and
    prompts. Of unlike numbers of training seeds those count that all such policies have.
    """
    pairs = [points_won(grids, *pair, environments) for pair in combinations(policies, 2)]
    over = stats.estimable_levels(pairs[0]) if pairs else []
    if "prompt" not in over:
        return {}
    alike = list(zip(*map(_with_equal_rows, zip(*pairs, strict=True)), strict=True))
    strengths = stats.bradley_terry_of_grids(
        alike,
        policies=len(policies),
        over=stats.estimable_levels(alike[0]),
        generator=grids.generator("strengths", *policies, *environments),
        resamples=RESAMPLES,
    )
    scales = (stats.elo(part).tolist() for part in (strengths.values, strengths.low, strengths.high))
    return {policy: Interval(*ends) for policy, *ends in zip(policies, *scales, strict=True)}


def _with_equal_rows(pairs: Sequence[Grid]) -> list[Grid]:
    """Return grids with as many rows as the shortest has of those with several; single rows are repeated."""
    runs = min((len(grid) for grid in pairs if len(grid) > 1), default=1)
    return [np.broadcast_to(grid[:runs], (runs, *grid.shape[1:])) for grid in pairs]
