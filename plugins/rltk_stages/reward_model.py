"""The reward_model stage: a scalar head on the SFT model, trained on rankings with the K-way loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from rltk.batching import EpochSampler, micro_batches
from rltk.data import assigned_split, read_rankings
from rltk.errors import UserError
from rltk.hookspecs import hookimpl
from rltk.interfaces import Row, Stage
from rltk.language_modeling import encode_demonstrations
from rltk.models import check_tokenizer, context_length, load_tokenizer, reward_model_from_policy, save_model
from rltk.preference import score_rows
from rltk.ranking import agreement, length_scores, pair_accuracy, ranking_loss, ratio_with_interval
from rltk.ranking_data import Ranking, encode_rankings, join
from rltk.rng import numpy_generator
from rltk.training import Batch, Progress, TrainingConfig, Validation, evenly_spaced, train
from rltk.types import Metrics

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_FORWARDS_A_PART = 4


class RewardModelTraining(Stage):
    """Leaves ``model``: a scalar-headed model whose scores average 0 on demonstrations.

    Source: Ouyang et al. 2022, arXiv 2203.02155, section 3.5 and appendix C.2.
    """

    name = "reward_model"
    paper = (
        "Ouyang et al. 2022, Training language models to follow instructions with human feedback, "
        "arXiv:2203.02155"
    )
    check_recipe = "instructgpt-tiny"

    class Config(TrainingConfig):
        """Options of the reward_model stage."""

        path: str = Field(
            "$RUN/stages/sft/policy", description="folder or hub id of the policy to start from"
        )
        rankings: str | None = Field(
            "$RUN/stages/comparisons/rankings.jsonl", description="JSONL of rankings; null: the environment's"
        )
        validation_share: float = Field(
            0.1,
            ge=0,
            lt=1,
            description="share of prompts to hold out where the rows of the file name no split",
        )
        epochs: int = Field(1, ge=1, description="passes over the rankings")
        batch_size: int = Field(32, ge=1, description="prompts a gradient step")
        learning_rate: float = Field(5e-4, gt=0, description="peak learning rate of AdamW")
        dropout: float | None = Field(
            0.0, ge=0, lt=1, description="every dropout rate; null: as the model has them"
        )
        on_long: Literal["error", "drop"] = Field(
            "error",
            description="what becomes of a ranking with a response that does not fit into the context",
        )
        validations: int = Field(3, ge=1, description="how often to measure, in even intervals")
        demonstrations: int = Field(
            256, ge=0, description="demonstrations whose mean score becomes 0; 0: no bias"
        )

    def run(self) -> Mapping[str, Any]:
        """Train, centre, save and report.

        :raises UserError: for a policy that cannot be started from, or rankings that cannot be learnt from.
        """
        where = f"stages.{self.context.name}.path"
        path = self.context.resolve(self.config.path)
        tokenizer = load_tokenizer(path, where)
        check_tokenizer(tokenizer, where)
        model = reward_model_from_policy(path, where, seed=self.context.seed, dropout=self.config.dropout)
        model = model.to(self.context.device)
        train_rows, held_out, counts = self._rankings(model, tokenizer)
        demonstrations = self._demonstrations(model, tokenizer)
        progress = self._train(model, train_rows, held_out)
        bias = float(self._scores(model, demonstrations).mean()) if demonstrations else 0.0
        model.config.reward_bias = bias
        save_model(model, tokenizer, self.context.directory / "model")
        results = self._report(model, train_rows, held_out)
        return {self.context.name: {**progress.metrics, **results, "bias": bias, **counts}}

    def _rankings(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
    ) -> tuple[list[Ranking], list[Ranking], dict[str, int]]:
        """Return training and validation rankings, and how many were left out."""
        environment, config = self.context.environment, self.config
        rows: dict[str, list[Row]] = {"train": [], "validation": []}
        if config.rankings is None:
            rows = {
                "train": environment.comparisons("train"),
                "validation": environment.comparisons("validation"),
            }
        else:
            for row in read_rankings(self.context.resolve(config.rankings)):
                rows.setdefault(assigned_split(row, config.validation_share), []).append(row)
        counts = {"too_long": 0, "without_preference": 0}
        encoded = {}
        for split in ("train", "validation"):
            encoded[split], left_out = encode_rankings(
                rows[split],
                tokenizer,
                environment.format_prompt,
                max_length=context_length(model),
                on_long=config.on_long,
                where=f"{split} rankings",
            )
            counts = {name: count + left_out[name] for name, count in counts.items()}
            if not encoded[split]:
                where = config.rankings or "environment"
                raise UserError(where, f"no {split} ranking states a preference", fix="give it more rankings")
        return encoded["train"], encoded["validation"], counts

    def _demonstrations(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
        """Return token rows of the demonstrations whose scores are to average 0."""
        environment, count = self.context.environment, self.config.demonstrations
        if not count:
            return []
        rows = environment.demonstrations("validation") or environment.demonstrations("train")
        generator = numpy_generator(self.context.seed, "demonstrations")
        chosen = [rows[index] for index in generator.permutation(len(rows))[:count]]
        examples, _ = encode_demonstrations(
            chosen, tokenizer, environment.format_prompt, max_length=context_length(model), on_long="drop"
        )
        return [example.tokens for example in examples]

    def _train(self, model: PreTrainedModel, rankings: list[Ranking], held_out: list[Ranking]) -> Progress:
        config = self.config
        sizes = [sum(map(len, ranking.rows)) for ranking in rankings]
        sampler = EpochSampler(sizes, config.batch_size, seed=self.context.seed)
        total_steps = config.epochs * sampler.steps_per_epoch

        def batch(step: int) -> Batch:
            chosen = sampler.rows(step)
            groups = micro_batches([sizes[row] for row in chosen], config.micro_batch_tokens)
            return Batch([[rankings[chosen[index]] for index in group] for group in groups], len(chosen))

        def loss(part: list[Ranking]) -> Tensor:
            rows, pairs = join(part)
            return ranking_loss(self._forward(model, rows), pairs)

        def measure() -> Metrics:
            rows, pairs = join(held_out)
            scores = self._scores(model, rows)
            correct, counts = pair_accuracy(scores, pairs)
            return {
                "validation_loss": float(ranking_loss(scores, pairs)) / len(held_out),
                "accuracy": float(correct.sum() / counts.sum()),
            }

        return train(
            model,
            config,
            context=self.context,
            prefix=self.name,
            total_steps=total_steps,
            batch=batch,
            loss=loss,
            validation=Validation(evenly_spaced(total_steps, config.validations), measure),
        )

    def _report(
        self, model: PreTrainedModel, train_rows: list[Ranking], held_out: list[Ranking]
    ) -> dict[str, Any]:
        """Return accuracies beside what chance, length and other labelers reach on the same pairs."""
        # As many training rankings as validation ones: enough to see over-fitting, at little cost.
        rows, pairs = join(train_rows[: len(held_out)])
        train_correct, train_counts = pair_accuracy(self._scores(model, rows), pairs)
        rows, pairs = join(held_out)
        correct, counts = pair_accuracy(self._scores(model, rows), pairs)
        accuracy, interval = ratio_with_interval(correct, counts, self._bootstrap("accuracy"))
        _, train_pairs = join(train_rows)
        by_length = length_scores(lengths(held_out), lengths(train_rows), train_pairs)
        length_correct, _ = pair_accuracy(by_length, pairs)
        return {
            "accuracy": accuracy,
            "accuracy_ci": list(interval),
            "pairs": int(counts.sum()),
            "prompts": len(held_out),
            "train_accuracy": float(train_correct.sum() / train_counts.sum()),
            "train_prompts": len(train_rows),
            "length_baseline": float(length_correct.sum() / counts.sum()),
            **self._agreement(held_out),
        }

    def _agreement(self, rankings: Sequence[Ranking]) -> dict[str, Any]:
        """Return how far a second labeler agrees with the first, where there is one."""
        twice = [agreement(r.ranks, r.second_ranks) for r in rankings if r.second_ranks is not None]
        same, both = [pair[0] for pair in twice], [pair[1] for pair in twice]
        if not sum(both):
            return {"agreement": None, "agreement_pairs": 0}
        share, interval = ratio_with_interval(same, both, self._bootstrap("agreement"))
        return {"agreement": share, "agreement_ci": list(interval), "agreement_pairs": sum(both)}

    def _bootstrap(self, name: str) -> Any:
        return numpy_generator(self.context.seed, "bootstrap", name)

    def _forward(self, model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
        # All rows of a part share one graph, but like lengths go together, so that little is padding.
        tokens = max(1, self.config.micro_batch_tokens // _FORWARDS_A_PART)
        return score_rows(model, rows, micro_batch_tokens=tokens)

    @torch.no_grad()
    def _scores(self, model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
        with self.context.autocast():
            return self._forward(model, rows).cpu()


def lengths(rankings: Sequence[Ranking]) -> list[int]:
    """Return the response lengths in tokens of rankings end to end."""
    return [length for ranking in rankings for length in ranking.response_lengths]


@hookimpl
def rltk_stages() -> list[type[Stage]]:
    """Provide the stage."""
    return [RewardModelTraining]
