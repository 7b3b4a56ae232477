"""Where the actions of text stand: what a teacher-forced pass reads, and where its answers go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from rltk.errors import UserError
from rltk.models import context_length
from rltk.types import Rollout

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def read_tokens(batch: Rollout, model: PreTrainedModel, where: str) -> Tensor:
    """Return the tokens ``[B, W]`` to read: nothing is asked of the last of a row.

    Rows are padded on the right, where no real token of a causal model looks: it needs neither mask nor
    position ids, without which attention takes its fastest form.

    :param where: the option that names the model, for the error.
    :raises UserError: a row is longer than the model's context.
    """
    assert batch.tokens is not None
    width, context = batch.tokens.shape[1], context_length(model)
    if context is not None and width > context:
        what = f"texts of up to {width} tokens do not fit the model's context of {context}"
        raise UserError(where, what, fix="choose a model with a longer context, or collect shorter texts")
    # Attention takes longer over 63 positions than over 64: kernels work on eight at a time.
    return batch.tokens if width % 8 == 0 else batch.tokens[:, :-1]


def before_actions(batch: Rollout, width: int) -> Tensor:
    """Return the places ``[num_actions]`` of the token before each action in flattened rows of ``width``."""
    assert batch.action_mask is not None
    rows, columns = batch.action_mask.nonzero(as_tuple=True)
    return rows * width + columns - 1


def allowed_at(batch: Rollout) -> Tensor | None:
    """Return ``[num_actions, V]`` the tokens that each action could be, or None where all."""
    return None if batch.allowed is None else batch.allowed[batch.mask]


def lay_out(flat: Tensor, batch: Rollout) -> Tensor:
    """Place one entry per action into ``[B, T, ...]`` of zeros."""
    laid_out = flat.new_zeros(*batch.mask.shape, *flat.shape[1:])
    return laid_out.index_put(batch.mask.nonzero(as_tuple=True), flat)
