"""Checks of policies that act."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from rltk.policy import Policy
from rltk.rng import EpisodeStream
from rltk.testing.guards import unchanged, untouched_rng
from rltk.testing.policy_cases import EPISODES, SLOTS, TOLERANCE, Case
from rltk.testing.running import require
from rltk.types import Action, Rollout


def answers_every_slot(case: Case) -> None:
    """Its session answers with one action and one log-probability a slot."""
    policy = case.policy
    action = _first_step(case, policy)
    fix = "return rltk.Action(actions [N, ...], logprobs [N] float32, values [N] or None)"
    shape = tuple(action.actions.shape)
    expected = (SLOTS, *(() if case.actions is None else case.actions.shape or ()))
    require(shape == expected, f"actions have shape {shape}, not {expected}", fix=fix)
    for name in ("logprobs", "values"):
        tensor = getattr(action, name)
        if tensor is None and name == "values":
            continue
        right = isinstance(tensor, Tensor) and tensor.shape == (SLOTS,) and tensor.dtype == torch.float32
        described = f"{tuple(tensor.shape)} {tensor.dtype}" if isinstance(tensor, Tensor) else repr(tensor)
        require(right, f"{name} are {described}, not {(SLOTS,)} torch.float32", fix=fix)
        require(torch.isfinite(tensor).all(), f"{name} are not all finite", fix=fix)


def leaves_observations_and_randomness_alone(case: Case) -> None:
    """Acting leaves the observations and the global random generators alone."""
    policy = case.policy
    _first_step(case, policy)


def _first_step(case: Case, policy: Policy) -> Action:
    """Act once in all slots, guarded."""
    envs = case.envs(policy, SLOTS)
    observations, _ = envs.reset(seed=0, options={"first_episode": 0, "episodes": SLOTS})
    stream = EpisodeStream(0, np.arange(SLOTS), np.zeros(SLOTS, dtype=np.int64))
    session = policy.session(SLOTS)
    with untouched_rng("act()"), unchanged("the observations", observations), torch.no_grad():
        action = session.act(observations, stream=stream, active=np.ones(SLOTS, dtype=bool))
    return action


def acts_as_it_evaluates(case: Case) -> None:
    """The log-probabilities of acting are those of evaluate(): the first ratio is 1."""
    policy, rollout = case.policy, case.rollout()
    with torch.no_grad():
        evaluated = policy.evaluate(rollout).logprobs
    fix = "use the same temperature, mask, positions and no dropout in both; a session must forget a slot's "
    fix += "former episode when stream.positions is 0"
    require_close(rollout.logprobs, evaluated, rollout, "acting", "evaluate()", "log-probability", fix)


def values_as_it_evaluates(case: Case) -> None:
    """The values of acting, where it gives any, are those of evaluate()."""
    policy, rollout = case.policy, case.rollout()
    with torch.no_grad():
        evaluated = policy.evaluate(rollout).values
    fix = "return values=None from act() where a value costs a pass of its own"
    require_close(rollout.values, evaluated, rollout, "acting", "evaluate()", "value", fix)


def reads_what_was_appended(case: Case) -> None:
    """Acting reads the tokens that the environment appends between two actions."""
    policy = case.policy
    rollout = case.dialogue(policy)
    with torch.no_grad():
        evaluated = policy.evaluate(rollout).logprobs
    fix = "a text may grow by more than the token chosen last: read all of it up to observations['length']"
    require_close(rollout.logprobs, evaluated, rollout, "acting", "evaluate()", "log-probability", fix)


def takes_what_is_allowed(case: Case) -> None:
    """It takes only actions that the environment allows."""
    policy = case.policy
    for deterministic in (False, True):
        rollout = case.collect(policy, deterministic=deterministic)
        assert rollout.allowed is not None
        permitted = rollout.allowed.gather(-1, rollout.actions[..., None])[..., 0]
        where = (rollout.mask & ~permitted).nonzero().tolist()
        seen = f"{len(where)} of {rollout.num_actions} actions were not allowed"
        fix = "act on rltk.distributions.restrict(logits, allowed), and evaluate with batch.allowed"
        require(not where, seen, fix=fix)


def ignores_the_number_of_slots(case: Case) -> None:
    """The same streams give the same episodes, whatever the number of slots."""
    policy = case.policy
    expected = case.collect(policy, slots=1)
    for slots in (3, EPISODES):
        _require_same_episodes(expected, case.collect(policy, slots=slots), f"1 slot and {slots} slots")


def _require_same_episodes(first: Rollout, second: Rollout, between: str) -> None:
    fix = "draw only from stream.uniform(), a row a slot, and keep state of each slot by itself"
    same_shape = first.actions.shape == second.actions.shape and torch.equal(first.mask, second.mask)
    if same_shape and not first.actions.is_floating_point():
        rows = (first.actions != second.actions).flatten(1).any(1)
    elif same_shape:
        rows = ((first.actions - second.actions).abs() > TOLERANCE).flatten(1).any(1)
    else:
        width = min(first.mask.shape[1], second.mask.shape[1])
        rows = (first.mask[:, :width] != second.mask[:, :width]).any(1)
        rows = rows | (first.mask.sum(1) != second.mask.sum(1))
    where = rows.nonzero()[:, 0].tolist()
    require(not where, f"{between} give different actions in episode {where[0] if where else ''}", fix=fix)


def is_repeatable(case: Case) -> None:
    """The same seed gives the same actions, another seed others."""
    policy = case.policy
    first, again, other = (case.collect(policy, seed=seed) for seed in (0, 0, 1))
    _require_same_episodes(first, again, "two runs with one seed")
    same = first.actions.shape == other.actions.shape and torch.equal(first.actions, other.actions)
    with torch.no_grad():
        certain = not policy.evaluate(first).entropy.any()
    require(not same or certain, "two seeds give the same actions", fix="draw from stream.uniform()")


def samples_from_its_distribution(case: Case) -> None:
    """It samples from the distribution whose log-probabilities it reports."""
    policy, rollout = case.policy, case.samples
    with torch.no_grad():
        entropy = policy.evaluate(rollout).entropy[:, 0]
    # E[log p(a)] = -H(p) for samples of p.
    excess = rollout.logprobs[:, 0] + entropy
    fix = "report the log-probability under the very distribution sampled from (temperature, truncation)"
    require_zero_mean(excess, "log-probabilities of samples are off minus the entropy", fix=fix)


def takes_the_mode(case: Case) -> None:
    """deterministic=True takes the mode, whatever the seed."""
    policy = case.policy
    rollout = case.collect(policy, deterministic=True)
    _require_same_episodes(
        rollout, case.collect(policy, deterministic=True, seed=1), "two seeds with deterministic=True"
    )
    with torch.no_grad():
        parameters = policy.distribution_parameters(rollout)
        chosen, _ = policy.logprobs_and_entropy(parameters, rollout.actions)
        for other in case.alternatives(policy, rollout.actions):
            likelier, _ = policy.logprobs_and_entropy(parameters, other)
            excess = float((likelier - chosen)[rollout.mask].max())
            fix = "take the argmax, or the mean of a Gaussian"
            require(
                excess <= 1e-5, f"another action is likelier than the mode, by {excess:.4g} nats", fix=fix
            )


ACTING_CHECKS = (
    answers_every_slot,
    leaves_observations_and_randomness_alone,
    acts_as_it_evaluates,
    values_as_it_evaluates,
    ignores_the_number_of_slots,
    is_repeatable,
    samples_from_its_distribution,
    takes_the_mode,
)
#: Where the session takes action masks.
RESTRICTED_CHECKS = (takes_what_is_allowed,)
#: For text alone.
TEXT_ACTING_CHECKS = (reads_what_was_appended,)


def require_close(
    first: Tensor, second: Tensor, rollout: Rollout, one: str, other: str, what: str, fix: str
) -> None:
    """Require two tensors ``[B, T]`` to agree where the rollout's mask is True."""
    shapes = f"{tuple(first.shape)} from {one} and {tuple(second.shape)} from {other}"
    first, second = first.detach(), second.detach()
    require(first.shape == second.shape, f"{what} has shapes {shapes}", fix="return [B, T] like rollout.mask")
    apart = torch.where(rollout.mask, (first - second).abs(), 0.0)
    # NaN is further apart than anything.
    apart = torch.where(torch.isnan(apart), math.inf, apart)
    row, column = divmod(int(apart.argmax()), apart.shape[1])
    seen = f"{what} of action {column} of episode {row} is {float(first[row, column]):.6g} from {one} and "
    seen += f"{float(second[row, column]):.6g} from {other}"
    require(float(apart.max()) <= TOLERANCE, seen, fix=fix)


def require_zero_mean(excess: Tensor, what: str, *, fix: str) -> None:
    """Require the mean of independent numbers ``[n]`` of expectation 0 to be what chance explains.

    It is off by more than 5 standard errors once in two million times.
    """
    mean, error = float(excess.double().mean()), float(excess.double().std()) / math.sqrt(len(excess))
    seen = f"{what} by {mean:.4g} in the mean of {len(excess)}, where chance explains {error:.2g}"
    require(abs(mean) <= 5 * error + 1e-3, seen, fix=fix)
