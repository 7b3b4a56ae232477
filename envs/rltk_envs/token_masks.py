"""Which tokens a task allows next, asked slot by slot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rltk.errors import UserError
from rltk.interfaces import Row
from rltk_envs.text_slots import TextSlots

#: Returns ``[V]`` bool, what may come next, of a prompt's row and the tokens after the prompt so far.
AllowedTokens = Callable[[Row, tuple[int, ...]], NDArray[np.bool_]]


def ask_allowed(
    allowed_tokens: AllowedTokens, slots: TextSlots, acting: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return ``[N, V]`` bool, which tokens each slot may write next; all of them where it does not act.

    :param acting: ``[N]`` which slots do.
    :raises UserError: the task's answer has another shape or type, or allows nothing.
    """
    size = len(slots.tokenizer)
    masks = np.ones((len(acting), size), dtype=bool)
    for slot in np.flatnonzero(acting).tolist():
        masks[slot] = _checked(allowed_tokens(*slots.read(slot)), size)
    return masks


def _checked(mask: Any, size: int) -> NDArray[np.bool_]:
    allowed = np.asarray(mask)
    if allowed.shape != (size,) or allowed.dtype != np.bool_:
        what = f"it must return {size} booleans, one per token of the vocabulary"
        got = f"{allowed.dtype} of shape {allowed.shape}"
        raise UserError("environment.allowed_tokens", what, got=got, fix="return a bool array of that shape")
    if not allowed.any():
        what, fix = "it allows no token at all", "allow EOS where the response is complete"
        raise UserError("environment.allowed_tokens", what, fix=fix)
    return allowed
