"""Every extension point of rltk.

Collecting hooks return component classes, which configs choose by name; event hooks observe a run. An
implementation is a module-level function of the same name marked with :data:`hookimpl`; it takes any subset
of the arguments, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from rltk.interfaces import Algorithm, Environment, RewardModel, Stage
    from rltk.policy import Policy
    from rltk.types import Rollout

hookspec = pluggy.HookspecMarker("rltk")
hookimpl = pluggy.HookimplMarker("rltk")


@hookspec
def rltk_algorithms() -> list[type[Algorithm]]:  # type: ignore[empty-body]
    """Return algorithm classes, chosen by ``algorithm.name``."""


@hookspec
def rltk_policies() -> list[type[Policy]]:  # type: ignore[empty-body]
    """Return policy classes, chosen by ``policy.name``."""


@hookspec
def rltk_reward_models() -> list[type[RewardModel]]:  # type: ignore[empty-body]
    """Return reward model classes, chosen by ``reward.name``."""


@hookspec
def rltk_environments() -> list[type[Environment]]:  # type: ignore[empty-body]
    """Return environment classes, chosen by ``environment.name``."""


@hookspec
def rltk_stages() -> list[type[Stage]]:  # type: ignore[empty-body]
    """Return stage classes, chosen by ``stages.NAME.stage``."""


@hookspec
def rltk_run_start(directory: Path, config: Mapping[str, Any]) -> None:
    """A run begins or goes on in ``directory`` with the resolved ``config``."""


@hookspec
def rltk_stage_start(stage: str, plugin: str, index: int, count: int) -> None:
    """The stage named ``stage`` begins: number ``index`` (from 0) of ``count``."""


@hookspec
def rltk_metrics(stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
    """A stage finished ``step`` of ``total`` steps; ``metrics`` may be empty."""


@hookspec
def rltk_rollout(stage: str, step: int, rollout: Rollout) -> None:
    """A rollout was collected and scored; observe, do not change."""


@hookspec
def rltk_checkpoint(stage: str, step: int, directory: Path) -> None:
    """A checkpoint was completely written to ``directory``."""


@hookspec
def rltk_stage_end(stage: str, results: Mapping[str, Any], seconds: float) -> None:
    """A stage finished with ``results`` after ``seconds`` of work."""


@hookspec
def rltk_run_end(directory: Path, error: BaseException | None) -> None:
    """The run stopped: finished where ``error`` is None."""
