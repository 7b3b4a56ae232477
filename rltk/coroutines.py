"""Coroutines called from ordinary code: one event loop for the whole process, in a thread of its own.

A client is bound to the event loop it was opened in. Since there is only one here, a client opened in one
call of :func:`run` is usable in the next, also in a notebook, whose own loop is busy with the cell.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

Item = TypeVar("Item")
T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the process's event loop and return its result.

    Whatever interrupts the wait, such as Ctrl-C, cancels the coroutine and waits for its end.

    :raises RuntimeError: called inside that very loop, where waiting would never end; or the coroutine was
        cancelled.
    """
    loop = _event_loop()
    if threading.current_thread() is _thread:
        coroutine.close()
        raise RuntimeError("rltk.coroutines.run was called from a coroutine; await the coroutine there")
    started: list[asyncio.Task[T]] = []
    try:
        asyncio.run_coroutine_threadsafe(_finish(coroutine, started), loop).result()
    except BaseException:
        asyncio.run_coroutine_threadsafe(_cancel(started), loop).result()
        raise
    [task] = started
    if task.cancelled():  # as a CancelledError it would pass every `except Exception` of the caller
        raise RuntimeError("the coroutine was cancelled")
    return task.result()


def resolve(value: Any) -> Any:
    """Return what a call that may have been of an ``async def`` gave: awaited where it has to be."""
    return run(_awaited(value)) if inspect.isawaitable(value) else value


async def gather_bounded(
    function: Callable[[Item], Awaitable[T]], items: Iterable[Item], limit: int
) -> list[T]:
    """Await ``function(item)`` for every item, at most ``limit`` at a time.

    :returns: the results in the order of the items.
    :raises ValueError: the limit is below 1.
    :raises Exception: the first that a call raised; the other calls are cancelled.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    listed = list(items)
    results: dict[int, T] = {}
    waiting = iter(enumerate(listed))

    async def work() -> None:
        for index, item in waiting:  # all workers take from the same iterator
            results[index] = await function(item)

    workers = [asyncio.ensure_future(work()) for _ in range(min(limit, len(listed)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[index] for index in range(len(listed))]


def _event_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, started at the first call and again in a forked process, which has no threads."""
    global _loop, _thread
    with _lock:
        if _loop is None or _thread is None or not _thread.is_alive():
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_serve, args=(_loop,), name="rltk-coroutines", daemon=True)
            _thread.start()
        return _loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while True:
        # asyncio stops for these two; the task that raised them hands them to its caller
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            loop.run_forever()


async def _finish(coroutine: Coroutine[Any, Any, T], started: list[asyncio.Task[T]]) -> None:
    """Run a coroutine to its end as a task, which is put where the caller can cancel it."""
    started.append(asyncio.create_task(coroutine))
    await asyncio.wait(started)


async def _cancel(tasks: list[asyncio.Task[T]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _awaited(value: Awaitable[T]) -> T:
    return await value
