"""Whole iterations of TRL's RLOOTrainer: JSON on stdin, JSON on stdout.

Runs in the environment that ``make peers-text`` makes for it, which has no rltk; called by
:mod:`tests.benchmarks.speed`.
"""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from typing import Any

from datasets import Dataset
from speed_clock import Clock, answer
from speed_models import text_of
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)
from trl import RLOOConfig, RLOOTrainer


class Laps(TrainerCallback):
    """Takes a lap whenever as many gradient steps are done as an iteration has."""

    def __init__(self, clock: Clock, steps: int) -> None:
        self.clock, self.steps = clock, steps

    def on_train_begin(self, *arguments: Any, **keywords: Any) -> None:
        """Begin the first iteration."""
        self.clock.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """End an iteration after its last gradient step."""
        if state.global_step % self.steps == 0:
            self.clock.lap()


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Train for a warm-up iteration and those that count."""
    clock = Clock(job)
    policy, reward = job["models"] + "/policy", job["models"] + "/reward"
    tokenizer = AutoTokenizer.from_pretrained(policy)
    rows = [{"prompt": text_of(prompt)} for prompt in job["prompts"] * (1 + job["repeats"])]
    steps = job["epochs"] * (job["episodes"] // job["minibatch"])
    with tempfile.TemporaryDirectory() as output:
        trainer = RLOOTrainer(
            model=AutoModelForCausalLM.from_pretrained(policy),
            reward_funcs=AutoModelForSequenceClassification.from_pretrained(reward),
            args=settings(job, output, steps),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            reward_processing_classes=AutoTokenizer.from_pretrained(reward),
            callbacks=[Laps(clock, steps)],
        )
        trainer.train()
    return clock.measured(
        tokens=sum(job["lengths"]), versions={name: version(name) for name in ("trl", "transformers")}
    )


def settings(job: dict[str, Any], output: str, steps: int) -> RLOOConfig:
    """Return the job as TRL's settings."""
    return RLOOConfig(
        output_dir=output,
        per_device_train_batch_size=job["minibatch"],
        gradient_accumulation_steps=1,
        steps_per_generation=job["episodes"] // job["minibatch"],
        num_iterations=job["epochs"],
        num_generations=job["group"],
        max_completion_length=job["new_tokens"],
        max_steps=steps * (1 + job["repeats"]),
        temperature=1.0,
        beta=0.05,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )


if __name__ == "__main__":
    answer(measure)
