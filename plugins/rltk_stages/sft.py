"""The sft stage: supervised fine-tuning on demonstrations, the loss on the response alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rltk.batching import EpochSampler
from rltk.errors import UserError
from rltk.hookspecs import hookimpl
from rltk.interfaces import Split, Stage
from rltk.language_modeling import (
    Example,
    count_targets,
    encode_demonstrations,
    example_parts,
    mean_nll,
    token_nll,
)
from rltk.models import check_tokenizer, context_length, load_causal_lm, load_tokenizer, save_model
from rltk.training import Batch, Progress, TrainingConfig, Validation, train
from rltk.types import Metrics

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class SupervisedFineTuning(Stage):
    """Teaches a base model to answer as the demonstrations do; keeps the epoch that validates best.

    Source: Ouyang et al. 2022, arXiv 2203.02155, section 3.5.
    """

    name = "sft"
    paper = (
        "Ouyang et al. 2022, Training language models to follow instructions with human feedback, "
        "arXiv:2203.02155"
    )
    check_recipe = "instructgpt-tiny"

    class Config(TrainingConfig):
        """Options of the sft stage."""

        path: str = Field(
            "$RUN/stages/pretrain/policy", description="folder or hub id of the model to start from"
        )
        epochs: int = Field(3, ge=1, description="passes over the demonstrations")
        dropout: float | None = Field(
            0.0, ge=0, lt=1, description="every dropout rate; null: as the model has them"
        )
        on_long: Literal["error", "drop", "truncate"] = Field(
            "error", description="what becomes of a demonstration longer than the model's context"
        )

    def run(self) -> Mapping[str, Any]:
        """Train, save the best epoch's model as ``policy`` and report.

        :raises UserError: for a model or tokenizer that cannot be used, no demonstrations, or a too long one.
        """
        where = f"stages.{self.context.name}.path"
        path = self.context.resolve(self.config.path)
        tokenizer = load_tokenizer(path, where)
        check_tokenizer(tokenizer, where)
        model = load_causal_lm(path, where, dropout=self.config.dropout).to(self.context.device)
        examples, counts = self._examples("train", model, tokenizer)
        if not examples:
            raise UserError("environment", "there are no demonstrations to learn from", fix="give it some")
        held_out, _ = self._examples("validation", model, tokenizer)
        sampler = EpochSampler(
            [len(example.tokens) for example in examples], self.config.batch_size, seed=self.context.seed
        )
        progress = self._train(model, tokenizer, examples, held_out, sampler)
        save_model(model, tokenizer, self.context.directory / "policy")
        results: dict[str, Any] = {
            "examples": len(examples),
            **{f"{name}_examples": count for name, count in counts.items()},
        }
        if held_out:
            loss = progress.best_metrics["validation_loss"]
            best_epoch = progress.best_step // sampler.steps_per_epoch
            results |= {
                "validation_loss": loss,
                "validation_perplexity": math.exp(loss),
                "best_epoch": best_epoch,
            }
        return {self.context.name: results}

    def _examples(
        self, split: Split, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
    ) -> tuple[list[Example], dict[str, int]]:
        environment = self.context.environment
        return encode_demonstrations(
            environment.demonstrations(split),
            tokenizer,
            environment.format_prompt,
            max_length=context_length(model),
            on_long=self.config.on_long,
            where=f"{split} demonstrations",
        )

    def _train(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        examples: list[Example],
        held_out: list[Example],
        sampler: EpochSampler,
    ) -> Progress:
        config, pad = self.config, tokenizer.pad_token_id
        validation_parts = example_parts(held_out, pad, config.micro_batch_tokens)

        def batch(step: int) -> Batch:
            chosen = [examples[row] for row in sampler.rows(step)]
            parts = example_parts(chosen, pad, config.micro_batch_tokens)
            return Batch(parts, sum(count_targets(labels) for _, labels in parts))

        def measure() -> Metrics:
            return {"validation_loss": mean_nll(model, validation_parts, self.context.autocast)}

        epoch_ends = [sampler.steps_per_epoch * epoch for epoch in range(1, config.epochs + 1)]
        return train(
            model,
            config,
            context=self.context,
            prefix=self.name,
            total_steps=epoch_ends[-1],
            batch=batch,
            loss=lambda part: token_nll(model, *part),
            validation=Validation(
                frozenset(epoch_ends if held_out else ()), measure, minimise="validation_loss"
            ),
        )


@hookimpl
def rltk_stages() -> list[type[Stage]]:
    """Provide the stage."""
    return [SupervisedFineTuning]
