"""Prompts of a text environment: read from rows, tokenised once, dealt in a reproducible order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rltk.data import read_prompts as read_prompt_rows
from rltk.errors import UserError
from rltk.interfaces import Row
from rltk.rng import numpy_generator

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: A text, token ids, or a row with ``prompt`` (either of them) and further columns.
PromptLike = str | Sequence[int] | Mapping[str, Any]


class PromptTable(Protocol):
    """Prompts by index, as a list has them, or a data set of the package ``datasets``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> PromptLike: ...


#: Prompts, or the path of a JSONL file of rows with ``prompt``.
Prompts = PromptTable | Sequence[PromptLike] | str | Path


@dataclass(frozen=True)
class Prompt:
    """One prompt: its text, the ids the policy reads, and the data row's further columns."""

    text: str
    tokens: tuple[int, ...]
    columns: Mapping[str, Any]

    @cached_property
    def row(self) -> Row:
        """The data row: the prompt and its further columns."""
        return {"prompt": self.text, **self.columns}


def read_prompts(
    prompts: Prompts,
    tokenizer: PreTrainedTokenizerBase,
    *,
    template: str,
    max_tokens: int | None,
) -> list[Prompt]:
    """Tokenise prompts.

    :param prompts: texts, lists of token ids (read as they are), or rows with ``prompt``, optionally
        ``prefix`` (text put before the formatted prompt, such as few-shot examples) and further columns.
    :param template: text with ``{prompt}`` in it.
    :param max_tokens: longest prompt allowed, or None.
    :raises UserError: no prompts, an empty prompt, or one longer than ``max_tokens``.
    """
    if isinstance(prompts, str | Path):
        prompts = read_prompt_rows(prompts)
    if not len(prompts):
        raise UserError("environment.prompts", "there are no prompts", fix="give at least one")
    read = []
    for i in range(len(prompts)):
        where = f"environment.prompts[{i}]"
        read.append(_fits(_read_prompt(prompts[i], tokenizer, template, where), max_tokens, where))
    return read


def _fits(prompt: Prompt, max_tokens: int | None, where: str) -> Prompt:
    if not prompt.tokens:
        raise UserError(where, "the prompt has no tokens", fix="remove the empty prompt")
    if max_tokens is not None and len(prompt.tokens) > max_tokens:
        what = f"the prompt is longer than max_prompt_tokens={max_tokens}"
        fix = "shorten or drop it, or raise max_prompt_tokens up to the model's context"
        raise UserError(where, what, got=len(prompt.tokens), fix=fix)
    return prompt


def _read_prompt(prompt: PromptLike, tokenizer: PreTrainedTokenizerBase, template: str, where: str) -> Prompt:
    row: Mapping[str, Any] = prompt if isinstance(prompt, Mapping) else {"prompt": prompt}
    if "prompt" not in row:
        raise UserError(where, "there is no prompt in the row", got=sorted(row), fix="name its column prompt")
    columns = {key: value for key, value in row.items() if key not in ("prompt", "prefix")}
    given: Any = row["prompt"]
    if isinstance(given, str):
        text = str(row.get("prefix", "")) + template.replace("{prompt}", given)
        return Prompt(given, tuple(tokenizer.encode(text, add_special_tokens=False)), columns)
    tokens = tuple(int(token) for token in given)
    return Prompt(tokenizer.decode(tokens, skip_special_tokens=True), tokens, columns)


class Deck:
    """The order in which prompts are dealt: episode ``e`` reads the same prompt in every process.

    :param size: number of prompts.
    :param group_size: consecutive episodes that share a prompt.
    :param shuffle: deal each epoch in a random order drawn from (seed, epoch) instead of as given.
    """

    def __init__(self, size: int, *, group_size: int, shuffle: bool, seed: int) -> None:
        self.size, self.group_size, self.shuffle, self.seed = size, group_size, shuffle, seed
        self._epoch, self._order = -1, np.arange(size)

    def prompt_index(self, episode: int) -> int:
        """Return which prompt an episode reads."""
        epoch, place = divmod(episode // self.group_size, self.size)
        if self.shuffle and epoch != self._epoch:
            self._epoch, self._order = epoch, numpy_generator(self.seed, "deck", epoch).permutation(self.size)
        return int(self._order[place])
