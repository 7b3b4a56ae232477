"""What the machine can do at best: operations of a matrix product and bytes of a copy, a second.

JSON on stdin, JSON on stdout; called by :mod:`tests.benchmarks.speed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from speed_clock import answer

_TRIALS = 40


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Return ``matrix``, operations a second, and ``copy``, bytes a second for each working set in bytes."""
    torch.set_num_threads(job["threads"])
    device, dtype = job["device"], getattr(torch, job["dtype"])
    side = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    result = torch.empty_like(a)
    matrix = 2 * side**3 / _best(lambda: torch.mm(a, b, out=result), device)
    return {"matrix": matrix, "copy": {str(size): _copy_rate(size, device) for size in job["sizes"]}}


def _copy_rate(size: int, device: str) -> float:
    """Return bytes read and written a second by a copy that touches ``size`` bytes in all."""
    source = torch.zeros(size // 2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * len(source) / _best(lambda: target.copy_(source), device)


def _best(work: Callable[[], Any], device: str) -> float:
    """Return the shortest of several times, in seconds."""
    times = []
    for _ in range(_TRIALS):
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    answer(measure)
