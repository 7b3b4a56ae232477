"""The pretrain stage: a causal language model from a config or a folder, trained on the corpus."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field
from torch import Tensor

from rltk.batching import EpochSampler
from rltk.errors import UserError
from rltk.hookspecs import hookimpl
from rltk.interfaces import Stage
from rltk.language_modeling import corpus_loss, corpus_parts, count_targets, document_rows, token_nll
from rltk.models import (
    build_causal_lm,
    check_tokenizer,
    context_length,
    grow_vocabulary,
    load_causal_lm,
    load_tokenizer,
    save_model,
)
from rltk.training import Batch, TrainingConfig, Validation, evenly_spaced, train
from rltk.types import Metrics

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SMALL_LLAMA = {
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
}


class Pretrain(Stage):
    """Trains a base model on packed documents and leaves it in ``policy``."""

    name = "pretrain"
    check_recipe = "instructgpt-tiny"

    class Config(TrainingConfig):
        """Options of the pretrain stage."""

        model: dict[str, Any] = Field(
            _SMALL_LLAMA,
            description="transformers config to build from: model_type and its keys; unless path is set",
        )
        path: str | None = Field(None, description="local Hugging Face folder or hub id to start from")
        tokenizer: str | None = Field(
            None, description="local folder or hub id; null: that of path, else the environment's"
        )
        pad_token: str | None = Field(
            None, description="added where the tokenizer has no pad token of its own"
        )
        dropout: float | None = Field(
            None, ge=0, lt=1, description="every dropout rate; null: as the model has them"
        )
        sequence_length: int = Field(128, ge=2, description="tokens per row")
        pack: bool = Field(
            True, description="join documents to full rows; false: one a row, cut at sequence_length"
        )
        tokens: int | None = Field(None, ge=0, description="training tokens; null: as many as epochs says")
        epochs: float = Field(1.0, ge=0, description="passes over the corpus; only where tokens is null")
        learning_rate: float = Field(3e-3, gt=0, description="peak learning rate of AdamW")
        warmup_ratio: float = Field(
            0.02, ge=0, lt=1, description="share of steps in which the rate rises to its peak"
        )
        weight_decay: float = Field(0.1, ge=0, description="AdamW weight decay of matrices; vectors get none")
        validation_tokens: int = Field(
            20_000, ge=1, description="tokens of the validation corpus to measure on"
        )
        validations: int = Field(4, ge=1, description="how often to measure, in even intervals")

    def run(self) -> Mapping[str, Any]:
        """Train, save and report; a budget of 0 tokens or epochs only builds and saves.

        :raises UserError: for a tokenizer without EOS or pad, an unknown model, an empty corpus.
        """
        tokenizer = self._tokenizer()
        model = self._model(tokenizer).to(self.context.device)
        results: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters()), "tokens": 0}
        if (self.config.epochs if self.config.tokens is None else self.config.tokens) > 0:
            results |= self._train(model, tokenizer)
        save_model(model, tokenizer, self.context.directory / "policy")
        return {self.context.name: results}

    def _train(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        config, environment = self.config, self.context.environment
        self._check_sequence_length(model)
        rows = self._rows(environment.corpus("train"), tokenizer, config.tokens)
        held_out = self._rows(environment.corpus("validation"), tokenizer, config.validation_tokens)
        lengths = (rows != tokenizer.pad_token_id).sum(1).tolist()
        sampler = EpochSampler(lengths, config.batch_size, seed=self.context.seed, bucketed=not config.pack)
        epochs = config.epochs if config.tokens is None else config.tokens / sum(lengths)
        total_steps = math.ceil(epochs * sampler.steps_per_epoch)

        def batch(step: int) -> Batch:
            parts = corpus_parts(rows[sampler.rows(step)], tokenizer.pad_token_id, config.micro_batch_tokens)
            return Batch(parts, sum(count_targets(labels) for _, labels in parts))

        def measure() -> Metrics:
            loss = corpus_loss(
                model,
                held_out,
                pad_token_id=tokenizer.pad_token_id,
                micro_batch_tokens=config.micro_batch_tokens,
                autocast=self.context.autocast,
            )
            return {"validation_loss": loss}

        progress = train(
            model,
            config,
            context=self.context,
            prefix=self.name,
            total_steps=total_steps,
            batch=batch,
            loss=lambda part: token_nll(model, *part),
            validation=Validation(evenly_spaced(total_steps, config.validations), measure),
        )
        loss = progress.metrics["validation_loss"]
        tokens = round(sum(lengths) * total_steps / sampler.steps_per_epoch)
        return {
            "validation_loss": loss,
            "validation_perplexity": math.exp(loss),
            "tokens": tokens,
            "steps": total_steps,
        }

    def _rows(self, documents: Any, tokenizer: PreTrainedTokenizerBase, max_tokens: int | None) -> Tensor:
        config = self.config
        rows = document_rows(documents, tokenizer, config.sequence_length, max_tokens, pack=config.pack)
        if not len(rows):
            raise UserError("environment", "the corpus is empty", fix="give it documents, or set tokens to 0")
        return rows

    def _tokenizer(self) -> PreTrainedTokenizerBase:
        source = self.config.tokenizer or self.config.path
        where = f"stages.{self.context.name}.tokenizer"
        if source is None:
            tokenizer = self.context.environment.build_tokenizer()
        else:
            tokenizer = load_tokenizer(self.context.resolve(source), where)
        check_tokenizer(tokenizer, where, self.config.pad_token)
        return tokenizer

    def _model(self, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
        config, where = self.config, f"stages.{self.context.name}"
        if config.path is None:
            return build_causal_lm(
                config.model,
                tokenizer,
                where=f"{where}.model",
                seed=self.context.seed,
                dropout=config.dropout,
            )
        model = load_causal_lm(self.context.resolve(config.path), f"{where}.path", dropout=config.dropout)
        grow_vocabulary(model, len(tokenizer), self.context.seed)
        return model

    def _check_sequence_length(self, model: PreTrainedModel) -> None:
        config, where = self.config, f"stages.{self.context.name}"
        longest = context_length(model)
        if longest is not None and config.sequence_length > longest:
            fix = f"use at most the model's context of {longest} tokens"
            raise UserError(
                f"{where}.sequence_length",
                "rows are longer than the model reads",
                got=config.sequence_length,
                fix=fix,
            )


@hookimpl
def rltk_stages() -> list[type[Stage]]:
    """Provide the stage."""
    return [Pretrain]
