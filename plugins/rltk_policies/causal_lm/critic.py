"""Critics of a language model policy: a value for every position of a text."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rltk.models import load_reward_model, quiet_transformers


class RewardModelCritic(nn.Module):
    """A model of its own that starts as a reward model (Ouyang et al. 2022, appendix C.4).

    Its value at a position is the scalar head's score of the text up to there, less the reward bias.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        super().__init__()
        self.model = load_reward_model(path, "policy.critic_path").to(device)
        self.bias = float(getattr(self.model.config, "reward_bias", 0.0))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return values ``[B, L]`` of every prefix of ``tokens [B, L]``."""
        hidden = self.model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
        return self.model.score(hidden)[..., 0].float() - self.bias

    def save(self, directory: Path) -> None:
        """Write a folder that ``AutoModelForSequenceClassification`` opens."""
        with quiet_transformers():
            self.model.save_pretrained(directory)


class HeadCritic(nn.Module):
    """A linear head on the policy's own hidden states, initialised to 0 (Ziegler et al. 2019)."""

    FILE = "value_head.safetensors"

    def __init__(self, hidden_size: int, directory: Path | None, device: torch.device) -> None:
        super().__init__()
        self.head = nn.utils.skip_init(nn.Linear, hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        if directory is not None:
            self.head.load_state_dict(load_file(directory / self.FILE))
        self.to(device)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return values of hidden states ``[..., d]``."""
        return self.head(hidden.float())[..., 0]

    def save(self, directory: Path) -> None:
        """Write the head's weights."""
        directory.mkdir(parents=True, exist_ok=True)
        save_file(self.head.state_dict(), directory / self.FILE)
