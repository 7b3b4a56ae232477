"""The reward: how much of a response is in order, and how many of the prompt's words it keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import rltk
from pydantic import Field

RLTK_API = 1


class Order(rltk.RewardModel):
    """Pays for neighbours in alphabetical order, times the share of words that were kept.

    Sorting is worth 1. Answering with fewer words is no way to more: what is missing or made up costs its
    share. An episode whose prompt has no words cannot be scored and is left out of the update.
    """

    name = "wordsort-order"

    class Config(rltk.ComponentConfig):
        """Options: ``reward: {name: wordsort-order, keep_power: 2}``."""

        keep_power: float = Field(
            1.0, gt=0, description="Power of the share of kept words; more is stricter."
        )

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._kept: list[float] = []

    def score(self, episodes: Sequence[rltk.Episode]) -> list[float | None]:
        """Return one number in [0, 1] an episode, None where the prompt is empty."""
        self._kept = []
        return [self._score(episode.prompt.split(), episode.response.split()) for episode in episodes]

    def metrics(self) -> Mapping[str, float]:
        """Return the share of words kept in the episodes last scored."""
        return {"kept_words": sum(self._kept) / len(self._kept)} if self._kept else {}

    def _score(self, given: list[str], answered: list[str]) -> float | None:
        if not given:
            return None
        kept = (Counter(given) & Counter(answered)).total() / max(len(given), len(answered))
        self._kept.append(kept)
        pairs = [first <= second for first, second in pairwise(answered)]
        in_order = sum(pairs) / len(pairs) if pairs else 1.0
        return float(in_order * kept**self.config.keep_power)


@rltk.hookimpl
def rltk_reward_models() -> list[type[rltk.RewardModel]]:
    """Provide ``wordsort-order``."""
    return [Order]
