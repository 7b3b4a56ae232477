"""Which actions an environment allows: what it says with each observation, checked and in one shape.

An environment restricts actions by an ``action_mask`` in the infos of ``reset`` and ``step``, as Gymnasium's
Taxi does, or by a method ``action_masks()``, as MaskablePPO of sb3-contrib expects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rltk.errors import UserError
from rltk.policy import MaskableSession, Session
from rltk.types import Action

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

    from rltk.rng import EpisodeStream


def choices(space: spaces.Space[Any]) -> tuple[int, ...]:
    """Return how many values each component of an action has; none where actions are not discrete."""
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(int(n) for n in space.nvec.flatten())
    if isinstance(space, spaces.MultiBinary):
        return (2,) * int(np.prod(space.shape))
    return ()


class ActionMasks:
    """Reads the masks of a vector environment.

    :param infos: what ``reset`` returned; an environment that restricts says so there.
    """

    def __init__(self, envs: VectorEnv, infos: Mapping[str, Any]) -> None:
        self.sizes = choices(envs.single_action_space)
        self._in_infos = "action_mask" in infos
        self._ask = None if self._in_infos else _method(envs)
        self._shape = (envs.num_envs, sum(self.sizes))

    def read(self, infos: Mapping[str, Any], active: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Return ``[N, n]`` what may be done next, or None where the environment restricts nothing.

        Of several components the values stand side by side, so that ``n`` is the sum of their counts.

        :param infos: what came with the latest observations.
        :param active: ``[N]`` the slots that act next.
        :raises UserError: the mask has another shape, allows nothing at all, or came without warning.
        """
        if self._ask is not None:
            return self._checked(self._ask(), active)
        if not self._in_infos:
            if "action_mask" in infos:
                fix = "return it from reset() too"
                raise UserError("environment", "its infos have an action_mask in step() alone", fix=fix)
            return None
        if "action_mask" not in infos:
            return np.ones(self._shape, dtype=bool)
        given = np.asarray(infos.get("_action_mask", active), dtype=bool)
        return self._checked(infos["action_mask"], active & given)

    def _checked(self, mask: Any, active: NDArray[np.bool_]) -> NDArray[np.bool_]:
        allowed = np.asarray(mask)
        if allowed.dtype == object or allowed.shape != self._shape or not self.sizes:
            fix = "give one entry for each value of each component of an action, side by side"
            what = f"its action masks must have the shape {self._shape}"
            raise UserError("environment", what, got=allowed.shape, fix=fix)
        allowed = allowed.astype(bool)
        starts = np.cumsum((0, *self.sizes[:-1]))
        possible: NDArray[np.bool_] = np.all(np.logical_or.reduceat(allowed, starts, axis=1), axis=1)
        if not possible[active].all():
            fix = "end the episode, or allow an action that does nothing"
            raise UserError("environment", "one of its action masks allows nothing at all", fix=fix)
        return allowed | ~possible[:, None]


def act(
    session: Session,
    observations: Any,
    *,
    stream: EpisodeStream,
    active: NDArray[np.bool_],
    allowed: NDArray[np.bool_] | None,
    deterministic: bool = False,
) -> Action:
    """Return the session's actions, told what is allowed where the environment restricts.

    :raises UserError: it does, and the session knows nothing of action masks.
    """
    if allowed is None:
        return session.act(observations, stream=stream, active=active, deterministic=deterministic)
    if isinstance(session, MaskableSession):
        return session.act(
            observations, stream=stream, active=active, deterministic=deterministic, allowed=allowed
        )
    what = f"{type(session).__name__} takes no action masks, and this environment restricts actions"
    raise UserError("policy.name", what, fix="choose a policy that does, e.g. mlp")


def _method(envs: VectorEnv) -> Callable[[], Any] | None:
    """Return what asks the environment for its masks, or None where it has no ``action_masks()``."""
    base: Any = envs.unwrapped
    if hasattr(base, "action_masks"):
        found: Callable[[], Any] = base.action_masks
        return found
    copies = getattr(base, "envs", ())
    if copies and all(copy.has_wrapper_attr("action_masks") for copy in copies):
        return lambda: np.stack(base.call("action_masks"))
    return None
