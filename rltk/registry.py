"""Plugins loaded and checked; their components by kind and name.

Plugins are entry points of the group ``rltk``, and files or modules named with ``-p``. One that fails does
not stop the others: it is recorded, warned about once, and becomes an error when a config asks for a
component that it may have provided.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pluggy

from rltk import hookspecs
from rltk.errors import Interrupted, PluginError, UserError, suggestion
from rltk.plugin_checks import HOOKS, check_component, check_plugin, missing_package_fix
from rltk.plugin_selection import select_sources
from rltk.plugin_sources import Source


@dataclass(frozen=True)
class LoadFailure:
    """A plugin that could not be used, and why."""

    source: Source
    error: BaseException

    @property
    def plugin(self) -> str:
        """The plugin's name."""
        return self.source.plugin

    @property
    def distribution(self) -> str:
        """What the plugin came with, and its version."""
        return self.source.origin

    @property
    def reason(self) -> str:
        """The first line of why."""
        return _first_line(self.error)

    @property
    def fix(self) -> str:
        """What the user can do about it."""
        out = f"leave it out with -p no:{self.plugin}"
        if isinstance(self.error, ModuleNotFoundError) and self.error.name:
            return f"{missing_package_fix(self.error.name, self.source.metadata)}, or {out}"
        return f"repair it, or {out}"

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} of {self.distribution} failed to load: {self.reason}"


@dataclass(frozen=True)
class Provided:
    """A component class and the plugin it came from."""

    kind: str
    component: type[Any]
    source: Source

    @property
    def plugin(self) -> str:
        """The plugin's name."""
        return self.source.plugin

    @property
    def distribution(self) -> str:
        """What the plugin came with, and its version."""
        return self.source.origin


class Registry:
    """The components of a set of plugins.

    :param sources: the plugins to load, in this order.
    :param blocked: why a plugin is left out, by its name or ``name@distribution``.
    """

    def __init__(self, sources: Iterable[Source], blocked: Mapping[str, str] | None = None) -> None:
        self.blocked = dict(blocked or {})
        self.sources = list(sources)
        self.failures: list[LoadFailure] = []
        self.provided: list[Provided] = []
        #: Plugins whose event hooks raised in this run and are not called again.
        self.silenced: set[str] = set()
        self._manager = pluggy.PluginManager("rltk")
        self._manager.add_hookspecs(hookspecs)
        wanted = [source for source in self.sources if self.block_reason(source) is None]
        names = Counter(source.plugin for source in wanted)
        for source in wanted:
            if names[source.plugin] == 1:
                self._load(source)
            else:
                self.failures.append(LoadFailure(source, _namesake(source, wanted)))

    def block_reason(self, source: Source) -> str | None:
        """Return why a plugin is left out; None where it is not."""
        return self.blocked.get(source.plugin) or self.blocked.get(source.qualified)

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call an event hook of every plugin.

        An observer must not cost a run its work: one that raises is warned about and not called again.

        :raises UserError: from an observer that refuses to go on.
        """
        for implementation in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
            plugin = implementation.plugin_name
            if plugin in self.silenced:
                continue
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except (UserError, Interrupted):
                raise
            except Exception as error:
                self.silenced.add(plugin)
                self._warn_of_observer(plugin, hook, error)

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin object that is already at hand.

        :raises UserError: it is no valid plugin, or the name is taken.
        """
        where = f"plugin {name}"
        if self._manager.has_plugin(name):
            raise UserError(where, "another plugin has this name", fix="choose another name")
        source = Source(plugin=name, distribution="this program", load=lambda: plugin)
        self.sources.append(source)
        self._load(source)
        if self.failures and self.failures[-1].source is source:
            raise UserError(where, self.failures[-1].reason, fix="correct the plugin")

    def unregister(self, name: str) -> None:
        """Take out a plugin that :meth:`register` added."""
        self._manager.unregister(name=name)
        self.sources = [source for source in self.sources if source.plugin != name]
        self.provided = [item for item in self.provided if item.plugin != name]

    def event_hooks(self, plugin: str) -> list[str]:
        """Return the names of the event hooks that the plugin named so implements, sorted."""
        callers = self._manager.get_hookcallers(self._manager.get_plugin(plugin)) or []
        return sorted(caller.name for caller in callers if caller.name not in HOOKS.values())

    def names(self, kind: str) -> list[str]:
        """Return the names of all components of a kind, sorted."""
        return sorted({item.component.name for item in self.provided if item.kind == kind})

    def get(self, kind: str, name: str, *, where: str | None = None) -> type[Any]:
        """Return the component class chosen by ``name``.

        :param where: the key path that asks, for the error.
        :raises UserError: nobody provides it, or two plugins do.
        """
        found = [item for item in self.provided if (item.kind, item.component.name) == (kind, name)]
        if not found:
            raise self._unknown(kind, name, where or kind)
        if len(found) > 1:
            raise _clash(found, where or kind)
        return found[0].component

    def provider(self, component: type[Any]) -> Provided | None:
        """Return which plugin a component class came from; None where no plugin provides it."""
        return next((item for item in self.provided if item.component is component), None)

    def clashes(self) -> list[UserError]:
        """Return an error for every name of a component that two plugins provide."""
        found: dict[tuple[str, str], list[Provided]] = {}
        for item in self.provided:
            found.setdefault((item.kind, item.component.name), []).append(item)
        return [_clash(items, kind) for (kind, _), items in found.items() if len(items) > 1]

    def _load(self, source: Source) -> None:
        try:
            plugin = source.load()
            check_plugin(plugin)
            components = [Provided(kind, item, source) for kind, item in _components(plugin)]
            self._manager.register(plugin, name=source.plugin)
            self.provided += components
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may even call sys.exit() at import
            self.failures.append(LoadFailure(source, error))
            # pluggy 1.6 keeps a plugin whose registration failed
            if self._manager.has_plugin(source.plugin):
                self._manager.unregister(name=source.plugin)

    def _unknown(self, kind: str, name: str, where: str) -> UserError:
        hint = suggestion(name, self.names(kind))
        likely = [failure for failure in self.failures if _may_provide(failure.source, name)]
        if not hint.startswith("did you mean"):
            likely = likely or self.failures
        if likely:
            hint = likely[0].fix
        if not self.sources:
            hint = "install rltk (pip install -e .): no plugin at all was found"
        left_out = [
            source for source in self.sources if self.block_reason(source) and _may_provide(source, name)
        ]
        reasons = [
            *(f"plugin {source.plugin!r} is left out {self.block_reason(source)}" for source in left_out),
            *map(str, likely[:3]),
        ]
        error = UserError(where, "; ".join([f"unknown {kind}", *reasons]), got=name, fix=hint)
        if likely:
            error.__cause__ = likely[0].error
        return error

    @staticmethod
    def _warn_of_observer(plugin: str, hook: str, error: Exception) -> None:
        what = f"plugin {plugin!r} raised {_first_line(error)} in {hook} and is not called again in this run"
        fix = f"repair it, or leave it out with -p no:{plugin}"
        print(f"rltk: warning: {what}. Fix: {fix}.", file=sys.stderr)
        if "--debug" in sys.argv:
            traceback.print_exception(error)


def _first_line(error: BaseException) -> str:
    line = str(error).strip().partition("\n")[0]
    return line if isinstance(error, PluginError) else f"{type(error).__name__}: {line}"


def _may_provide(source: Source, name: str) -> bool:
    """Tell by a plugin's name whether a component of this name may be in it."""
    return re.search(rf"(^|[_.-]){re.escape(name)}($|[_.-])", source.plugin) is not None


def _namesake(source: Source, wanted: Iterable[Source]) -> PluginError:
    """Return the error of a plugin whose name another distribution declares too."""
    others = [other for other in wanted if other.plugin == source.plugin and other is not source]
    owners = " and ".join(item.origin for item in [source, *others])
    return PluginError(
        f"{owners} both declare a plugin of this name; leave one out with -p no:{source.qualified}"
    )


def _clash(found: Sequence[Provided], where: str) -> UserError:
    kind, name = found[0].kind, found[0].component.name
    owners = " and ".join(f"plugin {item.plugin!r} of {item.distribution}" for item in found)
    fix = f"leave one out with -p no:{found[-1].plugin}"
    return UserError(where, f"{owners} both provide a {kind} named {name!r}", fix=fix)


def _components(plugin: object) -> list[tuple[str, type[Any]]]:
    """Call the collecting hooks of one plugin, check what they return, and list it once each.

    :raises PluginError: something is no component.
    """
    found: dict[tuple[str, type[Any]], None] = {}
    for kind, hook in HOOKS.items():
        for function in _implementations(plugin, hook):
            classes = function()
            if not isinstance(classes, list | tuple):
                raise PluginError(f"{hook} must return a list of classes, got {classes!r}")
            found |= dict.fromkeys((kind, component) for component in classes)
    found |= dict.fromkeys(("reward_model", component) for component in _function_rewards(plugin))
    for kind, component in found:
        check_component(kind, component)
    return list(found)


def _implementations(plugin: object, hook: str) -> list[Any]:
    """Return what a plugin has marked as implementations of ``hook``, whatever the functions are called."""
    found = []
    for attribute in sorted(dir(plugin)):
        function = inspect.getattr_static(plugin, attribute)
        options = getattr(getattr(function, "__func__", function), "rltk_impl", None)
        if isinstance(options, dict) and hook == (options.get("specname") or attribute):
            found.append(getattr(plugin, attribute))
    return found


def _function_rewards(plugin: object) -> list[type[Any]]:
    """Return what ``@rltk.reward`` made in a plugin module."""
    if not isinstance(plugin, ModuleType) or "rltk.rewards" not in sys.modules:
        return []
    from rltk.rewards import FunctionReward

    return [
        value
        for value in vars(plugin).values()
        if isinstance(value, type)
        and issubclass(value, FunctionReward)
        and value.__module__ == plugin.__name__
    ]


_current: Registry | None = None


def get_registry() -> Registry:
    """Return the registry of this process, loading the installed plugins at the first call."""
    return _current if _current is not None else load_plugins()


def load_plugins(options: Sequence[str] = (), *, strict: bool = False) -> Registry:
    """Load the installed plugins and those of ``options``, and make them this process's registry.

    :param options: values of ``-p``; see :func:`rltk.plugin_selection.select_sources`.
    :param strict: let no plugin fail and no name clash.
    :raises UserError: a plugin named here does not load, or one to leave out does not exist.
    """
    global _current
    selection = select_sources(options)
    registry = Registry(selection.sources, selection.blocked)
    for failure in registry.failures:
        if failure.source in selection.named:
            absent = isinstance(failure.error, ImportError)
            fix = "name a .py file or module that imports" if absent else "repair it"
            raise UserError(f"-p {failure.plugin}", failure.reason, fix=fix) from failure.error
    if strict:
        _refuse(registry)
    for warning in [
        *selection.warnings,
        *(f"{failure}. Fix: {failure.fix}." for failure in registry.failures),
        *map(str, registry.clashes()),
    ]:
        print(f"rltk: warning: {warning}", file=sys.stderr)
    _current = registry
    return registry


def _refuse(registry: Registry) -> None:
    """Raise for the plugins that failed or clash."""
    where = "--strict-plugins"
    if registry.failures:
        first = registry.failures[0]
        raise UserError(where, "; ".join(map(str, registry.failures)), fix=first.fix) from first.error
    for clash in registry.clashes():
        raise UserError(where, clash.what, fix=clash.fix)


def construct(kind: str, name: str, options: Mapping[str, Any], *, where: str, **collaborators: Any) -> Any:
    """Construct a component, giving it those of the collaborators on offer that its constructor names.

    :param options: fields of the component's Config.
    :param where: the key path of the options, for errors.
    :raises UserError: no such component, or an option that is wrong.
    """
    from rltk.config import build_config

    component = get_registry().get(kind, name, where=where)
    config = build_config(kind, name, options, where=where)
    accepted = inspect.signature(component).parameters
    return component(config, **{key: value for key, value in collaborators.items() if key in accepted})


def create(kind: str, name: str, /, **options: Any) -> Any:
    """Construct a component by name.

    :param options: fields of the component's Config, and collaborators for its constructor by keyword. An
        algorithm that is given no ``generator`` gets a torch generator seeded with 0.
    :raises UserError: no such component, or an option that is wrong.

    ``rltk.create("algorithm", "ppo", policy=policy, clip_range=0.2)``
    """
    component = get_registry().get(kind, name)
    fields = component.Config.model_fields
    accepted = inspect.signature(component).parameters
    settings = {key: value for key, value in options.items() if key in fields or key not in accepted}
    collaborators = {key: value for key, value in options.items() if key not in settings}
    if "generator" in accepted and "generator" not in collaborators:
        import torch

        collaborators["generator"] = torch.Generator().manual_seed(0)
    return construct(kind, name, settings, where=f"{kind} {name}", **collaborators)
