"""An rltk plugin that leaves the processor time of each stage in ``RUN/cpu_seconds.json``.

Where several programs share the cores, processor time says more about speed than the clock on the wall.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rltk.hookspecs import hookimpl


class CPUClock:
    """Follows one run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._directory = Path()
        self._started = 0.0

    @hookimpl
    def rltk_run_start(self, directory: Path) -> None:
        """Remember where the run is."""
        self._directory = directory

    @hookimpl
    def rltk_stage_start(self) -> None:
        """Begin to count."""
        self._started = time.process_time()

    @hookimpl
    def rltk_stage_end(self, stage: str, results: Mapping[str, Any]) -> None:
        """Write down what the stage took."""
        self.seconds[stage] = time.process_time() - self._started
        (self._directory / "cpu_seconds.json").write_text(json.dumps(self.seconds))


_clock = CPUClock()
rltk_run_start = _clock.rltk_run_start
rltk_stage_start = _clock.rltk_stage_start
rltk_stage_end = _clock.rltk_stage_end
