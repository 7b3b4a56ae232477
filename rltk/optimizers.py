"""torch's optimisers without what torch puts around each of their steps.

These are a label for profilers, hooks that nothing here registers, and a guard against being compiled, for
which the first step imports torch's compiler: a second of CPU time, as much as all else that a control run
loads. On networks of a few thousand weights the label alone takes longer than the step.
"""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer

Kind = TypeVar("Kind", bound=Optimizer)
_GUARDED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def bare(kind: type[Kind]) -> type[Kind]:
    """Return an optimiser that computes just what ``kind`` does, runs no step hooks and is not compiled."""
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in _GUARDED}
    step: Any = torch.no_grad()(inspect.unwrap(kind.step))
    step.hooked = True  # what torch marks a step with that has its label and hooks
    return type(kind.__name__, (kind,), {**methods, "step": step})


Adam = bare(torch.optim.Adam)
RMSprop = bare(torch.optim.RMSprop)
