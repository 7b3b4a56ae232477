"""Saving state so that a crash at any moment leaves the previous state readable.

A state is a tree of dicts, lists, tensors and JSON values: tensors go to safetensors, everything else to
JSON, never to pickle. A directory of it is complete or absent: files are written beside the target, flushed
to the disk, listed with their SHA-256 in a manifest and renamed into place in one step.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

_TREE, _TENSORS, _MANIFEST = "tree.json", "tensors.safetensors", "manifest.json"


class CheckpointError(Exception):
    """A saved state is missing a file, or a file is not what the manifest says."""


def save_state(directory: Path, tree: Any) -> None:
    """Write ``tree`` to ``directory``, atomically and durably; what was there before is replaced.

    Dict keys may be strings, integers, floats, booleans or None; tuples come back as lists.

    :raises TypeError: the tree holds something that is neither a tensor nor a JSON value.
    """
    staging = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    directory.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        _write_files(staging, tree)
        if directory.exists():
            shutil.rmtree(directory)
        os.rename(staging, directory)  # noqa: PTH104 - the name the crash tests patch
        sync(directory.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def load_state(directory: Path) -> Any:
    """Return the tree that :func:`save_state` wrote, its tensors on the CPU.

    :raises CheckpointError: a file is missing or damaged.
    """
    try:
        manifest = json.loads((directory / _MANIFEST).read_text())
        for name, digest in manifest["sha256"].items():
            if _sha256(directory / name) != digest:
                raise CheckpointError(f"{directory / name} is damaged: its SHA-256 is not the manifest's")
        tensors = load_file(directory / _TENSORS)
        return _decode(json.loads((directory / _TREE).read_text()), tensors)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{directory} is incomplete: {error}") from error


class CheckpointStore:
    """The newest checkpoints of one stage, one directory a step.

    :param directory: where they are; made by the first :meth:`save`.
    :param keep: how many to keep; at least 2, so that one stays good when the newest is damaged.
    """

    def __init__(self, directory: Path, *, keep: int = 2) -> None:
        self.directory = directory
        self.keep = max(keep, 2)

    def path(self, step: int) -> Path:
        """Return the directory of the checkpoint taken after ``step`` steps."""
        return self.directory / f"step-{step:09d}"

    def steps(self) -> list[int]:
        """Return the steps with a checkpoint, damaged or not, oldest first."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.directory.glob("step-*"))

    def save(self, step: int, tree: Any) -> Path:
        """Save a checkpoint; older ones go only after this one is durable."""
        for leftover in self.directory.glob(".step-*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        save_state(self.path(step), tree)
        for old in self.steps()[: -self.keep]:
            shutil.rmtree(self.path(old), ignore_errors=True)
        return self.path(step)

    def latest(self) -> tuple[int, Any] | None:
        """Return the newest step and tree that verify, warning of every damaged one passed over."""
        for step in reversed(self.steps()):
            try:
                return step, load_state(self.path(step))
            except CheckpointError as error:
                warnings.warn(f"checkpoint passed over: {error}", RuntimeWarning, stacklevel=2)
        return None


def sync(path: Path) -> None:
    """Flush a file or directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a small file atomically and durably."""
    staging = path.with_name(f".{path.name}.tmp")
    staging.write_text(text, encoding="utf-8")
    sync(staging)
    os.replace(staging, path)  # noqa: PTH105 - the name the crash tests patch
    sync(path.parent)


def _write_files(directory: Path, tree: Any) -> None:
    tensors: dict[str, Tensor] = {}
    encoded = _encode(tree, tensors)
    (directory / _TREE).write_text(json.dumps(encoded), encoding="utf-8")
    save_file(_unshared(tensors), directory / _TENSORS)
    digests = {name: _sha256(directory / name) for name in (_TREE, _TENSORS)}
    (directory / _MANIFEST).write_text(json.dumps({"format": 1, "sha256": digests}), encoding="utf-8")
    for name in (_TREE, _TENSORS, _MANIFEST):
        sync(directory / name)
    sync(directory)


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return ``value`` as JSON in which ``{"$tensor": key}`` stands for a tensor put into ``tensors``."""
    if isinstance(value, Tensor):
        key = str(len(tensors))
        tensors[key] = value.detach().cpu().contiguous()
        return {"$tensor": key}
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _encode(item, tensors) for key, item in value.items()}
        return {"$items": [[_encode_key(key), _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_encode(item, tensors) for item in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"a checkpoint holds tensors and JSON values, not {type(value).__name__}: {value!r}")


def _encode_key(key: Any) -> Any:
    if key is None or type(key) in (bool, int, float, str):
        return key
    raise TypeError(f"a checkpoint's dict keys are JSON values, not {type(key).__name__}: {key!r}")


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return tensors[value["$tensor"]]
    if "$items" in value:
        return {key: _decode(item, tensors) for key, item in value["$items"]}
    return {key: _decode(item, tensors) for key, item in value.items()}


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors that share memory with another or are a view of more: safetensors refuses those."""
    seen: set[int] = set()
    result = {}
    for key, tensor in tensors.items():
        storage = tensor.untyped_storage()
        whole = storage.nbytes() == tensor.numel() * tensor.element_size()
        result[key] = tensor if whole and storage.data_ptr() not in seen else torch.clone(tensor)
        seen.add(storage.data_ptr())
    return result


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
