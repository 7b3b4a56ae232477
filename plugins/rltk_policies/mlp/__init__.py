"""Multi-layer perceptrons as actor and critic, for array observations."""

from __future__ import annotations

from rltk.hookspecs import hookimpl
from rltk.policy import Policy
from rltk_policies.mlp.policy import MLPPolicy


@hookimpl
def rltk_policies() -> list[type[Policy]]:
    """Provide ``mlp``."""
    return [MLPPolicy]
