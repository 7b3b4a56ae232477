"""Cells spread over processes: one cell at a time to each, and a process that dies costs only its cell."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from rltk.bench.plan import Bench, Cell
from rltk.bench.workshop import Outcome, Workshop
from rltk.registry import load_plugins
from rltk.signals import StopRequest

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def play_in_processes(
    cells: Iterable[Cell], bench: Bench, count: int, stop: StopRequest, finished: Callable[[Outcome], None]
) -> None:
    """Play cells in ``count`` processes.

    :param stop: once it is set, no further cell is begun; those under way are finished.
    :param finished: called with the outcome of every cell, as they come.
    """
    left = deque(cells)
    idle: list[_Worker] = []
    busy: list[_Worker] = []
    try:
        while busy or (left and stop.signum is None):
            while left and stop.signum is None and len(busy) < count:
                worker = idle.pop() if idle else _Worker(bench)
                worker.begin(left.popleft())
                busy.append(worker)
            ready = wait([worker.connection for worker in busy])
            for worker in [worker for worker in busy if worker.connection in ready]:
                busy.remove(worker)
                outcome = worker.outcome()
                if outcome.alive:
                    idle.append(worker)
                finished(outcome.outcome)
    finally:
        for worker in [*idle, *busy]:
            worker.end()


@dataclass(frozen=True)
class _Returned:
    outcome: Outcome
    alive: bool


class _Worker:
    """A process that plays one cell at a time."""

    def __init__(self, bench: Bench) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, bench), daemon=True)
        with _threads(bench.config.threads):
            self.process.start()
        theirs.close()
        self._cell: Cell | None = None

    def begin(self, cell: Cell) -> None:
        """Hand over a cell."""
        self._cell = cell
        self.connection.send(cell)

    def outcome(self) -> _Returned:
        """Return what became of the cell; wait for it."""
        assert self._cell is not None
        try:
            return _Returned(self.connection.recv(), alive=True)
        except (EOFError, OSError):
            self.process.join()
            reason = f"the worker died (exit code {self.process.exitcode}); out of memory, perhaps"
            return _Returned(Outcome(self._cell, reason), alive=False)

    def end(self) -> None:
        """Let the process go; one that is at work is ended."""
        self.connection.close()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.terminate()


def _serve(connection: Connection, bench: Bench) -> None:
    """Play the cells that come in, until the other end is closed."""
    # The parent decides what a Ctrl-C means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    load_plugins(bench.plugins)
    with Workshop(bench) as workshop:
        while True:
            try:
                cell = connection.recv()
            except EOFError:
                return
            connection.send(workshop.attempt(cell))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let processes that are started in the block begin with so many threads."""
    former = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(count)))
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
