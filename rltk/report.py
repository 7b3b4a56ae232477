"""The report of a run: one HTML file that needs nothing beside itself."""

from rltk.reporting.tables import flag_table, headline, markdown_table, policy_table

__all__ = ["flag_table", "headline", "markdown_table", "policy_table"]
