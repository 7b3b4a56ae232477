"""Who did better, episode by episode: two policies at the same prompt with the same sampling seed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from rltk import stats
from rltk.bench.grids import RESAMPLES, Grids, Interval
from rltk.bench.records import Record

#: Each one fits the model anew to all episodes.
_REFITS = 400

Met = tuple[tuple[int | None, int | None], Record, Record]


def win_rate(grids: Grids, policy: str, other: str, environments: Sequence[str]) -> Interval:
    """Return the share of episodes in which a policy scores more than another, ties half.

    Over several environments the mean of theirs. The interval is over training seeds, where one of the two
    has several of each environment, and prompts.

    :raises ValueError: they never met.
    """
    points = []
    for name in environments:
        met = meetings(grids, policy, other, name)
        won = stats.win_points([theirs.score for _, _, theirs in met], [ours.score for _, ours, _ in met])
        points.append(
            stats.score_grid([runs for runs, _, _ in met], [ours.prompt_key for _, ours, _ in met], won)
        )
    estimate = stats.bootstrap_estimate(
        points,
        stats.AGGREGATES["mean"],
        over=stats.estimable_levels(points),
        generator=grids.generator("win rate", policy, other, *environments),
        resamples=RESAMPLES,
        bounds=(0.0, 1.0),
    )
    return Interval(*estimate)


def length_controlled(grids: Grids, policy: str, other: str, environment: str) -> Interval | None:
    """Return the win rate were the answers equally long; None without text.

    The interval is over prompts.
    """
    if not grids.results.plan["environments"][environment]["text"]:
        return None
    met = meetings(grids, policy, other, environment)
    estimate = stats.length_controlled_win_rate(
        stats.win_points([theirs.score for _, _, theirs in met], [ours.score for _, ours, _ in met]),
        [ours.length for _, ours, _ in met],
        [theirs.length for _, _, theirs in met],
        [ours.prompt_key for _, ours, _ in met],
        generator=grids.generator("length-controlled", policy, other, environment),
        resamples=_REFITS,
    )
    return Interval(*estimate)


def meetings(grids: Grids, policy: str, other: str, environment: str) -> list[Met]:
    """Return the pairs of episodes with the same seed, prompt and number, with the training runs of the two.

    Runs meet that have the same number; a policy with one run meets every run of the other.
    """
    ours, theirs = (_by_run(grids.records(name, environment)) for name in (policy, other))
    both = min(len(ours), len(theirs)) > 1
    runs = [(seed, seed) for seed in ours if seed in theirs] if both else product(ours, theirs)
    return [
        ((first, second), record, theirs[second][key])
        for first, second in runs
        for key, record in ours[first].items()
        if key in theirs[second]
    ]


def _by_run(records: Sequence[Record]) -> dict[int | None, dict[tuple[int, str, int], Record]]:
    runs: dict[int | None, dict[tuple[int, str, int], Record]] = {}
    for record in records:
        key = record.seed, record.prompt_key, record.sample
        runs.setdefault(record.train_seed, {})[key] = record
    return runs
