"""A causal language model as a policy: acts token by token, learns on whole episodes in one pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rltk.errors import UserError
from rltk.interfaces import ComponentConfig
from rltk.losses import categorical_kl
from rltk.models import load_causal_lm, load_tokenizer, save_model
from rltk.policy import Policy
from rltk.types import Evaluation, Rollout
from rltk_policies.causal_lm.critic import HeadCritic, RewardModelCritic
from rltk_policies.causal_lm.session import CausalLMSession

CRITIC_FOLDER = "critic"


class CausalLMPolicy(Policy):
    """Any transformers causal language model, with a critic beside it.

    :param model: a model in place of the one at ``path``.
    :param tokenizer: its tokenizer, in place of the one at ``path``.
    :param device: where to put the model.
    :param autocast: returns the context in which forward passes run; for mixed precision.
    """

    name = "causal_lm"

    class Config(ComponentConfig):
        """Options of ``causal_lm``."""

        path: str | None = Field(
            None,
            examples=["$RUN/stages/sft/policy"],
            description="Folder or hub id of the model and its tokenizer.",
        )
        critic: Literal["separate", "detached", "shared"] = Field(
            "detached",
            description="separate: a model of its own, started from a reward model; detached: a linear head "
            "on the policy's hidden states that sends no gradient into them; shared: one that does.",
        )
        critic_path: str | None = Field(
            None,
            description="Reward model that a separate critic starts from; null: the critic saved in path.",
        )
        temperature: float = Field(
            1.0, gt=0, description="Divides the logits, in acting and in learning alike."
        )

    config: Config

    def __init__(
        self,
        config: Config,
        *,
        model: PreTrainedModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        device: torch.device | str = "cpu",
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        super().__init__()
        self.config = config
        self.device = torch.device(device)
        self.autocast = autocast
        model = load_causal_lm(self._path("a model"), "policy.path") if model is None else model
        self.tokenizer = (
            load_tokenizer(self._path("a tokenizer"), "policy.path") if tokenizer is None else tokenizer
        )
        self.model = model.to(self.device)
        self.critic = self._build_critic()
        # Dropout off, in acting and in learning alike: otherwise the PPO ratio is not 1 on the first pass.
        self.eval()

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Return the path of a tiny model; see :class:`rltk.interfaces.Component`."""
        from rltk.testing.worlds import save_causal_lm

        return {"path": save_causal_lm(directory)}

    def session(self, num_envs: int) -> CausalLMSession:
        """Return acting state with an empty cache of ``num_envs`` rows."""
        return CausalLMSession(self, num_envs)

    def hidden_states(self, tokens: Tensor, **inputs: Any) -> Tensor:
        """Return the trunk's last hidden states ``[B, L, d]``."""
        use_cache = "past_key_values" in inputs
        with self.autocast():
            return self.model.base_model(input_ids=tokens, use_cache=use_cache, **inputs).last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Return float32 logits ``[..., V]`` of hidden states."""
        with self.autocast():
            return self.model.get_output_embeddings()(hidden).float()

    def evaluate(self, batch: Rollout) -> Evaluation:
        """Return log-probabilities, entropies and values in one teacher-forced pass (two where the critic
        is a model of its own); see :meth:`rltk.interfaces.Policy.evaluate`."""
        before = _before_actions(batch)
        hidden = self.hidden_states(_tokens(batch))[before]
        flat = torch.log_softmax(self.logits(hidden) / self.config.temperature, -1)
        logprobs = flat.gather(-1, batch.actions[batch.mask][:, None])[:, 0]
        entropy = -(flat.exp() * flat).sum(-1)
        return Evaluation(_lay_out(logprobs, batch), _lay_out(entropy, batch), self._values(batch, hidden))

    def value(self, batch: Rollout) -> Tensor:
        """Return the critic's values ``[B, T]``."""
        if self.config.critic == "separate":
            return self._values(batch, None)
        return self._values(batch, self.hidden_states(_tokens(batch))[_before_actions(batch)])

    def distribution_parameters(self, batch: Rollout) -> Tensor:
        """Return logits, divided by the temperature, ``[B, T, V]``."""
        hidden = self.hidden_states(_tokens(batch))[_before_actions(batch)]
        return _lay_out(self.logits(hidden) / self.config.temperature, batch)

    def logprobs_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies ``[B, T]`` under logits ``[B, T, V]``."""
        log_all = torch.log_softmax(parameters, -1)
        return log_all.gather(-1, actions[..., None])[..., 0], -(log_all.exp() * log_all).sum(-1)

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the exact KL(p || q) ``[B, T]`` between two sets of logits."""
        return categorical_kl(p, q)

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return the language model's parameters."""
        return list(self.model.parameters())

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the critic's parameters."""
        return list(self.critic.parameters())

    def save(self, directory: Path) -> None:
        """Write a folder that ``AutoModelForCausalLM`` opens, with the critic in a folder inside."""
        save_model(self.model, self.tokenizer, directory)
        self.critic.save(directory / CRITIC_FOLDER)

    def _values(self, batch: Rollout, hidden: Tensor | None) -> Tensor:
        if isinstance(self.critic, RewardModelCritic):
            with self.autocast():
                return _lay_out(self.critic(_tokens(batch))[_before_actions(batch)], batch)
        assert hidden is not None
        return _lay_out(self.critic(hidden.detach() if self.config.critic == "detached" else hidden), batch)

    def _build_critic(self) -> RewardModelCritic | HeadCritic:
        saved = None if self.config.path is None else Path(self.config.path) / CRITIC_FOLDER
        if self.config.critic == "separate":
            source = saved if self.config.critic_path is None else Path(self.config.critic_path)
            if source is None or not source.exists():
                raise UserError(
                    "policy.critic_path",
                    "a separate critic starts from a reward model, and there is none",
                    got=self.config.critic_path,
                    fix="give the path of one, or choose critic: detached",
                )
            return RewardModelCritic(source, self.device)
        has_head = saved is not None and (saved / HeadCritic.FILE).exists()
        return HeadCritic(self.model.config.hidden_size, saved if has_head else None, self.device)

    def _path(self, what: str) -> str:
        if self.config.path is None:
            raise UserError(
                "policy.path", f"there is no path to load {what} from", fix=f"give a path, or {what}"
            )
        return self.config.path


def _tokens(batch: Rollout) -> Tensor:
    assert batch.tokens is not None
    return batch.tokens


def _before_actions(batch: Rollout) -> tuple[Tensor, Tensor]:
    """Return the (row, column) indices of the token before each action, in the order of ``batch.mask``."""
    assert batch.action_mask is not None
    rows, columns = batch.action_mask.nonzero(as_tuple=True)
    return rows, columns - 1


def _lay_out(flat: Tensor, batch: Rollout) -> Tensor:
    """Place one entry an action into ``[B, T, ...]`` of zeros."""
    laid_out = flat.new_zeros(*batch.mask.shape, *flat.shape[1:])
    return laid_out.index_put(batch.mask.nonzero(as_tuple=True), flat)
