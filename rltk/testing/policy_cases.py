"""The worlds a policy is tried in: text where it has a tokenizer, else arrays with two kinds of actions."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from rltk.errors import UserError
from rltk.policy import MaskableSession, Policy
from rltk.rng import torch_generator
from rltk.rollout import collect
from rltk.testing.components import Component
from rltk.testing.guards import untouched_rng
from rltk.testing.reference_policy import shake
from rltk.testing.running import fail, require
from rltk.testing.tiny_envs import FEATURES, ArrayWorld, TextWorld
from rltk.training import weights
from rltk.types import Rollout

ARRAY_ACTIONS: dict[str, spaces.Space[Any]] = {
    "Discrete actions": spaces.Discrete(3),
    "Box actions": spaces.Box(-1.0, 1.0, (2,)),
}
OBSERVATIONS = spaces.Box(-float("inf"), float("inf"), (FEATURES,))
#: More episodes than slots, so that slots are refilled; their lengths differ.
EPISODES, SLOTS = 17, 5
_MOST_LISTED = 256
_SAMPLES = 1000
#: How far two ways to the same log-probability or value may differ.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    """A policy class in one world.

    :param label: what to call the world in messages.
    :param actions: the action space; None for text.
    :param restricted: whether only some actions are allowed at a time.
    """

    component: Component
    label: str
    actions: spaces.Space[Any] | None
    restricted: bool = False

    def make(self, *, seed: int = 0, options: dict[str, Any] | None = None) -> Policy:
        """Construct the policy as a run does; ``options`` are changes of its options."""
        component = self.component
        if options:
            merged = {**component.options, **options}
            component = Component(component.kind, component.cls, merged, component.directory)
        policy: Policy = component.make(
            device="cpu",
            autocast=nullcontext,
            spaces=None if self.actions is None else (OBSERVATIONS, self.actions),
            generator=torch_generator("policy", seed),
        )
        return policy

    @cached_property
    def policy(self) -> Policy:
        """A shaken policy, for checks that leave it as it is."""
        return self.shaken()

    def rollout(self) -> Rollout:
        """Return what that policy did, for the caller alone."""
        return copy.deepcopy(self._rollout)

    @cached_property
    def _rollout(self) -> Rollout:
        return self.collect(self.policy)

    def shaken(self, seed: int = 0) -> Policy:
        """Construct the policy and move its weights, so that no distribution is uniform and no value 0."""
        policy = self.make()
        shake([*policy.actor_parameters(), *policy.critic_parameters()], seed)
        return policy

    def collect(
        self,
        policy: Policy,
        *,
        slots: int = SLOTS,
        episodes: int = EPISODES,
        seed: int = 0,
        deterministic: bool = False,
    ) -> Rollout:
        """Act for some episodes of different lengths."""
        envs = self.envs(policy, min(slots, episodes))
        return collect(envs, policy, episodes=episodes, seed=seed, deterministic=deterministic)

    @cached_property
    def samples(self) -> Rollout:
        """Many episodes of one action each, by that policy: they show whether it follows its distribution."""
        return collect(self.envs(self.policy, 100, longest=1), self.policy, episodes=_SAMPLES, seed=1)

    def dialogue(self, policy: Policy) -> Rollout:
        """Act in a text world that appends a token of its own after every second action."""
        envs: Any = TextWorld(SLOTS, tokenizer_of(policy), speaks=True)
        return collect(envs, policy, episodes=EPISODES, seed=0, values=False)

    def envs(self, policy: Policy, slots: int, *, longest: int = 7) -> Any:
        """Return the vector environment whose episodes have at most ``longest`` actions."""
        if self.actions is None:
            return TextWorld(slots, tokenizer_of(policy), longest=longest)
        return ArrayWorld(slots, self.actions, longest=longest, restricted=self.restricted)

    def alternatives(self, policy: Policy, actions: Tensor) -> Iterator[Tensor]:
        """Yield other actions ``[B, T, ...]`` that could have been taken in the place of ``actions``.

        All of them where actions are discrete (at most 256), small steps to either side where not.
        """
        if isinstance(self.actions, spaces.Box):
            for index in range(actions.shape[-1]):
                for step in (-0.05, 0.05):
                    yield actions + step * torch.eye(actions.shape[-1])[index]
        else:
            listed = range(min(self.count(policy), _MOST_LISTED))
            yield from (torch.full_like(actions, action) for action in listed)

    def lists_actions(self, policy: Policy) -> bool:
        """Tell whether :meth:`alternatives` are all the actions there are."""
        return 0 < self.count(policy) <= _MOST_LISTED

    def count(self, policy: Policy) -> int:
        """Return how many discrete actions there are; 0 for continuous ones."""
        if isinstance(self.actions, spaces.Box):
            return 0
        return 3 if self.actions is not None else len(tokenizer_of(policy))


def cases(component: Component) -> list[Case]:
    """Return the worlds that the policy acts in.

    :raises AssertionError: it acts in none, or refuses spaces with anything but a UserError.
    """
    text = Case(component, "text", None)
    with untouched_rng("the constructor"):
        made = _made(text)
    if isinstance(made, Policy) and hasattr(made, "tokenizer"):
        return [text]
    arrays = [Case(component, label, actions) for label, actions in ARRAY_ACTIONS.items()]
    with untouched_rng("the constructor"):
        refusals = {case.label: _made(case) for case in arrays}
    accepted = [case for case in arrays if isinstance(refusals[case.label], Policy)]
    reasons = "; ".join(f"{label}: {reason}" for label, reason in refusals.items())
    fix = "take spaces=(observation space, action space), or have a tokenizer; options go into check_options"
    require(accepted, f"it acts neither on text ({made}) nor on arrays ({reasons})", fix=fix)
    return accepted + [
        dataclasses.replace(case, label=f"restricted {case.label}", restricted=True)
        for case in accepted
        if isinstance(case.actions, spaces.Discrete) and isinstance(case.make().session(1), MaskableSession)
    ]


def _made(case: Case) -> Policy | UserError:
    try:
        return case.make()
    except UserError as refusal:
        return refusal
    except Exception as error:
        what = f"made for {case.label} it raised {type(error).__name__}: {error}"
        fail(what, fix="raise rltk.UserError for spaces that it cannot take; spaces is None for text")


def tokenizer_of(policy: Any) -> Any:
    """Return the tokenizer of a text policy."""
    return policy.tokenizer


def weights_of(policy: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the weights that a checkpoint would hold."""
    return {name: tensor.clone() for name, tensor in weights(policy).items()}
