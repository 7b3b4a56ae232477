"""Where plugins come from: entry points of installed distributions, files and modules named by the user."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True)
class Source:
    """A plugin that can be loaded.

    :param plugin: the name it is blocked by: that of the entry point, the file or the module.
    :param distribution: what installed it, with the version.
    :param load: imports it and returns the module or object with the hook implementations.
    """

    plugin: str
    distribution: str
    load: Callable[[], object]


def entry_point_sources(entry_points: Iterable[EntryPoint]) -> list[Source]:
    """Return one source an entry-point name, sorted by name.

    A name that two distributions declare is no plugin: which one was meant cannot be known.
    """
    groups: dict[str, list[EntryPoint]] = defaultdict(list)
    for entry_point in entry_points:
        groups[entry_point.name].append(entry_point)
    return [_entry_point_source(name, groups[name]) for name in sorted(groups)]


def local_source(option: str) -> Source:
    """Return the source for a ``-p`` option: a path of a ``.py`` file, or the name of a module."""
    if option.endswith(".py"):
        path = Path(option)
        return Source(path.stem, str(path), partial(_load_file, path))
    return Source(option, f"module {option}", partial(importlib.import_module, option))


def _entry_point_source(name: str, entry_points: list[EntryPoint]) -> Source:
    distributions = " and ".join(_distribution(entry_point) for entry_point in entry_points)
    if len(entry_points) == 1:
        return Source(name, distributions, entry_points[0].load)
    return Source(name, distributions, partial(_refuse, f"declared by {distributions}; uninstall one"))


def _distribution(entry_point: EntryPoint) -> str:
    return f"{entry_point.dist.name} {entry_point.dist.version}" if entry_point.dist else "unknown"


def _refuse(reason: str) -> object:
    raise ImportError(reason)


def _load_file(path: Path) -> ModuleType:
    """Import a file as ``rltk_plugin_STEM``, so that a file named like an installed module shadows none."""
    name = f"rltk_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ImportError(f"no such file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
