"""The page: one HTML file that loads nothing and runs nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from rltk.bench.comparisons import Versus
from rltk.bench.grids import Interval
from rltk.bench.reporting.figures import Line, interval_plot, plane_chart, profile_chart
from rltk.bench.reporting.markdown import facts, flaws, margin_note
from rltk.bench.reporting.samples import samples
from rltk.bench.reporting.tables import (
    interval,
    measure_table,
    overall_table,
    score_digits,
    versus_table,
)
from rltk.bench.results import Results
from rltk.bench.summary import Summary
from rltk.bench.verdicts import covers, headlines, to_settle
from rltk.stats import pareto_optimal

_AGGREGATES = {
    "iqm": "Interquartile mean",
    "mean": "Mean",
    "median": "Median",
    "optimality_gap": "Optimality gap (lower is better)",
}


def render_page(summary: Summary, results: Results) -> str:
    """Return the report as HTML."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["minus"] = _minus
    here = files("rltk.bench.reporting")
    template = environment.from_string(here.joinpath("page.html").read_text(encoding="utf-8"))
    styles = [files("rltk.reporting").joinpath("page.css"), here.joinpath("page.css")]
    return template.render(
        summary=summary,
        style=Markup("".join(style.read_text(encoding="utf-8") for style in styles)),
        facts=facts(summary),
        covers=covers(summary),
        margin_note=margin_note(summary),
        headlines=headlines(summary),
        flaws=flaws(summary),
        failed=any(standing.failed for standing in summary.standings),
        against=[(place.name, _differences(summary, place.name)) for place in summary.environments],
        versus=versus_table(summary.versus, summary),
        aggregates=_aggregates(summary),
        overall=overall_table(summary),
        profiles=_profiles(summary),
        strengths=_strengths(summary),
        matrix=_matrix(summary),
        pairs=versus_table(summary.pairs, summary, where=False),
        places=[
            (place.name, _scores(summary, place.name), measure_table(summary, place.name))
            for place in summary.environments
        ],
        frontiers=[(place.name, _frontier(summary, place.name)) for place in summary.environments],
        samples=samples(results),
    )


def _differences(summary: Summary, environment: str) -> Markup:
    """Return the differences to the baseline in one environment."""
    found = {item.policy: item for item in summary.versus if item.environments == (environment,)}
    margin = next((item.margin for item in found.values()), 0.0)
    digits = score_digits(summary, environment)
    lines = []
    for policy in summary.policies:
        standing = summary.standing(policy, environment)
        if policy in found:
            item = found[policy]
            text = _minus(interval(item.difference, digits, signed=True))
            note = " · ".join(filter(None, [item.verdict, to_settle(item, summary)]))
            lines.append(Line(policy, item.difference, text, item.verdict, note))
        elif standing.flaw:
            lines.append(Line(policy, None, standing.flaw, "error"))
    return interval_plot(lines, anchors=[0.0], band=(-margin, margin) if margin else None)


def _scores(summary: Summary, environment: str) -> Markup:
    """Return mean scores in one environment, with its bounds as ends of the scale."""
    digits = score_digits(summary, environment)
    lines = []
    for policy in summary.policies:
        standing = summary.standing(policy, environment)
        kind = "error" if standing.flaw else "baseline" if policy == summary.baseline else ""
        if standing.score is not None or standing.flaw:
            text = _minus(interval(standing.score, digits)) if standing.score else ""
            lines.append(Line(policy, standing.score, ", ".join(filter(None, [text, standing.flaw])), kind))
    bounds = next(place.bounds for place in summary.environments if place.name == environment)
    return interval_plot(lines, anchors=bounds or [])


def _aggregates(summary: Summary) -> list[tuple[str, Markup]]:
    figures = []
    for name, title in _AGGREGATES.items():
        lines = []
        for item in summary.overall:
            flaw = next(filter(None, (summary.standing(item.policy, at).flaw for at in summary.shared)), "")
            estimate = item.aggregates[name] if item.aggregates else None
            kind = "error" if flaw else "baseline" if item.policy == summary.baseline else ""
            if estimate or flaw:
                lines.append(Line(item.policy, estimate, flaw or _minus(interval(estimate, 3)), kind))
        figures.append((title, interval_plot(lines, anchors=[0.0, 1.0])))
    return [(title, figure) for title, figure in figures if figure]


def _profiles(summary: Summary) -> Markup:
    curves = [(item.policy, item.profile) for item in summary.overall if item.profile]
    # In the order in which they lie, from the right.
    curves.sort(key=lambda curve: -sum(point.value for point in curve[1]))
    return profile_chart("Performance profiles", summary.thresholds, curves) if curves else Markup("")


def _strengths(summary: Summary) -> Markup:
    known = [(item.policy, item.strength) for item in summary.overall if item.strength is not None]
    ranked = sorted(known, key=lambda pair: -pair[1].value)
    return interval_plot(
        [
            Line(policy, strength, interval(strength, 0), "baseline" if policy == summary.baseline else "")
            for policy, strength in ranked
        ]
    )


def _matrix(summary: Summary) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return every policy against every other: rows of verdict and difference; "" on the diagonal."""
    found = {(item.policy, item.other): item for item in summary.pairs}
    policies = [item.policy for item in summary.overall if any(item.policy in pair for pair in found)]
    digits = 3 if len(summary.shared) > 1 else score_digits(summary, *summary.shared) if summary.shared else 3
    return [(row, [_pair(found, row, column, digits) for column in policies]) for row in policies]


_OPPOSITE = {"better": "worse", "worse": "better"}


def _pair(found: dict[tuple[str, str], Versus], row: str, column: str, digits: int) -> tuple[str, str]:
    if (row, column) in found:
        item = found[row, column]
        return item.verdict, _minus(interval(item.difference, digits, signed=True).split(" ")[0])
    if (column, row) in found:
        item = found[column, row]
        turned = item.difference.mapped(lambda value: -value)
        verdict = _OPPOSITE.get(item.verdict, item.verdict)
        return verdict, _minus(interval(turned, digits, signed=True).split(" ")[0])
    return "", ""


def _frontier(summary: Summary, environment: str) -> Markup:
    """Return score and proxy over KL, where two policies have both; "" where they do not."""
    stood = [summary.standing(policy, environment).means() for policy in summary.policies]
    placed = dict(zip(summary.policies, stood, strict=True))
    charts = [_plane("Score over KL", placed, "score"), _plane("Proxy over KL", placed, "reward")]
    return Markup("").join(charts)


def _plane(title: str, placed: Mapping[str, Mapping[str, Interval]], gain: str) -> Markup:
    """Return a measure over KL; dots of policies that no other one beats in both are full."""
    known = {policy: means for policy, means in placed.items() if {"kl", gain} <= means.keys()}
    if len(known) < 2:
        return Markup("")
    costs = [means["kl"].value for means in known.values()]
    best = pareto_optimal(costs, [means[gain].value for means in known.values()])
    points = [
        (policy, means["kl"], means[gain], bool(full))
        for (policy, means), full in zip(known.items(), best, strict=True)
    ]
    y_label = {"reward": "proxy"}.get(gain, gain)
    return plane_chart(title, points, x_label="KL to the reference, nats", y_label=y_label)


def _minus(text: str) -> str:
    """Return a text with true minus signs before its numbers."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
