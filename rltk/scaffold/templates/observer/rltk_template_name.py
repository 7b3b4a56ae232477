"""An observer: writes every metric of a run to ``metrics.csv`` in the run's folder.

It has no name to choose it by: installed, it observes every run; this leaves it out:
``-p no:observer_template_name``.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import rltk

RLTK_API = 1
COLUMNS = ("stage", "step", "metric", "value")
_runs: list[Path] = []


@rltk.hookimpl
def rltk_run_start(directory: Path) -> None:
    """Begin the file, or go on with the one that an interrupted run left."""
    path = directory / "metrics.csv"
    if not path.exists():
        _append(path, [COLUMNS])
    _runs.append(path)


@rltk.hookimpl
def rltk_metrics(stage: str, step: int, metrics: Mapping[str, float]) -> None:
    """Add a line a metric."""
    if _runs:
        _append(_runs[-1], [(stage, step, name, value) for name, value in metrics.items()])


@rltk.hookimpl
def rltk_run_end() -> None:
    """Forget the run, whether it finished or not."""
    if _runs:
        _runs.pop()


def _append(path: Path, rows: list[tuple[object, ...]]) -> None:
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
