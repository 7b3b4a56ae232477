"""Where plugins come from: entry points of installed distributions, files and modules named by the user."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True)
class Source:
    """A plugin that can be loaded.

    :param plugin: its name, which it is left out by: that of the entry point, the file or the module.
    :param distribution: what installed it; the file or module where nothing did.
    :param load: imports it and returns the module or object with the hook implementations.
    :param version: the distribution's.
    :param module: dotted name of the module that is imported; None for a file or an object.
    :param attribute: what in the module is the plugin; None where the module itself is.
    :param path: the file that is imported; None for a module or an object.
    :param metadata: the distribution's, for its extras; None where there is none.
    """

    plugin: str
    distribution: str
    load: Callable[[], object]
    version: str | None = None
    module: str | None = None
    attribute: str | None = None
    path: Path | None = None
    metadata: Distribution | None = None

    @property
    def origin(self) -> str:
        """The distribution with its version, for messages."""
        return f"{self.distribution} {self.version}" if self.version else self.distribution

    @property
    def qualified(self) -> str:
        """``plugin@distribution``, which tells two plugins of one name apart."""
        return f"{self.plugin}@{self.distribution}"


def entry_point_sources(entry_points: Iterable[EntryPoint]) -> list[Source]:
    """Return one source an entry point, sorted by name and distribution."""
    sources = [_entry_point_source(entry_point) for entry_point in entry_points]
    return sorted(sources, key=lambda source: (source.plugin, source.distribution))


def local_source(option: str) -> Source:
    """Return the source for a ``-p`` option: a path of a ``.py`` file, or the name of a module."""
    if option.endswith(".py"):
        path = Path(option)
        return Source(path.stem, str(path), partial(_load_file, path), path=path)
    return Source(option, f"module {option}", partial(importlib.import_module, option), module=option)


def _entry_point_source(entry_point: EntryPoint) -> Source:
    distribution = entry_point.dist
    name, version = _name_and_version(distribution) if distribution else ("unknown", None)
    return Source(
        plugin=entry_point.name,
        distribution=name,
        load=entry_point.load,
        version=version,
        module=entry_point.module,
        attribute=entry_point.attr or None,
        metadata=distribution,
    )


@cache
def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    """Read the metadata once a distribution: doing so for every entry point takes a millisecond each."""
    metadata = distribution.metadata
    return metadata["Name"], metadata["Version"]


def _load_file(path: Path) -> ModuleType:
    """Import a file as ``rltk_plugin_STEM``, so that a file named like an installed module shadows none."""
    name = f"rltk_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ImportError(f"no such file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
