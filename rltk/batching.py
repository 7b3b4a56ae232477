"""Which rows go together: shuffled epochs, groups of like length, a token budget a forward pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rltk.rng import numpy_generator

_BATCHES_SORTED_TOGETHER = 16


def micro_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Return row indices in groups of like length, longest first, of padded size at most ``max_tokens``.

    A single row larger than the budget is a group of its own.
    """
    groups: list[list[int]] = []
    longest = 0
    for row in np.argsort(-np.asarray(lengths), kind="stable").tolist():
        if groups and longest * (len(groups[-1]) + 1) <= max_tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
            longest = lengths[row]
    return groups


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
    :param batch_size: rows a step; the last batch of an epoch may be smaller.
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
