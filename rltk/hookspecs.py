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
    """A run begins or goes on.

    :param directory: the run's folder; exists.
    :param config: the resolved recipe, every default filled in.
    """


@hookspec
def rltk_stage_start(stage: str, plugin: str, index: int, count: int) -> None:
    """A stage begins.

    :param stage: its name in the recipe.
    :param plugin: the name of the stage plugin that does it.
    :param index: its number, from 0.
    :param count: how many stages the recipe has.
    """


@hookspec
def rltk_metrics(stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
    """A stage finished a step.

    :param stage: the stage's name in the recipe.
    :param step: the step that is done, from 1.
    :param total: how many steps the stage has.
    :param metrics: numbers by name, such as ``rl/approx_kl``; may be empty.
    """


@hookspec
def rltk_rollout(stage: str, step: int, rollout: Rollout) -> None:
    """A rollout was collected and scored; observe, do not change.

    :param stage: the stage's name in the recipe.
    :param step: the iteration it is for, from 1.
    :param rollout: the episodes, before a KL penalty enters their rewards.
    """


@hookspec
def rltk_checkpoint(stage: str, step: int, directory: Path) -> None:
    """A checkpoint is complete.

    :param stage: the stage's name in the recipe.
    :param step: the steps done.
    :param directory: the checkpoint's folder.
    """


@hookspec
def rltk_stage_end(stage: str, results: Mapping[str, Any], seconds: float) -> None:
    """A stage finished.

    :param stage: its name in the recipe.
    :param results: what it adds to ``summary.json``.
    :param seconds: how long it worked, interruptions left out.
    """


@hookspec
def rltk_run_end(directory: Path, error: BaseException | None) -> None:
    """The run stopped.

    :param directory: the run's folder.
    :param error: what stopped it; None where it finished.
    """
