"""Whether what a module imports is there, found out without running anything."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from rltk.static_modules import StaticModule, imported_from, module_spec, read_module


def check_imports(module: StaticModule) -> None:
    """Check what a module imports unconditionally, and what the modules of its own package do.

    What stands below ``if``, ``try`` and the like, or in a function, may be meant to be absent.

    :raises ModuleNotFoundError: a package is not installed, or a module of the own package is not there.
    :raises ImportError: a module of rltk or of the own package has no such name.
    :raises SyntaxError: a module of the own package is no Python.
    """
    _check(module, {module.name})


def _check(module: StaticModule, seen: set[str]) -> None:
    for dotted, names in _imports(module):
        top = dotted.partition(".")[0]
        if top not in (module.name.partition(".")[0], "rltk"):
            _require(top)
            continue
        _require(dotted)
        for imported in [*_with_parents(dotted), *(f"{dotted}.{name}" for name in names)]:
            if imported in seen or imported in sys.modules or top == "rltk":
                continue
            seen.add(imported)
            below = read_module(imported)
            if below is not None:
                _check(below, seen)
        for name in names:
            _require_name(dotted, name)


def _imports(module: StaticModule) -> Iterator[tuple[str, list[str]]]:
    """Yield the modules that a module imports when it is imported, each with the names taken from it."""
    for statement in module.tree.body:
        if isinstance(statement, ast.Import):
            yield from ((alias.name, []) for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            names = [alias.name for alias in statement.names if alias.name != "*"]
            yield imported_from(statement, module.package), names


def _require(dotted: str) -> None:
    """Raise the error that importing a module would where it or a parent is not there."""
    for name in _with_parents(dotted):
        if name not in sys.modules and module_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _require_name(dotted: str, name: str) -> None:
    """Raise the error that ``from dotted import name`` would where the module lacks the name."""
    loaded = sys.modules.get(dotted)
    if loaded is not None:
        there, path = name in dir(loaded), getattr(loaded, "__file__", None)
    else:
        spec = module_spec(dotted)
        path = spec.origin if spec is not None else None
        there = path is None or not path.endswith(".py") or _defines(dotted, Path(path), name)
    if not there and module_spec(f"{dotted}.{name}") is None:
        raise ImportError(f"cannot import name {name!r} from {dotted!r} ({path})", name=dotted)


def _defines(dotted: str, path: Path, name: str) -> bool:
    """Tell whether a module may have a global name.

    Parsing costs milliseconds: it is left until a search of the text finds no definition.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    if re.search(rf"^(?:(?:class|def|async def) +)?{name}\b", text, re.MULTILINE):
        return True
    module = read_module(dotted)
    if module is None or name in module.bindings or module.stars:
        return True
    used = {node.id for node in ast.walk(module.tree) if isinstance(node, ast.Name)}
    return bool({"__getattr__", "globals", "exec"} & (used | module.bindings.keys()))


def _with_parents(dotted: str) -> list[str]:
    parts = dotted.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]
