"""Decode with ``generate`` of transformers in batches of the slot count: JSON on stdin, JSON on stdout.

Runs in rltk's own environment, with the transformers that rltk acts with, but does not touch rltk; called by
:mod:`tests.benchmarks.speed`.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch
from speed_clock import Clock, answer
from speed_models import build_model
from torch import Tensor
from transformers import PreTrainedModel, StoppingCriteria, StoppingCriteriaList


class DrawnLengths(StoppingCriteria):
    """Ends each row of a batch after as many new tokens as were drawn for it."""

    def __init__(self, prompt_tokens: int, lengths: Tensor) -> None:
        self.ends = prompt_tokens + lengths

    def __call__(self, input_ids: Tensor, scores: Tensor, **keywords: Any) -> Tensor:
        """Return ``[B]`` bool: which rows are done."""
        return input_ids.shape[1] >= self.ends


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Generate all responses of the job, again and again."""
    clock = Clock(job)
    model = build_model(job)
    model.generation_config.eos_token_id = None
    prompts = torch.tensor(job["prompts"], device=job["device"])
    lengths = torch.tensor(job["lengths"], device=job["device"])
    for _ in range(1 + job["repeats"]):
        clock.start()
        for rows in torch.arange(len(prompts)).split(job["slots"]):
            generate(model, prompts[rows], lengths[rows])
        clock.lap()
    return clock.measured(tokens=int(lengths.sum()), versions={"transformers": version("transformers")})


def generate(model: PreTrainedModel, prompts: Tensor, lengths: Tensor) -> Tensor:
    """Return prompts and sampled responses of a batch ``[B, L]``."""
    return model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        do_sample=True,
        top_k=0,
        max_new_tokens=int(lengths.max()),
        pad_token_id=0,
        stopping_criteria=StoppingCriteriaList([DrawnLengths(prompts.shape[1], lengths)]),
    )


if __name__ == "__main__":
    answer(measure)
