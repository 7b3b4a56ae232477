"""How a rollout is cut: every row once, and nothing lost or mixed up."""

import pytest
import torch

from rltk.rng import torch_generator
from rltk.types import Rollout


def make_rollout(lengths=(4, 1, 3, 2, 4)):
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    numbers = torch.arange(mask.numel(), dtype=torch.float32).view(mask.shape)
    return Rollout(
        mask=mask,
        actions=numbers.long(),
        logprobs=-numbers,
        rewards=numbers * mask,
        values=numbers,
        bootstrap=torch.zeros(len(lengths)),
        episode_ids=torch.arange(len(lengths)),
        scores=torch.zeros(len(lengths)),
        observations=numbers[..., None].expand(-1, -1, 2),
    )


def seen(batches):
    """Every action of the batches, with what belongs to it checked."""
    actions = []
    for batch in batches:
        chosen = batch.actions[batch.mask]
        assert torch.equal(batch.logprobs[batch.mask], -chosen.float())
        assert torch.equal(batch.observations[batch.mask][:, 1], chosen.float())
        actions += chosen.tolist()
    return actions


@pytest.mark.parametrize("apart", [False, True])
def test_mini_batches_hold_every_action_once_in_a_new_order(apart):
    rollout = make_rollout().steps() if apart else make_rollout()
    generator = torch_generator("order")
    first, second = (list(rollout.minibatches(2, generator)) for _ in range(2))
    assert [len(batch) for batch in first] == [2] * (len(rollout) // 2) + [1] * (len(rollout) % 2)
    assert sorted(seen(first)) == sorted(seen(second)) == seen([rollout])
    assert seen(first) != seen(second)


def test_the_order_is_the_generators():
    orders = [seen(make_rollout().steps().minibatches(3, torch_generator("order"))) for _ in range(2)]
    assert orders[0] == orders[1]


def test_a_mini_batch_as_large_as_the_rollout_is_the_rollout():
    rollout = make_rollout()
    assert list(rollout.minibatches(5, torch_generator("order"))) == [rollout]


@pytest.mark.parametrize("apart", [False, True])
def test_parts_fit_the_budget_and_hold_every_action_once(apart):
    rollout = make_rollout().steps() if apart else make_rollout()
    parts = rollout.parts(5)
    assert len(parts) > 1
    assert all(part.mask.numel() <= 5 for part in parts)
    assert sorted(seen(parts)) == seen([rollout])
    assert rollout.parts(20) == [rollout]


def test_a_row_larger_than_the_budget_is_a_part_of_its_own():
    assert [len(part) for part in make_rollout().parts(1)] == [1] * 5
