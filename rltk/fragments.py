"""Collect a fixed number of steps at a time from environments that go on where they were.

Rows of these rollouts are fragments: an episode cut off by the end of the rollout goes on in the next one.
For text, whose episodes are short and scored as a whole, :func:`rltk.rollout.collect` takes whole episodes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rltk.action_masks import ActionMasks, act
from rltk.errors import UserError
from rltk.evaluation import rollout_values
from rltk.rng import EpisodeStream
from rltk.rollout import require_same_step
from rltk.types import Rollout

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

    from rltk.policy import Policy

#: Over how many of the latest episodes a return is averaged for the log, as in Stable-Baselines3.
_REMEMBERED = 100


class FragmentCollector:
    """Steps a policy through a vector environment without end.

    :param envs: a vector environment of arrays with SAME_STEP autoreset.
    :param policy: a memoryless policy; acts, and gives the values.
    :param seed: of the environments and of the sampling.
    :ivar returns: undiscounted returns of the latest episodes that ended.
    :raises UserError: the environment or the policy is of another sort.
    """

    def __init__(self, envs: VectorEnv, policy: Policy, *, seed: int) -> None:
        require_same_step(envs)
        if not policy.memoryless:
            fix = "collect whole episodes (episodes in place of steps)"
            raise UserError("steps", f"{policy.name!r} remembers, so its episodes are not cut", fix=fix)
        self.envs, self.policy, self.seed = envs, policy, seed
        self.returns: deque[float] = deque(maxlen=_REMEMBERED)
        self._observations, self._infos = envs.reset(seed=seed)
        self._masks = ActionMasks(envs, self._infos)
        self._episode = np.arange(envs.num_envs)
        self._position = np.zeros(envs.num_envs, dtype=np.int64)
        self._return = np.zeros(envs.num_envs)
        self._next_episode = envs.num_envs

    @torch.no_grad()
    def collect(self, steps: int) -> Rollout:
        """Take ``steps`` steps, rounded down to as many in each environment, and lay out the fragments."""
        length, N = max(steps // self.envs.num_envs, 1), self.envs.num_envs
        session = self.policy.session(N)
        active = np.ones(N, dtype=bool)
        seen: list[NDArray[Any]] = []
        actions: list[Tensor] = []
        logprobs: list[Tensor] = []
        values: list[Tensor] = []
        allowed: list[NDArray[np.bool_]] = []
        rewards = np.zeros((length, N), dtype=np.float32)
        terminated, truncated = np.zeros((2, length, N), dtype=bool)
        episodes = np.zeros((length, N), dtype=np.int64)
        final: dict[tuple[int, int], NDArray[Any]] = {}
        for t in range(length):
            stream = EpisodeStream(self.seed, self._episode, self._position)
            permitted = self._masks.read(self._infos, active)
            if permitted is not None:
                allowed.append(permitted)
            action = act(session, self._observations, stream=stream, active=active, allowed=permitted)
            seen.append(self._observations)
            actions.append(action.actions)
            logprobs.append(action.logprobs)
            if action.values is not None:
                values.append(action.values)
            episodes[t] = self._episode
            self._observations, rewards[t], terminated[t], truncated[t], self._infos = self.envs.step(
                action.actions.cpu().numpy()
            )
            self._count(rewards[t], terminated[t] | truncated[t])
            for slot in np.flatnonzero(truncated[t] & ~terminated[t]):
                final[t, int(slot)] = self._infos["final_obs"][slot]
        layout = Layout(terminated | truncated)
        placed_rewards = layout.place(torch.from_numpy(rewards))
        rollout = Rollout(
            mask=layout.place(torch.ones(length, N, dtype=torch.bool)),
            actions=layout.place(torch.stack(actions)),
            logprobs=layout.place(torch.stack(logprobs)),
            rewards=placed_rewards,
            values=layout.place(torch.stack(values)) if values else torch.zeros_like(placed_rewards),
            observations=layout.place(torch.from_numpy(np.stack(seen))),
            allowed=layout.place(torch.from_numpy(np.stack(allowed))) if allowed else None,
            scores=placed_rewards.sum(1),
            bootstrap=torch.zeros(layout.rows),
            episode_ids=torch.from_numpy(episodes[layout.last_t, layout.last_slot]),
        )
        if not values:
            rollout = rollout.replace(values=rollout_values(self.policy, rollout, max_tokens=length * N))
        return self._bootstrapped(rollout, layout, terminated, final)

    def _count(self, rewards: NDArray[np.float32], ended: NDArray[np.bool_]) -> None:
        """Advance positions and returns; begin a new episode where one ended."""
        self._return += rewards
        self._position = self._position + 1
        if not ended.any():
            return
        self.returns.extend(self._return[ended].tolist())
        count = int(ended.sum())
        self._episode = self._episode.copy()
        self._episode[ended] = self._next_episode + np.arange(count)
        self._next_episode += count
        self._position[ended] = 0
        self._return[ended] = 0.0

    def _bootstrapped(
        self,
        rollout: Rollout,
        layout: Layout,
        terminated: NDArray[np.bool_],
        final: dict[tuple[int, int], NDArray[Any]],
    ) -> Rollout:
        """Fill in the value after the last step of every fragment that did not terminate."""
        ends = zip(layout.last_t.tolist(), layout.last_slot.tolist(), strict=True)
        cut = [
            (row, final.get((t, slot), self._observations[slot]))
            for row, (t, slot) in enumerate(ends)
            if not terminated[t, slot]
        ]
        if cut:
            rows = torch.tensor([row for row, _ in cut])
            after = torch.from_numpy(np.stack([observation for _, observation in cut]))[:, None]
            ones = torch.ones(len(cut), 1, dtype=torch.bool)
            last = rollout.select(rows).replace(observations=after, mask=ones)
            rollout.bootstrap[rows] = self.policy.value(last)[:, 0].to(rollout.bootstrap)
        return rollout


class Layout:
    """Where each step of ``[T, N]`` goes in ``[B, T]`` rows that hold no boundary between episodes.

    :param ended: ``[T, N]`` bool, whether an episode ended with the step.
    :ivar rows: ``B``: fragments, those of the first slot first.
    :ivar last_t: ``[B]`` the step that each fragment ends with.
    :ivar last_slot: ``[B]`` the slot that each fragment is of.
    """

    def __init__(self, ended: NDArray[np.bool_]) -> None:
        closes = ended.copy()
        closes[-1] = True
        by_slot = closes.T
        self.last_slot, self.last_t = np.nonzero(by_slot)
        self.rows = len(self.last_t)
        closed_before: NDArray[np.int64] = np.cumsum(by_slot.ravel()) - by_slot.ravel()
        self._row = torch.from_numpy(closed_before.reshape(by_slot.shape).T.copy())
        first_t = np.where(self.last_slot == np.roll(self.last_slot, 1), np.roll(self.last_t, 1) + 1, 0)
        first_t[0] = 0
        steps = np.arange(len(ended))[:, None]
        self._column: Tensor = torch.from_numpy(steps - first_t[self._row.numpy()])
        self._width: int = int(self._column.max()) + 1

    def place(self, steps: Tensor) -> Tensor:
        """Return ``[T, N, ...]`` as ``[B, T, ...]``, zero where there is no step."""
        rows = torch.zeros(self.rows, self._width, *steps.shape[2:], dtype=steps.dtype, device=steps.device)
        rows[self._row, self._column] = steps
        return rows
