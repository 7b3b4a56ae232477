"""The embedded world: language tasks whose truth is known, for learning without any download."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rltk.hookspecs import hookimpl

if TYPE_CHECKING:
    from rltk.interfaces import Environment


@hookimpl
def rltk_environments() -> list[type[Environment]]:
    """Provide ``instruct``."""
    from rltk_envs.instruct.environment import Instruct

    return [Instruct]
