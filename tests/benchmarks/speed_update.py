"""The learning pass by itself: PPO of rltk on random responses."""

from __future__ import annotations

from typing import Any

import torch
from speed_clock import Clock
from speed_models import WORD, build_model, word_tokenizer

from rltk.rng import torch_generator
from rltk.types import Rollout
from rltk_algorithms.ppo import PPO
from rltk_policies.causal_lm.policy import CausalLMPolicy


def make_policy(job: dict[str, Any]) -> CausalLMPolicy:
    """Return the policy of a decode or update."""
    return CausalLMPolicy(
        CausalLMPolicy.Config(critic=job["critic"], compile=job["compile"]),
        model=build_model(job),
        tokenizer=word_tokenizer(job["shape"]["vocabulary"]),
        device=job["device"],
    )


def update(job: dict[str, Any]) -> dict[str, Any]:
    """Take epochs of PPO on random responses."""
    clock = Clock(job)
    policy = make_policy({**job, "dtype": "float32"})
    if job["dtype"] == "bfloat16":
        policy.autocast = lambda: torch.autocast(job["device"], dtype=torch.bfloat16)
    settings = PPO.Config(epochs=job["epochs"], minibatch_size=job["minibatch"], learning_rate=3e-6)
    algorithm = PPO(settings, policy=policy, generator=torch_generator("update"))
    rollout = random_rollout(job).to(policy.device)
    for _ in range(1 + job["repeats"]):
        clock.start()
        algorithm.update(rollout)
        clock.lap()
    return clock.measured(tokens=rollout.num_actions)


def random_rollout(job: dict[str, Any]) -> Rollout:
    """Return the job's prompts with random responses, rewards and values."""
    generator = torch_generator("rollout")
    prompts, lengths = torch.tensor(job["prompts"]), torch.tensor(job["lengths"])
    B, P = prompts.shape
    T = int(lengths.max())
    mask = torch.arange(T) < lengths[:, None]
    actions = torch.randint(WORD, job["shape"]["vocabulary"], (B, T), generator=generator) * mask
    noise = torch.randn(B, T, generator=generator) * mask
    return Rollout(
        mask=mask,
        actions=actions,
        # of a policy that knows nothing, which one with random weights is
        logprobs=-torch.log(torch.tensor(float(job["shape"]["vocabulary"]))) * mask,
        rewards=noise,
        values=torch.zeros(B, T),
        bootstrap=torch.zeros(B),
        episode_ids=torch.arange(B),
        scores=noise.sum(1),
        lengths=P + lengths,
        tokens=torch.cat([prompts, actions], 1),
        action_mask=torch.cat([torch.zeros_like(prompts, dtype=torch.bool), mask], 1),
    )
