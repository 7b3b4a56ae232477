"""Brackets: close what was opened, in a given number of tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from rltk.interfaces import Row
from rltk_envs.suite.base import Level, SuiteEnvironment

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

_PAIRS = {"(": ")", "[": "]", "{": "}", "<": ">"}
_OPENING, _CLOSING = tuple(_PAIRS), tuple(_PAIRS.values())
#: Kinds of brackets, most brackets of a prompt, fewest and most of a response.
_SIZES: dict[Level, tuple[int, int, int, int]] = {
    "easy": (2, 6, 2, 5),
    "medium": (3, 8, 5, 9),
    "hard": (4, 14, 10, 18),
}
#: The most that a response in the wrong may be worth.
_WRONG = 0.5


def still_open(brackets: Iterable[str]) -> list[str] | None:
    """Return the brackets that wait to be closed, the innermost last; None where one is closed wrongly."""
    stack: list[str] = []
    for bracket in brackets:
        if bracket in _PAIRS:
            stack.append(bracket)
        elif not stack or _PAIRS[stack.pop()] != bracket:
            return None
    return stack


def may_follow(row: Row, said: Sequence[str]) -> set[str]:
    """Return the brackets that leave a response able to become right; none if it is complete or wrong."""
    stack = still_open([*row["opened"], *said])
    left = row["count"] - len(said) - 1
    if stack is None or left < 0:
        return set()
    closing = {_PAIRS[stack[-1]]} if stack else set()
    return closing | (set(_OPENING) if len(stack) < left else set())


class Brackets(SuiteEnvironment):
    """Go on from some brackets until all are closed, with just as many as the number in front says.

    Where the number is larger than what is open there are many right responses, each worth 1. Any other is
    worth half the length of its longest beginning that can still become right, as a share of the number asked
    for or, where that is more, of what was said. A grammar: what may come next can be known, and with
    ``masked`` only that is allowed.
    """

    name = "brackets"
    words = (*_OPENING, *_CLOSING, *(str(number) for number in range(_SIZES["hard"][3] + 1)), ":")
    random_scores = {"easy": 0.009, "medium": 0.010, "hard": 0.006}

    class Config(SuiteEnvironment.Config):
        """Options of brackets."""

        masked: bool = Field(
            False, description="Allow only tokens after which the response can become right."
        )

    config: Config

    def draw(self, rng: Random, level: Level) -> Row:
        """Return a row with the ``opened`` brackets and the ``count`` of those to add."""
        kinds, most, fewest, longest = _SIZES[level]
        opened: list[str] = []
        for _ in range(rng.randint(1, most)):
            stack = still_open(opened) or []
            close = stack and (len(stack) == longest or rng.random() < 0.4)
            opened.append(_PAIRS[stack[-1]] if close else rng.choice(_OPENING[:kinds]))
        depth = len(still_open(opened) or [])
        count = rng.choice([n for n in range(max(fewest, depth), longest + 1) if (n - depth) % 2 == 0])
        return {"prompt": " ".join([str(count), *opened]), "opened": opened, "count": count}

    def longest(self, level: Level) -> int:
        """Return the most brackets that a prompt asks for."""
        return _SIZES[level][3]

    def score(self, row: Row, response: str) -> float:
        """Return 1 for a right response, less by how far it could still become one."""
        said = response.split()
        good = next((n for n in range(len(said)) if said[n] not in may_follow(row, said[:n])), len(said))
        return 1.0 if good == row["count"] == len(said) else _WRONG * good / max(len(said), row["count"])

    def oracle(self, row: Row, turns: Sequence[tuple[str, str]] = ()) -> str:
        """Return pairs of round brackets as far as there is room, then what closes the open ones."""
        stack = still_open(row["opened"]) or []
        pairs = (row["count"] - len(stack)) // 2
        return " ".join([*("()" * pairs), *(_PAIRS[bracket] for bracket in reversed(stack))])

    def task_options(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Return the rule of which tokens may come next, where it is to be kept."""
        if not self.config.masked:
            return {}
        ids = {word: tokenizer.convert_tokens_to_ids(word) for word in (*_OPENING, *_CLOSING)}
        words = {token: word for word, token in ids.items()}

        def allowed_tokens(row: Row, tokens: tuple[int, ...]) -> NDArray[np.bool_]:
            follow = may_follow(row, [words[token] for token in tokens])
            mask = np.zeros(len(tokenizer), dtype=np.bool_)
            mask[[ids[word] for word in follow] or [tokenizer.eos_token_id]] = True
            return mask

        return {"allowed_tokens": allowed_tokens}

    def score_bounds(self) -> tuple[float, float] | None:
        """Return the scores of random tokens and of the oracle; None where the wrong ones are not allowed."""
        return None if self.config.masked else super().score_bounds()
