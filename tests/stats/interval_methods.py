"""How often 95 % intervals of a mean cover it, by method and number of clusters, as a Markdown table.

Run ``python -m tests.stats.interval_methods``; docs/statistics.md has what came of it.
"""

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from rltk.stats import clustered_mean

Values = NDArray[np.float64]
Ends = tuple[float, float]
RESAMPLES = 1000


def percentile(values: Values, rng: np.random.Generator) -> Ends:
    return _scipy(values, "percentile", rng)


def bca(values: Values, rng: np.random.Generator) -> Ends:
    return _scipy(values, "BCa", rng)


def studentized(values: Values, rng: np.random.Generator) -> Ends:
    """Quantiles of the resampled t statistic, infinite where too many resamples are of one value."""
    drawn = values[rng.integers(len(values), size=(RESAMPLES, len(values)))]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (drawn.mean(axis=1) - values.mean()) / (drawn.std(axis=1, ddof=1))
    low, high = np.quantile(np.nan_to_num(t, nan=0.0), [0.025, 0.975])
    spread = values.std(ddof=1)
    return float(values.mean() - high * spread), float(values.mean() - low * spread)


def stretched(values: Values, rng: np.random.Generator) -> Ends:
    _, low, high = clustered_mean(values, generator=rng, resamples=RESAMPLES)
    return low, high


def _scipy(values: Values, method: str, rng: np.random.Generator) -> Ends:
    ends = scipy_stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, method=method, rng=rng)
    return ends.confidence_interval.low, ends.confidence_interval.high


def rates(rng: np.random.Generator, clusters: int) -> Values:
    """Success rates of four answers to each prompt; most prompts are all too hard, the mean is 0.1."""
    return rng.binomial(4, rng.beta(0.2, 1.8, size=clusters)) / 4


SCORES: dict[str, tuple[float, Callable[[np.random.Generator, int], Values]]] = {
    "normal": (0.0, lambda rng, clusters: rng.normal(size=clusters)),
    "exponential": (1.0, lambda rng, clusters: rng.exponential(size=clusters)),
    "rare successes": (0.1, rates),
}
METHODS = (percentile, bca, studentized, stretched)


def main(trials: int = 1000) -> None:
    """Print coverage and, in brackets, the median width as a multiple of the percentile interval's."""
    print("| scores | clusters |", *(f"{method.__name__} |" for method in METHODS))
    print("| --- |" + " ---: |" * (len(METHODS) + 1))
    for name, (truth, draw) in SCORES.items():
        for clusters in (3, 5, 10, 30):
            rng = np.random.default_rng([clusters, len(name)])
            samples = [draw(rng, clusters) for _ in range(trials)]
            # Of equal values every bootstrap says the same and BCa is undefined.
            kept = [values for values in samples if np.ptp(values) > 0]
            ends = np.array([[method(values, rng) for method in METHODS] for values in kept])
            covered = ((ends[..., 0] <= truth) & (truth <= ends[..., 1])).sum(axis=0) / trials
            wider = np.median((ends[..., 1] - ends[..., 0]) / np.ptp(ends[:, :1], axis=2), axis=0)
            cells = (f"{share:.2f} ({_shown(width)}) |" for share, width in zip(covered, wider, strict=True))
            print(f"| {name} | {clusters} |", *cells)


def _shown(width: float) -> str:
    return f"{width:.1f}" if width < 100 else "no end"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
