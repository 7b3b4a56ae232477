"""One event loop for the process: results, exceptions, interruptions, and how many calls are in flight."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from rltk.coroutines import gather_bounded, resolve, run


async def _loop_and_thread():
    return asyncio.get_running_loop(), threading.current_thread()


def test_all_coroutines_run_in_one_loop_in_one_daemon_thread():
    first, second = run(_loop_and_thread()), run(_loop_and_thread())
    assert first == second
    assert first[1] is not threading.main_thread() and first[1].daemon


def test_what_one_call_opened_is_usable_in_the_next():
    async def fill():
        queue = asyncio.Queue(maxsize=1)
        await queue.put("kept")
        return queue

    async def take(queue):
        waiting = asyncio.create_task(queue.put("next"))  # binds the queue to the loop it was made in
        return await queue.get(), await waiting

    assert run(take(run(fill()))) == ("kept", None)


def test_it_works_where_a_loop_is_already_running():
    async def cell():
        return run(_loop_and_thread())[0] is not asyncio.get_running_loop()

    assert asyncio.run(cell())


def test_exceptions_reach_the_caller():
    async def fail():
        raise ZeroDivisionError("three")

    with pytest.raises(ZeroDivisionError, match="three"):
        run(fail())


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_the_loop_outlives_what_would_end_a_process(error):
    async def leave():
        raise error

    with pytest.raises(type(error)):
        run(leave())
    assert run(_loop_and_thread())


def test_a_coroutine_that_cancels_itself_is_an_ordinary_exception():
    async def cancel():
        asyncio.current_task().cancel()
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="the coroutine was cancelled"):
        run(cancel())


@pytest.fixture
def interruptible():
    """Ctrl-C raises, also in a process that a shell started in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_cancels_the_coroutine_and_waits_for_its_end():
    seen = []

    async def interrupted():
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            seen.append("closed")
            raise

    with pytest.raises(KeyboardInterrupt):
        run(interrupted())
    assert seen == ["closed"]


def test_waiting_inside_the_loop_is_refused():
    async def nested():
        return run(_loop_and_thread())

    with pytest.raises(RuntimeError, match="called from a coroutine; await the coroutine there"):
        run(nested())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_starts_a_loop_of_its_own():
    run(_loop_and_thread())
    child = os.fork()
    if child == 0:
        os._exit(7 if resolve(asyncio.sleep(0, 7)) == 7 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_resolve_awaits_only_what_has_to_be():
    async def three():
        return 3

    assert [resolve(three()), resolve(3), resolve(None)] == [3, 3, None]


class Calls:
    """Counts calls in flight; each ends only when ``full`` are, or when those left are fewer."""

    def __init__(self, total, full):
        self.total, self.full = total, full
        self.started = self.in_flight = self.most = 0
        self.open = asyncio.Event()

    async def __call__(self, item):
        self.started, self.in_flight = self.started + 1, self.in_flight + 1
        self.most = max(self.most, self.in_flight)
        if self.in_flight == self.full or self.started == self.total:
            self.open.set()
        await self.open.wait()
        self.in_flight -= 1
        return -item


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_as_many_calls_as_allowed_are_in_flight_and_results_keep_their_order(limit):
    calls = Calls(total=7, full=min(limit, 7))
    assert run(gather_bounded(calls, range(7), limit)) == [0, -1, -2, -3, -4, -5, -6]
    assert calls.most == min(limit, 7) and calls.in_flight == 0


def test_nothing_to_gather():
    assert run(gather_bounded(Calls(0, 1), [], 4)) == []
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        run(gather_bounded(Calls(0, 1), [], 0))


def test_the_first_exception_cancels_the_rest():
    ended = []

    async def call(item):
        if item == 1:
            raise ZeroDivisionError(f"item {item}")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(item)

    with pytest.raises(ZeroDivisionError, match="item 1"):
        run(gather_bounded(call, range(100), 3))
    assert sorted(ended) == [0, 2]


def test_no_thread_is_started_before_a_coroutine_is():
    code = "import rltk.coroutines as c, threading; c.resolve(1); print(threading.active_count())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"1\n"
