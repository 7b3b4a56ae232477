"""The summary in the terminal."""

from __future__ import annotations

from rltk.bench.reporting.markdown import flaws
from rltk.bench.reporting.tables import overall_table, score_table, verdict_table
from rltk.bench.summary import Summary
from rltk.commands import print_table


def print_summary(summary: Summary) -> None:
    """Print mean scores, what they are over all environments, and the verdicts."""
    print_table(*score_table(summary))
    if len(summary.shared) > 1:
        print(f"\nnormalised, over {', '.join(summary.shared)}")
        print_table(*overall_table(summary))
    if summary.versus:
        print(f"\nagainst {summary.baseline}")
        print_table(*verdict_table(summary))
    for flaw in flaws(summary):
        print(flaw)
