"""A reward: pays for each time a response says a word, up to a limit."""

from __future__ import annotations

from collections.abc import Sequence

import rltk
from pydantic import Field

RLTK_API = 1


class TemplateNameReward(rltk.RewardModel):
    """Pays for each time a response says a word, up to a limit."""

    name = "template-name"

    class Config(rltk.ComponentConfig):
        """Options, such as ``reward: {name: template-name, word: thanks}``."""

        word: str = Field("please", min_length=1, description="The word that pays.")
        limit: int = Field(3, ge=1, description="How many times it pays in one response.")

    config: Config

    def score(self, episodes: Sequence[rltk.Episode]) -> list[float | None]:
        """Return one number per episode; None would leave an episode out of the update."""
        return [self._score(episode) for episode in episodes]

    def _score(self, episode: rltk.Episode) -> float:
        """Return the share of the limit that is reached, in [0, 1]."""
        count = episode.response.lower().split().count(self.config.word.lower())
        return min(count, self.config.limit) / self.config.limit


@rltk.hookimpl
def rltk_reward_models() -> list[type[rltk.RewardModel]]:
    """Provide ``template-name``."""
    return [TemplateNameReward]
