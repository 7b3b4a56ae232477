"""Collect rollouts: step a policy through a vector environment and lay the episodes out as ``[B, T]``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from torch import Tensor

from rltk.action_masks import ActionMasks, act
from rltk.episode import Episode
from rltk.errors import UserError
from rltk.evaluation import rollout_values
from rltk.rng import EpisodeStream, derive_seed
from rltk.types import Rollout

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

    from rltk.policy import Policy
    from rltk.scoring import Score


@torch.no_grad()
def collect(
    envs: VectorEnv,
    policy: Policy,
    *,
    episodes: int,
    seed: int,
    first_episode: int = 0,
    deterministic: bool = False,
    values: bool = True,
) -> Rollout:
    """Act until ``episodes`` whole episodes have ended.

    Every action draws from the stream keyed by (seed, episode, position). Text environments deal the same
    prompt to the same episode, so a text rollout does not depend on the number of slots. Other environments
    begin their episodes with random numbers of their slots, so those rollouts do.

    Text is scored in one call at the end. Rewards are those of stepping, except that a score of one number
    per action is paid action by action. Where a wrapper lies around the environment, which may look at
    rewards or change them, episodes are scored as they end, and rewards are what the wrapper pays.

    :param envs: a vector environment with SAME_STEP autoreset.
    :param policy: acts, and gives the values.
    :param episodes: how many episodes to collect.
    :param seed: of the environment's order and of the sampling.
    :param first_episode: number of the first episode, where collecting goes on from earlier rollouts.
    :param deterministic: take each distribution's mode.
    :param values: ask the critic for values too; without, they are 0 where acting does not give them, and
        after a cut-off.
    :raises UserError: the environment does not reset in the step that ends an episode.
    """
    require_same_step(envs)
    base: Any = envs.unwrapped
    text = is_text(envs)
    deferred = text and envs is base
    if deferred:
        base.defer_scoring = True
    try:
        trace = _run(envs, policy, episodes, seed, first_episode, deterministic)
    finally:
        if deferred:
            base.defer_scoring = False
    critic = policy if values else None
    rollout = _text_rollout(trace, base, deferred) if text else _array_rollout(trace, critic)
    if trace.values or not values:
        return rollout
    return rollout.replace(values=rollout_values(policy, rollout, max_tokens=8192))


def is_text(envs: VectorEnv) -> bool:
    """Return whether the environment deals prompts and can score many finished responses at once."""
    return hasattr(envs.unwrapped, "score_deferred")


@dataclass
class _Trace:
    """What was recorded: flat lists over all actions, and one entry per episode when it ended."""

    first_episode: int
    count: int
    episode: list[NDArray[np.int64]] = field(default_factory=list)
    position: list[NDArray[np.int64]] = field(default_factory=list)
    actions: list[Tensor] = field(default_factory=list)
    logprobs: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    rewards: list[NDArray[np.float64]] = field(default_factory=list)
    observations: list[NDArray[Any]] = field(default_factory=list)
    allowed: list[NDArray[np.bool_]] = field(default_factory=list)
    final_observations: dict[int, Any] = field(default_factory=dict)
    finished: dict[int, Any] = field(default_factory=dict)


def _run(
    envs: VectorEnv, policy: Policy, count: int, seed: int, first_episode: int, deterministic: bool
) -> _Trace:
    observations, infos = _reset(envs, count, seed, first_episode)
    session, masks = policy.session(envs.num_envs), ActionMasks(envs, infos)
    trace = _Trace(first_episode, count)
    episode = first_episode + np.arange(envs.num_envs)
    next_episode = first_episode + envs.num_envs
    position = np.zeros(envs.num_envs, dtype=np.int64)
    while (active := episode < first_episode + count).any():
        allowed = masks.read(infos, active)
        action = act(
            session,
            observations,
            stream=EpisodeStream(seed, episode, position),
            active=active,
            allowed=allowed,
            deterministic=deterministic,
        )
        if allowed is not None:
            trace.allowed.append(allowed[active])
        before = None if isinstance(observations, dict) else observations[active]
        observations, rewards, terminated, truncated, infos = envs.step(action.actions.cpu().numpy())
        _record(trace, active, episode, position, action, rewards, before)
        position = position + 1
        for slot in np.flatnonzero((terminated | truncated) & active):
            cut_off = bool(truncated[slot] and not terminated[slot])
            _record_end(trace, int(episode[slot]), int(slot), cut_off, infos)
        for slot in np.flatnonzero(terminated | truncated):
            episode[slot], position[slot] = next_episode, 0
            next_episode += 1
    return trace


def _reset(envs: VectorEnv, count: int, seed: int, first_episode: int) -> tuple[Any, dict[str, Any]]:
    """Begin where earlier rollouts of the same seed ended; arrays with random numbers not used before."""
    if is_text(envs):
        return envs.reset(seed=seed, options={"first_episode": first_episode, "episodes": count})
    return envs.reset(seed=derive_seed(seed, "episodes", first_episode))


def _record(
    trace: _Trace,
    active: NDArray[np.bool_],
    episode: NDArray[np.int64],
    position: NDArray[np.int64],
    action: Any,
    rewards: NDArray[np.float64],
    observations: NDArray[Any] | None,
) -> None:
    rows = np.flatnonzero(active)
    trace.episode.append(episode[rows])
    trace.position.append(position[rows])
    index = torch.from_numpy(rows).to(action.actions.device)
    trace.actions.append(action.actions[index])
    trace.logprobs.append(action.logprobs[index])
    trace.rewards.append(rewards[rows])
    if action.values is not None:
        trace.values.append(action.values[index])
    if observations is not None:
        trace.observations.append(observations)


def _record_end(trace: _Trace, episode: int, slot: int, cut_off: bool, infos: dict[str, Any]) -> None:
    if "finished" in infos.get("final_info", {}):
        trace.finished[episode] = infos["final_info"]["finished"][slot]
    elif cut_off:
        trace.final_observations[episode] = infos["final_obs"][slot]


def require_same_step(envs: VectorEnv) -> None:
    """Raise a UserError unless a slot that ends an episode begins the next one in the same step."""
    given = (envs.metadata or {}).get("autoreset_mode")
    if given is None:
        what = "its metadata do not say when an episode that ended is followed by the next"
        fix = 'make it with gym.make_vec; in a VectorEnv of your own set metadata["autoreset_mode"] = '
        raise UserError("environment", what, fix=f"{fix}AutoresetMode.SAME_STEP, and do so")
    mode = getattr(given, "value", given)
    if mode != AutoresetMode.SAME_STEP.value:
        fix = 'make it with gym.make_vec(ID, vectorization_mode="sync", '
        fix += 'vector_kwargs={"autoreset_mode": "SameStep"})'
        raise UserError("environment", "its autoreset mode must be SAME_STEP", got=mode, fix=fix)


def _layout(trace: _Trace) -> dict[str, Tensor]:
    """Scatter the flat records into ``[B, T]``."""
    row = torch.from_numpy(np.concatenate(trace.episode)) - trace.first_episode
    column = torch.from_numpy(np.concatenate(trace.position))
    T = int(column.max()) + 1

    def place(flat: Tensor) -> Tensor:
        laid_out = torch.zeros(trace.count, T, *flat.shape[1:], dtype=flat.dtype, device=flat.device)
        laid_out[row.to(flat.device), column.to(flat.device)] = flat
        return laid_out

    logprobs = place(torch.cat(trace.logprobs))
    device = logprobs.device
    rewards = torch.from_numpy(np.concatenate(trace.rewards).astype(np.float32)).to(device)
    fields = {
        "mask": place(torch.ones(len(row), dtype=torch.bool, device=device)),
        "actions": place(torch.cat(trace.actions)),
        "logprobs": logprobs,
        "rewards": place(rewards),
        "bootstrap": torch.zeros(trace.count, device=device),
        "episode_ids": trace.first_episode + torch.arange(trace.count, device=device),
        "values": place(torch.cat(trace.values)) if trace.values else torch.zeros_like(logprobs),
    }
    if trace.allowed:
        fields["allowed"] = place(torch.from_numpy(np.concatenate(trace.allowed)).to(device))
    if trace.observations:
        fields["observations"] = place(torch.from_numpy(np.concatenate(trace.observations)).to(device))
    return fields


def _array_rollout(trace: _Trace, critic: Policy | None) -> Rollout:
    """Return a rollout of array observations; truncated episodes bootstrap from their final observation.

    :param critic: gives the value of that; None: it is 0.
    """
    fields = _layout(trace)
    rollout = Rollout(scores=fields["rewards"].sum(1), episodes=(), **fields)
    if critic is not None and trace.final_observations:
        cut_off = sorted(trace.final_observations)
        rows = torch.tensor(cut_off) - trace.first_episode
        final = torch.from_numpy(np.stack([trace.final_observations[episode] for episode in cut_off]))
        values = _final_values(critic, rollout.select(rows), final.to(rollout.mask.device))
        rollout.bootstrap[rows] = values.to(rollout.bootstrap)
    return rollout


def _final_values(critic: Policy, rollout: Rollout, final: Tensor) -> Tensor:
    """Return the critic's values ``[B]`` of what was seen last; after the whole episode, if it remembers.

    :param final: ``[B, ...]`` observations.
    """
    if critic.memoryless:
        alone = rollout.replace(observations=final[:, None], mask=torch.ones_like(rollout.mask[:, :1]))
        return critic.value(alone)[:, 0]
    rows, lengths = torch.arange(len(rollout)), rollout.mask.sum(1)
    longer = rollout.lengthened()
    assert longer.observations is not None
    longer.observations[rows, lengths], longer.mask[rows, lengths] = final, True
    return critic.value(longer)[rows, lengths]


def _text_rollout(trace: _Trace, envs: Any, deferred: bool) -> Rollout:
    """Return a rollout of text; what was deferred is scored in one batch.

    A score is of the whole response, cut off or not, so nothing is left to bootstrap from.
    """
    fields = _layout(trace)
    finished = [trace.finished[trace.first_episode + i] for i in range(trace.count)]
    episodes = [record.episode for record in finished]
    text = pad_episodes(episodes, pad_id=envs.pad_id, device=fields["rewards"].device)
    # What was scored in stepping is in the rewards already.
    rewards = fields["rewards"] if deferred else torch.zeros_like(fields["rewards"])
    scores = _deferred_scores(trace, envs) if deferred else [record.score for record in finished]
    totals = place_scores(scores, rewards, fields["mask"])
    if envs.group_size > 1:
        fields["groups"] = fields["episode_ids"] // envs.group_size
    return Rollout(**fields, **text, scores=totals, episodes=episodes)


def _deferred_scores(trace: _Trace, envs: Any) -> list[Score]:
    scores: dict[int, Score] = envs.score_deferred()
    return [scores[trace.first_episode + i] for i in range(trace.count)]


def place_scores(scores: list[Score], rewards: Tensor, mask: Tensor) -> Tensor:
    """Add scores to ``rewards [B, T]`` in place: a number at the last action, a list one an action.

    :returns: ``[B]`` the sum of each, NaN where the episode could not be scored.
    """
    totals = torch.full_like(rewards[:, 0], float("nan"))
    for row, score in enumerate(scores):
        length = int(mask[row].sum())
        if isinstance(score, list):
            rewards[row, :length] += torch.tensor(score).to(rewards)
            totals[row] = sum(score)
        elif score is not None:
            rewards[row, length - 1] += score
            totals[row] = score
    return totals


def pad_episodes(episodes: list[Episode], *, pad_id: int, device: torch.device) -> dict[str, Tensor]:
    """Return ``tokens [B, L]``, ``lengths [B]`` and ``action_mask [B, L]``, True at what the policy wrote."""
    lengths = torch.tensor([len(e.prompt_tokens) + len(e.response_tokens) for e in episodes])
    tokens = torch.full((len(episodes), int(lengths.max())), pad_id, dtype=torch.int64)
    action_mask = torch.zeros(tokens.shape, dtype=torch.bool)
    for row, episode in enumerate(episodes):
        start, end = len(episode.prompt_tokens), int(lengths[row])
        tokens[row, :end] = torch.tensor(episode.prompt_tokens + episode.response_tokens)
        written = True if episode.action_mask is None else torch.tensor(episode.action_mask)
        action_mask[row, start:end] = written
    return {
        "tokens": tokens.to(device),
        "lengths": lengths.to(device),
        "action_mask": action_mask.to(device),
    }
