"""Texts that end a response, looked for in its last tokens only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class StopTexts:
    """Finds stop texts, also those that span tokens or end within one.

    Only as many tokens are decoded as can hold a stop text: a character has at most four, one a byte, and the
    first few of a tail may read differently than they do after what precedes them.

    :param texts: any of them ends a response.
    """

    def __init__(self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> None:
        self.texts = tuple(texts)
        self._tokenizer = tokenizer
        self._tail = 4 * max((len(text) for text in self.texts), default=0) + 8
        added = tokenizer.added_tokens_decoder
        special = {*tokenizer.all_special_ids, *(i for i, token in added.items() if token.special)}
        self._readable = np.ones(len(tokenizer), dtype=bool)
        self._readable[sorted(special)] = False

    def __bool__(self) -> bool:
        return bool(self.texts)

    def end(self, tokens: NDArray[np.int64]) -> bool:
        """Return whether the last of some tokens completes a stop text.

        :param tokens: ``[n]`` of a response that held none before its last token.
        """
        readable = tokens[self._readable[tokens]]
        text = self._tokenizer.decode(readable[-self._tail :], skip_special_tokens=True)
        return any(stop in text for stop in self.texts)

    def cut(self, text: str) -> str:
        """Return a text up to the first stop text in it."""
        return text[: min((place for stop in self.texts if (place := text.find(stop)) >= 0), default=None)]
