"""Playing without text: the person types the numbers of actions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rltk.action_masks import ActionMasks, choices
from rltk.envs_playing import ask, report_mistake
from rltk.errors import UserError
from rltk.interfaces import Environment

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

_TYPED = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)


def play_arrays(environment: Environment, *, seed: int) -> None:
    """Show observations, read actions, and show rewards; a new episode begins where one ends.

    :raises UserError: actions are neither numbers nor arrays of numbers.
    """
    envs = _drawn_in_text(environment)
    space = envs.single_action_space
    if not isinstance(space, _TYPED):
        fix = "choose one with Discrete, MultiDiscrete, MultiBinary or Box actions"
        raise UserError("rltk envs play", "its actions cannot be typed", got=space, fix=fix)
    observations, infos = envs.reset(seed=seed)
    masks = ActionMasks(envs, infos)
    total = 0.0
    while True:
        _show(envs, observations)
        action = _ask_action(space, masks.read(infos, np.ones(1, dtype=bool)))
        observations, rewards, terminated, truncated, infos = envs.step(np.stack([action]))
        total += float(rewards[0])
        print(f"reward {float(rewards[0]):.3g}, so far {total:.3g}")
        if terminated[0] or truncated[0]:
            how = "cut off" if truncated[0] and not terminated[0] else "ended"
            print(f"{how}: return {total:.3g}\n")
            total = 0.0


def _drawn_in_text(environment: Environment) -> VectorEnv:
    """Return the environment, one that draws itself in text where it can."""
    envs = environment.make_vec(1)
    if "ansi" not in envs.metadata.get("render_modes", ()):
        return envs
    envs.close()
    return environment.make_vec(1, render_mode="ansi")


def _show(envs: VectorEnv, observations: Any) -> None:
    if envs.render_mode == "ansi":
        pictures: Any = envs.render()
        print(pictures[0].rstrip())
    print(f"observation {np.array2string(np.asarray(observations)[0], precision=4)}")


def _ask_action(space: Any, allowed: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Return the action that the person types; whatever is none is asked for again."""
    while True:
        line = ask(f"action {_wanted(space, allowed)}> ")
        try:
            action = np.array(line.split(), dtype=space.dtype).reshape(space.shape)
        except ValueError:
            action = None
        if action is None or not space.contains(action):
            report_mistake(f"{line!r} is no action")
        elif (
            allowed is not None
            and isinstance(space, spaces.Discrete)
            and not allowed[0, action - space.start]
        ):
            report_mistake(f"{line} is not allowed here")
        else:
            return action


def _permitted(space: Any, allowed: NDArray[np.bool_], action: NDArray[Any]) -> bool:
    """Return whether a mask allows an action, each component of it."""
    sizes = choices(space)
    starts = np.cumsum((0, *sizes[:-1]))
    return bool(allowed[starts + (action - getattr(space, "start", 0)).flatten()].all())


def _wanted(space: Any, allowed: NDArray[np.bool_] | None) -> str:
    if not isinstance(space, spaces.Discrete):
        return f"({space})"
    if allowed is not None:
        return f"({', '.join(str(index + space.start) for index in np.flatnonzero(allowed[0]))})"
    return f"({space.start} to {space.start + space.n - 1})"
