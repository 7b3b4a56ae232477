"""Critics of a language model policy: a value for every position of a text."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rltk.models import fuse_activations, load_reward_model, quiet_transformers
from rltk.preference import scores_at
from rltk.rng import seeded_initialisation

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Where a saved policy keeps its critic.
CRITIC_FOLDER = "critic"


class SeparateCritic(nn.Module):
    """A model of its own, with a scalar head whose score of a text is the value of its last position.

    Started from a reward model (Ouyang et al. 2022, appendix C.4), whose bias is subtracted.
    """

    def __init__(self, model: PreTrainedModel, device: torch.device) -> None:
        super().__init__()
        self.model = model.to(device)
        fuse_activations(self.model)
        self.bias = float(getattr(model.config, "reward_bias", 0.0))

    @classmethod
    def from_reward_model(cls, path: Path, device: torch.device) -> SeparateCritic:
        """Return a critic that begins as the reward model in a folder."""
        return cls(load_reward_model(path, "policy.critic_path"), device)

    @classmethod
    def from_trunk(cls, model: PreTrainedModel, device: torch.device) -> SeparateCritic:
        """Return a critic with a copy of a language model's trunk, whose values are 0 at first."""
        from transformers import AutoModelForSequenceClassification  # see rltk.models on why not above

        config = copy.deepcopy(model.config)
        config.num_labels = 1
        with quiet_transformers(), seeded_initialisation("critic"):
            critic = AutoModelForSequenceClassification.from_config(config)
        critic.base_model.load_state_dict(model.base_model.state_dict())
        nn.init.zeros_(critic.score.weight)
        return cls(critic, device)

    def forward(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Return the values ``[n]`` of some prefixes.

        :param tokens: ``[B, L]`` right-padded.
        :param places: ``[n]`` int64, where the prefixes end in the flattened tokens.
        """
        return scores_at(self.model, tokens, places) - self.bias

    def save(self, directory: Path) -> None:
        """Write a folder that ``AutoModelForSequenceClassification`` opens."""
        with quiet_transformers():
            self.model.save_pretrained(directory)


class HeadCritic(nn.Module):
    """A linear head on the policy's own hidden states, initialised to 0 (Ziegler et al. 2019).

    :param saved: folder of a head to begin with, or None.
    :param detach: whether to keep the gradient of the values out of the hidden states.
    """

    FILE = "value_head.safetensors"

    def __init__(self, hidden_size: int, saved: Path | None, device: torch.device, *, detach: bool) -> None:
        super().__init__()
        self.detach = detach
        self.head = nn.utils.skip_init(nn.Linear, hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        if saved is not None:
            self.head.load_state_dict(load_file(saved / self.FILE))
        self.to(device)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return values of hidden states ``[..., d]``."""
        return self.head((hidden.detach() if self.detach else hidden).float())[..., 0]

    def save(self, directory: Path) -> None:
        """Write the head's weights."""
        directory.mkdir(parents=True, exist_ok=True)
        save_file(self.head.state_dict(), directory / self.FILE)


def build_critic(
    kind: str, path: str | None, critic_path: str | None, model: PreTrainedModel
) -> SeparateCritic | HeadCritic | None:
    """Return the critic of a policy, as saved where it was, or None where there is to be none.

    :param kind: the option ``critic`` of the policy, as are ``path`` and ``critic_path``.
    :param model: the policy's.
    """
    if kind == "auto":
        kind = "detached_head" if critic_path is None else "separate"
    if kind == "none":
        return None
    saved = None if path is None else Path(path) / CRITIC_FOLDER
    if kind != "separate":
        has_head = saved is not None and (saved / HeadCritic.FILE).exists()
        size, detach = model.config.hidden_size, kind == "detached_head"
        return HeadCritic(size, saved if has_head else None, model.device, detach=detach)
    if critic_path is not None:
        return SeparateCritic.from_reward_model(Path(critic_path), model.device)
    if saved is not None and (saved / "config.json").exists():
        return SeparateCritic.from_reward_model(saved, model.device)
    return SeparateCritic.from_trunk(model, model.device)
