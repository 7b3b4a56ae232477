"""A reward from one plain function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rltk.episode import Episode
from rltk.interfaces import RewardModel


class FunctionReward(RewardModel):
    """A reward model that scores every episode by itself with a function; made by :func:`reward`."""

    function: ClassVar[Callable[[Episode], float | None]]

    def score(self, episodes: Sequence[Episode]) -> list[float | None]:
        """Return the function's value for each episode; None where it has none."""
        return [type(self).function(episode) for episode in episodes]


def reward(function: Callable[[Episode], float | None]) -> type[FunctionReward]:
    """Make a reward model, named like the function, of ``function(episode)``.

    A plugin module needs nothing else: its decorated functions are found by themselves::

        import rltk

        @rltk.reward
        def polite(episode):
            return float("please" in episode.response)

    ``rltk train -p polite.py rl.reward.name=polite`` then trains on it. Returning None marks an episode as
    unscorable: it is left out of the update, not counted as 0.
    """
    name = function.__name__
    attributes = {
        "name": name,
        "function": staticmethod(function),
        "__doc__": function.__doc__,
        "__module__": function.__module__,
    }
    return type(name, (FunctionReward,), attributes)
