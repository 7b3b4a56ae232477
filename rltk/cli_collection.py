"""What commands do about the garbage collector while they load what they need."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Keep the garbage collector from what is made in the block: modules, classes and syntax trees.

    They last as long as the process. Looking through them again and again while they become more, and once
    more at the end of the process, would take a third of the time that torch or a list of plugins takes.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
