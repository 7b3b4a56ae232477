"""Environments by the names that people use: a component's, or a Gymnasium id."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from rltk.errors import UserError
from rltk.registry import get_registry

#: The id of prompts from anywhere, and the component that reads them from files.
_ANY_PROMPTS, _FILES = "rltk/TextGeneration-v0", "files"
_OWN_IDS = re.compile(r"^rltk/(?P<name>\w+)-v\d+$")


def find_environment(name: str, where: str) -> dict[str, Any]:
    """Return the component that is meant: its ``name``, and the ``id`` where only Gymnasium knows it.

    The id of a component is its name in capitals: ``rltk/Sort-v0`` is the component ``sort``.
    ``rltk/TextGeneration-v0``, which has no prompts of its own, is the component ``files``, which reads them.

    :param name: of a component, or a Gymnasium id.
    :param where: the key path or command that asks, for the error.
    :raises UserError: nothing is called so.
    """
    import gymnasium

    components = get_registry().names("environment")
    if name in components:
        return {"name": name}
    if component := component_of_id(name, components):
        return {"name": component}
    if name == _ANY_PROMPTS and _FILES in components:
        return {"name": _FILES}
    if name in gymnasium.registry:
        return {"name": "gymnasium", "id": name}
    close = difflib.get_close_matches(name, [*components, *gymnasium.registry], n=1)
    known = f"choose one of {', '.join(components)}, or a Gymnasium id"
    fix = f"did you mean {close[0]!r}" if close else known
    raise UserError(where, "unknown environment", got=name, fix=fix)


def component_of_id(gym_id: str, components: list[str]) -> str | None:
    """Return which component a Gymnasium id stands for; None where it stands for none."""
    own = _OWN_IDS.match(gym_id)
    wanted = own["name"].lower().replace("_", "") if own else None
    return next((component for component in components if component.replace("_", "") == wanted), None)


def with_options(found: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a component's name and the options to make it with.

    :param found: as :func:`find_environment` returned it.
    :param options: the component's own; of a Gymnasium id: keyword arguments of ``gymnasium.make``.
    """
    if "id" in found:
        return found["name"], {"id": found["id"], **({"options": dict(options)} if options else {})}
    return found["name"], dict(options)
