"""rltk: a plugin-based RL toolkit in which text generation is a Gymnasium environment.

Everything public is reached from here and loaded on first use, so that ``import rltk`` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rltk.episode import Episode as Episode
    from rltk.errors import UserError as UserError
    from rltk.hookspecs import hookimpl as hookimpl
    from rltk.hookspecs import hookspec as hookspec
    from rltk.interfaces import Algorithm as Algorithm
    from rltk.interfaces import ComponentConfig as ComponentConfig
    from rltk.interfaces import Environment as Environment
    from rltk.interfaces import RewardModel as RewardModel
    from rltk.interfaces import Stage as Stage
    from rltk.policy import MaskableSession as MaskableSession
    from rltk.policy import Policy as Policy
    from rltk.policy import Session as Session
    from rltk.registry import create as create
    from rltk.registry import get_registry as get_registry
    from rltk.rewards import reward as reward
    from rltk.rollout import collect as collect
    from rltk.types import Action as Action
    from rltk.types import Evaluation as Evaluation
    from rltk.types import Rollout as Rollout

__version__ = "0.1.0"

#: Raised when a plugin written for the former contract would no longer work.
API_VERSION = 1

_HOME = {
    "Action": "rltk.types",
    "Algorithm": "rltk.interfaces",
    "ComponentConfig": "rltk.interfaces",
    "Environment": "rltk.interfaces",
    "Episode": "rltk.episode",
    "Evaluation": "rltk.types",
    "MaskableSession": "rltk.policy",
    "Policy": "rltk.policy",
    "RewardModel": "rltk.interfaces",
    "Rollout": "rltk.types",
    "Session": "rltk.policy",
    "Stage": "rltk.interfaces",
    "UserError": "rltk.errors",
    "collect": "rltk.rollout",
    "create": "rltk.registry",
    "get_registry": "rltk.registry",
    "hookimpl": "rltk.hookspecs",
    "hookspec": "rltk.hookspecs",
    "reward": "rltk.rewards",
}

__all__ = ["API_VERSION", "__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'rltk' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
