"""Acting in an environment under check, with actions that mean nothing and are the same every time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

from rltk.action_masks import ActionMasks
from rltk.episode import Episode
from rltk.errors import UserError
from rltk.interfaces import Environment, Row
from rltk.policy import MaskableSession
from rltk.rng import EpisodeStream, numpy_generator
from rltk.rollout import collect
from rltk.testing.worlds import word_tokenizer
from rltk.types import Action

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Slots and steps of a trial.
SLOTS, STEPS = 3, 60
#: Tokens in the longest response of a trial.
BUDGET = 6
#: How often a random response ends, so that most end by themselves.
EOS_SHARE = 0.25


@dataclass
class World:
    """An environment under check, and new ones like it."""

    make: Callable[[], Environment]
    environment: Environment

    @cached_property
    def text(self) -> bool:
        """Whether it says that its episodes are text."""
        return self.environment.spaces() is None

    @cached_property
    def restricted(self) -> bool:
        """Whether it says which actions are allowed."""
        envs = self.vec(1)
        _, infos = envs.reset(seed=0)
        return ActionMasks(envs, infos).read(infos, np.ones(1, dtype=bool)) is not None

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Its tokenizer; one of a few words where it has none."""
        try:
            return self.environment.build_tokenizer()
        except UserError:
            return word_tokenizer()

    @cached_property
    def rows(self) -> list[Row]:
        """Some training prompts of different texts; none where it has none."""
        try:
            prompts = self.environment.prompts("train")
        except UserError:
            return []
        distinct = {row["prompt"]: row for row in prompts}
        return list(distinct.values())[:7]

    def vec(self, num_envs: int = SLOTS, **options: Any) -> VectorEnv:
        """Return the vector environment as the rl stage makes it."""
        if self.text:
            options = {"tokenizer": self.tokenizer, "max_new_tokens": BUDGET, **options}
        return self.environment.make_vec(num_envs, **options)


@dataclass
class Trial:
    """What a vector environment answered: to the reset, then to each step.

    ``seen`` are the very observations it gave, ``observations`` copies taken when it gave them.
    """

    seen: list[Any] = field(default_factory=list)
    observations: list[Any] = field(default_factory=list)
    rewards: list[Any] = field(default_factory=list)
    terminated: list[Any] = field(default_factory=list)
    truncated: list[Any] = field(default_factory=list)
    infos: list[Any] = field(default_factory=list)

    def observe(self, observations: Any, info: Any) -> None:
        """Record an observation."""
        self.seen.append(observations)
        self.observations.append(copy.deepcopy(observations))
        self.infos.append(info)

    def step(self, envs: VectorEnv, actions: Any) -> None:
        """Step and record the answer."""
        observations, rewards, terminated, truncated, info = envs.step(actions)
        self.observe(observations, info)
        self.rewards.append(rewards)
        self.terminated.append(terminated)
        self.truncated.append(truncated)


class Actions:
    """The same sequence of random actions every time, of those that the environment allows.

    :param infos: what ``reset`` returned.
    """

    def __init__(self, envs: VectorEnv, infos: Mapping[str, Any]) -> None:
        self._space = copy.deepcopy(envs.action_space)
        self._space.seed(0)
        self._generator = numpy_generator("actions")
        self._masks = ActionMasks(envs, infos)
        self._slots = np.ones(envs.num_envs, dtype=bool)

    def __call__(self, infos: Mapping[str, Any]) -> Any:
        """Return the next actions of all slots.

        :param infos: what came with the latest observations.
        """
        allowed = self._masks.read(infos, self._slots)
        return self._space.sample() if allowed is None else self._draw(allowed)

    def _draw(self, allowed: NDArray[np.bool_]) -> NDArray[Any]:
        keys = np.where(allowed, self._generator.random(allowed.shape), -1.0)
        components = np.split(keys, np.cumsum(self._masks.sizes)[:-1], axis=1)
        drawn = np.stack([component.argmax(1) for component in components], axis=1)
        return drawn.reshape(self._space.shape).astype(self._space.dtype)


def play(envs: VectorEnv, *, seed: int = 0, steps: int = STEPS) -> Trial:
    """Reset and take some random actions."""
    trial = Trial()
    trial.observe(*envs.reset(seed=seed))
    actions = Actions(envs, trial.infos[0])
    for _ in range(steps):
        trial.step(envs, actions(trial.infos[-1]))
    return trial


def slots_of(space: Any, observations: Any) -> list[Any]:
    """Return the observation of each slot."""
    return list(iterate(space, observations))


class TokenPolicy(MaskableSession):
    """A policy without a model: tokens are a function of the uniforms of the stream.

    One that is not allowed becomes one of those that are.
    """

    def __init__(self, choose: Callable[[NDArray[np.float64]], NDArray[np.int64]]) -> None:
        self._choose = choose

    def session(self, num_envs: int) -> TokenPolicy:
        """Return itself: nothing is remembered."""
        return self

    def act(
        self,
        observations: Any,
        *,
        stream: EpisodeStream,
        active: NDArray[np.bool_],
        deterministic: bool = False,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Action:
        """Return a token for every slot."""
        uniforms = stream.uniform(2)
        tokens = self._choose(uniforms)
        if allowed is not None:
            places = (uniforms[:, :1] * allowed.sum(1, keepdims=True)).astype(np.int64)
            others = (allowed.cumsum(1) > places).argmax(1)
            tokens = np.where(allowed[np.arange(len(tokens)), tokens], tokens, others)
        return Action(torch.from_numpy(tokens), torch.zeros(len(tokens)))


def random_tokens(tokenizer: PreTrainedTokenizerBase) -> TokenPolicy:
    """Return a policy whose responses are random words of random lengths."""
    special = set(tokenizer.all_special_ids)
    words = np.array([index for index in range(len(tokenizer)) if index not in special])

    def choose(uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        drawn = words[(uniforms[:, 1] * len(words)).astype(np.int64)]
        return np.where(uniforms[:, 0] < EOS_SHARE, tokenizer.eos_token_id, drawn)

    return TokenPolicy(choose)


def always(token: int) -> TokenPolicy:
    """Return a policy that always says the same token."""
    return TokenPolicy(lambda uniforms: np.full(len(uniforms), token, dtype=np.int64))


def respond(
    envs: VectorEnv, policy: TokenPolicy, *, episodes: int, first_episode: int = 0
) -> tuple[list[Episode], list[float]]:
    """Return the episodes that a policy has in a text environment, collected as stages do, and their scores.

    Scores are NaN where the reward could not be given.
    """
    actor: Any = policy
    rollout = collect(envs, actor, episodes=episodes, seed=0, first_episode=first_episode, values=False)
    return list(rollout.episodes), rollout.scores.tolist()
