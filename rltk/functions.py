"""A function by the path that a config gives."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rltk.errors import UserError
from rltk.plugin_sources import local_source


def load_function(path: str, where: str, *, signature: str) -> Callable[..., Any]:
    """Return the function that ``MODULE.FUNCTION`` or ``FILE.py:FUNCTION`` names.

    A module is looked for in the working directory too.

    :param where: what to name in errors.
    :param signature: how the function is called and what it returns, for errors.
    :raises UserError: nothing can be imported from there, or what is there cannot be called.
    """
    source, _, name = path.rpartition(":" if ":" in path else ".")
    if not source or not name:
        fix = "write MODULE.FUNCTION or FILE.py:FUNCTION"
        raise UserError(where, "no path of a function", got=path, fix=fix)
    function = getattr(_import(source, path, where), name, None)
    if function is None:
        fix = "check the name" if (known := _functions(source)) == "" else f"choose one of {known}"
        raise UserError(where, f"{source} has no {name}", got=path, fix=fix)
    if isinstance(function, type) or not callable(function):
        fix = f"name a function {signature}"
        raise UserError(where, f"{name} is no function", got=path, fix=fix)
    found: Callable[..., Any] = function
    return found


def _import(source: str, path: str, where: str) -> Any:
    try:
        return _load(source, _changed(source))
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        fix = "check the path and the working directory, and install what it needs"
        raise UserError(where, f"{source} cannot be imported: {reason}", got=path, fix=fix) from error


@functools.cache
def _load(source: str, changed: int | None) -> Any:
    """Import a module or file, a file once for each time it was changed."""
    # Last, so that a file there does not come before an installed module, and for good, since a function may
    # import its neighbours when it is called.
    folder = str(Path.cwd() if changed is None else Path(source).absolute().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    return local_source(source).load()


def _changed(source: str) -> int | None:
    path = Path(source)
    return path.stat().st_mtime_ns if source.endswith(".py") and path.is_file() else None


def _functions(source: str) -> str:
    members = vars(_load(source, _changed(source))).items()
    return ", ".join(sorted(name for name, value in members if inspect.isfunction(value)))
