"""What can be said of every plugin without waiting: loaded where that is quick, read where it is not."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

from rltk.errors import PluginError
from rltk.listing.light_imports import HeavyImport, light_imports
from rltk.listing.reading import load_unless_heavy, read_plugin
from rltk.listing.static_modules import forget
from rltk.plugin_checks import KINDS
from rltk.plugin_selection import Selection
from rltk.plugin_sources import Source
from rltk.registry import LoadFailure, Registry

#: Kind and name of a component; None for what cannot be known of a plugin that is read and not run.
Component = tuple[str | None, str | None]


@dataclass(frozen=True)
class Row:
    """One plugin.

    :param components: what it provides, by kind and name.
    :param hooks: the event hooks it implements.
    :param blocked: why it is left out.
    :param failure: why it does not load.
    :param clash: which other plugin provides a component of the same name.
    :param how: ``"loaded"`` or ``"read"``; None where neither was done.
    """

    source: Source
    components: tuple[Component, ...] = ()
    hooks: tuple[str, ...] = ()
    blocked: str | None = None
    failure: LoadFailure | None = None
    clash: str | None = None
    how: str | None = None

    @property
    def status(self) -> str:
        """``ok``, ``blocked`` or ``FAILED``."""
        return "blocked" if self.blocked else "FAILED" if self.failure else "ok"

    @property
    def stopped(self) -> bool:
        """Whether it was not loaded for the time that would take."""
        return self.failure is not None and isinstance(self.failure.error, HeavyImport)

    @property
    def error(self) -> str | None:
        """Why it is not ok, or whom it clashes with; one line."""
        return self.blocked or (self.failure.reason if self.failure else self.clash)

    @property
    def fix(self) -> str | None:
        """What to do about it."""
        if self.failure:
            return self.failure.fix
        return f"leave one out, for instance with -p no:{self.source.plugin}" if self.clash else None

    def as_json(self) -> dict[str, Any]:
        """Return what ``rltk plugins --json`` prints of it."""
        return {
            "plugin": self.source.plugin,
            "status": self.status,
            "distribution": self.source.distribution,
            "version": self.source.version,
            "provides": [{"kind": kind, "name": name} for kind, name in self.components],
            "hooks": list(self.hooks),
            "error": self.error,
            "fix": self.fix,
            "how": self.how,
        }


def plugin_rows(selection: Selection, *, load: bool) -> list[Row]:
    """Return a row for every plugin, sorted by name.

    :param load: import all of them, however long it takes.
    """
    if load:
        with redirect_stdout(sys.stderr):  # what a plugin prints at import is no part of the listing
            registry = Registry(selection.sources, selection.blocked)
        return _with_clashes(_sorted(_loaded(registry, source) for source in selection.sources))
    forget()
    ordered = sorted(selection.sources, key=lambda source: source.plugin)
    groups = groupby(ordered, key=lambda source: source.plugin)
    return _with_clashes(_sorted(row for _, group in groups for row in _quick(group, selection.blocked)))


def _quick(namesakes: Iterable[Source], blocked: Mapping[str, str]) -> list[Row]:
    """Return the rows of the plugins of one name: of several, none is loaded."""
    sources = [replace(source, load=partial(load_unless_heavy, source)) for source in namesakes]
    with light_imports() as guard, redirect_stdout(sys.stderr):
        registry = Registry(sources, blocked)
    rows = [_loaded(registry, source) for source in sources]
    return [_read(row.source) if (guard.refused and not row.blocked) or row.stopped else row for row in rows]


def _loaded(registry: Registry, source: Source) -> Row:
    if reason := registry.block_reason(source):
        return Row(source, blocked=reason)
    namesakes = [other for other in registry.sources if other.plugin == source.plugin]
    how = "loaded" if sum(registry.block_reason(other) is None for other in namesakes) == 1 else None
    for failure in registry.failures:
        if failure.source is source:
            return Row(source, failure=failure, how=how)
    provided = [(item.kind, item.component.name) for item in registry.provided if item.source is source]
    return Row(source, _in_order(provided), tuple(registry.event_hooks(source.plugin)), how=how)


def _read(source: Source) -> Row:
    try:
        reading = read_plugin(source)
    except (PluginError, ImportError, SyntaxError) as error:
        return Row(source, failure=LoadFailure(source, error), how="read")
    return Row(source, _in_order(reading.components), tuple(sorted(reading.hooks)), how="read")


def _in_order(components: Iterable[Component]) -> tuple[Component, ...]:
    """Return components by kind, then name, those that are not known last."""
    order = {kind: index for index, kind in enumerate(KINDS)}
    return tuple(
        sorted(components, key=lambda item: (order.get(item[0] or "", len(order)), item[1] is None, item[1]))
    )


def _sorted(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row.source.plugin, row.source.distribution))


def _with_clashes(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, those that provide the same component with a sentence that names each of them."""
    owners: dict[Component, list[Source]] = {}
    for row in rows:
        for component in row.components:
            owners.setdefault(component, []).append(row.source)
    clashes = {
        component: _clash(component, sources)
        for component, sources in owners.items()
        if len(sources) > 1 and None not in component
    }
    return [
        replace(row, clash="; ".join(clashes[item] for item in row.components if item in clashes) or None)
        for row in rows
    ]


def _clash(component: Component, sources: Iterable[Source]) -> str:
    names = " and ".join(f"plugin {source.plugin!r} of {source.origin}" for source in sources)
    return f"{names} both provide a {component[0]} named {component[1]!r}"
