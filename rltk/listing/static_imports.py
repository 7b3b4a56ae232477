"""Whether what a module imports is there, found out without running anything."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rltk.listing.light_imports import HEAVY
from rltk.listing.static_modules import StaticModule, imported_from, module_spec, read_module, source_file

#: What begins at the margin: a function, a class or a variable.
_DEFINITION = re.compile(r"^(?:class +|def +|async def +)?(\w+)\b", re.MULTILINE)
#: A module that defines or uses these may have globals that its text does not show.
_DYNAMIC = {"__getattr__", "globals", "exec"}
_IMPORT = re.compile(r"^(?:import|from) +(\.*)([\w.]*)", re.MULTILINE)


def heavy_import(plugin: str | Path) -> str | None:
    """Return a heavy package, not loaded yet, that importing a module or file will need.

    What is imported from rltk and from the own package counts too. The text is searched, not parsed: a word
    too many costs a plugin nothing but that it is read.
    """
    if isinstance(plugin, Path):
        return _heavy(_searched(plugin, ""), {"rltk"}, set())
    return _heavy([plugin], {plugin.partition(".")[0], "rltk"}, set())


def _heavy(imported: Iterable[str], followed: set[str], seen: set[str]) -> str | None:
    for dotted in imported:
        top = dotted.partition(".")[0]
        if top in HEAVY and top not in sys.modules:
            return top
        for name in _with_parents(dotted) if top in followed else ():
            if name in seen or name in sys.modules:
                continue
            seen.add(name)
            file = source_file(name)
            found = _heavy(_searched(*file), followed, seen) if file else None
            if found:
                return found
    return None


def _searched(path: Path, package: str) -> Iterator[str]:
    """Yield the modules that a file imports at the margin."""
    for dots, rest in _IMPORT.findall(path.read_text(encoding="utf-8", errors="replace")):
        parent = package.rsplit(".", len(dots) - 1)[0] if dots else ""
        yield f"{parent}.{rest}".strip(".")


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
        _require_names(dotted, names)


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


def _require_names(dotted: str, names: Sequence[str]) -> None:
    """Raise the error that ``from dotted import ...`` would where the module lacks one of the names."""
    loaded, spec = sys.modules.get(dotted), module_spec(dotted)
    path = spec.origin if spec is not None else None
    if loaded is not None:
        lacking = [name for name in names if name not in dir(loaded)]
    else:
        lacking = _undefined(dotted, Path(path), names) if path and path.endswith(".py") else []
    for name in lacking:
        if module_spec(f"{dotted}.{name}") is None:
            raise ImportError(f"cannot import name {name!r} from {dotted!r} ({path})", name=dotted)


def _undefined(dotted: str, path: Path, names: Sequence[str]) -> list[str]:
    """Return which names no global of a module can have.

    Parsing costs milliseconds: it is left until a search of the text finds no definition.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    found = _DEFINITION.findall(text)
    if set(names) <= set(found):
        return []
    module = read_module(dotted)
    if module is None or module.stars:
        return []
    used = {node.id for node in ast.walk(module.tree) if isinstance(node, ast.Name)} | module.bindings.keys()
    # A package that imports from itself does not thereby have what it imports.
    own = [name for name in names if module.bindings.get(name, f"{dotted}.{name}") == f"{dotted}.{name}"]
    return [] if _DYNAMIC & used else own


def _with_parents(dotted: str) -> list[str]:
    parts = dotted.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]
