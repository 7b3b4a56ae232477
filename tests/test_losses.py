"""Losses against NumPy, entry by entry."""

import numpy as np
import pytest
import torch

from rltk.advantages import masked_mean, masked_variance, whiten
from rltk.losses import (
    _surrogate_and_slope,
    _value_error_and_slope,
    adapted_kl_coef,
    categorical_kl,
    clipped_surrogate,
    clipped_value_error,
    clipped_value_loss,
    kl_k1,
    kl_k3,
    kl_shaped_rewards,
    masked_sum,
    policy_gradient_loss,
    ppo_loss,
    surrogate_loss,
)
from rltk.rng import torch_generator
from rltk.types import Evaluation, Rollout

SHAPE = (6, 5)


@pytest.fixture
def batch():
    generator = torch_generator("losses")
    names = ("logprobs", "old", "advantages", "values", "old_values", "returns")
    tensors = {name: torch.randn(SHAPE, generator=generator, dtype=torch.float64) for name in names}
    tensors["mask"] = torch.rand(SHAPE, generator=generator) < 0.7
    return tensors


def test_the_clipped_surrogate_and_its_gradient(batch):
    logprobs = batch["logprobs"].requires_grad_()
    each = clipped_surrogate(logprobs, batch["old"], batch["advantages"], clip_range=0.2)
    loss = masked_sum(each, batch["mask"])
    loss.backward()
    expected, gradient = 0.0, np.zeros(SHAPE)
    for i, j in np.argwhere(batch["mask"].numpy()):
        ratio = np.exp(logprobs[i, j].item() - batch["old"][i, j].item())
        advantage = batch["advantages"][i, j].item()
        expected += -min(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage)
        passes = ratio < 1.2 if advantage > 0 else ratio > 0.8
        gradient[i, j] = -advantage * ratio if passes else 0.0
    assert loss.item() == pytest.approx(expected)
    np.testing.assert_allclose(logprobs.grad.numpy(), gradient, rtol=1e-6)


def test_what_is_done_to_an_unclipped_surrogate_leaves_its_gradient_alone(batch):
    logprobs = batch["logprobs"].requires_grad_()
    loss = clipped_surrogate(logprobs, batch["old"], batch["advantages"], clip_range=None)
    expected = loss.detach().clone()
    loss.mul_(2.0).sum().backward()
    torch.testing.assert_close(logprobs.grad, 2.0 * expected)


def test_the_surrogate_may_be_clipped_further_up_than_down(batch):
    logprobs, old, advantages = batch["logprobs"], batch["old"], batch["advantages"]
    loss = clipped_surrogate(logprobs, old, advantages, clip_range=0.2, clip_range_high=0.4)
    ratio, advantage = (logprobs - old).exp().numpy(), advantages.numpy()
    expected = -np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.4) * advantage)
    np.testing.assert_allclose(loss.numpy(), expected)
    unclipped = clipped_surrogate(logprobs, old, advantages, clip_range=None)
    np.testing.assert_allclose(unclipped.numpy(), -ratio * advantage)


def test_the_policy_gradient_loss_has_minus_the_advantages_as_its_gradient(batch):
    logprobs = batch["logprobs"].requires_grad_()
    policy_gradient_loss(logprobs, batch["advantages"], batch["mask"]).backward()
    torch.testing.assert_close(logprobs.grad, -batch["advantages"] * batch["mask"])


def test_the_surrogate_at_the_old_policy_has_the_policy_gradient(batch):
    logprobs = batch["old"].clone().requires_grad_()
    surrogate_loss(logprobs, batch["old"], batch["advantages"], batch["mask"]).backward()
    torch.testing.assert_close(logprobs.grad, -batch["advantages"] * batch["mask"])


def test_the_clipped_value_loss_takes_the_worse_of_two(batch):
    loss = clipped_value_loss(
        batch["values"], batch["old_values"], batch["returns"], batch["mask"], clip_range=0.3
    )
    expected = 0.0
    for i, j in np.argwhere(batch["mask"].numpy()):
        value, old, target = (batch[name][i, j].item() for name in ("values", "old_values", "returns"))
        near = np.clip(value, old - 0.3, old + 0.3)
        expected += 0.5 * max((value - target) ** 2, (near - target) ** 2)
    assert loss.item() == pytest.approx(expected)


def test_without_a_clip_range_the_value_loss_is_half_the_squared_error(batch):
    loss = clipped_value_loss(
        batch["values"], batch["old_values"], batch["returns"], batch["mask"], clip_range=None
    )
    squared = (batch["values"] - batch["returns"])[batch["mask"]] ** 2
    assert loss.item() == pytest.approx(0.5 * squared.sum().item())


def test_kl_shaping_pays_the_score_at_the_end_and_the_penalty_everywhere():
    mask = torch.tensor([[True, True, True], [True, False, False]])
    rewards = torch.tensor([[0.0, 0.0, 1.0], [2.0, 7.0, 7.0]])
    logprobs = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, 9.0, 9.0]])
    reference = torch.tensor([[-1.5, -1.0, -3.0], [-4.0, 0.0, 0.0]])
    shaped = kl_shaped_rewards(rewards, logprobs, reference, mask, kl_coef=0.1)
    torch.testing.assert_close(shaped, torch.tensor([[-0.05, 0.1, 1.0], [1.7, 0.0, 0.0]]))


def test_the_kl_estimators_average_to_the_exact_divergence():
    generator = torch_generator("kl")
    p, q = torch.randn(2, 7, generator=generator, dtype=torch.float64).log_softmax(-1)
    exact = (p.exp() * (p - q)).sum().item()
    for estimator in (kl_k1, kl_k3):
        assert (p.exp() * estimator(p, q)).sum().item() == pytest.approx(exact)
    assert (kl_k3(p, q) >= 0).all()
    assert categorical_kl(p + 3.0, q - 5.0).item() == pytest.approx(exact)


@pytest.mark.parametrize(
    ("kl", "expected"),
    [
        (6.0, 0.1),
        (6.6, 0.1 * (1 + 0.1 * 256 / 10_000)),
        (60.0, 0.1 * (1 + 0.2 * 256 / 10_000)),
        (0.0, 0.1 * (1 - 0.2 * 256 / 10_000)),
    ],
)
def test_the_kl_controller_moves_in_proportion_and_within_limits(kl, expected):
    adapted = adapted_kl_coef(0.1, kl, target=6.0, horizon=10_000, episodes=256)
    assert adapted == pytest.approx(expected)


@pytest.mark.parametrize("clip_range", [None, 0.3])
def test_gradients_by_hand_are_those_of_finite_differences(batch, clip_range):
    logprobs, values = batch["logprobs"].requires_grad_(), batch["values"].requires_grad_()
    old, advantages = batch["old"], batch["advantages"]
    assert torch.autograd.gradcheck(
        lambda x: clipped_surrogate(x, old, advantages, clip_range=clip_range), logprobs
    )
    assert torch.autograd.gradcheck(
        lambda x: clipped_value_error(x, batch["old_values"], batch["returns"], clip_range=clip_range), values
    )


def rollout_of(batch):
    empty = {"scores": torch.zeros(6), "bootstrap": torch.zeros(6), "episode_ids": torch.arange(6)}
    fields = {"logprobs": "old", "values": "old_values", "advantages": "advantages", "returns": "returns"}
    named = {name: batch[theirs] for name, theirs in fields.items()}
    nothing = torch.zeros(SHAPE)
    return Rollout(mask=batch["mask"], actions=nothing, rewards=nothing, **empty, **named)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("value_clip_range", "entropy_coef"), [(None, 0.0), (0.3, 0.02)])
def test_ppos_loss_is_the_sum_of_its_parts_and_so_is_its_gradient(
    batch, masked, value_clip_range, entropy_coef
):
    mask = batch["mask"] = batch["mask"] if masked else torch.ones(SHAPE, dtype=torch.bool)
    names = ("logprobs", "entropy", "values")
    entropy = torch.rand(SHAPE, generator=torch_generator("entropy"), dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (batch["logprobs"], entropy, batch["values"])]
    options = {"clip_range": 0.2, "value_clip_range": value_clip_range, "value_coef": 0.7}

    def loss(*now):
        said = Evaluation(**dict(zip(names, now, strict=True)))
        return ppo_loss(said, rollout_of(batch), **options, entropy_coef=entropy_coef)

    total, surrogate, error = loss(*inputs)
    expected = clipped_surrogate(inputs[0], batch["old"], batch["advantages"], clip_range=0.2)
    expected_error = clipped_value_error(
        inputs[2], batch["old_values"], batch["returns"], clip_range=value_clip_range
    )
    torch.testing.assert_close(surrogate, expected.detach())
    torch.testing.assert_close(error, expected_error.detach())
    summed = masked_sum(expected + 0.7 * expected_error - entropy_coef * inputs[1], mask)
    assert total.item() == pytest.approx(summed.item())
    assert torch.autograd.gradcheck(lambda *now: loss(*now)[0], inputs)
    assert not surrogate.requires_grad and not error.requires_grad


def test_numpy_and_torch_compute_the_same_loss_in_the_precision_they_are_given(batch):
    single = {name: x.float() for name, x in batch.items() if name != "mask"}
    for loss_and_slope, names, options in (
        (_surrogate_and_slope, ("logprobs", "old", "advantages"), (0.2, 0.4)),
        (_value_error_and_slope, ("values", "old_values", "returns"), (0.3,)),
    ):
        tensors = [single[name] for name in names]
        ours = loss_and_slope(np, *(tensor.numpy() for tensor in tensors), *options)
        theirs = loss_and_slope(torch, *tensors, *options)
        for array, tensor in zip(ours, theirs, strict=True):
            assert array.dtype == np.float32
            np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-6)


def test_losses_take_bfloat16(batch):
    logprobs = batch["logprobs"].bfloat16().requires_grad_()
    clipped_surrogate(logprobs, batch["old"], batch["advantages"], clip_range=0.2).sum().backward()
    assert logprobs.grad.dtype == torch.bfloat16 and torch.isfinite(logprobs.grad).all()


def test_a_mask_that_hides_nothing_changes_nothing(batch):
    x, everything = batch["values"], torch.ones(SHAPE, dtype=torch.bool)
    padded = torch.cat([x, torch.full((1, SHAPE[1]), 7.0)])
    mask = torch.cat([everything, ~everything[:1]])
    for function in (masked_sum, masked_mean, masked_variance):
        torch.testing.assert_close(function(x, everything), function(padded, mask))
    torch.testing.assert_close(whiten(x, everything), whiten(padded, mask)[:-1])
    nothing = x[:0]
    assert masked_mean(nothing, everything[:0]) == masked_sum(nothing, everything[:0]) == 0.0
