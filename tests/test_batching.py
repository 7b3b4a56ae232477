"""Which rows go together, checked by hand."""

import itertools

import numpy as np
import pytest
import torch

from rltk.batching import EpochSampler, micro_batches, pad_rows


def test_micro_batches_group_like_lengths_within_the_budget():
    # longest first: 9 alone fills 12 tokens; 4, 4, 3 pad to 12; 2, 1 pad to 4
    assert micro_batches([3, 9, 4, 1, 4, 2], 12) == [[1], [2, 4, 0], [5, 3]]


def test_a_row_beyond_the_budget_is_a_group_of_its_own():
    assert micro_batches([5, 1, 1], 2) == [[0], [1, 2]]
    assert micro_batches([], 2) == []


def test_rows_are_padded_on_the_right():
    tokens, lengths = pad_rows([[5, 6], [7], [8, 9, 4]], 0)
    assert tokens.tolist() == [[5, 6, 0], [7, 0, 0], [8, 9, 4]]
    assert lengths.tolist() == [2, 1, 3]
    assert tokens.dtype == torch.int64


def test_every_epoch_takes_every_row_once_in_an_order_of_its_own():
    sampler = EpochSampler(list(range(1, 24)), 4, seed=1)
    assert sampler.steps_per_epoch == 6
    epochs = [[sampler.rows(1 + 6 * epoch + step) for step in range(6)] for epoch in range(3)]
    for batches in epochs:
        assert sorted(row for batch in batches for row in batch) == list(range(23))
        assert sorted(map(len, batches)) == [3, 4, 4, 4, 4, 4]
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_step_has_the_same_rows_whatever_was_asked_before():
    lengths = [1, 5, 2, 7, 3, 3, 8, 1, 4]
    one, other = EpochSampler(lengths, 2, seed=3), EpochSampler(lengths, 2, seed=3)
    forward = [one.rows(step) for step in range(1, 16)]
    backward = [other.rows(step) for step in range(15, 0, -1)]
    assert forward == backward[::-1]
    assert forward != [EpochSampler(lengths, 2, seed=4).rows(step) for step in range(1, 16)]


def test_bucketing_puts_like_lengths_together():
    lengths = np.random.default_rng(0).integers(1, 100, 64)
    sampler = EpochSampler(lengths, 8, seed=0)
    spread = [np.ptp(lengths[sampler.rows(step)]) for step in range(1, 9)]
    plain = EpochSampler(lengths, 8, seed=0, bucketed=False)
    assert max(spread) < min(np.ptp(lengths[plain.rows(step)]) for step in range(1, 9))


def cost(lengths, groups):
    return sum(128 + len(group) * max(lengths[row] for row in group) for group in groups)


def test_no_other_division_of_the_sorted_rows_is_cheaper():
    """By trying them all: every group pays for its padding, and as much as 128 tokens once."""
    generator = np.random.default_rng(0)
    for budget in (200, 600, 5000):
        lengths = generator.integers(1, 200, 10).tolist()
        order = sorted(range(10), key=lambda row: -lengths[row])
        costs = []
        for cuts in range(2**9):
            bounds = [0, *(i + 1 for i in range(9) if cuts >> i & 1), 10]
            groups = [order[a:b] for a, b in itertools.pairwise(bounds)]
            if all(len(g) == 1 or len(g) * lengths[g[0]] <= budget for g in groups):
                costs.append(cost(lengths, groups))
        ours = micro_batches(lengths, budget)
        assert sorted(row for group in ours for row in group) == list(range(10))
        assert all(len(g) == 1 or len(g) * max(lengths[r] for r in g) <= budget for g in ours)
        assert cost(lengths, ours) == min(costs)


@pytest.mark.parametrize("max_tokens", [2048, 8192, 10**9])
def test_ragged_responses_cost_little_padding_however_large_the_budget(max_tokens):
    """Prompts of 16 tokens, responses that end with 4 % a token, at 64 at the latest."""
    lengths = 16 + np.minimum(np.random.default_rng(1).geometric(0.04, 256), 64)
    padded = sum(len(g) * max(lengths[g]) for g in micro_batches(lengths.tolist(), max_tokens))
    assert 1 - lengths.sum() / (256 * lengths.max()) > 0.4
    assert 1 - lengths.sum() / padded < 0.08


def test_equal_rows_stay_together():
    assert micro_batches([64] * 128, 8192) == [list(range(128))]
