"""Whole iterations of TRL's PPOTrainer: JSON on stdin, JSON on stdout.

Runs in the environment that ``make peers-text`` makes for it, which has no rltk; called by
:mod:`tests.benchmarks.speed`. TRL 1.12 is the last release with a PPOTrainer.
"""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from typing import Any

from datasets import Dataset
from speed_clock import Clock, answer
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer


class Laps(TrainerCallback):
    """Takes a lap at the end of every iteration."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_begin(self, *arguments: Any, **keywords: Any) -> None:
        """Begin the first iteration."""
        self.clock.start()

    def on_step_end(self, *arguments: Any, **keywords: Any) -> None:
        """End an iteration."""
        self.clock.lap()


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Train for a warm-up iteration and those that count."""
    clock = Clock(job)
    policy, reward = job["models"] + "/policy", job["models"] + "/reward"
    actor, reference = (AutoModelForCausalLM.from_pretrained(policy) for _ in range(2))
    scorer, critic = (AutoModelForSequenceClassification.from_pretrained(reward) for _ in range(2))
    with tempfile.TemporaryDirectory() as output:
        trainer = PPOTrainer(
            args=settings(job, output),
            processing_class=AutoTokenizer.from_pretrained(policy),
            model=actor,
            ref_model=reference,
            reward_model=scorer,
            value_model=critic,
            train_dataset=Dataset.from_dict({"input_ids": job["prompts"] * (1 + job["repeats"])}),
            callbacks=[Laps(clock)],
        )
        trainer.train()
    return clock.measured(
        tokens=sum(job["lengths"]), versions={name: version(name) for name in ("trl", "transformers")}
    )


def settings(job: dict[str, Any], output: str) -> PPOConfig:
    """Return the job as TRL's settings; a batch is a rollout, and one mini-batch is one forward pass."""
    return PPOConfig(
        output_dir=output,
        per_device_train_batch_size=job["minibatch"],
        gradient_accumulation_steps=job["episodes"] // job["minibatch"],
        num_mini_batches=job["episodes"] // job["minibatch"],
        num_ppo_epochs=job["epochs"],
        response_length=job["new_tokens"],
        total_episodes=job["episodes"] * (1 + job["repeats"]),
        temperature=1.0,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        num_sample_generations=0,
        disable_tqdm=True,
    )


if __name__ == "__main__":
    answer(measure)
