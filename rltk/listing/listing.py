"""``rltk plugins``: every plugin, whether it works and what it provides, without waiting for torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import groupby

from rltk.errors import UserError
from rltk.listing.rows import Row, plugin_rows
from rltk.plugin_selection import select_sources

_STYLES = {"FAILED": "bold red", "blocked": "yellow", "ok": ""}
#: In a pipe no line is broken, so that one line is one plugin.
_PIPE_WIDTH = 10_000


def list_plugins(options: Sequence[str], *, as_json: bool, load: bool, strict: bool) -> None:
    """Print every plugin with its state and components.

    A plugin that imports nothing heavy is loaded; of any other the text is read, unless ``load``.

    :param options: values of ``-p``; a plugin named here may fail as any other.
    :param load: import all of them.
    :param strict: refuse plugins that fail and names that clash, once they are listed.
    :raises UserError: there is no plugin to leave out by a name in ``options``; or as ``strict`` says.
    """
    selection = select_sources(options)
    rows = plugin_rows(selection, load=load)
    for warning in selection.warnings:
        print(f"rltk: warning: {warning}", file=sys.stderr)
    if as_json:
        print(json.dumps([row.as_json() for row in rows], indent=2))
    else:
        _print_table(rows)
        _print_notes(rows)
    if strict:
        _refuse(rows)


def _print_table(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("plugin", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("from", overflow="fold")
    table.add_column("provides", overflow="fold")
    separator = "\n" if sys.stdout.isatty() else " "
    for row in rows:
        status = Text(row.status, style=_STYLES[row.status])
        table.add_row(Text(row.source.plugin), status, Text(row.source.origin), Text(_says(row, separator)))
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    with console.capture() as printed:
        console.print(table)
    print("\n".join(line.rstrip() for line in printed.get().splitlines()))


def _says(row: Row, separator: str) -> str:
    """Return what a plugin provides, what is wrong with it and what to do, as far as there is any."""
    parts = [_provides(row)]
    if row.error:
        parts.append(f"{row.error}. Fix: {row.fix}." if row.fix else row.error)
    return separator.join(filter(None, parts))


def _provides(row: Row) -> str:
    parts = [
        f"{kind or '?'} {', '.join(name or '?' for _, name in components)}"
        for kind, components in groupby(row.components, key=lambda component: component[0])
    ]
    if row.hooks:
        parts.append(f"observes {', '.join(hook.removeprefix('rltk_') for hook in row.hooks)}")
    return "; ".join(parts)


def _print_notes(rows: Sequence[Row]) -> None:
    """Say what the table leaves open."""
    if not rows:
        print("rltk: no plugin at all was found. Fix: install rltk (pip install -e .).", file=sys.stderr)
    if read := sum(row.how == "read" for row in rows):
        what = "1 plugin was" if read == 1 else f"{read} plugins were"
        print(f"rltk: {what} read, not run; rltk plugins --load imports them all.", file=sys.stderr)


def _refuse(rows: Sequence[Row]) -> None:
    wrong = [row for row in rows if row.status == "FAILED" or row.clash]
    if not wrong:
        return
    reasons = dict.fromkeys(str(row.failure or row.clash) for row in wrong)
    cause = wrong[0].failure.error if wrong[0].failure else None
    raise UserError("--strict-plugins", "; ".join(reasons), fix=wrong[0].fix or "") from cause
