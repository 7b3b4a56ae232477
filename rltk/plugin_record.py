"""Which plugins a run was made with: ``plugins.json`` in its directory, compared when the run goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rltk.plugin_sources import Source
from rltk.registry import Registry
from rltk.run_directory import write_json

RECORD = "plugins.json"


def record_plugins(directory: Path, registry: Registry) -> list[str]:
    """Write the plugins in use and return a sentence for each that has changed since the run began."""
    failed = {failure.source.qualified for failure in registry.failures}
    now = {
        source.plugin: _describe(source)
        for source in registry.sources
        if registry.block_reason(source) is None and source.qualified not in failed
    }
    path = directory / RECORD
    before: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else now
    write_json(path, now)
    return [
        f"plugin {name!r} was {origin} when this run began, now it is {now.get(name, 'not loaded')}"
        for name, origin in before.items()
        if now.get(name) != origin
    ]


def _describe(source: Source) -> str:
    """Return the distribution and version, or a file's name and the beginning of its SHA-256."""
    if source.path is None or not source.path.is_file():
        return source.origin
    return f"{source.path.name} {hashlib.sha256(source.path.read_bytes()).hexdigest()[:12]}"
