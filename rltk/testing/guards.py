"""Guards around a call: the global generators stay as they are, and so do its inputs."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rltk.testing.running import fail, require


@contextmanager
def untouched_rng(what: str) -> Iterator[None]:
    """Assert that a block leaves the global generators of random, numpy and torch alone.

    They are put into a state of their own for the block, so that seeding them with a usual number shows too,
    and put back afterwards.

    :param what: what runs in the block, for the message: ``score()``.
    """
    outside = _states()
    random.seed("rltk.testing")
    np.random.seed(0x51ED)
    torch.default_generator.manual_seed(0x51ED)
    before = _states()
    try:
        yield
        after = _states()
    finally:
        _restore(outside)
    touched = [name for name, state in after.items() if difference(before[name], state) is not None]
    fix = "draw from a generator of your own, seeded by what you are given (see rltk.rng)"
    require(not touched, f"{what} used the global generator of {' and of '.join(touched)}", fix=fix)


@contextmanager
def unchanged(what: str, value: Any) -> Iterator[None]:
    """Assert that a block leaves ``value`` as it is, however deep.

    :param what: what to call the value in the message: ``the episodes``.
    """
    before = copy.deepcopy(value)
    yield
    where = difference(before, value)
    if where is not None:
        fail(f"{what} were changed{f' at {where}' if where else ''}", fix="work on a copy")


def difference(first: Any, second: Any, where: str = "") -> str | None:
    """Return where two values first differ, such as ``[3].columns['gold']``; None where they are equal.

    Tensors and arrays are compared bit for bit, shape and dtype included; NaN equals NaN.
    """
    if type(first) is not type(second):
        return where
    if isinstance(first, Tensor | np.ndarray):
        return None if _same_array(first, second) else where
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in dataclasses.fields(first)]
        parts = ((getattr(first, name), getattr(second, name), f"{where}.{name}") for name in names)
        return _first_difference(parts)
    if isinstance(first, Mapping):
        if list(first) != list(second):
            return where
        return _first_difference((first[key], second[key], f"{where}[{key!r}]") for key in first)
    if isinstance(first, list | tuple):
        if len(first) != len(second):
            return where
        pairs = zip(first, second, strict=True)
        return _first_difference((a, b, f"{where}[{index}]") for index, (a, b) in enumerate(pairs))
    both_nan = isinstance(first, float) and first != first and second != second
    return None if both_nan or first == second else where


def _first_difference(parts: Iterable[tuple[Any, Any, str]]) -> str | None:
    found = (difference(first, second, where) for first, second, where in parts)
    return next((where for where in found if where is not None), None)


def _same_array(first: Any, second: Any) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    same = (first == second) | ((first != first) & (second != second))
    return bool(same.all())


def _states() -> dict[str, Any]:
    return {
        "random": random.getstate(),
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.default_generator.get_state(),
    }


def _restore(states: dict[str, Any]) -> None:
    random.setstate(states["random"])
    np.random.set_state(states["numpy"])
    torch.default_generator.set_state(states["torch"])
