"""What policies without parameters share: they act, and are evaluated, but cannot be trained."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from rltk.policy import Policy
from rltk.types import Evaluation, Rollout

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Baseline(Policy):
    """A policy to compare others with; values are 0.

    :param spaces: the environment's single observation and action space; None for text.
    :param build_tokenizer: gives the tokenizer of a text environment, where the options name none.
    """

    #: For text alone.
    tokenizer: PreTrainedTokenizerBase

    def __init__(
        self,
        config: Any,
        *,
        spaces: tuple[Space[Any], Space[Any]] | None = None,
        device: torch.device | str = "cpu",
        build_tokenizer: Callable[[], PreTrainedTokenizerBase] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.spaces = config, spaces
        self.device = torch.device(device)
        self.memoryless = spaces is not None
        if spaces is None:
            self.tokenizer = find_tokenizer(config.tokenizer_path, build_tokenizer)

    def evaluate(self, batch: Rollout) -> Evaluation:
        """Return log-probabilities, entropies and values; see :meth:`rltk.policy.Policy.evaluate`."""
        logprobs, entropy = self.logprobs_and_entropy(self.distribution_parameters(batch), batch.actions)
        mask = batch.mask
        return Evaluation(
            torch.where(mask, logprobs, 0.0), torch.where(mask, entropy, 0.0), self.value(batch)
        )

    def value(self, batch: Rollout) -> Tensor:
        """Return zeros ``[B, T]``."""
        return torch.zeros(batch.mask.shape, device=batch.mask.device)

    @abstractmethod
    def distribution_parameters(self, batch: Rollout) -> Tensor:
        """Return what defines each action distribution, ``[B, T, P]``."""

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return nothing."""
        return []

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return nothing."""
        return []

    def save(self, directory: Path) -> None:
        """Write the options."""
        directory.mkdir(parents=True, exist_ok=True)
        options = {"policy": self.name, **self.config.model_dump(mode="json")}
        (directory / "policy.json").write_text(json.dumps(options, indent=2) + "\n")


def find_tokenizer(
    path: str | None, build_tokenizer: Callable[[], PreTrainedTokenizerBase] | None
) -> PreTrainedTokenizerBase:
    """Return the tokenizer at a path, or else the environment's.

    :raises UserError: there is neither.
    """
    from rltk.errors import UserError
    from rltk.models import load_tokenizer

    where, fix = "policy.tokenizer_path", "give the path of a policy or tokenizer"
    if path is not None:
        return load_tokenizer(path, where)
    if build_tokenizer is None:
        raise UserError(where, "text needs a tokenizer, and there is none", fix=fix)
    try:
        return build_tokenizer()
    except UserError as error:
        raise UserError(where, f"text needs a tokenizer, and {error.what}", fix=fix) from error
