"""Pairs of policies on the same prompts: how far apart, whether by chance, and what would settle it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from rltk import stats
from rltk.bench.grids import RESAMPLES, Grids, Interval
from rltk.bench.standings import bounds_of
from rltk.bench.winning import length_controlled, win_rate
from rltk.stats import Level, Verdict
from rltk.stats.aggregates import probability_of_improvement
from rltk.stats.grids import Grid, run_scores


@dataclass(frozen=True)
class Versus:
    """A policy compared with another one.

    :param environments: where; scores of several are normalised.
    :param difference: of the mean scores, in units of the score or of the normalised one.
    :param margin: the smallest difference of interest, in the same units.
    :param p_value: of no difference.
    :param corrected: the same after Holm, for all comparisons of the table it stands in.
    :param detectable: the true difference that would be found four times in five.
    :param more_prompts: how many more prompts an environment would settle it; None where no number would.
    :param more_seeds: how many more training seeds would, likewise.
    :param win_rate: share of episodes with the better score, ties half.
    :param controlled: the same, were the answers equally long; None without text, and of all pairs.
    :param improvement: chance that a run of the policy beats one of the other; of all pairs only.
    """

    policy: str
    other: str
    environments: tuple[str, ...]
    difference: Interval
    margin: float
    p_value: float
    corrected: float
    verdict: Verdict
    detectable: float
    more_prompts: int | None
    more_seeds: int | None
    win_rate: Interval
    controlled: Interval | None = None
    improvement: Interval | None = None


@dataclass(frozen=True)
class _Meeting:
    """Two policies on the same prompts.

    :param cells: the scores of both, an environment each.
    :param over: what they can be compared over.
    """

    policy: str
    other: str
    environments: tuple[str, ...]
    cells: list[tuple[Grid, Grid]]
    over: list[Level]


def against_baseline(grids: Grids, baseline: str, margin: float) -> list[Versus]:
    """Return every other policy against the baseline in each environment, as one family of tests.

    :param margin: the smallest difference of interest, as a share of the way from random to the oracle; where
        that is not known, no difference is too small.
    """
    config = grids.results.config
    others = [policy for policy in config.policies if policy != baseline]
    pairs = [(policy, baseline, (name,)) for name in config.environments for policy in others]
    found = _family(grids, pairs, margin)
    return [
        replace(versus, controlled=length_controlled(grids, versus.policy, baseline, *versus.environments))
        for versus in found
    ]


def all_pairs(
    grids: Grids, policies: Sequence[str], environments: Sequence[str], margin: float
) -> list[Versus]:
    """Return every pair of policies over some environments at once, as one family of tests.

    :param policies: that finished every cell of the environments.
    :param environments: of several, all with bounds, scores are normalised.
    """
    pairs = [(a, b, tuple(environments)) for a, b in combinations(policies, 2)]
    found = _family(grids, pairs, margin)
    return [replace(versus, improvement=_improvement(grids, versus)) for versus in found]


def _family(grids: Grids, pairs: Sequence[tuple[str, str, tuple[str, ...]]], margin: float) -> list[Versus]:
    """Return what is known of the pairs that met on two prompts at least."""
    met = [meeting for meeting in (_meet(grids, *pair) for pair in pairs) if meeting.over]
    # So many that the smallest p-value there can be is convincing after the correction.
    resamples = max(RESAMPLES, 10 * len(met))
    found = [_compare(grids, meeting, resamples) for meeting in met]
    corrected = stats.holm([comparison.p_value for comparison in found]).tolist()
    return [
        _versus(grids, meeting, comparison, p, margin, len(met))
        for meeting, comparison, p in zip(met, found, corrected, strict=True)
    ]


def _meet(grids: Grids, policy: str, other: str, environments: tuple[str, ...]) -> _Meeting:
    cells = [grids.pair(policy, other, name) for name in environments]
    ours = [first for first, _ in cells]
    over = stats.estimable_levels(ours) if all(grid.size for grid in ours) else []
    return _Meeting(policy, other, environments, cells, over if "prompt" in over else [])


def _compare(grids: Grids, meeting: _Meeting, resamples: int) -> stats.Comparison:
    several = len(meeting.environments) > 1
    bounds = [bounds_of(grids, name) if several else None for name in meeting.environments]
    ours, theirs = (
        [
            grid if limits is None else stats.normalised_score(grid, limits)
            for grid, limits in zip(side, bounds, strict=True)
        ]
        for side in zip(*meeting.cells, strict=True)
    )
    generator = grids.generator("compare", meeting.policy, meeting.other, *meeting.environments)
    return stats.compare(ours, theirs, over=meeting.over, generator=generator, resamples=resamples)


def _versus(
    grids: Grids,
    meeting: _Meeting,
    comparison: stats.Comparison,
    corrected: float,
    margin: float,
    tests: int,
) -> Versus:
    least = margin * _span(grids, meeting.environments)
    # What the correction leaves of the level, at worst.
    strict = replace(comparison, level=1.0 - (1.0 - comparison.level) / tests)
    more = stats.further(strict, margin=least)
    return Versus(
        policy=meeting.policy,
        other=meeting.other,
        environments=meeting.environments,
        difference=Interval(comparison.difference, comparison.low, comparison.high),
        margin=least,
        p_value=comparison.p_value,
        corrected=corrected,
        verdict=stats.verdict(comparison, margin=least, p_value=corrected),
        detectable=stats.detectable_difference(strict),
        more_prompts=more.prompts,
        more_seeds=more.seeds if "seed" in meeting.over else None,
        win_rate=win_rate(grids, meeting.policy, meeting.other, meeting.environments),
    )


def _span(grids: Grids, environments: Sequence[str]) -> float:
    """Return how far it is from random to the oracle, in the units compared; 0 where that is not known."""
    if len(environments) > 1:
        return 1.0
    bounds = bounds_of(grids, environments[0])
    return 0.0 if bounds is None else abs(bounds[1] - bounds[0])


def _improvement(grids: Grids, versus: Versus) -> Interval:
    """Return the chance that a training run of the one policy beats one of the other.

    Without ends where one of the two has a single run, which says nothing of others.
    """
    ours, theirs = (
        [grids.runs(policy, name) for name in versus.environments] for policy in (versus.policy, versus.other)
    )
    if min(map(len, [*ours, *theirs])) < 2:
        runs, others = run_scores(ours), run_scores(theirs)
        return Interval(float(probability_of_improvement(runs, others)), None, None)
    generator = grids.generator("improvement", versus.policy, versus.other, *versus.environments)
    estimate = stats.probability_of_improvement(ours, theirs, generator=generator, resamples=RESAMPLES)
    return Interval(*estimate)
