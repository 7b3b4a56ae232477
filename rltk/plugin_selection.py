"""Which plugins a command uses: those installed, those added, and those left out, with the reason."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rltk.errors import UserError, suggestion
from rltk.plugin_sources import Source, entry_point_sources, local_source

ALLOW = "RLTK_PLUGINS"
DISABLE = "RLTK_DISABLE_PLUGINS"


@dataclass(frozen=True)
class Selection:
    """The plugins of one command.

    :param sources: all of them, those left out included.
    :param blocked: why a plugin is left out, by its name or ``name@distribution``.
    :param named: those that ``-p`` asks for; they have to work.
    :param warnings: what a variable of the environment names in vain.
    """

    sources: tuple[Source, ...]
    blocked: dict[str, str]
    named: tuple[Source, ...]
    warnings: tuple[str, ...]


def select_sources(options: Sequence[str] = ()) -> Selection:
    """Return the installed plugins and those of ``options``, and which are left out.

    :param options: values of ``-p``: a ``.py`` file or module to add, or ``no:NAME`` to leave one out.
        ``RLTK_PLUGINS=a,b`` in the environment leaves out every installed plugin but these (none where it
        is empty), ``RLTK_DISABLE_PLUGINS=a,b`` leaves out these.
    :raises UserError: there is no plugin to leave out by a name in ``options``.
    """
    refused = [option.removeprefix("no:") for option in options if option.startswith("no:")]
    added = dict.fromkeys(option for option in options if not option.startswith("no:"))
    installed = entry_point_sources(importlib.metadata.entry_points(group="rltk"))
    named = [local_source(option) for option in added]
    sources = [*installed, *named]
    known = _known(sources)
    for name in refused:
        if name not in known:
            raise UserError("-p", "no plugin to leave out", got=name, fix=suggestion(name, _plugins(sources)))
    allowed, disabled = _variable(ALLOW), _variable(DISABLE)
    blocked = {} if allowed is None else _not_among(installed, allowed)
    blocked |= dict.fromkeys(disabled or (), f"by {DISABLE}")
    blocked |= {name: f"by -p no:{name}" for name in refused}
    warnings = [
        f"{variable}: no plugin has this name, got {name!r}. Fix: {suggestion(name, _plugins(sources))}."
        for variable, names in ((ALLOW, allowed), (DISABLE, disabled))
        for name in names or ()
        if name not in known
    ]
    return Selection(tuple(sources), blocked, tuple(named), tuple(warnings))


def _variable(name: str) -> list[str] | None:
    """Return the names that a variable lists, or None where it is not set."""
    text = os.environ.get(name)
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _not_among(sources: Iterable[Source], allowed: Sequence[str]) -> dict[str, str]:
    return {
        source.qualified: f"by {ALLOW}, which does not name it"
        for source in sources
        if source.plugin not in allowed and source.qualified not in allowed
    }


def _known(sources: Iterable[Source]) -> set[str]:
    return {name for source in sources for name in (source.plugin, source.qualified)}


def _plugins(sources: Iterable[Source]) -> list[str]:
    return [source.plugin for source in sources]
