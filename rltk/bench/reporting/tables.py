"""The tables of a bench, defined once for the terminal, Markdown and the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rltk.bench.comparisons import Versus
from rltk.bench.grids import Interval
from rltk.bench.standings import Standing
from rltk.bench.summary import Summary
from rltk.bench.verdicts import to_settle
from rltk.reporting.tables import DASH, Table, fixed

#: Titles of the measures that have a column where any policy has them, and whether they are shares.
_MEASURES = {
    "reward": ("proxy", False),
    "kl": ("KL", False),
    "length": ("length", False),
    "truncated": ("truncated", True),
}


def score_table(summary: Summary) -> Table:
    """Return mean scores; rows are what there is more of, policies or environments."""
    columns = [
        [_score(summary.standing(policy, place.name), digits) for policy in summary.policies]
        for place in summary.environments
        for digits in [_digits(summary.standing(policy, place.name).score for policy in summary.policies)]
    ]
    names = [place.name for place in summary.environments]
    if len(names) > len(summary.policies):
        return ["environment", *summary.policies], [
            [name, *cells] for name, cells in zip(names, columns, strict=True)
        ]
    rows = [[policy, *cells] for policy, *cells in zip(summary.policies, *columns, strict=True)]
    return ["policy", *names], rows


def overall_table(summary: Summary) -> Table:
    """Return aggregates of normalised scores and strengths; no rows where there are none."""
    titles = {"mean": "mean", "iqm": "IQM", "median": "median", "optimality_gap": "optimality gap"}
    if all(item.aggregates is None for item in summary.overall):
        titles = {}
    header = ["policy", *titles.values(), "Elo"]
    rows = []
    for item in summary.overall:
        flaws = [summary.standing(item.policy, name).flaw for name in summary.shared]
        if flaw := next(filter(None, flaws), ""):
            rows.append([item.policy, *[flaw] * (len(header) - 1)])
        else:
            shown = [interval(item.aggregates[key], 3) for key in titles] if item.aggregates else []
            rows.append([item.policy, *shown, interval(item.strength, 0)])
    return header, rows


def versus_table(comparisons: Sequence[Versus], summary: Summary, *, where: bool = True) -> Table:
    """Return comparisons, one a row, with what they say and what would settle them.

    :param where: begin with the environment.
    """
    controlled = any(item.controlled for item in comparisons)
    improvement = any(item.improvement for item in comparisons)
    header = [*(["environment"] if where else []), "policy", "against", "difference", "p (Holm)", "verdict"]
    header += ["to settle it", "detectable", "win rate"]
    header += [*(["length-controlled"] if controlled else []), *(["P(improvement)"] if improvement else [])]
    rows = []
    for item in comparisons:
        digits = _difference_digits(item, summary)
        row = [
            *(item.environments[:1] if where else []),
            item.policy,
            item.other,
            interval(item.difference, digits, signed=True),
            p_value(item.corrected),
            item.verdict,
            to_settle(item, summary) or DASH,
            fixed(item.detectable, digits),
            share(item.win_rate),
        ]
        row += [*([share(item.controlled)] if controlled else [])]
        rows.append([*row, *([share(item.improvement)] if improvement else [])])
    return header, rows


def verdict_table(summary: Summary) -> Table:
    """Return the verdicts on every policy against the baseline, for a terminal."""
    header, rows = versus_table(summary.versus, summary)
    wanted = [header.index(title) for title in ("environment", "policy", "difference", "p (Holm)", "verdict")]
    wanted.append(header.index("to settle it"))
    return [header[index] for index in wanted], [[row[index] for index in wanted] for row in rows]


def measure_table(summary: Summary, environment: str) -> Table:
    """Return everything measured in one environment, a policy a row."""
    stood = [summary.standing(policy, environment) for policy in summary.policies]
    used = {
        key: shown for key, shown in _MEASURES.items() if any(key in standing.measures for standing in stood)
    }
    others = dict.fromkeys(
        key for standing in stood for key in standing.measures if key not in _MEASURES and key not in used
    )
    normalised = any(standing.normalised for standing in stood)
    header = ["policy", "score", *(["normalised"] if normalised else [])]
    header += [title for title, _ in used.values()]
    header += [key.removeprefix("metrics.").replace("_", " ") for key in others]
    header += ["prompts", "episodes", "training seeds"]
    digits = {key: _digits(standing.measures.get(key) for standing in stood) for key in [*used, *others]}
    score_digits = _digits(standing.score for standing in stood)
    rows = []
    for standing in stood:
        row = [standing.policy, _score(standing, score_digits)]
        row += [interval(standing.normalised, 3)] if normalised else []
        for key, (_, is_share) in used.items():
            measure = standing.measures.get(key)
            row.append(share(measure) if is_share else interval(measure, digits[key]))
        row += [interval(standing.measures.get(key), digits[key]) for key in others]
        counts = standing.prompts, standing.episodes, standing.train_seeds
        rows.append([*row, *(f"{count:,}" if count else DASH for count in counts)])
    return header, rows


def score_digits(summary: Summary, environment: str) -> int:
    """Return with how many digits behind the point the scores of an environment are shown."""
    return _digits(summary.standing(policy, environment).score for policy in summary.policies)


def interval(estimate: Interval | None, digits: int, *, signed: bool = False) -> str:
    """Return a number with its interval, all with the same digits; a dash where there is none."""
    if estimate is None:
        return DASH
    ends = estimate.value, estimate.low, estimate.high
    shown = [_number(end, digits, signed) for end in ends if end is not None]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]" if len(shown) == 3 else shown[0]


def share(estimate: Interval | None) -> str:
    """Return a share in percent with its interval."""
    if estimate is None:
        return DASH
    return interval(estimate.mapped(lambda value: 100.0 * value), 0).replace(" [", " % [") + (
        " %" if estimate.low is None else ""
    )


def p_value(value: float) -> str:
    """Return a p-value with the digits that matter."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _score(standing: Standing, digits: int) -> str:
    if standing.score is None:
        return standing.flaw or DASH
    return interval(standing.score, digits) + (f", {standing.flaw}" if standing.flaw else "")


def _difference_digits(versus: Versus, summary: Summary) -> int:
    """Return as many digits as scores are shown with: three of normalised ones."""
    if len(versus.environments) > 1:
        return 3
    return score_digits(summary, *versus.environments)


def _number(value: float, digits: int, signed: bool) -> str:
    text = fixed(value, digits)
    return f"+{text}" if signed and value > 0 and float(text) else text


def _digits(estimates: Iterable[Interval | None]) -> int:
    """Return how many digits behind the point leave three that matter of the largest number."""
    sizes = [abs(estimate.value) for estimate in estimates if estimate is not None]
    largest = max(sizes, default=0.0)
    return min(max(3 - math.ceil(math.log10(largest)), 0), 4) if largest else 3
