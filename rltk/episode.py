"""A finished prompt and response: what rewards, labelers and metrics look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Episode:
    """A prompt and a response, as text and as the very token ids that were read and sampled.

    :param prompt: the prompt as the data row has it, without the template.
    :param response: everything after the prompt as text, without special tokens or the last stop string.
    :param prompt_tokens: ids the policy read before its first action, template included.
    :param response_tokens: ids of everything after the prompt: the actions, the EOS token included where one
        was sampled, and between them what the environment answered.
    :param columns: the data row's further columns, such as a gold answer.
    :param terminated: whether the response ended by itself (EOS or a stop string).
    :param truncated: whether it was cut off at the length budget, or at that of turns.
    :param turns: what the policy said and what the environment answered, turn by turn, the last answer empty;
        empty where the environment never answers.
    :param action_mask: which of ``response_tokens`` are actions; None: all of them.
    """

    prompt: str
    response: str
    prompt_tokens: tuple[int, ...] = ()
    response_tokens: tuple[int, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)
    terminated: bool = True
    truncated: bool = False
    turns: tuple[tuple[str, str], ...] = ()
    action_mask: tuple[bool, ...] | None = None

    @property
    def num_actions(self) -> int:
        """Number of tokens that the policy wrote."""
        return len(self.response_tokens) if self.action_mask is None else sum(self.action_mask)
