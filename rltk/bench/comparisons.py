"""Pairs of policies on the same prompts: how far apart, whether by chance, and what would settle it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from rltk import stats
from rltk.bench.grids import RESAMPLES, Grids, Interval, answered
from rltk.bench.standings import bounds_of
from rltk.bench.winning import length_controlled, win_rate
from rltk.stats import Level, Verdict
from rltk.stats.aggregates import probability_of_improvement
from rltk.stats.grids import run_scores


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
    :param controlled: the same, were the answers equally long; None without text.
    :param improvement: chance that a run of the policy beats one of the other.
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
    win_rate: Interval | None
    controlled: Interval | None
    improvement: Interval | None


@dataclass(frozen=True)
class _Pair:
    policy: str
    other: str
    environments: tuple[str, ...]


def against_baseline(grids: Grids, baseline: str, margin: float) -> list[Versus]:
    """Return every other policy against the baseline in each environment, as one family of tests.

    :param margin: the smallest difference of interest, as a share of the way from random to the oracle; where
        that is not known, no difference is too small.
    """
    config = grids.results.config
    others = [policy for policy in config.policies if policy != baseline]
    pairs = [_Pair(policy, baseline, (name,)) for name in config.environments for policy in others]
    return _family(grids, pairs, margin, over_all=False)


def all_pairs(
    grids: Grids, policies: Sequence[str], environments: Sequence[str], margin: float
) -> list[Versus]:
    """Return every pair of policies over some environments at once, as one family of tests.

    :param policies: that finished every cell of the environments.
    :param environments: all with bounds, then scores are normalised; or a single one.
    """
    pairs = [_Pair(a, b, tuple(environments)) for a, b in combinations(policies, 2)]
    return _family(grids, pairs, margin, over_all=True)


def _family(grids: Grids, pairs: Sequence[_Pair], margin: float, *, over_all: bool) -> list[Versus]:
    """Return what is known of the pairs that met on two prompts at least."""
    met = [pair for pair in pairs if _over(grids, pair)]
    # So many that the smallest p-value there can be is convincing after the correction.
    resamples = max(RESAMPLES, 10 * len(met))
    found = [_compare(grids, pair, normalised=over_all, resamples=resamples) for pair in met]
    corrected = stats.holm([comparison.p_value for comparison in found]).tolist()
    return [
        _versus(grids, pair, comparison, p, margin, len(met), over_all=over_all)
        for pair, comparison, p in zip(met, found, corrected, strict=True)
    ]


def _over(grids: Grids, pair: _Pair) -> list[Level]:
    """Return over what the two policies can be compared, [] where they cannot."""
    cells = [grids.pair(pair.policy, pair.other, name) for name in pair.environments]
    met = [answered(ours) & answered(theirs) for ours, theirs in cells if len(ours) and len(theirs)]
    if len(met) < len(cells) or min(int(each.any(axis=0).sum()) for each in met) < 2:
        return []
    trained = any(grids.is_trained_anew(policy, pair.environments) for policy in (pair.policy, pair.other))
    return ["seed", "prompt"] if trained and min(map(len, met)) > 1 else ["prompt"]


def _compare(grids: Grids, pair: _Pair, *, normalised: bool, resamples: int) -> stats.Comparison:
    cells = [grids.pair(pair.policy, pair.other, name) for name in pair.environments]
    bounds = [bounds_of(grids, name) if normalised else None for name in pair.environments]
    ours, theirs = (
        [
            grid if limits is None else stats.normalised_score(grid, limits)
            for grid, limits in zip(side, bounds, strict=True)
        ]
        for side in zip(*cells, strict=True)
    )
    generator = grids.generator("compare", pair.policy, pair.other, *pair.environments)
    return stats.compare(ours, theirs, over=_over(grids, pair), generator=generator, resamples=resamples)


def _versus(
    grids: Grids,
    pair: _Pair,
    comparison: stats.Comparison,
    corrected: float,
    margin: float,
    tests: int,
    *,
    over_all: bool,
) -> Versus:
    bounds = [bounds_of(grids, name) for name in pair.environments]
    spans = [0.0 if limits is None else 1.0 if over_all else abs(limits[1] - limits[0]) for limits in bounds]
    least = margin * min(spans)
    # What the correction leaves of the level, at worst.
    strict = replace(comparison, level=1.0 - (1.0 - comparison.level) / tests)
    more, over = stats.further(strict, margin=least), _over(grids, pair)
    return Versus(
        policy=pair.policy,
        other=pair.other,
        environments=pair.environments,
        difference=Interval(comparison.difference, comparison.low, comparison.high),
        margin=least,
        p_value=comparison.p_value,
        corrected=corrected,
        verdict=stats.verdict(comparison, margin=least, p_value=corrected),
        detectable=stats.detectable_difference(strict),
        more_prompts=more.prompts,
        more_seeds=more.seeds if "seed" in over else None,
        win_rate=win_rate(grids, pair.policy, pair.other, pair.environments),
        controlled=None
        if over_all
        else length_controlled(grids, pair.policy, pair.other, pair.environments[0]),
        improvement=_improvement(grids, pair) if over_all else None,
    )


def _improvement(grids: Grids, pair: _Pair) -> Interval:
    """Return the chance that a run of the one policy beats one of the other."""
    ours, theirs = (
        [grids.runs(policy, name) for name in pair.environments] for policy in (pair.policy, pair.other)
    )
    if min(map(len, [*ours, *theirs])) < 2:
        runs, others = run_scores(ours), run_scores(theirs)
        return Interval(float(probability_of_improvement(runs, others)), None, None)
    generator = grids.generator("improvement", pair.policy, pair.other, *pair.environments)
    estimate = stats.probability_of_improvement(ours, theirs, generator=generator, resamples=RESAMPLES)
    return Interval(*estimate)
