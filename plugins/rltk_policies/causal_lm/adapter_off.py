"""What a policy with an adapter was before training, on the same weights: the reference of a KL penalty."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from rltk.types import Rollout
from rltk_policies.causal_lm.policy import CausalLMPolicy


class AdapterOff(CausalLMPolicy):
    """What a policy with an adapter was before training: a view of its weights, to evaluate with.

    :param policy: whose weights to use.
    """

    def __init__(self, policy: CausalLMPolicy, config: CausalLMPolicy.Config) -> None:
        super().__init__(
            config.model_copy(update={"critic": "none"}),
            model=policy.model,
            tokenizer=policy.tokenizer,
            device=policy.device,
            autocast=policy.autocast,
        )
        assert policy.adapter is not None
        self._off = policy.adapter.off

    def hidden_states(self, tokens: Tensor, **inputs: Any) -> Tensor:
        """Return the base model's last hidden states ``[B, L, d]``."""
        with self._off():
            return super().hidden_states(tokens, **inputs)

    def logits(self, hidden: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Return the base model's logits ``[..., V]``."""
        with self._off():
            return super().logits(hidden, allowed)

    def _logprobs_and_entropy(self, batch: Rollout, hidden: Tensor) -> tuple[Tensor, Tensor]:
        with self._off():
            return super()._logprobs_and_entropy(batch, hidden)

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return nothing: the weights are another policy's."""
        return []
