"""Scalar scores of token rows by a model with a scalar head: one code path for training and for use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rltk.batching import micro_batches, pad_rows
from rltk.errors import UserError
from rltk.gpt2_pass import gpt2_hidden_states
from rltk.models import context_length

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def score_rows(
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    *,
    micro_batch_tokens: int,
    where: str = "reward model",
) -> Tensor:
    """Return the score of each row at its last token, ``[N]`` float32, differentiable.

    Rows are read in groups of like length; ``config.reward_bias``, where the model has one, is subtracted.
    Autocast is the caller's.

    :param rows: token ids: prompt, response, and EOS where the response ended by itself.
    :param micro_batch_tokens: padded tokens per forward pass.
    :raises UserError: when a row is empty or longer than the model's context.
    """
    lengths = [len(row) for row in rows]
    if not lengths:
        return torch.zeros(0, device=model.device)
    check_lengths(lengths, context_length(model), where)
    groups = micro_batches(lengths, micro_batch_tokens)
    scores = torch.cat([_score_group(model, [rows[index] for index in group]) for group in groups])
    order = torch.tensor([index for group in groups for index in group], device=scores.device)
    return scores[torch.argsort(order)] - getattr(model.config, "reward_bias", 0.0)


def check_lengths(lengths: Sequence[int], longest: int | None, where: str) -> None:
    """Require every row to hold something and to fit into the context.

    :raises UserError: naming the first row that does not.
    """
    for index, length in enumerate(lengths):
        if length == 0:
            raise UserError(where, f"row {index} is empty", fix="leave it out: there is nothing to score")
        if longest is not None and length > longest:
            fix = f"shorten prompt or response, or use a model that reads more than {longest} tokens"
            raise UserError(where, f"row {index} is too long", got=f"{length} tokens", fix=fix)


def scores_at(model: PreTrainedModel, tokens: Tensor, places: Tensor) -> Tensor:
    """Return the float32 scores ``[n]`` of some prefixes of right-padded rows, differentiable once.

    :param model: a causal model with a linear head, which needs no attention mask then.
    :param tokens: ``[B, L]``.
    :param places: ``[n]`` int64, where the prefixes end in the flattened tokens.
    """
    hidden = gpt2_hidden_states(model.base_model, tokens, places)
    if hidden is None:
        states = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
        hidden = states.flatten(0, 1).index_select(0, places)
    return model.score(hidden)[:, 0].float()


def _score_group(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
    tokens, lengths = (x.to(model.device) for x in pad_rows(rows, model.config.pad_token_id))
    width = tokens.shape[1]
    if isinstance(getattr(model, "score", None), nn.Linear):
        return scores_at(model, tokens, torch.arange(len(rows), device=model.device) * width + lengths - 1)
    # A model that reads both ways, or has more than a linear head, must know where rows end.
    mask = torch.arange(width, device=model.device) < lengths[:, None]
    return model(input_ids=tokens, attention_mask=mask.long()).logits[:, 0].float()
