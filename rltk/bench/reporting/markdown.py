"""The summary as Markdown."""

from __future__ import annotations

from rltk.bench.comparisons import Versus
from rltk.bench.reporting.tables import measure_table, overall_table, score_table, versus_table
from rltk.bench.summary import Summary
from rltk.bench.verdicts import covers, headlines
from rltk.reporting.tables import markdown_table


def render_markdown(summary: Summary) -> str:
    """Return the whole summary as Markdown."""
    parts = [f"# {summary.name}", summary.description, f"{facts(summary)} {covers(summary)}"]
    parts += ["\n".join(f"- {line}" for line in headlines(summary))]
    parts += ["## Mean scores", markdown_table(score_table(summary)), _flaws(summary)]
    if summary.overall:
        parts += ["## Over all environments", f"Over {', '.join(summary.shared)}."]
        parts += [markdown_table(overall_table(summary))]
    if summary.versus:
        parts += [f"## Against {summary.baseline}", margin_note(summary)]
        parts += [markdown_table(versus_table(summary.versus, summary))]
    if pairs := pairs_beyond(summary):
        parts += ["## Every pair", markdown_table(versus_table(pairs, summary, where=False))]
    for place in summary.environments:
        parts += [f"## {place.name}", markdown_table(measure_table(summary, place.name))]
    return "\n\n".join(part for part in parts if part) + "\n"


def facts(summary: Summary) -> str:
    """Return in a sentence what was compared."""
    counts = {
        "policy": len(summary.policies),
        "environment": len(summary.environments),
        "evaluation seed": summary.seeds,
        "episode": sum(standing.episodes for standing in summary.standings),
    }
    return f"{', '.join(f'{count:,} {_plural(noun, count)}' for noun, count in counts.items())}."


def margin_note(summary: Summary) -> str:
    """Return what counts as a difference and what the p-values are corrected for."""
    return (
        f"Smallest difference of interest: {summary.margin:g} of the way from random to the oracle. "
        f"p-values are corrected for the {len(summary.versus)} comparisons of the table."
    )


def pairs_beyond(summary: Summary) -> tuple[Versus, ...]:
    """Return the pairs over all environments, unless they are the comparisons with the baseline again."""
    again = len(summary.policies) == 2 and len(summary.environments) == 1
    return () if again else summary.pairs


def flaws(summary: Summary) -> list[str]:
    """Return what failed or was left out, and why."""
    return [
        f"{item.policy} in {item.environment}: {item.flaw or item.status}: {reason}"
        for item in summary.standings
        for reason in item.reasons
    ]


def _plural(noun: str, count: int) -> str:
    if count == 1:
        return noun
    return f"{noun.removesuffix('y')}ies" if noun.endswith("y") else f"{noun}s"


def _flaws(summary: Summary) -> str:
    return "\n".join(f"- {line}" for line in flaws(summary))
