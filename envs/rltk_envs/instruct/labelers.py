"""Labelers: people who rank responses, each by their own lights and never twice quite the same.

A labeler sees what is true of a response (the judge's flags, its length), weighs it, and chooses with
Boltzmann noise: ranks follow value + Gumbel noise, the Plackett-Luce model (Luce 1959; Plackett 1975), so the
better of two is preferred with probability ``sigmoid(difference / NOISE)``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rltk.episode import Episode
from rltk_envs.instruct.judge import judge
from rltk_envs.instruct.tasks import Task

#: Temperature of a labeler's choice, in units of value; set so that two labelers agree on 72.6 % of the pairs
#: of responses about which both have a preference, the agreement of Ouyang et al. (2022, section 3.4).
NOISE = 0.143
#: Responses whose values differ by less than this look alike: a tie.
TIE_MARGIN = 0.005
#: Words at which a response is as long as brevity minds.
LONG = 12


@dataclass
class InstructLabeler:
    """A labeler with a taste; the weights are normalised to sum to 1.

    :param helpfulness: weight of doing what was asked at all.
    :param correctness: weight of the judge's utility.
    :param brevity: weight of shortness.
    :param manners: weight of being civil and of coming to an end.
    """

    name: str
    helpfulness: float
    correctness: float
    brevity: float
    manners: float

    def value(self, episode: Episode) -> float:
        """Return what the response is worth to this labeler, without noise."""
        truth = judge(Task.from_row(episode.columns), episode.response, episode.terminated)
        brevity = 1 - min(len(episode.response.split(" ")), LONG) / LONG
        manners = ((not truth.rude) + truth.ends_properly) / 2
        weights = np.array([self.helpfulness, self.correctness, self.brevity, self.manners])
        features = np.array([truth.follows_instruction, truth.utility, brevity, manners])
        return float(weights @ features / weights.sum())

    def rank(self, episodes: Sequence[Episode], generator: np.random.Generator) -> list[int]:
        """Return the rank of each response, 1 the best; responses that are worth the same share a rank.

        Noise is drawn once for all responses of like worth, so that equals are always a tie.
        """
        values = np.array([self.value(episode) for episode in episodes])
        levels = _levels(values)
        perceived = np.array([values[levels == level].mean() for level in range(levels.max() + 1)])
        perceived += generator.gumbel(scale=NOISE, size=len(perceived))
        return [1 + int((perceived[levels] > perceived[level]).sum()) for level in levels]


def _levels(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the level of worth of each response; a level chains over gaps below the margin."""
    order = np.argsort(values)
    steps = np.diff(values[order]) >= TIE_MARGIN
    levels = np.empty(len(values), dtype=np.int64)
    levels[order] = np.concatenate([[0], np.cumsum(steps)])
    return levels


_TRAIN = (
    InstructLabeler("ann", helpfulness=4, correctness=4, brevity=2, manners=1),
    InstructLabeler("bob", helpfulness=2, correctness=5, brevity=2, manners=1),
    InstructLabeler("cho", helpfulness=3, correctness=3, brevity=4, manners=1),
    InstructLabeler("dee", helpfulness=3, correctness=4, brevity=1, manners=2),
    InstructLabeler("eli", helpfulness=5, correctness=3, brevity=1, manners=2),
    InstructLabeler("fay", helpfulness=2, correctness=4, brevity=4, manners=1),
    InstructLabeler("gus", helpfulness=1, correctness=7, brevity=1, manners=2),
    InstructLabeler("hal", helpfulness=4, correctness=3, brevity=3, manners=1),
)
_HELDOUT = (
    InstructLabeler("ida", helpfulness=3, correctness=4, brevity=2, manners=1),
    InstructLabeler("jon", helpfulness=2, correctness=5, brevity=2, manners=2),
    InstructLabeler("kim", helpfulness=5, correctness=3, brevity=1, manners=1),
    InstructLabeler("lou", helpfulness=2, correctness=5, brevity=4, manners=0),
)


def labelers(group: Literal["train", "heldout"]) -> tuple[InstructLabeler, ...]:
    """Return the labelers of a group; nobody is in both."""
    return _TRAIN if group == "train" else _HELDOUT


def agreement(
    labelers: Sequence[InstructLabeler],
    episodes_by_prompt: Sequence[Sequence[Episode]],
    generator: np.random.Generator,
) -> float:
    """Return how often two labelers prefer the same response of a pair, in [0, 1]; NaN if none was compared.

    All pairs of labelers and of one prompt's responses count, except what either of the two called a tie.
    """
    agreed = compared = 0
    for episodes in episodes_by_prompt:
        signs = []
        for labeler in labelers:
            ranks = np.array(labeler.rank(episodes, generator))
            signs.append(np.sign(ranks[:, None] - ranks[None, :])[np.triu_indices(len(ranks), 1)])
        for one, other in itertools.combinations(signs, 2):
            agreed += int(np.sum(one * other == 1))
            compared += int(np.sum(one * other != 0))
    return agreed / compared if compared else float("nan")
