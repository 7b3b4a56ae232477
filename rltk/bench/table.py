"""The table in the terminal: mean scores with their intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from rltk.bench.results import Results
from rltk.rng import numpy_generator
from rltk.stats import cluster_bootstrap_interval


def score_table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return the header and rows: a policy a row, an environment a column.

    Intervals are 95 % bootstrap intervals over prompts, which are resampled with all their episodes.
    """
    environments = list(results.config.environments)
    clusters = _clusters(results)
    rows = []
    for policy in results.config.policies:
        cells = [_shown(results, policy, name, clusters[policy, name]) for name in environments]
        rows.append([policy, *cells])
    return ["policy", *environments], rows


def _clusters(results: Results) -> Mapping[tuple[str, str], Mapping[str, list[float]]]:
    """Return the scores by policy and environment, then by prompt."""
    clusters: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in results.records:
        clusters[record.policy, record.environment][record.prompt_key].append(record.score)
    return clusters


def _shown(results: Results, policy: str, environment: str, clusters: Mapping[str, list[float]]) -> str:
    failed = sum(
        name.split("/")[0].partition("@")[0] == policy and name.split("/")[1] == environment
        for name in results.errors
    )
    if not clusters:
        return f"ERROR ({failed})" if failed else "-"
    sums = np.array([sum(scores) for scores in clusters.values()])
    counts = np.array([len(scores) for scores in clusters.values()])
    generator = numpy_generator(results.config.seed, "table", policy, environment)
    low, high = cluster_bootstrap_interval(sums, counts, generator=generator)
    mark = f", {failed} ERROR" if failed else ""
    return f"{sums.sum() / counts.sum():.3g} [{low:.3g}, {high:.3g}]{mark}"
