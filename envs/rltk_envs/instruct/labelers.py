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

from rltk.types import Episode
from rltk_envs.instruct.judge import judge
from rltk_envs.instruct.tasks import Task

#: Temperature of a labeler's choice, in units of value; set so that two labelers agree on 72.6 % of the pairs
#: of responses about which both have a preference, the agreement of Ouyang et al. (2022, section 3.4).
NOISE = 0.093
#: Responses whose perceived values differ by less than this are a tie.
TIE_MARGIN = 0.03
#: Words at which a response is as long as brevity minds.
LONG = 16


@dataclass
class InstructLabeler:
    """A labeler with a taste; the weights are normalised to an absolute sum of 1.

    :param helpfulness: weight of doing what was asked at all.
    :param correctness: weight of the judge's utility.
    :param brevity: weight of shortness; negative in who likes answers in full sentences.
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
        return float(weights @ features / np.abs(weights).sum())

    def rank(self, episodes: Sequence[Episode], generator: np.random.Generator) -> list[int]:
        """Return the rank of each response, 1 the best; responses too close to call share the better rank.

        Equal responses are always a tie: noise is drawn once for each distinct one.
        """
        keys = [(episode.response, episode.terminated) for episode in episodes]
        perceived = {key: self.value(episode) for key, episode in zip(keys, episodes, strict=True)}
        noise = generator.gumbel(scale=NOISE, size=len(perceived))
        for key, error in zip(perceived, noise, strict=True):
            perceived[key] += float(error)
        return _ranks([perceived[key] for key in keys])


def _ranks(values: Sequence[float]) -> list[int]:
    """Competition ranks (1, 2, 2, 4), highest value first; a tie chains over gaps below the margin."""
    order = sorted(range(len(values)), key=lambda i: -values[i])
    ranks = [1] * len(values)
    for place, (better, worse) in enumerate(itertools.pairwise(order), start=2):
        tie = values[better] - values[worse] < TIE_MARGIN
        ranks[worse] = ranks[better] if tie else place
    return ranks


_TRAIN = (
    InstructLabeler("ann", helpfulness=4, correctness=4, brevity=1, manners=1),
    InstructLabeler("bob", helpfulness=2, correctness=5, brevity=-2, manners=1),
    InstructLabeler("cho", helpfulness=3, correctness=3, brevity=3, manners=1),
    InstructLabeler("dee", helpfulness=3, correctness=3, brevity=-2, manners=2),
    InstructLabeler("eli", helpfulness=5, correctness=3, brevity=0, manners=2),
    InstructLabeler("fay", helpfulness=2, correctness=4, brevity=3, manners=1),
    InstructLabeler("gus", helpfulness=1, correctness=7, brevity=0, manners=2),
    InstructLabeler("hal", helpfulness=4, correctness=3, brevity=2, manners=1),
)
_HELDOUT = (
    InstructLabeler("ida", helpfulness=3, correctness=5, brevity=1, manners=1),
    InstructLabeler("jon", helpfulness=2, correctness=4, brevity=-2, manners=2),
    InstructLabeler("kim", helpfulness=5, correctness=3, brevity=1, manners=1),
    InstructLabeler("lou", helpfulness=2, correctness=5, brevity=3, manners=0),
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
