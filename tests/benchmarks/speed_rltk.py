"""rltk's side of the benchmark of speed: JSON on stdin, JSON on stdout.

Called by :mod:`tests.benchmarks.speed`; decodes here, and leaves learning to the modules beside it.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any
from unittest.mock import patch

import numpy as np
from gymnasium.vector import VectorWrapper
from speed_clock import Clock, answer, timed
from speed_iterations import iterate
from speed_models import WORD
from speed_update import make_policy, update

from rltk.rollout import collect
from rltk_envs.text_generation import TextGenerationVectorEnv
from rltk_policies.causal_lm.policy import CausalLMPolicy

EOS = 1


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Do the work of a job for a warm-up and as often as it says."""
    works = {"decode": decode, "overhead": decode, "ppo": iterate, "rloo": iterate, "update": update}
    return {**works[job["kind"]](job), "versions": {name: version(name) for name in ("rltk", "torch")}}


class DrawnLengths(VectorWrapper):
    """Ends each response after as many tokens as were drawn for its episode, and not before."""

    def __init__(self, envs: Any, prompt_tokens: int, lengths: list[int]) -> None:
        super().__init__(envs)
        self.ends = prompt_tokens + np.array(lengths)

    def reset(self, **keywords: Any) -> Any:
        """Begin, and remember which episode each slot is in."""
        self.state = super().reset(**keywords)
        return self.state

    def step(self, actions: Any) -> Any:
        """Say EOS in place of the last token, and a word where EOS came early."""
        observations, infos = self.state[0], self.state[-1]
        ends = self.ends[np.maximum(infos["episode_id"], 0)]
        last = observations["length"][:, 0] + 1 >= ends
        self.state = super().step(np.where(last, EOS, np.where(actions == EOS, WORD, actions)))
        return self.state


def decode(job: dict[str, Any]) -> dict[str, Any]:
    """Collect all responses, again and again."""
    clock = Clock(job)
    policy = make_policy(job)
    envs: Any = TextGenerationVectorEnv(
        job["slots"],
        prompts=job["prompts"],
        tokenizer=policy.tokenizer,
        # never reached: that the drawn length ends a response is EOS, as a policy would say it
        max_new_tokens=job["new_tokens"] + 1,
        shuffle=False,
    )
    envs = DrawnLengths(envs, job["prompt_tokens"], job["lengths"])
    phases: Counter[str] = Counter()
    with timed_acting(policy, phases) if job["kind"] == "overhead" else contextlib.nullcontext():
        for lap in range(1 + job["repeats"]):
            if lap == 1:
                phases.clear()
            clock.start()
            rollout = collect(envs, policy, episodes=job["episodes"], seed=lap, values=False)
            clock.lap()
    return clock.measured(tokens=int(rollout.mask.sum()), phases=phases)


@contextlib.contextmanager
def timed_acting(policy: CausalLMPolicy, phases: Counter[str]) -> Iterator[None]:
    """Add up the seconds that a policy's sessions take to act."""
    make = policy.session

    def session(num_envs: int) -> Any:
        made = make(num_envs)
        made.act = timed(made.act, "acting", phases)  # type: ignore[method-assign]
        return made

    with patch.object(policy, "session", session):
        yield


if __name__ == "__main__":
    answer(measure)
