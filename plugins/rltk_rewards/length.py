"""The length reward: pays for every token or word up to a target. For trying things out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from rltk.episode import Episode
from rltk.hookspecs import hookimpl
from rltk.interfaces import ComponentConfig, RewardModel


class Length(RewardModel):
    """Pays the response's share of a target length, at most 1."""

    name = "length"

    class Config(ComponentConfig):
        """Options of the length reward."""

        target: int = Field(20, ge=1, description="length from which on the reward is 1")
        per: Literal["token", "word"] = Field("token", description="what is counted; EOS is a token")

    def score(self, episodes: Sequence[Episode]) -> list[float]:
        """Return one number in [0, 1] an episode."""
        return [min(self._length(episode) / self.config.target, 1.0) for episode in episodes]

    def _length(self, episode: Episode) -> int:
        return len(episode.response.split()) if self.config.per == "word" else episode.num_actions


@hookimpl
def rltk_reward_models() -> list[type[RewardModel]]:
    """Provide the reward model."""
    return [Length]
