"""What a plugin's text says it provides; where the text does not say, that is said."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from rltk.errors import PluginError
from rltk.listing.static_classes import Unknown, abstract_problem, base_problem, class_name
from rltk.listing.static_modules import Bindings, Definition, StaticModule, bindings_of, resolve
from rltk.plugin_checks import ARGUMENTS, HOOKS, name_problem

_MARKS = {"rltk.hookimpl", "rltk.hookspecs.hookimpl"}
_REWARD_MARKS = {"rltk.reward", "rltk.rewards.reward"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Implementation:
    """A function marked as an implementation of a hook.

    :param function: None where it is defined below ``if``, ``try`` and the like.
    :param plain: whether nothing but the mark decorates it.
    """

    hook: str
    module: StaticModule
    function: Function | None
    plain: bool = True
    wrapper: bool = False


def implementations(module: StaticModule, members: Bindings) -> Iterator[Implementation]:
    """Yield the hook implementations among a plugin's attributes, in the order of their names.

    :param members: the global names of the plugin's module, or those in the body of its class.
    """
    for name in sorted(members):
        found = resolve(module, ast.Name(name), members)
        if not isinstance(found, Definition):
            continue
        if isinstance(found.node, Function):
            yield from _implementation(name, found)
        elif name in HOOKS.values() and isinstance(found.node, ast.stmt):
            yield Implementation(name, found.module, None)


def unmarked(module: StaticModule, members: Bindings) -> Iterator[str]:
    """Yield the names of functions named like a hook that nothing decorates."""
    for name in sorted(members.keys() & ARGUMENTS):
        node = members[name]
        if isinstance(node, ast.FunctionDef) and not node.decorator_list:
            yield name


def returned(implementation: Implementation) -> list[Definition | Unknown]:
    """Return what is in the list that a collecting hook returns."""
    function, module = implementation.function, implementation.module
    returns = [node for node in ast.walk(function) if isinstance(node, ast.Return)] if function else []
    if function is None or len(returns) != 1 or returns[0] not in function.body or returns[0].value is None:
        return [Unknown()]
    local = bindings_of(function.body, module.package)
    value = returns[0].value
    if isinstance(value, ast.Name):
        found = resolve(module, value, local)
        # A list may have been changed since it was made.
        if not (isinstance(found, Definition) and isinstance(found.node, ast.Tuple)):
            return [Unknown()]
        module, value, local = found.module, found.node, {}
    if not isinstance(value, ast.List | ast.Tuple):
        return [Unknown()]
    elements = [resolve(module, element, local) for element in value.elts]
    return [element if isinstance(element, Definition) else Unknown() for element in elements]


def component_name(kind: str, component: Definition | Unknown) -> str | None:
    """Return the name that a config chooses a component by; None where the text does not give it away.

    :raises PluginError: it cannot be used as a component of this kind.
    """
    if isinstance(component, Unknown):
        return None
    if isinstance(component.node, Function) and _is_reward(component.module, component.node):
        return component.node.name
    if not isinstance(component.node, ast.ClassDef):
        return None
    name = class_name(component)
    known = not isinstance(name, Unknown)
    for problem in (
        base_problem(kind, component),
        name_problem(component.node.name, name) if known else None,
        abstract_problem(kind, component),
    ):
        if problem:
            raise PluginError(problem)
    return str(name) if known else None


def function_rewards(module: StaticModule) -> list[str]:
    """Return the names of the functions of a module that ``@rltk.reward`` decorates."""
    found = [node for node in module.bindings.values() if isinstance(node, Function)]
    return [node.name for node in found if _is_reward(module, node)]


def _is_reward(module: StaticModule, function: Function) -> bool:
    """Tell whether ``@rltk.reward`` makes a function a reward model."""
    return any(resolve(module, item) in _REWARD_MARKS for item in function.decorator_list)


def _implementation(name: str, found: Definition) -> Iterator[Implementation]:
    function = found.node
    assert isinstance(function, Function)
    marks = [item for item in function.decorator_list if _is_mark(found.module, item)]
    if not marks:
        return
    keywords = marks[0].keywords if isinstance(marks[0], ast.Call) else []
    options = {item.arg: item.value.value for item in keywords if isinstance(item.value, ast.Constant)}
    yield Implementation(
        str(options.get("specname") or name),
        found.module,
        function,
        plain=len(function.decorator_list) == len(marks),
        wrapper=bool(options.get("wrapper") or options.get("hookwrapper")),
    )


def _is_mark(module: StaticModule, decorator: ast.expr) -> bool:
    """Tell whether a decorator is rltk's mark, called or not, or made by pluggy for rltk."""
    mark = resolve(module, decorator.func if isinstance(decorator, ast.Call) else decorator)
    if isinstance(mark, Definition) and isinstance(mark.node, ast.Call):
        made_by = resolve(mark.module, mark.node.func)
        first = mark.node.args[0] if mark.node.args else None
        project = first.value if isinstance(first, ast.Constant) else None
        return str(made_by).endswith("HookimplMarker") and project == "rltk"
    return mark in _MARKS
