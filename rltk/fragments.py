"""Collect a fixed number of steps at a time from environments that go on where they were.

Rows of these rollouts are fragments: an episode cut off by the end of the rollout goes on in the next one.
For text, whose episodes are short and scored as a whole, :func:`rltk.rollout.collect` takes whole episodes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rltk.action_masks import ActionMasks, act
from rltk.errors import UserError
from rltk.rng import UniformsAhead
from rltk.rollout import require_same_step
from rltk.types import Action, Rollout

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
    :param values: ask the critic for values; without, they are 0, those after the last steps too.
    :ivar returns: undiscounted returns of the latest episodes that ended.
    :raises UserError: the environment does not reset in the step that ends an episode, or the policy has
        memory.
    """

    def __init__(self, envs: VectorEnv, policy: Policy, *, seed: int, values: bool = True) -> None:
        require_same_step(envs)
        if not policy.memoryless:
            fix = "collect whole episodes (episodes in place of steps)"
            raise UserError("steps", f"{policy.name!r} remembers, so its episodes are not cut", fix=fix)
        self.envs, self.policy, self.values = envs, policy, values
        self.returns: deque[float] = deque(maxlen=_REMEMBERED)
        self._observations, self._infos = envs.reset(seed=seed)
        self._masks, self._uniforms = ActionMasks(envs, self._infos), UniformsAhead(seed)
        self._episode = np.arange(envs.num_envs)
        self._position = np.zeros(envs.num_envs, dtype=np.int64)
        self._return = np.zeros(envs.num_envs)
        self._next_episode = envs.num_envs

    @torch.no_grad()
    def collect(self, steps: int) -> Rollout:
        """Take ``steps`` steps, rounded down to as many in each environment, and lay out the fragments.

        :returns: tensors on the device of the policy.
        """
        record = self._run(max(steps // self.envs.num_envs, 1))
        layout = Layout(record.terminated | record.truncated)
        device = record.actions[0].logprobs.device

        def place(steps: Tensor | NDArray[Any]) -> Tensor:
            return layout.place(torch.as_tensor(steps)).to(device)

        values, bootstrap = self._values(record, layout, device)
        rewards = place(record.rewards)
        return Rollout(
            mask=place(np.ones_like(record.terminated)),
            actions=place(torch.stack([action.actions for action in record.actions])),
            logprobs=place(torch.stack([action.logprobs for action in record.actions])),
            rewards=rewards,
            values=place(values),
            observations=place(np.stack(record.observations)),
            allowed=place(np.stack(record.allowed)) if record.allowed else None,
            scores=rewards.sum(1),
            bootstrap=bootstrap,
            episode_ids=torch.from_numpy(record.episodes[layout.last_t, layout.last_slot]).to(device),
        )

    def _run(self, length: int) -> _Record:
        N = self.envs.num_envs
        session, active = self.policy.session(N), np.ones(N, dtype=bool)
        record = _Record(length, N)
        for t in range(length):
            stream = self._uniforms.stream(self._episode, self._position)
            allowed = self._masks.read(self._infos, active)
            if allowed is not None:
                record.allowed.append(allowed)
            action = act(session, self._observations, stream=stream, active=active, allowed=allowed)
            record.observations.append(np.array(self._observations))
            record.actions.append(action)
            record.episodes[t] = self._episode
            self._observations, rewards, terminated, truncated, self._infos = self.envs.step(
                action.actions.cpu().numpy()
            )
            record.rewards[t], record.terminated[t], record.truncated[t] = rewards, terminated, truncated
            self._return += rewards
            self._position = self._position + 1
            if (ended := terminated | truncated).any():
                for slot in np.flatnonzero(truncated & ~terminated):
                    record.final[t, int(slot)] = self._infos["final_obs"][slot]
                self._begin(ended)
        return record

    def _begin(self, ended: NDArray[np.bool_]) -> None:
        """Begin new episodes in some slots."""
        self.returns.extend(self._return[ended].tolist())
        count = int(ended.sum())
        self._episode = self._episode.copy()
        self._episode[ended] = self._next_episode + np.arange(count)
        self._next_episode += count
        self._position[ended] = 0
        self._return[ended] = 0.0

    def _values(self, record: _Record, layout: Layout, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return values ``[T, N]`` before each step and ``[B]`` after each fragment, 0 where it terminated.

        The critic is asked once for all that the session did not give.
        """
        T, N = record.rewards.shape
        given = [action.values for action in record.actions if action.values is not None]
        if not self.values:
            return torch.zeros(T, N), torch.zeros(layout.rows, device=device)
        before = [] if given else record.observations
        after = [
            record.final.get((t, slot), self._observations[slot])
            for t, slot in zip(layout.last_t.tolist(), layout.last_slot.tolist(), strict=True)
        ]
        answered = self._ask(np.concatenate([*before, np.stack(after)]), device)
        alive = torch.from_numpy(~record.terminated[layout.last_t, layout.last_slot]).to(device)
        bootstrap = torch.where(alive, answered[-layout.rows :], 0.0)
        return torch.stack(given) if given else answered[: T * N].view(T, N), bootstrap

    def _ask(self, observations: NDArray[Any], device: torch.device) -> Tensor:
        """Return the critic's values ``[M]`` of observations ``[M, ...]``."""
        M = len(observations)
        none, numbers = torch.zeros(M, 1, device=device), torch.arange(M, device=device)
        batch = Rollout(
            mask=torch.ones(M, 1, dtype=torch.bool, device=device),
            actions=none,
            logprobs=none,
            rewards=none,
            values=none,
            bootstrap=none[:, 0],
            episode_ids=numbers,
            scores=none[:, 0],
            observations=torch.from_numpy(observations).to(device)[:, None],
        )
        return self.policy.value(batch)[:, 0].float()


@dataclass
class _Record:
    """What happened in ``T`` steps of ``N`` slots.

    :ivar final: what was seen last of an episode that was cut off, by step and slot.
    """

    length: int
    slots: int
    observations: list[NDArray[Any]] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    allowed: list[NDArray[np.bool_]] = field(default_factory=list)
    final: dict[tuple[int, int], NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (self.length, self.slots)
        self.rewards = np.zeros(shape, dtype=np.float32)
        self.episodes = np.zeros(shape, dtype=np.int64)
        self.terminated, self.truncated = np.zeros((2, *shape), dtype=bool)


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
