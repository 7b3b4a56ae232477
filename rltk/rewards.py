"""A reward from one plain function."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

from pydantic import Field

from rltk.coroutines import gather_bounded
from rltk.episode import Episode
from rltk.interfaces import ComponentConfig, RewardModel

#: One number, one number per response token, or None where the episode cannot be scored.
Value = float | Sequence[float] | None


class FunctionReward(RewardModel):
    """A reward model that scores every episode by itself with a function; made by :func:`reward`."""

    function: ClassVar[Callable[[Episode], Any]]

    def score(self, episodes: Sequence[Episode]) -> Any:
        """Return the function's value for each episode."""
        return [type(self).function(episode) for episode in episodes]


class AsyncFunctionReward(FunctionReward):
    """The same for an ``async def`` function, which waits for several episodes at a time."""

    class Config(ComponentConfig):
        """Options of an ``async def`` function."""

        concurrency: int = Field(16, ge=1, description="Most calls of the function in flight at a time.")

    async def score(self, episodes: Sequence[Episode]) -> list[Value]:
        """Return the function's value for each episode; the first exception cancels the other calls."""
        return await gather_bounded(type(self).function, episodes, self.config.concurrency)


def reward(
    function: Callable[[Episode], Value] | Callable[[Episode], Awaitable[Value]],
) -> type[FunctionReward]:
    """Make a reward model, named like the function, of ``function(episode)``, which may be ``async def``.

    A plugin module needs nothing else: its decorated functions are found by themselves::

        import rltk

        @rltk.reward
        def polite(episode):
            return float("please" in episode.response)

    ``rltk train -p polite.py rl.reward.name=polite`` then trains on it. A list with one number for each of
    ``episode.response_tokens`` is paid token by token. None marks an episode as unscorable: it is left out of
    the update, not counted as 0.

    :raises TypeError: it is no function of one episode.
    """
    _check(function)
    base = AsyncFunctionReward if inspect.iscoroutinefunction(function) else FunctionReward
    attributes = {
        "name": function.__name__,
        "function": staticmethod(function),
        "__doc__": function.__doc__ or f"Pays what the function {function.__name__} returns.",
        "__module__": function.__module__,
    }
    return type(function.__name__, (base,), attributes)


def _check(function: Any) -> None:
    """Raise TypeError, saying what to write instead, unless this is a named function of one argument."""
    if isinstance(function, type):
        instead = "derive the class from rltk.RewardModel and return it from the hook rltk_reward_models"
        raise TypeError(f"@rltk.reward takes a function, got the class {function.__name__}; {instead}")
    if not inspect.isroutine(function):
        raise TypeError(f"@rltk.reward takes a function of one episode, got {function!r}")
    if function.__name__ == "<lambda>":
        raise TypeError("@rltk.reward names the reward like the function, and a lambda has no name; use def")
    signature = inspect.signature(function)
    try:
        signature.bind(None)
    except TypeError:
        given = f"{function.__name__}{signature}"
        instead = "what else it needs is in episode.columns, or is an option of a class"
        raise TypeError(f"@rltk.reward takes a function of one episode, got {given}; {instead}") from None
