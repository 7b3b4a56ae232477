"""Prompts of a text environment: read from rows, tokenised once, dealt in a reproducible order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rltk.errors import UserError
from rltk.rng import numpy_generator

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PromptLike = str | Sequence[int] | Mapping[str, Any]


@dataclass(frozen=True)
class Prompt:
    """One prompt: its text, the ids the policy reads, and the data row's further columns."""

    text: str
    tokens: tuple[int, ...]
    columns: Mapping[str, Any]


def read_prompts(
    prompts: Sequence[PromptLike],
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
    if not len(prompts):
        raise UserError("environment.prompts", "there are no prompts", fix="give at least one")
    read = [_read_prompt(prompt, tokenizer, template) for prompt in prompts]
    for i, prompt in enumerate(read):
        if not prompt.tokens:
            raise UserError(
                f"environment.prompts[{i}]", "the prompt has no tokens", fix="remove the empty prompt"
            )
        if max_tokens is not None and len(prompt.tokens) > max_tokens:
            raise UserError(
                f"environment.prompts[{i}]",
                f"the prompt is longer than max_prompt_tokens={max_tokens}",
                got=len(prompt.tokens),
                fix="shorten or drop it, or raise max_prompt_tokens up to the model's context",
            )
    return read


def _read_prompt(prompt: PromptLike, tokenizer: PreTrainedTokenizerBase, template: str) -> Prompt:
    if isinstance(prompt, str):
        return _read_prompt({"prompt": prompt}, tokenizer, template)
    if isinstance(prompt, Mapping):
        columns = {key: value for key, value in prompt.items() if key not in ("prompt", "prefix")}
        text = prompt.get("prefix", "") + template.replace("{prompt}", prompt["prompt"])
        return Prompt(prompt["prompt"], tuple(tokenizer.encode(text, add_special_tokens=False)), columns)
    tokens = tuple(int(token) for token in prompt)
    return Prompt(tokenizer.decode(tokens, skip_special_tokens=True), tokens, {})


class Deck:
    """The order in which prompts are dealt: episode ``e`` reads the same prompt in every process.

    :param size: number of prompts.
    :param group_size: consecutive episodes that share a prompt.
    :param shuffle: deal each epoch in a random order drawn from (seed, epoch) instead of as given.
    """

    def __init__(self, size: int, *, group_size: int, shuffle: bool, seed: int) -> None:
        self.size, self.group_size, self.shuffle, self.seed = size, group_size, shuffle, seed

    def prompt_index(self, episode: int) -> int:
        """Return which prompt an episode reads."""
        epoch, place = divmod(episode // self.group_size, self.size)
        return int(_epoch_order(self.seed, epoch, self.size)[place]) if self.shuffle else place


@lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    return numpy_generator(seed, "deck", epoch).permutation(size)
