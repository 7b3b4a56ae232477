"""A causal language model as a policy: acts token by token, learns on whole episodes in one pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from gymnasium.spaces import Space
from pydantic import Field
from torch import Tensor, nn

from rltk.chunked_logprobs import token_logprobs_and_entropy
from rltk.distributions import categorical_kl, categorical_logprobs_and_entropy, restrict
from rltk.errors import UserError
from rltk.gpt2_pass import gpt2_hidden_states
from rltk.interfaces import ComponentConfig
from rltk.models import fuse_activations, load_causal_lm, load_tokenizer, save_model
from rltk.policy import Policy
from rltk.processes import require_unwrapped
from rltk.types import Evaluation, Rollout
from rltk_policies.causal_lm.compiled import compile_trunk
from rltk_policies.causal_lm.critic import CRITIC_FOLDER, HeadCritic, build_critic
from rltk_policies.causal_lm.lora import ADAPTER_FOLDER, Adapter, LoRAConfig, base_of, saved_adapter
from rltk_policies.causal_lm.positions import allowed_at, before_actions, lay_out, read_tokens
from rltk_policies.causal_lm.sampling import Truncation
from rltk_policies.causal_lm.session import CausalLMSession

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class CausalLMPolicy(Policy):
    """Any transformers causal language model, with a critic beside it.

    :param model: a model in place of the one at ``path``.
    :param tokenizer: its tokenizer, in place of the one at ``path``.
    :param spaces: of the environment; None for text, the only kind that this policy takes.
    :param device: where to put the model.
    :param autocast: returns the context in which forward passes run; for mixed precision.
    :param generator: draws the initial weights of a LoRA adapter.
    """

    name = "causal_lm"

    class Config(ComponentConfig):
        """Options of ``causal_lm``."""

        path: str | None = Field(
            None,
            examples=["$RUN/stages/sft/policy"],
            description="Folder or hub id of the model and its tokenizer.",
        )
        critic: Literal["auto", "separate", "detached_head", "shared_trunk", "none"] = Field(
            "auto",
            description="separate: a model of its own; detached_head: a linear head on the policy's hidden "
            "states that sends no gradient into them; shared_trunk: one that does; none: all values are 0, "
            "for algorithms without a critic; auto: separate where critic_path is given, else detached_head.",
        )
        critic_path: str | None = Field(
            None,
            description="Reward model that a separate critic starts from; null: the critic saved in path, or "
            "else a copy of the policy's trunk.",
        )
        temperature: float = Field(
            1.0, gt=0, description="Divides the logits, in acting and in learning alike."
        )
        top_k: int | None = Field(
            None,
            ge=1,
            description="Draw from the k most probable tokens only. As top_p and min_p, for policies that "
            "act and do not learn: log-probabilities are of what is left of the distribution, which biases "
            "ratios and KLs.",
        )
        top_p: float | None = Field(
            None,
            gt=0,
            lt=1,
            description="Draw from the fewest tokens whose probabilities sum to this; see top_k.",
        )
        min_p: float | None = Field(
            None,
            gt=0,
            le=1,
            description="Draw from tokens at least this many times as probable as the most probable one; see "
            "top_k.",
        )
        compile: bool = Field(
            False,
            description="Compile the model for acting (torch.compile): the first steps take minutes, those "
            "after it less time each. On a CPU it needs a C++ compiler.",
        )
        lora: LoRAConfig | None = Field(
            None,
            description="Train a low-rank adapter (extra `lora`) and keep the model as it is; one saved in "
            "path goes on with its own options; null: train the model itself.",
        )

    config: Config
    #: What is trained in place of the model; None where the model is.
    adapter: Adapter | None = None
    #: Path or hub id of the model before training; None where it was given.
    base: str | None

    def __init__(
        self,
        config: Config,
        *,
        model: PreTrainedModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        spaces: tuple[Space[Any], Space[Any]] | None = None,
        device: torch.device | str = "cpu",
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if spaces is not None:
            fix = "choose a policy for arrays, e.g. mlp, or a text environment"
            raise UserError("policy.name", "'causal_lm' acts on text, not on arrays", got=spaces[0], fix=fix)
        self.config = config
        self.truncation = Truncation(config.top_k, config.top_p, config.min_p)
        self.device = torch.device(device)
        self.autocast = autocast
        saved = saved_adapter(config.path) if config.lora is not None else None
        self.base = config.path if saved is None else base_of(saved)
        model = self._load_model(saved) if model is None else model
        require_unwrapped(model, "policy.model")
        self.tokenizer = (
            load_tokenizer(self._path("a tokenizer"), "policy.path") if tokenizer is None else tokenizer
        )
        self.model = model.to(self.device)
        fuse_activations(self.model)
        self.critic = build_critic(config.critic, config.path, config.critic_path, self.model)
        if config.lora is not None:
            generator = generator or torch.Generator().manual_seed(0)
            seed = int(torch.randint(2**62, (), generator=generator))
            self.adapter = Adapter(self.model, config.lora, saved=saved, seed=seed)
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

    def hidden_states(
        self, tokens: Tensor, *, trunk: Callable[..., Any] | None = None, **inputs: Any
    ) -> Tensor:
        """Return the trunk's last hidden states ``[B, L, d]``.

        :param trunk: the trunk's forward pass in another form, such as a compiled one.
        """
        with self.autocast():
            output = (trunk or self.model.base_model)(input_ids=tokens, use_cache=False, **inputs)
        return output.last_hidden_state

    @cached_property
    def compiled_trunk(self) -> Callable[..., Any] | None:
        """What acting calls in place of the trunk where it can; None where nothing is to be compiled."""
        return compile_trunk(self.model) if self.config.compile else None

    def logits(self, hidden: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Return float32 logits ``[..., V]`` of hidden states, divided by the temperature.

        Tokens that truncation leaves out have minus infinity.

        :param allowed: ``[..., V]`` the tokens that may be taken; the others get minus infinity.
        """
        with self.autocast():
            logits = self.model.get_output_embeddings()(hidden).float()
        if self.config.temperature != 1.0:
            logits = logits / self.config.temperature
        return self.truncation.apply(restrict(logits, allowed))

    def evaluate(self, batch: Rollout) -> Evaluation:
        """Return log-probabilities, entropies and values in one teacher-forced pass (two where the critic
        is a model of its own); see :meth:`rltk.policy.Policy.evaluate`."""
        hidden = self._hidden_before_actions(batch)
        logprobs, entropy = self._logprobs_and_entropy(batch, hidden)
        return Evaluation(logprobs, entropy, self._values(batch, hidden))

    def action_logprobs(self, batch: Rollout) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies ``[B, T]``, without a pass of the critic."""
        return self._logprobs_and_entropy(batch, self._hidden_before_actions(batch))

    def value(self, batch: Rollout) -> Tensor:
        """Return the critic's values ``[B, T]``."""
        if isinstance(self.critic, HeadCritic):
            return self._values(batch, self._hidden_before_actions(batch))
        return self._values(batch, None)

    def values_in_passing(self, hidden: Tensor) -> Tensor | None:
        """Return the values ``[n]`` of hidden states, or None where they cost a pass of the critic's own."""
        if self.critic is None:
            return hidden.new_zeros(len(hidden), dtype=torch.float32)
        return self.critic(hidden) if isinstance(self.critic, HeadCritic) else None

    def distribution_parameters(self, batch: Rollout) -> Tensor:
        """Return logits, divided by the temperature, ``[B, T, V]``."""
        hidden = self._hidden_before_actions(batch, differentiable_twice=torch.is_grad_enabled())
        return lay_out(self.logits(hidden, allowed_at(batch)), batch)

    def logprobs_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies ``[B, T]`` under logits ``[B, T, V]``."""
        return categorical_logprobs_and_entropy(parameters, actions)

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the exact KL(p || q) ``[B, T]`` between two sets of logits."""
        return categorical_kl(p, q)

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return the language model's parameters, or the adapter's."""
        return list(self.model.parameters()) if self.adapter is None else self.adapter.parameters()

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the critic's parameters."""
        return [] if self.critic is None else list(self.critic.parameters())

    def reference(self, config: Config) -> Policy | None:
        """Return the model without its adapter where ``config`` asks for just that."""
        if self.adapter is None or config.lora is not None or not _same_model(config.path, self.base):
            return None
        from rltk_policies.causal_lm.adapter_off import AdapterOff

        return AdapterOff(self, config)

    def save(self, directory: Path) -> None:
        """Write a folder that ``AutoModelForCausalLM`` opens, with the critic in a folder inside.

        An adapter is merged into the weights, and lies in a folder by itself too.
        """
        if self.adapter is None:
            save_model(self.model, self.tokenizer, directory)
        else:
            save_model(self.adapter.merged(), self.tokenizer, directory)
            self.adapter.save(directory / ADAPTER_FOLDER, self.base)
        if self.critic is not None:
            self.critic.save(directory / CRITIC_FOLDER)

    def _hidden_before_actions(self, batch: Rollout, *, differentiable_twice: bool = False) -> Tensor:
        """Return the hidden states ``[num_actions, d]`` that each action was drawn from."""
        tokens = read_tokens(batch, self.model, "policy")
        places = before_actions(batch, tokens.shape[1])
        with self.autocast():
            hidden = (
                None if differentiable_twice else gpt2_hidden_states(self.model.base_model, tokens, places)
            )
        return self.hidden_states(tokens).flatten(0, 1).index_select(0, places) if hidden is None else hidden

    def _logprobs_and_entropy(self, batch: Rollout, hidden: Tensor) -> tuple[Tensor, Tensor]:
        allowed = allowed_at(batch)
        if self.truncation:
            allowed = self._left_by_truncation(hidden, allowed)
        with self.autocast():
            logprobs, entropy = token_logprobs_and_entropy(
                self.model.get_output_embeddings(),
                hidden,
                batch.actions[batch.mask],
                temperature=self.config.temperature,
                allowed=allowed,
            )
        return lay_out(logprobs, batch), lay_out(entropy, batch)

    def _left_by_truncation(self, hidden: Tensor, allowed: Tensor | None) -> Tensor:
        """Return ``[num_actions, V]`` the tokens that acting draws from."""
        if torch.is_grad_enabled():
            what = "a policy cannot learn with top_k, top_p or min_p: a token that they leave out after an "
            what += "update would have probability 0"
            raise UserError("policy", what, fix="set them where the policy is only evaluated")
        return CausalLMPolicy.logits(self, hidden, allowed) > -torch.inf

    def _values(self, batch: Rollout, hidden: Tensor | None) -> Tensor:
        if self.critic is None:
            return torch.zeros(batch.mask.shape, device=batch.mask.device)
        if isinstance(self.critic, HeadCritic):
            return lay_out(self.critic(hidden), batch)
        with self.autocast():
            tokens = read_tokens(batch, self.critic.model, "policy.critic_path")
            return lay_out(self.critic(tokens, before_actions(batch, tokens.shape[1])), batch)

    def _load_model(self, adapter: Path | None) -> PreTrainedModel:
        if adapter is None:
            return load_causal_lm(self._path("a model"), "policy.path")
        return load_causal_lm(base_of(adapter), f"{adapter}, its base model")

    def _path(self, what: str) -> str:
        if self.config.path is None:
            raise UserError(
                "policy.path", f"there is no path to load {what} from", fix=f"give a path, or {what}"
            )
        return self.config.path


def _same_model(path: str | None, base: str | None) -> bool:
    """Return whether two paths or hub ids are of one model."""
    return path is not None and base is not None and Path(path).resolve() == Path(base).resolve()
