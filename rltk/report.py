"""The report of a run: one HTML file that needs nothing beside itself."""

from html import escape
from importlib.resources import files
from pathlib import Path

from rltk.reporting.curves import curves_section, frontier_section
from rltk.reporting.record import RunRecord
from rltk.reporting.responses import responses_section
from rltk.reporting.sections import (
    header_section,
    next_section,
    next_steps,
    policies_section,
    reward_model_section,
    time_section,
)
from rltk.reporting.tables import flag_table, headline, markdown_table, policy_table

__all__ = ["flag_table", "headline", "markdown_table", "next_steps", "policy_table", "write_report"]


def write_report(run_directory: Path) -> Path:
    """Write ``report.html`` into a run directory and return its path.

    The same run gives the same bytes. A run that has not finished is reported as far as it got.

    :raises UserError: the directory holds no run.
    """
    record = RunRecord.read(run_directory)
    report = run_directory / "report.html"
    report.write_text(render_report(record), encoding="utf-8")
    return report


def render_report(record: RunRecord) -> str:
    """Return the report as HTML."""
    style = files("rltk.reporting").joinpath("page.css").read_text(encoding="utf-8")
    body = (
        header_section(record)
        + policies_section(record)
        + frontier_section(record)
        + responses_section(record.samples)
        + reward_model_section(record)
        + curves_section(record)
        + time_section(record)
        + next_section(record)
    )
    title = escape(str(record.summary.get("recipe") or record.directory.name))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body>{body}</body></html>\n"
    )
