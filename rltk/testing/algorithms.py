"""The contract of algorithms, as checks on a linear policy in worlds of arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from rltk.checkpoint import load_state, save_state
from rltk.errors import NonFiniteError
from rltk.interfaces import Algorithm
from rltk.rng import torch_generator
from rltk.rollout import collect
from rltk.testing.algorithm_trials import (
    GROUP,
    MANY_ROWS,
    ROWS,
    Trial,
    copy_of,
    furthest_apart,
    rollout_of,
    start,
    with_garbage,
    with_reference,
)
from rltk.testing.components import Component, component_under_check
from rltk.testing.guards import difference, unchanged, untouched_rng
from rltk.testing.reference_policy import BigramPolicy, LinearPolicy
from rltk.testing.running import Progress, fail, ignore, require, run_checks
from rltk.testing.tiny_envs import FEATURES, ArrayWorld, TextWorld
from rltk.testing.worlds import word_tokenizer
from rltk.training import load_weights, weights
from rltk.types import Rollout

_BANDIT_UPDATES, _BANDIT_EPISODES, _BANDIT_PROBABILITY = 20, 64, 0.6


def check_algorithm(
    component: type[Algorithm] | str,
    options: Mapping[str, Any] | None = None,
    *,
    directory: Path | None = None,
    progress: Progress = ignore,
) -> None:
    """Assert that an algorithm keeps its contract.

    It is given rollouts of 24 episodes of 1 to 7 actions, in groups of eight that see the same; the policy is
    linear in the observation, and, once, in the last token of a text.

    :param component: the class, or the name of a registered one.
    :param options: for its Config; None: what its ``check_options`` returns.
    :param directory: an empty folder for files; None: a temporary one.
    :param progress: told of every check.
    :raises AssertionError: saying what was seen and what to change.
    """
    with component_under_check("algorithm", component, options, directory, progress) as found:
        run_checks(found.who, ALGORITHM_CHECKS, found, progress)


def makes_nothing_random(found: Component) -> None:
    """It is made and updates without the global random generators."""
    with untouched_rng("the constructor"):
        trial = start(found)
    rollout = rollout_of(trial.policy)
    with untouched_rng("update()"):
        trial.algorithm.update(rollout)


def reports_numbers(found: Component) -> None:
    """Its update returns finite numbers by name."""
    trial = start(found)
    metrics = trial.algorithm.update(rollout_of(trial.policy))
    fix = 'return a dict of Python floats such as {"policy_loss": 0.1}'
    require(isinstance(metrics, dict), f"update() returned {type(metrics).__name__}", fix=fix)
    for name, value in metrics.items():
        number = isinstance(name, str) and isinstance(value, float) and math.isfinite(value)
        require(number, f"update() returned {name!r}: {value!r}", fix=fix)


def changes_the_policy(found: Component) -> None:
    """Its update changes the policy."""
    trial = start(found)
    rollout = rollout_of(trial.policy)
    before = copy_of(trial.policy)
    trial.algorithm.update(rollout)
    actor = {name: value for name, value in copy_of(trial.policy).items() if name.startswith("actor")}
    fix = "optimise policy.actor_parameters(), and step the optimiser in update()"
    moved = difference({name: before[name] for name in actor}, actor) is not None
    require(moved, "the actor's weights are the same after an update", fix=fix)


def leaves_the_rollout_alone(found: Component) -> None:
    """Its update leaves the rollout as it is."""
    trial = start(found)
    rollout = rollout_of(trial.policy)
    with unchanged("the rollout's arrays", rollout):
        trial.algorithm.update(rollout)


def is_repeatable(found: Component) -> None:
    """The same generator and rollout give the same update, bit for bit."""
    outcomes = []
    for _ in range(2):
        trial = start(found)
        metrics = trial.algorithm.update(rollout_of(trial.policy))
        outcomes.append({"metrics": metrics, "weights": copy_of(trial.policy)})
    where = difference(outcomes[0], outcomes[1])
    fix = "draw from the generator given to the constructor, and depend on nothing else"
    require(where is None, f"two equal updates differ in {where}", fix=fix)


def ignores_padding(found: Component) -> None:
    """What stands where the mask is False does not matter."""
    trial, other = start(found), start(found)
    rollout = with_reference(rollout_of(trial.policy))
    trial.algorithm.update(rollout)
    other.algorithm.update(with_garbage(rollout))
    furthest = furthest_apart(trial.policy, other.policy)
    fix = "use rltk.losses.masked_sum, and means over rollout.mask, on everything [B, T]"
    require(furthest < 1e-6, f"garbage in the padding moved a weight by {furthest:.2g}", fix=fix)


def uses_no_critic_unsaid(found: Component) -> None:
    """Unless it says ``needs_critic``, what a critic says does not matter."""
    trial, other = start(found), start(found)
    if trial.algorithm.needs_critic:
        return
    rollout = rollout_of(trial.policy)
    values = torch.arange(rollout.mask.numel(), dtype=torch.float32).view(rollout.mask.shape) % 5
    asked = rollout.replace(values=torch.where(rollout.mask, values, 0.0), bootstrap=rollout.bootstrap + 1)
    outcomes = [
        {"metrics": each.algorithm.update(given), "weights": copy_of(each.policy)}
        for each, given in ((trial, rollout), (other, asked))
    ]
    where = difference(outcomes[0], outcomes[1])
    fix = "set needs_critic = True, without which rollout.values and rollout.bootstrap are 0; or do without"
    require(where is None, f"other values of the critic change {where}", fix=fix)


def learns_from_part_of_a_rollout(found: Component) -> None:
    """It learns from a rollout that lost its unscorable episodes, down to a single one."""
    for rows in (torch.arange(1, ROWS), torch.tensor([3])):
        trial = start(found)
        metrics = trial.algorithm.update(rollout_of(trial.policy).select(rows))
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        fix = "expect any number of rows, as episodes that cannot be scored are left out; guard divisions"
        require(not bad, f"with {len(rows)} of {ROWS} episodes {', '.join(bad)} is not finite", fix=fix)
        finite = all(bool(torch.isfinite(value).all()) for value in weights(trial.policy).values())
        require(finite, f"with {len(rows)} of {ROWS} episodes a weight became NaN or infinite", fix=fix)


def refuses_what_is_not_finite(found: Component) -> None:
    """It raises NonFiniteError on a reward or log-probability that is not, before any weight changes."""
    rollout = rollout_of(start(found).policy, rows=MANY_ROWS)
    for name, value in (("rewards", math.nan), ("rewards", math.inf), ("logprobs", math.nan)):
        spoilt = getattr(rollout, name).clone()
        spoilt[-1, 0] = value
        for seed in range(4):  # the order of mini-batches is random
            trial = start(found, seed=seed)
            before = copy_of(trial.policy)
            _require_refusal(trial, rollout.replace(**{name: spoilt}), f"{value} in rollout.{name}")
            where = difference(before, copy_of(trial.policy))
            fix = "call rltk.training.require_finite(rollout, ...) before the first step"
            require(where is None, f"{value} in rollout.{name} changed the weights {where}", fix=fix)


def _require_refusal(trial: Trial, rollout: Rollout, what: str) -> None:
    try:
        trial.algorithm.update(rollout)
    except NonFiniteError:
        return
    except Exception as error:
        fail(f"{what} raised {type(error).__name__}: {error}", fix="raise rltk.errors.NonFiniteError")
    fail(f"{what} was accepted", fix="call rltk.training.require_finite(rollout, ...) first")


def goes_on_from_a_checkpoint(found: Component) -> None:
    """Restored from a checkpoint it goes on exactly, bit for bit."""
    trial = start(found)
    for seed in range(2):
        trial.algorithm.update(rollout_of(trial.policy, seed=seed), progress=seed / 4)
    saved = found.directory / "checkpoint"
    _save(saved, trial)
    rollout = rollout_of(trial.policy, seed=2)
    expected = {"metrics": trial.algorithm.update(rollout, progress=0.5), "weights": copy_of(trial.policy)}
    again = start(found, seed=1)
    state = load_state(saved)
    load_weights(again.policy, state["policy"])
    again.algorithm.load_state_dict(state["algorithm"])
    outcome = {"metrics": again.algorithm.update(rollout, progress=0.5), "weights": copy_of(again.policy)}
    where = difference(expected, outcome)
    fix = "put everything that changes into state_dict(): optimisers (rltk.training.optimizer_state), the "
    fix += "generator's state, adaptive coefficients"
    require(where is None, f"the update after restoring differs in {where}", fix=fix)


def _save(directory: Path, trial: Trial) -> None:
    try:
        save_state(directory, trial.state())
    except TypeError as error:
        fail(f"its state_dict() cannot be saved: {error}", fix="return tensors, lists, dicts and JSON values")


def takes_an_auxiliary_loss(found: Component) -> None:
    """It works with and without an auxiliary loss, at any progress."""
    calls: list[Callable[[], Tensor] | None] = [None, lambda: torch.zeros((), requires_grad=True)]
    for auxiliary_loss in calls:
        for progress in (0.0, 0.9):
            trial = start(found, auxiliary_loss=auxiliary_loss)
            trial.algorithm.update(rollout_of(trial.policy), progress=progress)


def takes_text(found: Component) -> None:
    """It learns from a rollout of text, with a reference, as it does from arrays."""
    tokenizer = word_tokenizer()
    trial = start(found, policy=BigramPolicy(tokenizer))
    rollout = with_reference(collect(TextWorld(8, tokenizer), trial.policy, episodes=ROWS, seed=0))
    rollout = rollout.replace(
        rewards=(rollout.actions % 2 * rollout.mask).float(), groups=rollout.episode_ids // GROUP
    )
    before = copy_of(trial.policy)
    metrics = trial.algorithm.update(rollout)
    require(all(map(math.isfinite, metrics.values())), f"update() returned {metrics}", fix="mind the mask")
    moved = difference(before["actor.weight"], copy_of(trial.policy)["actor.weight"]) is not None
    fix = "use the policy's methods and arrays [B, T]; rollout.observations is None in text"
    require(moved, "the actor's weights are the same after an update on text", fix=fix)


def learns_a_bandit(found: Component) -> None:
    """It learns which of two arms pays."""
    policy = LinearPolicy(FEATURES, 2)
    algorithm = found.make(policy=policy, generator=torch_generator(0), auxiliary_loss=None)
    envs = ArrayWorld(16, spaces.Discrete(2), longest=1, constant=True)
    for seed in range(_BANDIT_UPDATES):
        rollout = collect(envs, policy, episodes=_BANDIT_EPISODES, seed=seed)
        algorithm.update(rollout.replace(groups=rollout.episode_ids // GROUP))
    rollout = collect(envs, policy, episodes=1, seed=0)
    with torch.no_grad():
        probability = float(policy.distribution_parameters(rollout).softmax(-1)[0, 0, 1])
    seen = f"{_BANDIT_UPDATES} updates took the probability of the better arm from 0.5 to {probability:.3f}, "
    seen += f"below {_BANDIT_PROBABILITY}"
    fix = "look at the sign of the loss, and that advantages reach it; raise a low step size in check_options"
    require(probability > _BANDIT_PROBABILITY, seen, fix=fix)


ALGORITHM_CHECKS = (
    makes_nothing_random,
    reports_numbers,
    changes_the_policy,
    leaves_the_rollout_alone,
    is_repeatable,
    ignores_padding,
    uses_no_critic_unsaid,
    learns_from_part_of_a_rollout,
    refuses_what_is_not_finite,
    goes_on_from_a_checkpoint,
    takes_an_auxiliary_loss,
    takes_text,
    learns_a_bandit,
)
