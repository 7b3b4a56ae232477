"""What algorithms report, against NumPy."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rltk.diagnostics import Diagnostics, advantage_metrics, exact_kl
from rltk.rng import torch_generator
from rltk.types import Rollout
from rltk_policies.mlp import MLPPolicy

MASKS = [torch.tensor([[True, True, False], [True, False, False]]), torch.tensor([[True, True]])]


def numbers(name, mask):
    return torch.randn(mask.shape, generator=torch_generator(name), dtype=torch.float64)


def test_means_are_over_all_entries_of_all_batches_and_padding_counts_for_nothing():
    seen = Diagnostics(clip_range=0.2, clip_range_high=0.5)
    new, old, entropy = [], [], []
    for mask in MASKS:
        batch = [torch.where(mask, numbers(name, mask), 50.0) for name in ("new", "old", "entropy")]
        seen.add(mask, logprobs=batch[0], old_logprobs=batch[1], entropy=batch[2])
        for kept, x in zip((new, old, entropy), batch, strict=True):
            kept.extend(x[mask].tolist())
    seen.add_step({"loss": 1.0, "grad_norm": 4.0})
    seen.add_step({"loss": 2.0, "grad_norm": 2.0})
    ratio = np.exp(np.array(new) - np.array(old))
    metrics = seen.metrics()
    assert metrics["entropy"] == pytest.approx(np.mean(entropy))
    assert metrics["ratio_max"] == pytest.approx(ratio.max())
    assert metrics["clip_fraction"] == pytest.approx(np.mean((ratio < 0.8) | (ratio > 1.5)))
    assert metrics["approx_kl"] == pytest.approx(np.mean(ratio - 1 - np.log(ratio)))
    assert (metrics["loss"], metrics["grad_norm"], metrics["gradient_steps"]) == (1.5, 3.0, 2.0)


def test_where_nothing_is_clipped_there_is_no_clip_fraction():
    seen = Diagnostics()
    seen.add(MASKS[1], logprobs=numbers("new", MASKS[1]), old_logprobs=numbers("old", MASKS[1]))
    assert "clip_fraction" not in seen.metrics()


def test_advantages_and_returns_are_described_over_the_mask():
    mask = MASKS[0]
    advantages, returns, values = (numbers(name, mask) for name in ("a", "r", "v"))
    metrics = advantage_metrics(advantages, returns, mask, values)
    a, r, v = (x[mask].numpy() for x in (advantages, returns, values))
    expected = {
        "advantage_mean": a.mean(),
        "advantage_std": a.std(),
        "returns_mean": r.mean(),
        "explained_variance": 1 - (r - v).var() / r.var(),
    }
    assert metrics == pytest.approx(expected)
    assert "explained_variance" not in advantage_metrics(advantages, returns, mask)


def small_policy():
    spaces = gym.spaces.Box(-1, 1, (3,), np.float32), gym.spaces.Discrete(4)
    return MLPPolicy(MLPPolicy.Config(), spaces=spaces, generator=torch_generator("policy"))


def rollout_of(mask):
    """A rollout with some observation wherever the mask is True."""
    return Rollout(
        mask=mask,
        actions=torch.zeros(mask.shape, dtype=torch.int64),
        observations=torch.randn(*mask.shape, 3, generator=torch_generator("o")),
        episode_ids=torch.arange(len(mask)),
        bootstrap=torch.zeros(len(mask)),
        scores=torch.zeros(len(mask)),
        **{name: torch.zeros(mask.shape) for name in ("logprobs", "rewards", "values")},
    )


def test_the_exact_kl_is_of_the_old_policy_to_the_new():
    policy = small_policy()
    mask = MASKS[0]
    rollout = rollout_of(mask)
    measure = exact_kl(policy, rollout)
    assert measure() == 0.0
    with torch.no_grad():
        old = policy.distribution_parameters(rollout)[mask].softmax(-1).double().numpy()
        policy.actor.layers()[-1][1].add_(torch.tensor([1.0, 0.0, -1.0, 0.5]))
        new = policy.distribution_parameters(rollout)[mask].softmax(-1).double().numpy()
    assert measure() == pytest.approx((old * np.log(old / new)).sum(-1).mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("lengths", "fewest", "most"),
    [([8] * 63 + [500], 256, 768), ([500] + [8] * 63, 256, 768), ([1] * 2000, 512, 512), ([3, 2], 5, 5)],
)
def test_the_exact_kl_is_of_about_512_actions_however_long_the_rows_are(lengths, fewest, most, monkeypatch):
    policy, seen = small_policy(), []
    parameters = policy.distribution_parameters
    monkeypatch.setattr(
        policy, "distribution_parameters", lambda batch: seen.append(batch) or parameters(batch)
    )
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    assert exact_kl(policy, rollout_of(mask))() == 0.0
    before, after = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert before == after
    assert fewest <= sum(batch.num_actions for batch in before) <= most
    assert all(batch.mask.numel() <= 512 for batch in before)
