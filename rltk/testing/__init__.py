"""Contract checks for plugins: plain functions that raise AssertionError saying what to change.

They need no test framework; in a test of a plugin::

    from rltk.testing import check_reward_model

    def test_polite_keeps_its_contract():
        check_reward_model(Polite)

Each takes a component class or a registered name, and its options where the defaults do not do. The shell has
them as ``rltk plugins check NAME [key=value ...]``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rltk.testing.algorithms import check_algorithm as check_algorithm
    from rltk.testing.environments import check_environment as check_environment
    from rltk.testing.policies import check_policy as check_policy
    from rltk.testing.rewards import check_reward_model as check_reward_model
    from rltk.testing.stages import check_stage as check_stage

_HOME = {
    "check_algorithm": "rltk.testing.algorithms",
    "check_environment": "rltk.testing.environments",
    "check_policy": "rltk.testing.policies",
    "check_reward_model": "rltk.testing.rewards",
    "check_stage": "rltk.testing.stages",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'rltk.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
