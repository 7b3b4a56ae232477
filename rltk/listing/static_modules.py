"""Modules as text: what a name in a module stands for, found out without running anything."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path

from rltk.listing.light_imports import HEAVY, find_spec

#: Names of a module or function: what an import binds them to as a dotted name, else the statement or value.
Bindings = dict[str, "ast.AST | str"]
_NOT_FOLLOWED = HEAVY | sys.stdlib_module_names | {"pluggy", "rltk"}
_LONGEST_CHAIN = 20


@dataclass(frozen=True, eq=False)
class StaticModule:
    """A module's text, parsed.

    :param name: the dotted name it is imported by.
    :param package: what its relative imports are relative to.
    :param bindings: its global names. One that is bound below ``if``, ``try`` and the like is bound to that
        statement: what it will be is not known.
    :param stars: modules from which it imports ``*``.
    """

    name: str
    path: Path
    tree: ast.Module
    package: str
    bindings: Bindings = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Definition:
    """What a name stands for, and the module where that stands."""

    module: StaticModule
    node: ast.AST


@lru_cache(maxsize=4096)
def module_spec(name: str) -> ModuleSpec | None:
    """Return where a module is, without importing its parents as ``importlib.util.find_spec`` would.

    What was found is kept until :func:`forget`.
    """
    parent, _, _ = name.rpartition(".")
    if not parent:
        return find_spec(name, None)
    spec = module_spec(parent)
    if spec is None or spec.submodule_search_locations is None:
        return None
    return find_spec(name, list(spec.submodule_search_locations))


def forget() -> None:
    """Look for modules anew: some may have been installed or removed since."""
    importlib.invalidate_caches()
    module_spec.cache_clear()


def read_module(name: str) -> StaticModule | None:
    """Return the text of a module; None where there is none, as of extension modules.

    :raises SyntaxError: it is no Python.
    """
    found = source_file(name)
    return read_file(found[0], name, found[1]) if found else None


def source_file(name: str) -> tuple[Path, str] | None:
    """Return a module's file and what its relative imports are relative to; None where it has no text."""
    spec = module_spec(name)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    is_package = spec.submodule_search_locations is not None
    return Path(spec.origin), name if is_package else name.rpartition(".")[0]


def read_file(path: Path, name: str, package: str = "") -> StaticModule:
    """Return the text of a file that is imported as the module ``name``.

    :raises SyntaxError: it is no Python.
    """
    return _parsed(path, name, package, path.stat().st_mtime_ns)


@lru_cache(maxsize=512)
def _parsed(path: Path, name: str, package: str, _changed: int) -> StaticModule:
    tree = ast.parse(path.read_bytes(), filename=str(path))
    module = StaticModule(name, path, tree, package, bindings_of(tree.body, package))
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
            module.stars.append(imported_from(statement, package))
    return module


def bindings_of(body: Sequence[ast.stmt], package: str) -> Bindings:
    """Return what the names are bound to after these statements."""
    found: Bindings = {}
    for statement in body:
        found.update(_bound(statement, package))
    return found


def imported_from(statement: ast.ImportFrom, package: str) -> str:
    """Return the dotted name of the module in a ``from`` import.

    :raises ImportError: it is relative to nothing.
    """
    if statement.level and not package:
        raise ImportError("attempted relative import with no known parent package")
    module = "." * statement.level + (statement.module or "")
    return importlib.util.resolve_name(module, package)


def resolve(module: StaticModule, node: ast.AST, local: Bindings | None = None) -> Definition | str | None:
    """Return what an expression stands for.

    :param local: the names of the function that it is in.
    :returns: a definition; the dotted name of what is not read here (rltk, pluggy, the standard library,
        heavy packages, modules themselves); None where it cannot be known.
    """
    return _resolve(module, node, local or {}, 0)


def _resolve(module: StaticModule, node: ast.AST, local: Bindings, depth: int) -> Definition | str | None:
    if depth > _LONGEST_CHAIN:
        return None
    if isinstance(node, ast.Name):
        return _lookup(module, node.id, local, depth + 1)
    if isinstance(node, ast.Attribute):
        owner = _resolve(module, node.value, local, depth + 1)
        return _locate(f"{owner}.{node.attr}", depth + 1) if isinstance(owner, str) else None
    return Definition(module, node)


def _lookup(module: StaticModule, name: str, local: Bindings, depth: int) -> Definition | str | None:
    scope = local if name in local else {}
    bound = scope.get(name) or module.bindings.get(name)
    if isinstance(bound, str):
        return _locate(bound, depth + 1)
    if bound is not None:
        return _resolve(module, bound, scope, depth + 1)
    candidates = (_locate(f"{star}.{name}", depth + 1) for star in module.stars)
    return next((found for found in candidates if isinstance(found, Definition)), None)


def _locate(dotted: str, depth: int) -> Definition | str | None:
    """Return what a dotted name stands for; the name itself where it is not followed or is a module."""
    parent, _, name = dotted.rpartition(".")
    if not parent or dotted.partition(".")[0] in _NOT_FOLLOWED or depth > _LONGEST_CHAIN:
        return dotted
    module = read_module(parent)
    if module is None:
        return dotted
    found = _lookup(module, name, {}, depth + 1)
    return dotted if found is None else found


def _bound(statement: ast.stmt, package: str) -> Iterator[tuple[str, ast.AST | str]]:
    """Yield the names that a statement binds."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            top = alias.name.partition(".")[0]
            yield (alias.asname, alias.name) if alias.asname else (top, top)
    elif isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            yield alias.asname or alias.name, f"{imported_from(statement, package)}.{alias.name}"
    elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name, statement
    elif isinstance(statement, ast.Assign) and all(isinstance(item, ast.Name) for item in statement.targets):
        yield from ((item.id, statement.value) for item in statement.targets if isinstance(item, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        if statement.value is not None:
            yield statement.target.id, statement.value
    else:
        yield from ((name, statement) for name in _names_bound_below(statement))


def _names_bound_below(statement: ast.stmt) -> Iterator[str]:
    """Yield every name that something in a statement may bind, too many rather than too few."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
