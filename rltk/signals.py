"""Stopping politely: the first Ctrl-C or SIGTERM asks for a checkpoint, the second one ends the process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rltk.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether somebody asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signum: int | None = None

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """Remember the first signal; on the second end the process at once."""
        if self.signum is not None:
            os._exit(128 + signum)
        self.signum = signum
        os.write(2, b"\nrltk: stopping after this step; once more to stop at once\n")

    def raise_if_requested(self) -> None:
        """Raise :class:`Interrupted` if a signal came; call where the state is safe."""
        if self.signum is not None:
            raise Interrupted(self.signum)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Catch SIGINT and SIGTERM inside the block; outside the main thread nothing can be caught."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    former = {signum: signal.signal(signum, request.handle) for signum in _SIGNALS}
    try:
        yield request
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)
