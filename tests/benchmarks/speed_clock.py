"""Times and memory of a piece of work, taken in the same way on both sides of a comparison.

Needs nothing but torch: the peers' environments have no rltk.
"""

from __future__ import annotations

import contextlib
import json
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_STATUS = Path("/proc/self/status")


class Clock:
    """Takes laps; the first is the warm-up and does not count.

    :param job: says how many ``threads`` and which ``device``.

    Made right after the imports: memory is what the process needs above its peak until then.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        torch.set_num_threads(job["threads"])
        torch.manual_seed(0)
        self.cuda = job["device"] == "cuda"
        self._baseline = _peak()
        self._laps: list[tuple[float, float]] = []
        self.start()

    def start(self) -> None:
        """Begin a lap."""
        self._begun = self._now()

    def lap(self) -> None:
        """End a lap and begin the next."""
        now = self._now()
        self._laps.append((now[0] - self._begun[0], now[1] - self._begun[1]))
        self._begun = self._now()

    def measured(self, **more: Any) -> dict[str, Any]:
        """Return the laps after the first, the memory in bytes, and ``more``."""
        counted = self._laps[1:]
        peak = torch.cuda.max_memory_allocated() if self.cuda else _peak() - self._baseline
        return {
            "seconds": [wall for wall, _ in counted],
            "cpu_seconds": [cpu for _, cpu in counted],
            "memory": peak,
            **more,
        }

    def _now(self) -> tuple[float, float]:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()


def _peak() -> int:
    """Return the most bytes that the process ever held."""
    if not _STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts in bytes
    # Linux hands ru_maxrss on from the parent through fork and exec; this number begins anew.
    (kilobytes,) = re.findall(r"VmHWM:\s*(\d+) kB", _STATUS.read_text())
    return 1024 * int(kilobytes)


def timed(function: Callable[..., Any], name: str, phases: Counter[str]) -> Callable[..., Any]:
    """Return the function, which then also adds its seconds to ``phases[name]``."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        started = time.perf_counter()
        result = function(*arguments, **keywords)
        phases[name] += time.perf_counter() - started
        return result

    return call


def answer(measure: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Read a job from stdin, measure it, and write JSON to stdout, where nothing else may write."""
    job = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        measured = measure(job)
    json.dump(measured, sys.stdout)
