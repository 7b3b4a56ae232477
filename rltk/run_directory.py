"""The files of a run: its config, the stages that are done, the metrics, the summary; one process at a time.

``config.yaml`` is the resolved recipe, ``metrics.jsonl`` one line a logged step, ``stages/NAME`` what a
stage made and, once it has finished, its ``done.json``; ``summary.json`` is merged from those.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from rltk import yaml_io
from rltk.checkpoint import sync, write_text
from rltk.config import Recipe
from rltk.errors import UserError


class RunDirectory:
    """A run directory, opened by :func:`open_run`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = MetricsLog(path / "metrics.jsonl")

    def stage(self, name: str) -> Path:
        """Return the folder of a stage."""
        return self.path / "stages" / name

    def done(self, name: str) -> dict[str, Any] | None:
        """Return what :meth:`finish` recorded for a stage, None if it has not finished."""
        path = self.stage(name) / "done.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def finish(self, name: str, record: Mapping[str, Any]) -> None:
        """Record a stage's results and remove its checkpoints."""
        write_json(self.stage(name) / "done.json", record)
        shutil.rmtree(self.stage(name) / "checkpoints", ignore_errors=True)

    def write_summary(self, recipe: Recipe) -> dict[str, Any]:
        """Merge the results of the finished stages into ``summary.json`` and return them."""
        records = {name: self.done(name) for name in recipe.stages}
        finished = {name: record for name, record in records.items() if record is not None}
        summary = summarise(recipe, finished)
        write_json(self.path / "summary.json", summary)
        return summary


class MetricsLog:
    """``metrics.jsonl``: whole lines only, cut back to a checkpoint when a stage goes on from there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one line with a single write, so that a kill leaves no half of it."""
        line = json.dumps(plain(record), allow_nan=False) + "\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode())

    def durable_size(self) -> int:
        """Return the size in bytes, after making sure that the disk has them."""
        if not self.path.exists():
            return 0
        sync(self.path)
        return self.path.stat().st_size

    def cut(self, size: int) -> None:
        """Drop everything after the first ``size`` bytes."""
        if self.path.exists() and self.path.stat().st_size > size:
            os.truncate(self.path, size)


class Resolvable(Protocol):
    """A config that can be written with every default filled in: a recipe, or a bench's."""

    def resolved(self) -> dict[str, Any]:
        """Return it as plain YAML values."""


@contextmanager
def open_run(path: Path, config: Resolvable, *, resume: bool) -> Iterator[RunDirectory]:
    """Create or reopen a run directory and hold its lock.

    :raises UserError: the directory is in use, holds another run or something else, or cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / "run.lock").open("a+")
    except OSError as error:
        fix = "choose another with --run"
        raise UserError(str(path), f"cannot be used as run directory: {error.strerror}", fix=fix) from error
    with lock:
        _lock(lock, path)
        _check_config(path, config, resume)
        write_text(path / "config.yaml", yaml_io.dump(config.resolved()))
        yield RunDirectory(path)


def summarise(recipe: Recipe, records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the summary of the finished stages.

    ``policies`` are merged by name, those that a later stage names coming after the others; the final
    policy is thus last. Other mappings are merged by key.
    """
    policies: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for record in records.values():
        results = dict(record["results"])
        for name, values in results.pop("policies", {}).items():
            policies[name] = {**policies.pop(name, {}), **values}
        for key, value in results.items():
            both = isinstance(value, dict) and isinstance(others.get(key), dict)
            others[key] = {**others[key], **value} if both else value
    return {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "seconds": {name: record["seconds"] for name, record in records.items()},
        "peak_memory_gb": max((record["peak_memory_gb"] for record in records.values()), default=0.0),
        **others,
        "policies": policies,
    }


def differing_keys(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the key paths at which two trees of plain values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            found
            for key in dict.fromkeys([*old, *new])
            for found in differing_keys(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        ]
    return [] if old == new else [path]


def write_json(path: Path, value: Any) -> None:
    """Write plain values as JSON, atomically; numbers that are not finite become null."""
    write_text(path, json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """Return ``value`` with only what JSON has: NumPy and torch scalars unpacked, NaN and infinity None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lock(lock: TextIO, path: Path) -> None:
    """Take the lock, which the kernel releases whatever becomes of this process, and sign it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        fix = "wait for it to end, or choose another directory with --run"
        raise UserError(str(path), f"{holder} is using this run directory", fix=fix) from error
    lock.truncate(0)
    lock.write(f"process {os.getpid()}\n")
    lock.flush()


def _check_config(path: Path, config: Resolvable, resume: bool) -> None:
    written = path / "config.yaml"
    if not written.is_file():
        others = sorted(item.name for item in path.iterdir() if item.name != "run.lock")
        if others:
            fix = "choose an empty directory with --run"
            raise UserError(str(path), "holds files but no run", got=others[0], fix=fix)
        return
    old = yaml_io.parse(written.read_text(encoding="utf-8"), str(written))
    changed = [key.removeprefix("stages.") for key in differing_keys(old, config.resolved())]
    if changed:
        what = f"holds a run with another config; it differs in {', '.join(changed[:8])}"
        raise UserError(str(path), what, fix="give that config with --resume, or another --run")
    if not resume:
        fix = "add --resume to go on with it, or choose another --run"
        raise UserError(str(path), "already holds this run", fix=fix)
