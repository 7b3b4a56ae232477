"""Everything that a bench found, as numbers: what every output shows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rltk.bench.comparisons import Versus, against_baseline, all_pairs
from rltk.bench.grids import Grids
from rltk.bench.overall import THRESHOLDS, Overall, finishers, overall, shared_environments
from rltk.bench.results import Results
from rltk.bench.standings import Standing, bounds_of, standings
from rltk.errors import UserError, suggestion

#: Digits of numbers in files; the rest is rounding that may differ between machines.
_DIGITS = 8


@dataclass(frozen=True)
class Place:
    """An environment.

    :param bounds: mean scores of random actions and of the oracle, where known.
    :param text: whether it deals prompts.
    """

    name: str
    text: bool
    bounds: tuple[float, float] | None


@dataclass(frozen=True)
class Summary:
    """What a bench found.

    :param baseline: the policy that all others are compared with.
    :param reference: the policy that KL is measured to.
    :param margin: the smallest difference of interest, as a share of the way from random to the oracle.
    :param seeds: evaluation seeds.
    :param standings: every policy in every environment.
    :param versus: every other policy against the baseline, environment by environment.
    :param shared: the environments of ``overall`` and ``pairs``.
    :param overall: every policy over the shared environments.
    :param pairs: every pair of policies over the shared environments.
    :param thresholds: of the performance profiles.
    """

    name: str
    description: str
    baseline: str
    reference: str | None
    margin: float
    seeds: int
    policies: tuple[str, ...]
    environments: tuple[Place, ...]
    standings: tuple[Standing, ...]
    versus: tuple[Versus, ...]
    shared: tuple[str, ...]
    overall: tuple[Overall, ...]
    pairs: tuple[Versus, ...]
    thresholds: tuple[float, ...] = THRESHOLDS

    def standing(self, policy: str, environment: str) -> Standing:
        """Return how a policy did in an environment."""
        wanted = policy, environment
        return next(item for item in self.standings if (item.policy, item.environment) == wanted)

    def to_json(self) -> str:
        """Return the summary as JSON."""
        return json.dumps(_rounded(dataclasses.asdict(self)), indent=2, ensure_ascii=False, allow_nan=False)


def summarise(results: Results, *, baseline: str | None = None, margin: float | None = None) -> Summary:
    """Return what a bench found; the same results give the same numbers.

    :param baseline: in place of the config's.
    :param margin: likewise.
    :raises UserError: the baseline is none of the policies.
    """
    config, grids = results.config, Grids(results)
    baseline = baseline or config.baseline or config.reference or next(iter(config.policies))
    if baseline not in config.policies:
        fix = suggestion(baseline, config.policies)
        raise UserError("baseline", "it names none of the policies", got=baseline, fix=fix)
    margin = config.margin if margin is None else margin
    stood = standings(grids)
    shared = shared_environments(grids, stood)
    finished = finishers(stood, shared)
    return Summary(
        name=config.name,
        description=config.description,
        baseline=baseline,
        reference=config.reference,
        margin=margin,
        seeds=config.seeds,
        policies=tuple(config.policies),
        environments=tuple(_place(grids, name) for name in config.environments),
        standings=tuple(stood),
        versus=tuple(against_baseline(grids, baseline, margin)),
        shared=shared,
        overall=tuple(overall(grids, finished, shared)) if shared else (),
        pairs=tuple(all_pairs(grids, finished, shared, margin)) if shared else (),
    )


def _place(grids: Grids, name: str) -> Place:
    return Place(name, grids.results.plan["environments"][name]["text"], bounds_of(grids, name))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
