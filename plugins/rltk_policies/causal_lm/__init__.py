"""A causal language model as a policy over tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rltk.hookspecs import hookimpl

if TYPE_CHECKING:
    from rltk.policy import Policy


@hookimpl
def rltk_policies() -> list[type[Policy]]:
    """Provide ``causal_lm``."""
    from rltk_policies.causal_lm.policy import CausalLMPolicy

    return [CausalLMPolicy]
