"""A finished prompt and response: what rewards, labelers and metrics look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Episode:
    """A prompt and a response, as text and as the very token ids that were read and sampled.

    :param prompt: the prompt as the data row has it, without the template.
    :param response: the response as text, without special tokens or the stop string.
    :param prompt_tokens: ids the policy read before its first action, template included.
    :param response_tokens: ids of the actions, the EOS token included where one was sampled.
    :param columns: the data row's further columns, such as a gold answer.
    :param terminated: whether the response ended by itself (EOS or a stop string).
    :param truncated: whether it was cut off at the length budget.
    """

    prompt: str
    response: str
    prompt_tokens: tuple[int, ...] = ()
    response_tokens: tuple[int, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)
    terminated: bool = True
    truncated: bool = False
