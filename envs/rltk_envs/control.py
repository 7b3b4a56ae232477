"""Any registered Gymnasium environment as a recipe's environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from gymnasium.spaces import Space
from pydantic import Field

from rltk.errors import UserError, suggestion
from rltk.hookspecs import hookimpl
from rltk.interfaces import ComponentConfig, Environment, Split

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

#: Families of Gymnasium environments that need more than Gymnasium, each an extra of rltk by the same name.
_EXTRAS = ("box2d", "mujoco")


class Control(Environment):
    """A Gymnasium id, such as ``CartPole-v1``."""

    name = "gymnasium"
    config: Config

    class Config(ComponentConfig):
        """Options of ``gymnasium``."""

        id: str = Field(examples=["CartPole-v1"], description="Registered Gymnasium id, such as CartPole-v1.")
        options: dict[str, Any] = Field({}, description="Keyword arguments of gymnasium.make.")

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Return a task that every Gymnasium has."""
        return {"id": "CartPole-v1"}

    def __init__(self, config: Config, *, seed: int) -> None:
        super().__init__(config, seed=seed)
        if config.id not in gym.registry:
            raise UserError(
                "environment.id",
                "no such Gymnasium environment",
                got=config.id,
                fix=suggestion(config.id, gym.registry),
            )

    def make_vec(self, num_envs: int, *, split: Split = "train", **options: Any) -> VectorEnv:
        """Return ``num_envs`` copies stepped in turn; every split is the same.

        Continuous actions are cut off at the bounds of the action space.
        """
        same_step = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
        with self._explained():
            envs = gym.make_vec(
                self.config.id,
                num_envs,
                vectorization_mode="sync",
                vector_kwargs=same_step,
                **{**self.config.options, **options},
            )
        if isinstance(envs.single_action_space, gym.spaces.Box):
            return gym.wrappers.vector.ClipAction(envs)
        return envs

    def spaces(self) -> tuple[Space[Any], Space[Any]]:
        """Return the observation and action space of one copy."""
        with self._explained():
            env = gym.make(self.config.id, **self.config.options)
        try:
            return env.observation_space, env.action_space
        finally:
            env.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what Gymnasium says where it cannot make the environment into one line."""
        try:
            yield
        except gym.error.DependencyNotInstalled as error:
            extra = next(
                (name for name in _EXTRAS if f".{name}." in str(gym.spec(self.config.id).entry_point)), ""
            )
            fix = f"pip install 'rltk[{extra}]'" if extra else str(error)
            what = "a package that it needs is not installed"
            raise UserError("environment.id", what, got=self.config.id, fix=fix) from error
        except TypeError as error:
            if not self.config.options:
                raise
            what, fix = f"{self.config.id} is not made with these: {error}", "leave out what it does not take"
            raise UserError("environment.options", what, got=self.config.options, fix=fix) from error


@hookimpl
def rltk_environments() -> list[type[Environment]]:
    """Provide ``gymnasium``."""
    return [Control]
