"""How policies play: the one contract that every kind of policy fulfils, and policies proper."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from torch import Tensor

from rltk.bench.seeding import OneEpisodeEach
from rltk.bench.tasks import Attempt, Task
from rltk.errors import UserError
from rltk.evaluation import rollout_logprobs
from rltk.losses import kl_k1
from rltk.models import tokenizer_fingerprint
from rltk.rollout import collect
from rltk.types import Rollout

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv
    from transformers import PreTrainedTokenizerBase

    from rltk.policy import Policy

_MAX_TOKENS = 8192


class Player(ABC):
    """Somebody who plays the episodes of a task.

    :ivar tokenizer: whose tokens it reads and writes; None where it plays without text.
    """

    tokenizer: PreTrainedTokenizerBase | None = None

    @abstractmethod
    def play(self, task: Task) -> list[Attempt]:
        """Return one attempt an episode, those that answer one prompt next to each other.

        All randomness comes from the task's seed and the number of the episode.

        :raises UserError: it cannot play in this environment.
        """


class PolicyPlayer(Player):
    """A policy that acts through its session.

    :param policy: it is used as it is and may be shared.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.tokenizer = getattr(policy, "tokenizer", None)

    def play(self, task: Task) -> list[Attempt]:
        """Act in all episodes; see :meth:`Player.play`."""
        return self._play_text(task) if task.text else self._play_states(task)

    def _play_text(self, task: Task) -> list[Attempt]:
        rollout = play_text(task, self.policy, self.tokenizer, slots=task.slots)
        kl = None if task.prefix or not self._reads_as(task.reference) else self._kl(rollout, task.reference)
        return text_attempts(rollout, kl)

    def _play_states(self, task: Task) -> list[Attempt]:
        attempts: list[Attempt] = []
        for start in range(0, task.episodes, task.slots):
            episodes = range(start, min(start + task.slots, task.episodes))
            envs = OneEpisodeEach(
                task.environment.make_vec(len(episodes), split=task.split),
                [task.row(episode)["seed"] for episode in episodes],
            )
            try:
                rollout = collect(
                    envs,
                    self.policy,
                    episodes=len(episodes),
                    seed=task.seed,
                    first_episode=start,
                    values=False,
                )
            finally:
                envs.close()
            kl = None if task.reference is None else self._kl(rollout, task.reference)
            attempts += _attempts(rollout, envs.truncated.tolist(), kl)
        return attempts

    def _reads_as(self, reference: Policy | None) -> bool:
        """Return whether the tokens of a reference mean the same as this policy's."""
        theirs: Any = getattr(reference, "tokenizer", None)
        mine: Any = self.tokenizer
        return theirs is not None and tokenizer_fingerprint(theirs) == tokenizer_fingerprint(mine)

    def _kl(self, rollout: Rollout, reference: Any) -> Tensor:
        """Return the estimate of the KL ``[B]`` of each episode.

        It is the sum over the actions of log p - log p_ref, unbiased for KL(p || p_ref); k1 in J. Schulman,
        Approximating KL Divergence (2020).
        """
        theirs = rollout_logprobs(reference, rollout, max_tokens=_MAX_TOKENS)
        return kl_k1(rollout.logprobs, theirs).mul(rollout.mask).sum(1)


def play_text(task: Task, policy: Any, tokenizer: Any, *, slots: int) -> Rollout:
    """Return the rollout of a policy, or of what has a ``session`` like one, over a task's prompts.

    :raises UserError: the environment restricts tokens, and the tokenizer is not its own.
    """
    rows = [{**row, "prefix": task.prefix} for row in task.rows] if task.prefix else task.rows
    envs = task.environment.make_vec(
        min(slots, task.episodes),
        split=task.split,
        prompts=rows,
        tokenizer=tokenizer,
        group_size=task.samples,
        shuffle=False,
        reward=None,
        **({"stop": task.stop} if task.stop else {}),
    )
    try:
        _check_restricted(envs, task, tokenizer)
        return collect(envs, policy, episodes=task.episodes, seed=task.seed, values=False)
    finally:
        envs.close()


def text_attempts(rollout: Rollout, kl: Tensor | None = None) -> list[Attempt]:
    """Return the attempts of a rollout of text.

    :param kl: ``[B]`` one estimate an episode, or None.
    """
    cut = [episode.truncated for episode in rollout.episodes]
    attempts = _attempts(rollout, cut, kl)
    return [
        dataclasses.replace(attempt, score=None, episode=episode)
        for attempt, episode in zip(attempts, rollout.episodes, strict=True)
    ]


def _attempts(rollout: Rollout, truncated: list[bool], kl: Tensor | None) -> list[Attempt]:
    scores = rollout.rewards.double().sum(1).tolist()
    lengths = rollout.mask.sum(1).tolist()
    kls = [None] * len(scores) if kl is None else kl.double().tolist()
    return [
        Attempt(length=length, terminated=not cut, truncated=cut, score=score, kl=estimate)
        for length, cut, score, estimate in zip(lengths, truncated, scores, kls, strict=True)
    ]


def _check_restricted(envs: VectorEnv, task: Task, tokenizer: Any) -> None:
    if not hasattr(envs.unwrapped, "action_masks"):
        return
    if tokenizer_fingerprint(tokenizer) != tokenizer_fingerprint(task.environment.build_tokenizer()):
        fix = "choose a policy that was trained with the environment's own"
        raise UserError("tokenizer", "the environment restricts tokens, and these are not its own", fix=fix)
