"""Running scales against NumPy over everything seen at once."""

import numpy as np
import torch

from rltk.normalization import RewardScaler, RunningMoments
from rltk.rng import numpy_generator


def test_moments_of_batches_are_those_of_all_of_them():
    seen = numpy_generator("moments").normal(3.0, 2.0, (100, 4))
    moments = RunningMoments(4)
    for part in np.split(seen, [1, 30, 31, 77]):
        moments.update(torch.from_numpy(part))
    np.testing.assert_allclose(moments.mean, seen.mean(0))
    np.testing.assert_allclose(moments.variance, seen.var(0))
    assert moments.count == 100
    expected = np.clip((seen - seen.mean(0)) / np.sqrt(seen.var(0) + 1e-8), -1.5, 1.5)
    np.testing.assert_allclose(moments.normalize(torch.from_numpy(seen), clip=1.5), expected)


def test_before_anything_is_seen_observations_stay_as_they_are():
    x = torch.tensor([[1.0, -2.0]])
    torch.testing.assert_close(RunningMoments(2).normalize(x, clip=10.0), x)
    assert RunningMoments(2).normalize(x, clip=10.0).dtype == torch.float32


def test_rewards_are_divided_by_the_deviation_of_the_discounted_return():
    rewards = torch.tensor([[1.0, 2.0, 4.0], [8.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    returns = np.array([1.0, 0.5 + 2.0, 1.25 + 4.0, 8.0])
    ids = torch.tensor([0, 1])
    scaled = RewardScaler(0.5).scale(rewards, mask, ids)
    torch.testing.assert_close(scaled, rewards / float(returns.std()), rtol=1e-6, atol=0)
    assert float(RewardScaler(0.5, clip=0.5).scale(rewards, mask, ids).max()) == 0.5


def test_the_return_of_an_episode_goes_on_in_the_next_fragment():
    """Episode 3 has the rewards 1, 2, 4, 8 in two fragments; 4 ends with the first, 5 is in the second."""
    scaler = RewardScaler(0.5)
    first = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([[True, True], [True, False]])
    second = torch.tensor([[5.0, 0.0], [4.0, 8.0]]), torch.tensor([[True, False], [True, True]])
    scaler.scale(*first, torch.tensor([3, 4]))
    scaled = scaler.scale(*second, torch.tensor([5, 3]))
    returns = np.array([1.0, 2.5, 3.0, 5.0, 1.25 + 4.0, 2.625 + 8.0])
    torch.testing.assert_close(scaled, second[0] / float(returns.std()), rtol=1e-6, atol=0)


def test_the_scale_survives_saving():
    scaler, restored = RewardScaler(0.9), RewardScaler(0.9)
    rewards, mask = torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool)
    scaler.scale(rewards, mask, torch.tensor([0, 1]))
    restored.load_state_dict(scaler.state_dict())
    later = rewards * 2, mask, torch.tensor([2, 3])
    assert torch.equal(scaler.scale(*later), restored.scale(*later))
