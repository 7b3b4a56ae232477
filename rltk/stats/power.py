"""What a comparison could have seen, what it says in a word, and how much more of it would say more."""

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtrit

from rltk.stats.paired import Comparison

Verdict = Literal["better", "worse", "tied", "underpowered"]

#: More further prompts or seeds than this are as good as none.
_MOST = 10_000_000


@dataclass(frozen=True)
class Further:
    """What would settle a comparison, each alone; None where no number of them would.

    :param prompts: further prompts an environment, with the seeds there are.
    :param seeds: further seeds, with the prompts there are.
    """

    prompts: int | None
    seeds: int | None


def verdict(comparison: Comparison, *, margin: float = 0.0, p_value: float | None = None) -> Verdict:
    """Return in a word whether the first policy is better than the second.

    - ``tied``: the interval lies within ``-margin .. margin``, be it all on one side of 0;
    - ``better``: it lies above 0, and the p-value, where one is given, is at most 1 - level;
    - ``worse``: it lies below 0, likewise;
    - ``underpowered``: anything else. :func:`further` says what would settle it.

    :param margin: the smallest difference of interest, in units of the score; 0 means that nothing is tied.
    :param p_value: of the same comparison, corrected for others by :func:`~rltk.stats.paired.holm`.

    Source: for tied, Schuirmann 1987 (two one-sided tests; at 95 % stricter than their usual 90 %).
    """
    if margin > 0.0 and -margin <= comparison.low and comparison.high <= margin:
        return "tied"
    convincing = p_value is None or p_value <= 1.0 - comparison.level
    if comparison.low > 0.0 and convincing:
        return "better"
    if comparison.high < 0.0 and convincing:
        return "worse"
    return "underpowered"


def detectable_difference(comparison: Comparison, *, power: float = 0.8) -> float:
    """Return the true difference that such a comparison would find with a given chance.

    ``(t_{1 - alpha/2} + t_{power}) * standard error``, two-sided at the comparison's level.

    Source: Bloom 1995, Minimum detectable effects, Evaluation Review 19.
    """
    variance = comparison.variance
    return _quantiles(comparison.level, power, variance.degrees) * math.sqrt(variance.total)


def further(comparison: Comparison, *, margin: float = 0.0, power: float = 0.8) -> Further:
    """Return how many more prompts, or how many more seeds, would settle a comparison with a given chance.

    If the difference stays d, its standard error has to fall until either 0 or the margin is far enough
    away: ``(t_{1 - alpha/2} + t_{power}) * standard error <= max(|d|, margin - |d|)``.
    More prompts shrink what prompts contribute to the variance and not what seeds do, and the reverse; they
    add degrees of freedom to their part (Satterthwaite 1946).

    :param margin: the smallest difference of interest, as for :func:`verdict`.
    """
    distance = max(abs(comparison.difference), margin - abs(comparison.difference))
    parts = comparison.variance

    def more(there: int, shrinking: float, others: int, fixed: float) -> int | None:
        def freedom(extra: int) -> float:
            shrunk = shrinking * there / (there + extra)
            uncertainty = shrunk**2 / max(there + extra - 1, 1) + fixed**2 / max(others - 1, 1)
            return (shrunk + fixed) ** 2 / uncertainty if uncertainty else 1.0

        def settled(extra: int) -> bool:
            degrees = parts.degrees * max(freedom(extra) / freedom(0), 1.0)
            error = math.sqrt(fixed + shrinking * there / (there + extra))
            return _quantiles(comparison.level, power, degrees) * error <= distance and distance > 0.0

        extra = bisect_left(range(_MOST), True, key=settled)
        return extra if extra < _MOST else None

    return Further(
        prompts=more(comparison.prompts, parts.prompt + parts.residual, comparison.seeds, parts.seed),
        seeds=more(comparison.seeds, parts.seed + parts.residual, comparison.prompts, parts.prompt),
    )


def _quantiles(level: float, power: float, degrees: float) -> float:
    """Return how many standard errors a difference has to be from 0 to be found with a given chance."""
    return float(stdtrit(degrees, (1.0 + level) / 2.0) + stdtrit(degrees, power))
