"""The report of a bench: files that the same records make byte for byte."""

from __future__ import annotations

from pathlib import Path

from rltk.bench.reporting.markdown import render_markdown
from rltk.bench.reporting.page import render_page
from rltk.bench.reporting.rows import render_csv
from rltk.bench.results import read_results
from rltk.bench.summary import Summary, summarise
from rltk.checkpoint import write_text


def write_report(directory: Path, *, baseline: str | None = None, margin: float | None = None) -> Summary:
    """Write ``summary.json``, ``summary.csv``, ``summary.md`` and ``report.html`` beside the records.

    :param baseline: the policy that others are compared with, in place of the config's.
    :param margin: the smallest difference of interest, likewise.
    :raises UserError: there is no bench, a file of it is broken, or the baseline is none of its policies.
    """
    results = read_results(directory)
    summary = summarise(results, baseline=baseline, margin=margin)
    write_text(directory / "summary.json", summary.to_json() + "\n")
    write_text(directory / "summary.csv", render_csv(summary))
    write_text(directory / "summary.md", render_markdown(summary))
    write_text(directory / "report.html", render_page(summary, results))
    return summary
