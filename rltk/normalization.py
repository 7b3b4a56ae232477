"""Running scales of observations and rewards, as control tasks need them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class RunningMoments(nn.Module):
    """Mean and variance of all vectors seen, kept as buffers so that they are saved with the weights.

    :param size: length of a vector.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, batch: Tensor) -> None:
        """Take in vectors ``[n, size]`` (Chan et al. 1979, the pairwise update of mean and variance)."""
        batch = batch.to(self.mean)
        n = len(batch)
        total = self.count + n
        delta = batch.mean(0) - self.mean
        squares = self.variance * self.count + batch.var(0, correction=0) * n
        self.variance.copy_((squares + delta**2 * self.count * n / total) / total)
        self.mean.add_(delta * n / total)
        self.count.copy_(total)

    def normalize(self, x: Tensor, *, clip: float) -> Tensor:
        """Return ``x [..., size]`` shifted and scaled to about mean 0 and variance 1, cut off at ``clip``."""
        scaled = (x - self.mean) / torch.sqrt(self.variance + 1e-8)
        return scaled.clamp(-clip, clip).to(x.dtype)


class RewardScaler:
    """Divides rewards by the running standard deviation of the discounted return.

    The scale is what Engstrom et al. 2020, "Implementation matters in deep policy gradients", call reward
    scaling: the mean is not subtracted, which would change the task.

    :param gamma: discount of the return.
    :param clip: largest absolute reward after scaling.
    """

    def __init__(self, gamma: float, *, clip: float = 10.0) -> None:
        self.gamma, self.clip = gamma, clip
        self.moments = RunningMoments(1)
        #: The return so far of each episode of the last rollout, which the next one may go on with.
        self._so_far: dict[int, float] = {}

    def scale(self, rewards: Tensor, mask: Tensor, episode_ids: Tensor) -> Tensor:
        """Take in the rewards ``[B, T]`` of a rollout and return them scaled.

        :param mask: ``[B, T]`` bool, True at actions; each row is a run of True from the left.
        :param episode_ids: ``[B]`` which episode each row is of; one that a rollout cut off goes on in the
            next, and so does its return.
        """
        episodes = episode_ids.tolist()
        before = np.array([self._so_far.get(episode, 0.0) for episode in episodes])
        returns = _running_return(before, rewards.cpu().numpy(), self.gamma)
        last = returns[np.arange(len(returns)), mask.sum(1).cpu().numpy() - 1]
        self._so_far = dict(zip(episodes, last.tolist(), strict=True))
        self.moments.update(torch.from_numpy(returns)[mask.cpu()][:, None])
        std = torch.sqrt(self.moments.variance + 1e-8).to(rewards)
        return (rewards / std).clamp(-self.clip, self.clip)

    def state_dict(self) -> dict[str, Any]:
        """Return the moments; not the returns so far, as environments begin anew where a run goes on."""
        return self.moments.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.moments.load_state_dict(state)


def _running_return(
    total: NDArray[np.float64], rewards: NDArray[np.float32], gamma: float
) -> NDArray[np.float64]:
    """Return ``R_t = gamma R_{t-1} + r_t`` for each row of ``[B, T]``, from ``total [B]`` on."""
    returns = np.zeros(rewards.shape)
    for t in range(rewards.shape[1]):
        total = gamma * total + rewards[:, t]
        returns[:, t] = total
    return returns
