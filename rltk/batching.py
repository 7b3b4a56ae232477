"""Which rows go together: shuffled epochs, groups of like length, a token budget a forward pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rltk.rng import numpy_generator

_BATCHES_SORTED_TOGETHER = 16
#: What a forward pass costs beside its tokens, in tokens: padding is saved only where that is more.
_TOKENS_A_PASS = 128


def micro_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Return row indices in groups of like length, longest first, of padded size at most ``max_tokens``.

    Rows sorted by length are cut where the padded tokens of all groups are fewest, each group counted as some
    tokens more. A single row larger than the budget is a group of its own.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    starts = _cheapest_starts(sizes[order], max_tokens)
    groups: list[list[int]] = []
    end = len(order)
    while end:
        groups.append(order[starts[end] : end].tolist())
        end = int(starts[end])
    return groups[::-1]


def _cheapest_starts(longest_first: NDArray[np.int64], max_tokens: int) -> NDArray[np.int64]:
    """Return for each count of rows where the last group of their cheapest division begins.

    By dynamic programming: the best division of the first rows is that of fewer rows and one group more.
    """
    count = len(longest_first)
    costs, starts = np.zeros(count + 1, dtype=np.int64), np.zeros(count + 1, dtype=np.int64)
    first = 0
    for end in range(1, count + 1):
        while first < end - 1 and longest_first[first] * (end - first) > max_tokens:
            first += 1
        padded = longest_first[first:end] * np.arange(end - first, 0, -1)
        options = costs[first:end] + padded + _TOKENS_A_PASS
        best = int(options.argmin())
        costs[end], starts[end] = options[best], first + best
    return starts


def pad_rows(rows: Sequence[Sequence[int]], pad_token_id: int) -> tuple[Tensor, Tensor]:
    """Return token rows right-padded to ``[B, L]`` int64 and their lengths ``[B]`` int64."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    tokens = np.full((len(rows), int(lengths.max(initial=0))), pad_token_id, dtype=np.int64)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = row
    return torch.from_numpy(tokens), torch.from_numpy(lengths)


class EpochSampler:
    """Says which rows each step takes: every row once an epoch, in an order that only (seed, epoch) decide.

    :param lengths: tokens in each row; rows of like length share a batch where ``bucketed``.
    :param batch_size: rows per step; the last batch of an epoch may be smaller.
    :param bucketed: sort stretches of 16 batches by length before cutting them, to save padding.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, *, seed: int, bucketed: bool = True) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size, self.seed, self.bucketed = batch_size, seed, bucketed
        self.steps_per_epoch = -(-len(self.lengths) // batch_size)
        self._epoch = -1
        self._batches: list[NDArray[np.int64]] = []

    def rows(self, step: int) -> list[int]:
        """Return the row indices of a step; steps count from 1 over all epochs."""
        epoch, index = divmod(step - 1, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._shuffled(epoch)
        return self._batches[index].tolist()

    def _shuffled(self, epoch: int) -> list[NDArray[np.int64]]:
        generator = numpy_generator(self.seed, "epoch", epoch)
        order = generator.permutation(len(self.lengths))
        if not self.bucketed:
            return self._cut(order)
        stretch = _BATCHES_SORTED_TOGETHER * self.batch_size
        batches: list[NDArray[np.int64]] = []
        for start in range(0, len(order), stretch):
            part = order[start : start + stretch]
            batches += self._cut(part[np.argsort(self.lengths[part], kind="stable")])
        return [batches[i] for i in generator.permutation(len(batches))]

    def _cut(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
