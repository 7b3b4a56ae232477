"""Plugins found, loaded and checked; their components by kind and name.

Plugins are entry points of the group ``rltk``, and files or modules named with ``-p``. One that fails does
not stop the others: it is recorded, warned about once, and becomes an error when a config asks for a
component that it may have provided.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pluggy

from rltk import hookspecs
from rltk.errors import UserError, suggestion
from rltk.plugin_sources import Source, entry_point_sources, local_source

#: The kinds of component and the hook that collects each.
HOOKS = {
    "algorithm": "rltk_algorithms",
    "policy": "rltk_policies",
    "reward_model": "rltk_reward_models",
    "environment": "rltk_environments",
    "stage": "rltk_stages",
}
KINDS = tuple(HOOKS)
#: The public class each kind derives from; named, since that of policies needs torch.
_BASES = {
    "algorithm": "Algorithm",
    "policy": "Policy",
    "reward_model": "RewardModel",
    "environment": "Environment",
    "stage": "Stage",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class LoadFailure:
    """A plugin that could not be used, and why."""

    plugin: str
    distribution: str
    error: BaseException

    def __str__(self) -> str:
        reason = " ".join(str(self.error).split())
        return f"{self.plugin!r} of {self.distribution}: {type(self.error).__name__}: {reason}"


@dataclass(frozen=True)
class Provided:
    """A component class and the plugin it came from."""

    kind: str
    component: type[Any]
    plugin: str
    distribution: str


class Registry:
    """The components of a set of plugins.

    :param sources: the plugins to load, in this order.
    :param blocked: names of plugins left out.
    """

    def __init__(self, sources: Iterable[Source], blocked: Iterable[str] = ()) -> None:
        self.blocked = frozenset(blocked)
        self.sources = list(sources)
        self.failures: list[LoadFailure] = []
        self.provided: list[Provided] = []
        self._manager = pluggy.PluginManager("rltk")
        self._manager.add_hookspecs(hookspecs)
        for source in self.sources:
            if source.plugin not in self.blocked:
                self._load(source)

    @property
    def hooks(self) -> Any:
        """The event hooks: ``registry.hooks.rltk_metrics(stage=..., ...)`` calls every plugin's."""
        return self._manager.hook

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin object that is already at hand.

        :raises UserError: it is no valid plugin.
        """
        source = Source(plugin=name, distribution="this program", load=lambda: plugin)
        self.sources.append(source)
        self._load(source)
        if self.failures and self.failures[-1].plugin == name:
            raise UserError(f"plugin {name}", str(self.failures[-1].error), fix="correct the plugin")

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

    def _load(self, source: Source) -> None:
        if self._manager.has_plugin(source.plugin):
            error = ImportError(f"another plugin is already named {source.plugin!r}")
            self.failures.append(LoadFailure(source.plugin, source.distribution, error))
            return
        try:
            plugin = source.load()
            self._manager.register(plugin, name=source.plugin)
            self._manager.check_pending()
            self.provided += _components(self._manager, plugin, source)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may even call sys.exit() at import
            self.failures.append(LoadFailure(source.plugin, source.distribution, error))
            # pluggy 1.6 keeps a plugin whose registration failed
            if self._manager.has_plugin(source.plugin):
                self._manager.unregister(name=source.plugin)

    def _unknown(self, kind: str, name: str, where: str) -> UserError:
        hint = suggestion(name, self.names(kind))
        likely = [failure for failure in self.failures if name in failure.plugin]
        if not hint.startswith("did you mean"):
            likely = likely or self.failures
        if not self.sources:
            hint = "install rltk (pip install -e .): no plugin at all was found"
        reasons = "".join(f"; plugin {failure} (failed to load)" for failure in likely[:3])
        error = UserError(where, f"unknown {kind}{reasons}", got=name, fix=hint)
        if likely:
            error.__cause__ = likely[0].error
        return error


def _clash(found: Sequence[Provided], where: str) -> UserError:
    kind, name = found[0].kind, found[0].component.name
    owners = " and ".join(f"plugin {item.plugin!r} of {item.distribution}" for item in found)
    fix = f"leave one out with -p no:{found[-1].plugin}"
    return UserError(where, f"{owners} both provide a {kind} named {name!r}", fix=fix)


def _components(manager: pluggy.PluginManager, plugin: object, source: Source) -> list[Provided]:
    """Call the collecting hooks of one plugin and check what they return."""
    found: dict[tuple[str, type[Any]], None] = {}
    for kind, hook in HOOKS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            if implementation.plugin is not plugin:
                continue
            classes = implementation.function()
            if not isinstance(classes, list | tuple):
                raise TypeError(f"{hook} must return a list of classes, got {classes!r}")
            found |= dict.fromkeys((kind, component) for component in classes)
    found |= dict.fromkeys(("reward_model", component) for component in _function_rewards(plugin))
    for kind, component in found:
        _check(kind, component)
    return [Provided(kind, component, source.plugin, source.distribution) for kind, component in found]


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


def _check(kind: str, component: Any) -> None:
    """Raise TypeError, saying what is missing, unless ``component`` can be used as one of ``kind``."""
    import rltk
    from rltk import interfaces

    base = getattr(rltk, _BASES[kind])
    if not (isinstance(component, type) and issubclass(component, base)):
        raise TypeError(f"{HOOKS[kind]} returned {component!r}, which is no subclass of {base.__name__}")
    name = getattr(component, "name", None)
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise TypeError(f"{component.__qualname__}.name must be letters, digits, '.', '_', '-'; got {name!r}")
    if not issubclass(component.Config, interfaces.ComponentConfig):
        raise TypeError(f"{component.__qualname__}.Config must derive from rltk.ComponentConfig")
    if inspect.isabstract(component):
        missing = ", ".join(sorted(component.__abstractmethods__))
        raise TypeError(f"{component.__qualname__} lacks {missing}")


_current: Registry | None = None


def get_registry() -> Registry:
    """Return the registry of this process, loading the installed plugins at the first call."""
    return _current if _current is not None else load_plugins()


def load_plugins(options: Sequence[str] = ()) -> Registry:
    """Load the installed plugins and those of ``options``, and make them this process's registry.

    :param options: values of ``-p``: a ``.py`` file or module to add, or ``no:NAME`` to leave one out.
        ``RLTK_DISABLE_PLUGINS=a,b`` in the environment leaves out more.
    :raises UserError: a plugin named here does not load, or one to leave out does not exist.
    """
    global _current
    blocked = {option.removeprefix("no:") for option in options if option.startswith("no:")}
    named = list(dict.fromkeys(option for option in options if not option.startswith("no:")))
    sources = entry_point_sources(importlib.metadata.entry_points(group="rltk"))
    sources += [local_source(option) for option in named]
    for name in sorted(blocked - {source.plugin for source in sources}):
        raise UserError("-p", "no plugin to leave out", got=name, fix=suggestion(name, _names(sources)))
    silent = {name.strip() for name in os.environ.get("RLTK_DISABLE_PLUGINS", "").split(",")}
    registry = Registry(sources, blocked | silent)
    _report(registry, named)
    _current = registry
    return registry


def _names(sources: Iterable[Source]) -> list[str]:
    return [source.plugin for source in sources]


def _report(registry: Registry, named: Sequence[str]) -> None:
    """Warn of every failure and clash; a plugin that was asked for by ``-p`` has to work."""
    asked_for = {local_source(option).plugin for option in named}
    for failure in registry.failures:
        if failure.plugin in asked_for:
            reason = f"{type(failure.error).__name__}: {' '.join(str(failure.error).split())}"
            raise UserError(
                f"-p {failure.plugin}", reason, fix="name a .py file or module that imports"
            ) from failure.error
        fix = f"repair it, or leave it out with -p no:{failure.plugin}"
        print(f"rltk: warning: plugin {failure} (failed to load). Fix: {fix}.", file=sys.stderr)
    for kind in KINDS:
        for name in registry.names(kind):
            try:
                registry.get(kind, name)
            except UserError as error:
                print(f"rltk: warning: {error}", file=sys.stderr)


def create(kind: str, name: str, /, **options: Any) -> Any:
    """Construct a component by name.

    :param options: fields of the component's Config, and collaborators for its constructor by keyword. An
        algorithm that is given no ``generator`` gets a torch generator seeded with 0.
    :raises UserError: no such component, or an option that is wrong.

    ``rltk.create("algorithm", "ppo", policy=policy, clip_range=0.2)``
    """
    from rltk.config import build_config

    component = get_registry().get(kind, name)
    fields = component.Config.model_fields
    accepted = inspect.signature(component.__init__).parameters
    settings = {key: value for key, value in options.items() if key in fields or key not in accepted}
    collaborators = {key: value for key, value in options.items() if key not in settings}
    if "generator" in accepted and "generator" not in collaborators:
        import torch

        collaborators["generator"] = torch.Generator().manual_seed(0)
    return component(build_config(kind, name, settings, where=f"{kind} {name}"), **collaborators)
