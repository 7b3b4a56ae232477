"""Masks that hide nothing, which small networks should not pay for."""

from torch import Tensor


def without_padding(mask: Tensor) -> bool:
    """Return whether every entry of a mask is True, as in batches of single steps.

    Asked on a CPU alone: elsewhere the answer is a wait for the device, and what it saves is little.
    """
    return mask.is_cpu and bool(mask.all())
