"""What can be said of a component's class by its text: its name, and what it lacks."""

from __future__ import annotations

import ast
from dataclasses import dataclass

import rltk
from rltk.listing.static_modules import Definition, bindings_of, read_module, resolve
from rltk.plugin_checks import BASES, HOOKS

#: A contract by each name that a class can derive from it by.
_CONTRACTS = {
    f"{module}.{base}": base
    for base in BASES.values()
    for module in ("rltk", "rltk.interfaces", "rltk.policy")
}


@dataclass(frozen=True)
class Unknown:
    """A value that the text does not give away."""


def class_name(component: Definition) -> object:
    """Return the ``name`` of a class, whatever type it has: its own, or the first that a base has."""
    assert isinstance(component.node, ast.ClassDef)
    module, body = component.module, bindings_of(component.node.body, component.module.package)
    if "name" in body:
        value = resolve(module, ast.Name("name"), body)
        if isinstance(value, Definition) and isinstance(value.node, ast.Constant):
            return value.node.value
        return Unknown()
    for base in component.node.bases:
        found = resolve(module, base)
        if isinstance(found, Definition) and isinstance(found.node, ast.ClassDef):
            name = class_name(found)
            if name is not None:
                return name
        elif not (isinstance(found, str) and found.startswith("rltk.")):
            return Unknown()
    return None


def base_problem(kind: str, component: Definition) -> str | None:
    """Return that a class does not derive from the contract of its kind; None where it does or may."""
    contracts = _contracts(component)
    if contracts is None or BASES[kind] in contracts:
        return None
    assert isinstance(component.node, ast.ClassDef)
    shown = f"<class '{component.module.name}.{component.node.name}'>"
    return f"{HOOKS[kind]} returned {shown}, which is no subclass of {BASES[kind]}"


def abstract_problem(kind: str, component: Definition) -> str | None:
    """Return which methods of the contract a class lacks; None where it has all or may have them."""
    if _contracts(component) is None:
        return None
    assert isinstance(component.node, ast.ClassDef)
    missing = _required(kind) - _members(component)
    return f"{component.node.name} lacks {', '.join(sorted(missing))}" if missing else None


def _contracts(component: Definition) -> set[str] | None:
    """Return the contracts that a class derives from; None where something else may come in."""
    node = component.node
    if not isinstance(node, ast.ClassDef) or node.decorator_list or node.keywords:
        return None
    found: set[str] = set()
    for base in node.bases:
        resolved = resolve(component.module, base)
        if isinstance(resolved, Definition):
            above = _contracts(resolved)
        else:
            above = {_CONTRACTS[resolved]} if resolved in _CONTRACTS else None
        if above is None:
            return None
        found |= above
    return found


def _members(component: Definition) -> set[str]:
    """Return the names that a class and those above it bind."""
    assert isinstance(component.node, ast.ClassDef)
    found = set(bindings_of(component.node.body, component.module.package))
    for base in component.node.bases:
        resolved = resolve(component.module, base)
        if isinstance(resolved, Definition):
            found |= _members(resolved)
    return found


def _required(kind: str) -> frozenset[str]:
    """Return the abstract methods of a contract; that of policies is read, since it needs torch."""
    if kind != "policy":
        return frozenset(getattr(rltk, BASES[kind]).__abstractmethods__)
    module = read_module("rltk.policy")
    contract = module.bindings.get(BASES[kind]) if module else None
    if not isinstance(contract, ast.ClassDef):
        return frozenset()
    return frozenset(
        item.name
        for item in contract.body
        if isinstance(item, ast.FunctionDef)
        and any(isinstance(mark, ast.Name) and mark.id == "abstractmethod" for mark in item.decorator_list)
    )
