"""Advantages against plain loops over one episode at a time."""

import numpy as np
import pytest
import torch

from rltk.advantages import (
    discounted_sums,
    episode_returns,
    explained_variance,
    generalized_advantage_estimation,
    group_relative_advantages,
    indifferent_groups,
    leave_one_out_advantages,
    lone_episodes,
    masked_mean,
    returns_to_go,
    whiten,
)
from rltk.rng import torch_generator

GAMMA, LAMBDA = 0.9, 0.8


def ragged_batch():
    generator = torch_generator("gae")
    lengths = torch.tensor([5, 1, 3, 4])
    mask = torch.arange(5) < lengths[:, None]
    rewards = torch.randn(4, 5, generator=generator) * mask
    values = torch.randn(4, 5, generator=generator) * mask
    bootstrap = torch.tensor([0.0, 2.0, -1.0, 0.0])
    return rewards, values, bootstrap, mask


def loop_gae(rewards, values, bootstrap):
    """Equation 16 of the GAE paper, written as the double sum it is."""
    following = [*values[1:], bootstrap]
    deltas = [r + GAMMA * n - v for r, n, v in zip(rewards, following, values, strict=True)]
    return [
        sum((GAMMA * LAMBDA) ** k * delta for k, delta in enumerate(deltas[t:])) for t in range(len(deltas))
    ]


def test_gae_equals_the_sum_over_residuals_of_each_episode():
    rewards, values, bootstrap, mask = ragged_batch()
    advantages, returns = generalized_advantage_estimation(
        rewards, values, bootstrap, mask, gamma=GAMMA, gae_lambda=LAMBDA
    )
    for row in range(4):
        valid = mask[row]
        expected = loop_gae(rewards[row][valid].tolist(), values[row][valid].tolist(), bootstrap[row].item())
        assert advantages[row][valid].tolist() == pytest.approx(expected, abs=1e-6)
        assert advantages[row][~valid].tolist() == [0.0] * int((~valid).sum())
    torch.testing.assert_close(returns, (advantages + values) * mask)


def test_with_lambda_1_the_advantage_is_the_discounted_return_less_the_value():
    rewards, values, bootstrap, mask = ragged_batch()
    advantages, returns = generalized_advantage_estimation(
        rewards, values, bootstrap, mask, gamma=GAMMA, gae_lambda=1.0
    )
    torch.testing.assert_close(advantages, torch.where(mask, returns - values, 0.0))
    for row in range(4):
        tail = bootstrap[row].item()
        for t in reversed(range(int(mask[row].sum()))):
            tail = rewards[row, t].item() + GAMMA * tail
            assert returns[row, t].item() == pytest.approx(tail, abs=1e-5)


def test_what_lies_beyond_the_mask_changes_nothing():
    rewards, values, bootstrap, mask = ragged_batch()
    options = {"gamma": GAMMA, "gae_lambda": LAMBDA}
    clean = generalized_advantage_estimation(rewards, values, bootstrap, mask, **options)
    rewards[~mask], values[~mask] = 1e6, -1e6
    dirty = generalized_advantage_estimation(rewards, values, bootstrap, mask, **options)
    assert all(torch.equal(a, b) for a, b in zip(clean, dirty, strict=True))


def test_whitening_uses_valid_entries_only():
    rewards, _, _, mask = ragged_batch()
    rewards[~mask] = 99.0
    valid = rewards[mask].numpy()
    expected = (valid - valid.mean()) / np.sqrt(valid.var() + 1e-8)
    whitened = whiten(rewards, mask)
    np.testing.assert_allclose(whitened[mask].numpy(), expected, rtol=1e-5)
    assert not whitened[~mask].any()


def test_explained_variance_of_perfect_useless_and_harmful_critics():
    returns = torch.tensor([[1.0, 2.0, 3.0, 50.0]])
    mask = torch.tensor([[True, True, True, False]])
    assert explained_variance(returns, returns, mask) == 1.0
    assert explained_variance(torch.zeros(1, 4), returns, mask) == pytest.approx(0.0)
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3.0)


def test_there_is_nothing_to_explain_in_returns_that_are_all_the_same():
    returns, mask = torch.full((1, 4), 2.5), torch.ones(1, 4, dtype=torch.bool)
    assert explained_variance(torch.tensor([[2.0, 3.0, 2.5, 2.5]]), returns, mask) == 0.0


def test_the_mean_over_an_empty_mask_is_zero():
    assert masked_mean(torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.bool)) == 0.0


def test_discounted_sums_equal_a_loop_for_every_length():
    for length in (1, 2, 3, 7, 8, 13):
        for factor in (0.0, 0.7, 1.0):
            x = torch.randn(3, length, generator=torch_generator("sums", length), dtype=torch.float64)
            expected = np.zeros((3, length))
            for t in range(length):
                expected[:, t] = sum(factor ** (k - t) * x[:, k].numpy() for k in range(t, length))
            np.testing.assert_allclose(discounted_sums(x, factor).numpy(), expected, rtol=1e-12, atol=1e-12)


def test_returns_to_go_count_back_from_the_bootstrap():
    rewards, _, bootstrap, mask = ragged_batch()
    returns = returns_to_go(rewards + 99.0 * ~mask, bootstrap, mask, gamma=GAMMA)
    for row in range(4):
        tail, expected = bootstrap[row].item(), []
        for reward in reversed(rewards[row][mask[row]].tolist()):
            tail = reward + GAMMA * tail
            expected.insert(0, tail)
        assert returns[row][mask[row]].tolist() == pytest.approx(expected, abs=1e-5)
        assert not returns[row][~mask[row]].any()


def test_episode_returns_are_sums_over_the_mask():
    rewards, _, _, mask = ragged_batch()
    returns = episode_returns(rewards + 99.0 * ~mask, mask)
    assert returns.tolist() == pytest.approx([rewards[row][mask[row]].sum().item() for row in range(4)])


# Two whole groups, not side by side; a group that lost all but one; one whose answers are all alike.
RETURNS = torch.tensor([1.0, 4.0, 2.0, 9.0, 6.0, 5.0, 3.0, 3.0])
GROUPS = torch.tensor([7, 8, 7, 7, 8, 5, 6, 6])


def test_leave_one_out_advantages_by_hand():
    # Group 7: 1, 2, 9 against means of the others 5.5, 5, 1.5; group 8: 4 against 6 and back.
    expected = [-4.5, -2.0, -3.0, 7.5, 2.0, 0.0, 0.0, 0.0]
    assert leave_one_out_advantages(RETURNS, GROUPS).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("size", [3, 5, 6, 7])
@pytest.mark.parametrize("level", [0.1, 1000.1, -10_000.1])
def test_equal_returns_give_no_advantage_not_even_by_rounding(size, level):
    returns, groups = torch.full((size,), level), torch.zeros(size, dtype=torch.int64)
    assert not leave_one_out_advantages(returns, groups).any()
    for scale in ("group", "batch", "none"):
        advantages = group_relative_advantages(returns, groups, scale=scale)
        assert not advantages.any() and advantages.dtype == torch.float32


def test_group_relative_advantages_by_hand():
    # Group 7 has mean 4 and deviation sqrt((9 + 4 + 25) / 2); group 8 mean 5 and deviation sqrt(2).
    centred = np.array([-3.0, -1.0, -2.0, 5.0, 1.0, 0.0, 0.0, 0.0])
    deviation = np.array([19**0.5, 2**0.5, 19**0.5, 19**0.5, 2**0.5, 1.0, 1.0, 1.0])
    expected = {
        "none": centred,
        "group": centred / (deviation + 1e-4),
        "batch": centred / ((centred**2).sum() / 7) ** 0.5,
    }
    for scale, values in expected.items():
        advantages = group_relative_advantages(RETURNS, GROUPS, scale=scale)
        np.testing.assert_allclose(advantages.numpy(), values, rtol=2e-4, atol=1e-6)


def test_the_shares_from_which_nothing_can_be_learned():
    assert lone_episodes(GROUPS) == 1 / 8
    assert indifferent_groups(RETURNS, GROUPS) == 3 / 8
