"""Labelers of the suite: they see the truth of a response, through noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rltk.episode import Episode

#: Temperature of a labeler's choice: of responses worth 0.6 and 0.4, the better one is preferred in 88 % of
#: cases, of 0.55 and 0.45 in 73 %.
NOISE = 0.1
TRAIN, HELDOUT = ("ann", "bob", "cho", "dee"), ("eve", "fay")


@dataclass
class GoldLabeler:
    """Ranks by the gold score plus Gumbel noise (Plackett-Luce); what is worth the same is a tie.

    :param gold: what an episode is worth.
    """

    name: str
    gold: Callable[[Episode], float]

    def rank(self, episodes: Sequence[Episode], generator: np.random.Generator) -> list[int]:
        """Return the rank of each response, 1 the best."""
        worth, levels = np.unique([self.gold(episode) for episode in episodes], return_inverse=True)
        perceived = (worth + generator.gumbel(scale=NOISE, size=len(worth)))[levels]
        return [1 + int((perceived > value).sum()) for value in perceived]
