"""The summary as CSV: one number per row, so that any program can pick out what it wants."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from rltk.bench.comparisons import Versus
from rltk.bench.grids import Interval
from rltk.bench.standings import Standing
from rltk.bench.summary import Summary

HEADER = ("environment", "policy", "against", "measure", "value", "low", "high", "note")
_Row = tuple[str, ...]


def render_csv(summary: Summary) -> str:
    """Return all numbers; the environment of those over several is ``*``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for standing in summary.standings:
        writer.writerows(_of_standing(standing))
    for item in summary.overall:
        estimates = {**(item.aggregates or {}), "elo": item.strength}
        writer.writerows(
            ("*", item.policy, "", name, *_ends(estimate), "")
            for name, estimate in estimates.items()
            if estimate is not None
        )
    for versus in summary.versus:
        writer.writerows(_of_versus(versus, versus.environments[0]))
    for versus in summary.pairs:
        writer.writerows(_of_versus(versus, "*"))
    return text.getvalue()


def _of_standing(standing: Standing) -> Iterator[_Row]:
    place = standing.environment, standing.policy, ""
    if standing.score is None:
        value = "ERROR" if standing.status == "error" else ""
        yield (*place, "score", value, "", "", "; ".join([standing.status, *standing.reasons]))
        return
    estimates = {"score": standing.score, "normalised": standing.normalised, **standing.measures}
    for name, estimate in estimates.items():
        if estimate is not None:
            yield (*place, name, *_ends(estimate), standing.flaw)
    for name in ("episodes", "prompts", "seeds", "train_seeds"):
        yield (*place, name, str(getattr(standing, name)), "", "", standing.flaw)


def _of_versus(versus: Versus, environment: str) -> Iterator[_Row]:
    place = environment, versus.policy, versus.other
    yield (*place, "difference", *_ends(versus.difference), versus.verdict)
    yield (*place, "p_holm", _number(versus.corrected), "", "", "")
    yield (*place, "detectable", _number(versus.detectable), "", "", "")
    estimates = {
        "win_rate": versus.win_rate,
        "win_rate_length_controlled": versus.controlled,
        "probability_of_improvement": versus.improvement,
    }
    for name, estimate in estimates.items():
        if estimate is not None:
            yield (*place, name, *_ends(estimate), "")


def _ends(estimate: Interval) -> tuple[str, str, str]:
    return _number(estimate.value), _number(estimate.low), _number(estimate.high)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.8g}"
