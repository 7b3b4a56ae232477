"""Prompts longer than a limit: an error, left out, or cut from the left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from rltk.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rltk.interfaces import Row

OnLongPrompt = Literal["error", "drop", "truncate_left"]


def limit_prompts(
    rows: Sequence[Row],
    tokenizer: PreTrainedTokenizerBase,
    format_prompt: Callable[[str], str],
    *,
    max_tokens: int,
    on_long: OnLongPrompt,
    where: str,
) -> tuple[list[Row], int]:
    """Return the rows whose formatted prompts have at most ``max_tokens`` tokens, and how many were longer.

    :param on_long: ``truncate_left`` keeps the end of the prompt, where a dialogue's last request stands.
    :param where: the key path to blame.
    :raises UserError: a prompt is longer and ``on_long`` is ``error``, or the template leaves no room.
    """
    texts = [format_prompt(row["prompt"]) for row in rows]
    encoded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []
    kept: list[Row] = []
    too_long = 0
    for row, tokens in zip(rows, encoded, strict=True):
        if len(tokens) <= max_tokens:
            kept.append(row)
            continue
        too_long += 1
        if on_long == "error":
            raise _too_long(row["prompt"], len(tokens), max_tokens, where)
        if on_long == "truncate_left":
            shortened = cut_left(row["prompt"], tokens, tokenizer, format_prompt, max_tokens)
            kept.append(row | {"prompt": shortened})
    return kept, too_long


def cut_left(
    prompt: str,
    tokens: Sequence[int],
    tokenizer: PreTrainedTokenizerBase,
    format_prompt: Callable[[str], str],
    max_tokens: int,
) -> str:
    """Return the end of a prompt, about as long as fits into ``max_tokens`` with its template.

    :param tokens: the ids of the whole formatted prompt.
    :raises UserError: not even one character fits.
    """

    def size(text: str) -> int:
        return len(tokenizer.encode(format_prompt(text), add_special_tokens=False, verbose=False))

    room = max_tokens - size("")
    length = min(len(tokenizer.decode(tokens[-room:])), len(prompt)) if room > 0 else 0
    # An end of a text may take more tokens on its own than it took inside the text: shorten until it fits.
    while length and size(prompt[-length:]) > max_tokens:
        length -= 1 + length // 32
    if not length:
        fix = "raise it, or shorten environment.template"
        raise UserError(
            "environment.max_prompt_tokens", "it leaves no room for a prompt", got=max_tokens, fix=fix
        )
    return prompt[-length:]


def _too_long(prompt: str, length: int, max_tokens: int, where: str) -> UserError:
    beginning = prompt[:30] + "…"
    return UserError(
        where,
        f"the prompt {beginning!r} has {length} tokens and environment.max_prompt_tokens is {max_tokens}",
        fix="raise it, or set environment.on_long_prompt to drop or truncate_left",
    )
