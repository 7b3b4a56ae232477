"""Plugins read, not run: what their text says they provide, and what in it will not load."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from rltk.errors import PluginError
from rltk.listing.light_imports import HeavyImport
from rltk.listing.static_components import (
    Implementation,
    component_name,
    function_rewards,
    implementations,
    returned,
    unmarked,
)
from rltk.listing.static_imports import check_imports, heavy_import
from rltk.listing.static_modules import (
    Bindings,
    Definition,
    StaticModule,
    bindings_of,
    read_file,
    read_module,
    resolve,
)
from rltk.plugin_checks import (
    HOOKS,
    api_problems,
    signature_problems,
    unmarked_problem,
    wrapper_problem,
)
from rltk.plugin_sources import Source


@dataclass(frozen=True)
class Reading:
    """What a plugin provides by its text.

    :param components: kind and name of each; None for what the text does not give away.
    :param hooks: the event hooks it implements.
    """

    components: frozenset[tuple[str | None, str | None]]
    hooks: frozenset[str] = frozenset()


#: Of a plugin that has no text to read.
NOTHING_KNOWN = Reading(frozenset({(None, None)}))


def read_plugin(source: Source) -> Reading:
    """Return what the text of a plugin says.

    :raises PluginError: the registry would refuse it, for the same reasons.
    :raises ImportError: something it imports is not there.
    :raises SyntaxError: it is no Python.
    """
    module = _module(source)
    if module is None:
        return NOTHING_KNOWN
    check_imports(module)
    plugin = _attributes(module, source.attribute)
    if plugin is None:
        return NOTHING_KNOWN
    module, members = plugin
    found = list(implementations(module, members))
    if problems := [*_api_problems(module, members), *_hook_problems(module, members, found)]:
        raise PluginError("; ".join(problems))
    components = set(_components(found))
    if source.attribute is None:
        components |= {("reward_model", name) for name in function_rewards(module)}
    hooks = frozenset(item.hook for item in found) - set(HOOKS.values())
    return Reading(frozenset(components), hooks)


def load_unless_heavy(source: Source) -> object:
    """Load a plugin whose text shows no heavy import.

    :raises HeavyImport: it does, and nothing of the plugin has been run.
    """
    file = source.path if source.path is not None and source.path.is_file() else None
    plugin = file or source.module
    if plugin and (package := heavy_import(plugin)):
        raise HeavyImport(package)
    return source.load()


def _module(source: Source) -> StaticModule | None:
    if source.path is not None:
        return read_file(source.path, f"rltk_plugin_{source.path.stem}")
    return read_module(source.module) if source.module else None


def _attributes(module: StaticModule, attribute: str | None) -> tuple[StaticModule, Bindings] | None:
    """Return the attributes of a plugin: its module's, or those of the class its object is made of."""
    if attribute is None:
        return module, module.bindings
    found = resolve(module, ast.parse(attribute, mode="eval").body)
    if isinstance(found, Definition) and isinstance(found.node, ast.Call):
        found = resolve(found.module, found.node.func)
    if not isinstance(found, Definition) or not isinstance(found.node, ast.ClassDef) or found.node.bases:
        return None
    return found.module, bindings_of(found.node.body, found.module.package)


def _api_problems(module: StaticModule, members: Bindings) -> Iterator[str]:
    version = resolve(module, ast.Name("RLTK_API"), members)
    if isinstance(version, Definition) and isinstance(version.node, ast.Constant):
        yield from api_problems(version.node.value)


def _hook_problems(module: StaticModule, members: Bindings, found: list[Implementation]) -> Iterator[str]:
    yield from map(unmarked_problem, unmarked(module, members))
    for item in found:
        if item.wrapper:
            yield wrapper_problem(item.hook)
        if item.function is not None and item.plain:
            yield from _signature_problems(item.hook, item.function.args)


def _signature_problems(hook: str, arguments: ast.arguments) -> Iterator[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = positional[len(positional) - len(arguments.defaults) :]
    with_default += [
        item
        for item, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if value is not None
    ]
    named = [item.arg for item in [*arguments.args, *arguments.kwonlyargs] if item.arg not in ("self", "cls")]
    star = arguments.vararg is not None or arguments.kwarg is not None
    yield from signature_problems(hook, named, defaults=[item.arg for item in with_default], star=star)


def _components(found: list[Implementation]) -> Iterator[tuple[str, str | None]]:
    """Yield kind and name of what the collecting hooks return.

    :raises PluginError: one of it cannot be used as a component.
    """
    for kind, hook in HOOKS.items():
        for item in found:
            if item.hook == hook:
                yield from ((kind, component_name(kind, component)) for component in returned(item))
