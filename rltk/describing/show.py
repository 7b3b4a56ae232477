"""``rltk plugins show NAME``: explain a component, or all that a plugin provides."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rltk.describing.component import describe
from rltk.describing.config_schema import component_schema
from rltk.errors import UserError, suggestion
from rltk.listing.reading import read_plugin
from rltk.plugin_checks import KINDS
from rltk.plugin_sources import Source
from rltk.registry import Provided, Registry, load_plugins


@dataclass(frozen=True)
class PluginState:
    """A plugin and whether it works.

    :param status: ok, blocked or FAILED.
    :param why: why it is not ok; empty where it is.
    :param fix: what to do about it.
    :param hooks: the event hooks it implements.
    """

    plugin: str
    distribution: str
    version: str | None
    status: str
    why: str = ""
    fix: str = ""
    hooks: tuple[str, ...] = ()


def show_plugin(name: str, options: Sequence[str], *, as_json: bool) -> None:
    """Print what a component or plugin is.

    :param name: see :func:`find`.
    :param options: values of ``-p``.
    :raises UserError: nothing has this name.
    """
    registry = load_plugins(options)
    provided, sources = find(name, registry)
    components = [describe(item, registry) for item in provided]
    states = [state_of(source, registry) for source in sources]
    if as_json:
        shown = [{**asdict(item), "schema": _schema(item.kind, item.name, registry)} for item in components]
        print(json.dumps({"components": shown, "plugins": [asdict(state) for state in states]}, indent=2))
        return
    from rltk.describing.rendering import render

    render(components, states)


def find(name: str, registry: Registry) -> tuple[list[Provided], list[Source]]:
    """Return the components and the plugins that a name means.

    :param name: of a component, whatever its kind, or of a plugin; ``KIND.NAME`` and ``KIND:NAME`` too.
    :raises UserError: it means nothing.
    """
    exact = [item for item in registry.provided if item.component.name == name]
    kind, own = next(
        ((kind, name[len(kind) + 1 :]) for kind in KINDS if re.match(rf"{kind}[.: ]", name)), ("", "")
    )
    exact = exact or [item for item in registry.provided if (item.kind, item.component.name) == (kind, own)]
    sources = [source for source in registry.sources if name in (source.plugin, source.qualified)]
    if not exact and not sources:
        raise _unknown(own or name, registry)
    return exact or [item for item in registry.provided if item.source in sources], sources


def _unknown(name: str, registry: Registry) -> UserError:
    """Return the error that says what the name may have meant, plugins that did not load among it."""
    absent = [failure.source for failure in registry.failures]
    absent += [source for source in registry.sources if registry.block_reason(source)]
    likely = [source.plugin for source in absent if name in source.plugin]
    names = {item.component.name for item in registry.provided}
    known = names | {source.plugin for source in registry.sources}
    fix = f"see rltk plugins show {likely[0]}, which is not loaded" if likely else suggestion(name, known)
    if not likely and not fix.startswith("did you mean"):
        fix = "see rltk plugins"
    return UserError("plugins show", "no component or plugin of this name", got=name, fix=fix)


def state_of(source: Source, registry: Registry) -> PluginState:
    """Return whether a plugin works, and what it observes."""
    origin = (source.plugin, source.distribution, source.version)
    if reason := registry.block_reason(source):
        return PluginState(*origin, "blocked", f"left out: {reason}", "change that to have it back")
    for failure in registry.failures:
        if failure.source is source:
            return PluginState(*origin, "FAILED", failure.reason, failure.fix)
    return PluginState(*origin, "ok", hooks=tuple(sorted(read_plugin(source).hooks)))


def _schema(kind: str, name: str, registry: Registry) -> dict[str, Any] | None:
    """Return the JSON Schema of a component's options; None where two plugins provide the name."""
    try:
        return component_schema(kind, name, registry)
    except UserError:
        return None
