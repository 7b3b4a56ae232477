"""Rankings of K responses to one prompt: the K-way loss, accuracy, agreement, the length baseline."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

from rltk.data import competition_ranks
from rltk.stats import cluster_bootstrap_interval


@dataclass(frozen=True)
class Pairs:
    """All preferences within some rankings, as indices into their responses laid end to end.

    :param winners: ``[P]`` int64, the preferred response of each pair.
    :param losers: ``[P]`` int64, the other.
    :param groups: ``[P]`` int64, which ranking the pair is of.
    :param weights: ``[P]`` float32, 1 / C(K, 2) for a ranking of K responses.
    :param num_groups: how many rankings there are.
    """

    winners: Tensor
    losers: Tensor
    groups: Tensor
    weights: Tensor
    num_groups: int


def preference_pairs(
    ranks: Sequence[int], identity: Sequence[Hashable] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return winners and losers ``[P]`` of all pairs on which a ranking of K responses states a preference.

    :param ranks: ``[K]``, 1 is the best; equal ranks are ties and give no pair.
    :param identity: ``[K]``, equal where two responses are the same text, which give no pair either.
    """
    order = np.asarray(ranks)
    preferred = order[:, None] < order[None, :]
    if identity is not None:
        numbers = {value: number for number, value in enumerate(dict.fromkeys(identity))}
        same = np.array([numbers[value] for value in identity])
        preferred &= same[:, None] != same[None, :]
    winners, losers = np.nonzero(preferred)
    return winners, losers


def join_pairs(rankings: Sequence[tuple[int, NDArray[np.int64], NDArray[np.int64]]]) -> Pairs:
    """Join rankings, each its K with the winners and losers of its pairs, for one loss over all of them."""
    sizes = np.array([K for K, _, _ in rankings], dtype=np.int64)
    counts = [len(winners) for _, winners, _ in rankings]
    groups = np.repeat(np.arange(len(rankings)), counts)
    offsets = (np.cumsum(sizes) - sizes)[groups]
    weights = 2.0 / (sizes * (sizes - 1))[groups]
    return Pairs(
        winners=torch.from_numpy(np.concatenate([w for _, w, _ in rankings]) + offsets),
        losers=torch.from_numpy(np.concatenate([lost for _, _, lost in rankings]) + offsets),
        groups=torch.from_numpy(groups),
        weights=torch.from_numpy(weights.astype(np.float32)),
        num_groups=len(rankings),
    )


def ranking_loss(scores: Tensor, pairs: Pairs) -> Tensor:
    """Return the K-way loss summed over rankings, a float32 scalar; divide by the number of rankings.

    Each ranking is one element of the batch: ``-1 / C(K, 2) * sum log sigmoid(score_w - score_l)`` over its
    pairs, so a prompt with nine responses counts as much as one with four. Ties drop out of the sum.

    :param scores: ``[N]`` one score per response, of all rankings end to end.

    Source: Ouyang et al. 2022, arXiv 2203.02155, equation 1.
    """
    scores = scores.float()
    margins = scores[pairs.winners.to(scores.device)] - scores[pairs.losers.to(scores.device)]
    return -(pairs.weights.to(scores.device) * F.logsigmoid(margins)).sum()


def pair_accuracy(scores: Tensor, pairs: Pairs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, for each ranking, how many of its pairs the scores order correctly and how many there are.

    Equal scores count half: a model that says nothing scores 50 %.

    :param scores: ``[N]`` one score per response.
    :returns: two arrays ``[num_groups]``.
    """
    margins = (scores[pairs.winners] - scores[pairs.losers]).sign().double().numpy()
    groups = pairs.groups.numpy()
    correct = np.bincount(groups, weights=(margins + 1.0) / 2.0, minlength=pairs.num_groups)
    counts = np.bincount(groups, minlength=pairs.num_groups)
    return correct.astype(np.float64), counts.astype(np.float64)


def length_scores(lengths: Sequence[int], train_lengths: Sequence[int], train_pairs: Pairs) -> Tensor:
    """Return scores by length alone: longer or shorter is better, whichever is right more often in training.

    :param lengths: ``[N]`` length of each response to score.
    :param train_lengths: lengths of the responses of ``train_pairs``.
    """
    correct, counts = pair_accuracy(torch.tensor(train_lengths, dtype=torch.float64), train_pairs)
    sign = 1.0 if correct.sum() * 2 >= counts.sum() else -1.0
    return sign * torch.tensor(lengths, dtype=torch.float64)


def agreement(ranks: Sequence[int], other_ranks: Sequence[int]) -> tuple[int, int]:
    """Return on how many pairs two labelers agree, of those on which both state a preference."""
    first, second = (np.sign(np.subtract.outer(np.asarray(r), np.asarray(r))) for r in (ranks, other_ranks))
    both = np.triu(first * second, k=1)
    return int((both > 0).sum()), int((both != 0).sum())


def rank_distinct(identity: Sequence[Hashable], rank: Callable[[list[int]], Sequence[int]]) -> list[int]:
    """Rank responses so that identical ones tie, by ranking only the first of each.

    :param identity: ``[K]``, equal where two responses are the same.
    :param rank: given the indices of the distinct responses, returns their ranks.
    """
    first: dict[Hashable, int] = {}
    for index, value in enumerate(identity):
        first.setdefault(value, index)
    distinct = list(first.values())
    ranks = dict(zip(distinct, rank(distinct), strict=True))
    return competition_ranks([ranks[first[value]] for value in identity])


def ratio_with_interval(
    numerators: ArrayLike, denominators: ArrayLike, generator: np.random.Generator
) -> tuple[float, tuple[float, float]]:
    """Return ``sum(numerators) / sum(denominators)`` over prompts and its 95 % prompt-clustered interval.

    :returns: NaNs where the denominators are all zero.
    """
    total = float(np.sum(denominators))
    ratio = float(np.sum(numerators)) / total if total else float("nan")
    return ratio, cluster_bootstrap_interval(numerators, denominators, generator=generator)
