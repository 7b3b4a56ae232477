"""One process trains one model, whole: what is started or spread otherwise is refused in a line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rltk.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn


def require_one_process() -> None:
    """Require that no launcher has started the command several times, as they would write into one run.

    :raises UserError: torchrun, accelerate or the like has.
    """
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes != "1":
        what = "a run is one process, and a launcher started several"
        fix = "start it without torchrun or accelerate; for several GPUs one run on each, with device=cuda:N"
        raise UserError("WORLD_SIZE", what, got=processes, fix=fix)


def require_unwrapped(model: nn.Module, where: str) -> None:
    """Require a model as transformers makes it, with all its weights.

    :param where: what to blame in the error.
    :raises UserError: it is wrapped for parallel training, or its weights are spread over processes.
    """
    if hasattr(model, "module") and not hasattr(model, "base_model"):
        what, fix = "a model wrapped for parallel training cannot act", "pass what is in it: model.module"
        raise UserError(where, what, got=type(model).__name__, fix=fix)
    require_whole(model.parameters(), where)


def require_whole(parameters: Iterable[Tensor], where: str) -> None:
    """Require parameters of which this process holds every number.

    Natural gradients, clipping, checkpoints and acting all read them as a whole.

    :param where: what to blame in the error.
    :raises UserError: FSDP or tensor parallelism has spread them over processes.
    """
    # DTensor is told by its placements, the older FSDP's flat parameter by its mark: their types take a
    # second to import.
    spread = [p for p in parameters if hasattr(p, "placements") or hasattr(p, "_fsdp_flattened")]
    if spread:
        what = "weights are spread over processes, and rltk trains whole models in one"
        fix = (
            "give it the model as it was before fully_shard; where memory is short, use lora or a smaller one"
        )
        raise UserError(where, what, got=type(spread[0]).__name__, fix=fix)
