"""Scalar scores of token rows by a model with a scalar head: one code path for training and for use."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rltk.batching import micro_batches, pad_rows
from rltk.errors import UserError
from rltk.models import context_length


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
    :param micro_batch_tokens: padded tokens a forward pass.
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


def _score_group(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
    tokens, lengths = pad_rows(rows, model.config.pad_token_id)
    mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).to(model.device)
    return model(input_ids=tokens.to(model.device), attention_mask=mask).logits[:, 0].float()
