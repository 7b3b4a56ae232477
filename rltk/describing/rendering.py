"""Components and plugins for a terminal, wide or narrow, and for a pipe."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rltk.describing.component import Description, Option
from rltk.describing.docstrings import plain
from rltk.yaml_io import inline

if TYPE_CHECKING:
    from rltk.describing.show import PluginState

#: Columns from which on options are a table, and those of what is no terminal.
_TABLE_FROM, _PIPE = 90, 160


def render(
    components: Sequence[Description], states: Sequence[PluginState], console: Console | None = None
) -> None:
    """Print plugins and the components they provide.

    :param console: where to; standard output where not given.
    """
    fixed = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = console or Console(width=_PIPE if fixed else None)
    blocks = [_plugin(state) for state in states]
    blocks += [_component(item, narrow=console.width < _TABLE_FROM) for item in components]
    with console.capture() as captured:
        for number, block in enumerate(blocks):
            console.print(*([""] if number else []), block, sep="\n")
    # rich fills every line up with blanks
    console.file.write(re.sub(r" +$", "", captured.get(), flags=re.MULTILINE))


def shown_default(option: Option) -> str:
    """Return an option's default as YAML, or that there is none."""
    return "required" if option.required else inline(option.default)


def _plugin(state: PluginState) -> RenderableType:
    origin = " ".join(filter(None, (state.distribution, state.version)))
    rows = [("from", origin), ("why", state.why), ("fix", state.fix), ("observes", ", ".join(state.hooks))]
    title = Text.assemble(("plugin ", "dim"), (state.plugin, "bold"), f"  {state.status}")
    return Group(title, _facts(rows))


def _component(item: Description, *, narrow: bool) -> RenderableType:
    title = Text.assemble((f"{item.kind} ", "dim"), (item.name, "bold"))
    return Group(title, *_sections(item, narrow=narrow))


def _sections(item: Description, *, narrow: bool) -> Iterator[RenderableType]:
    if item.docstring:
        yield _indented(Text(plain(item.docstring)))
    origin = " ".join(filter(None, (item.distribution, item.version)))
    takes = ", ".join(
        part.name if part.required else f"{part.name} (optional)" for part in item.collaborators
    )
    yield Text()
    yield _facts(
        [
            ("from", f"plugin {item.plugin} of {origin}"),
            ("class", f"{item.module}.{item.class_name}"),
            ("paper", item.paper),
            ("takes", takes),
        ]
    )
    if item.options:
        yield _heading("options")
        yield _indented(_list(item.options) if narrow else _table(item.options))
    if item.example:
        yield _heading("in a recipe")
        yield _indented(Text(item.example.rstrip()))
    if item.command:
        yield _heading("on the command line")
        yield _indented(Text(item.command))


def _table(options: Sequence[Option]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title, share in (("option", None), ("type", 3), ("default", 3), ("what it is", 6)):
        table.add_column(title, overflow="fold", ratio=share, no_wrap=share is None)
    for option in options:
        cells = (option.type, shown_default(option), option.description)
        table.add_row(Text(option.name, style="bold"), *map(Text, cells))
    return table


def _list(options: Sequence[Option]) -> RenderableType:
    """Return a paragraph an option, for where a table would be all line breaks."""
    lines: list[RenderableType] = []
    for option in options:
        lines.append(Text.assemble((option.name, "bold"), f"  {option.type}; {shown_default(option)}"))
        lines.append(_indented(Text(option.description)))
    return Group(*lines)


def _facts(rows: Sequence[tuple[str, str]]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value:
            table.add_row(name, Text(value))
    return _indented(table)


def _heading(title: str) -> RenderableType:
    return Padding(Text(title, style="bold"), (1, 0, 0, 2))


def _indented(content: RenderableType) -> RenderableType:
    return Padding(content, (0, 0, 0, 4))
