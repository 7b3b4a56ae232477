"""What a plugin must hold before it is used; every mistake at once, in words its author can act on."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib.metadata import Distribution
from types import ModuleType
from typing import Any

import rltk
from rltk import hookspecs
from rltk.errors import PluginError, suggestion

#: The kinds of component and the hook that collects each.
HOOKS = {
    "algorithm": "rltk_algorithms",
    "policy": "rltk_policies",
    "reward_model": "rltk_reward_models",
    "environment": "rltk_environments",
    "stage": "rltk_stages",
}
KINDS = tuple(HOOKS)
#: The public class each kind derives from; by name, since that of policies needs torch.
BASES = {
    "algorithm": "Algorithm",
    "policy": "Policy",
    "reward_model": "RewardModel",
    "environment": "Environment",
    "stage": "Stage",
}
#: Every hook and the names of its arguments.
ARGUMENTS = {
    name: tuple(inspect.signature(hook).parameters)
    for name, hook in vars(hookspecs).items()
    if name.startswith("rltk_")
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RECEIVERS = ("self", "cls")
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def check_plugin(plugin: object) -> None:
    """Check the version and the hooks of a plugin that was imported.

    :raises PluginError: naming every mistake.
    """
    problems = [*api_problems(getattr(plugin, "RLTK_API", rltk.API_VERSION)), *_hook_problems(plugin)]
    if problems:
        raise PluginError("; ".join(problems))


def api_problems(version: object) -> Iterator[str]:
    """Yield what is wrong with the version of the contracts that a plugin was written for."""
    if version != rltk.API_VERSION:
        yield f"written for plugin API {version}, this is rltk {rltk.__version__} with API {rltk.API_VERSION}"


def signature_problems(hook: str, arguments: list[str], *, defaults: list[str], star: bool) -> Iterator[str]:
    """Yield what is wrong with an implementation of ``hook``.

    :param arguments: the names of its arguments, ``self`` aside.
    :param defaults: those of them that have a default.
    :param star: whether it takes ``*args`` or ``**kwargs``.
    """
    known = ARGUMENTS.get(hook)
    if known is None:
        yield f"unknown hook {hook!r} ({suggestion(hook, ARGUMENTS)})"
        return
    takes = f"it is given {', '.join(known)}" if known else "it is given none"
    for name in arguments:
        if name not in known:
            yield f"{hook} has no argument {name!r} ({takes})"
    for name in defaults:
        yield f"{hook}: argument {name!r} must have no default"
    if star:
        yield f"{hook}: name the arguments instead of *args or **kwargs ({takes})"


def unmarked_problem(hook: str) -> str:
    """Return what is wrong with a function named like a hook that nobody will call."""
    return f"{hook} lacks the decorator @rltk.hookimpl"


def wrapper_problem(hook: str) -> str:
    """Return what is wrong with a wrapper around other plugins' hooks."""
    return f"{hook}: wrappers are not supported, only plain implementations"


def check_component(kind: str, component: Any) -> None:
    """Check one entry of what a collecting hook returned.

    :raises PluginError: it cannot be used as a component of this kind.
    """
    base = getattr(rltk, BASES[kind])
    derived = isinstance(component, type) and issubclass(component, base)
    if not derived:
        raise PluginError(f"{HOOKS[kind]} returned {component!r}, which is no subclass of {base.__name__}")
    owner, name, config = component.__qualname__, getattr(component, "name", None), component.Config
    if problem := name_problem(owner, name):
        raise PluginError(problem)
    if not (isinstance(config, type) and issubclass(config, rltk.ComponentConfig)):
        raise PluginError(f"{owner}.Config must derive from rltk.ComponentConfig")
    if inspect.isabstract(component):
        raise PluginError(f"{owner} lacks {', '.join(sorted(component.__abstractmethods__))}")


def name_problem(owner: str, name: object) -> str | None:
    """Return what is wrong with the name of the component class ``owner``; None where it is fine."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return None
    return f"{owner}.name must be letters, digits, '.', '_', '-'; got {name!r}"


def missing_package_fix(package: str, distribution: Distribution | None) -> str:
    """Return how to get a package that an import did not find: the extra that brings it, where one does."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    top = package.partition(".")[0]
    if distribution is None:
        return f"install the package {top!r}"
    if canonicalize_name(top) == canonicalize_name(distribution.name):
        return f"install {distribution.name} again"
    extras = distribution.metadata.get_all("Provides-Extra") or []
    for requirement in map(Requirement, distribution.requires or []):
        if canonicalize_name(requirement.name) == canonicalize_name(top) and requirement.marker:
            for extra in extras:
                if requirement.marker.evaluate({"extra": extra}):
                    return f"pip install '{distribution.name}[{extra}]'"
    return f"install the package {top!r}"


def _hook_problems(plugin: object) -> Iterator[str]:
    for attribute in sorted(dir(plugin)):
        function = inspect.getattr_static(plugin, attribute)
        function = getattr(function, "__func__", function)
        options = getattr(function, "rltk_impl", None) if callable(function) else None
        if not isinstance(options, dict):
            if attribute in ARGUMENTS and _belongs(function, plugin):
                yield unmarked_problem(attribute)
            continue
        hook = options.get("specname") or attribute
        if options.get("wrapper") or options.get("hookwrapper"):
            yield wrapper_problem(hook)
        parameters = [
            item
            for name, item in inspect.signature(function).parameters.items()
            if name not in ("self", "cls")
        ]
        yield from signature_problems(
            hook,
            [item.name for item in parameters if item.kind in _NAMED],
            defaults=[item.name for item in parameters if item.default is not item.empty],
            star=any(item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD) for item in parameters),
        )


def _belongs(function: object, plugin: object) -> bool:
    """Tell whether a function was defined in the plugin, not only imported into it."""
    if not isinstance(plugin, ModuleType):
        return inspect.isfunction(function)
    return inspect.isfunction(function) and function.__module__ == plugin.__name__
