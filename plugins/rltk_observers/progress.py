"""Live progress on stderr: bars with rate and remaining time, or one line per stage where nobody watches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rltk.hookspecs import hookimpl

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task


class ProgressDisplay:
    """Follows one run.

    :param console: where to show it; bars if it is a terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars: Progress | None = _bars(console) if console.is_terminal else None
        self._title = ""
        self._step = 0
        self._shown = ""

    def stage_start(self, stage: str, index: int, count: int) -> None:
        """Begin a stage; its number of steps is not known yet."""
        self._title, self._step, self._shown = f"[{index + 1}/{count}] {stage}", 0, ""
        if self._bars is not None:
            self._bars.start()
            self._task = self._bars.add_task(self._title, total=None, shown="")

    def metrics(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Show how far the stage is."""
        self._step = step
        self._shown = _brief(metrics) or self._shown
        if self._bars is not None:
            self._bars.update(self._task, completed=step, total=total, shown=self._shown)

    def stage_end(self, seconds: float) -> None:
        """Leave one line of the stage."""
        if self._bars is not None:
            total = self._bars.tasks[self._task].total or 1
            self._bars.update(self._task, completed=total, total=total)
            self._bars.stop()
            self._bars = _bars(self.console)
            return
        steps = f", {self._step} steps" if self._step else ""
        shown = f", {self._shown}" if self._shown else ""
        line = f"{self._title}: {seconds:.1f} s{steps}{shown}"
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Give the terminal back."""
        if self._bars is not None:
            self._bars.stop()


def _bars(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Steps a second, or seconds a step where that is easier to read."""

        def render(self, task: Task) -> Text:
            return Text(rate(task.speed), style="progress.data.speed")

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[shown]}", style="dim", markup=False),
        console=console,
    )


def rate(speed: float | None) -> str:
    """Return steps per second as people say it."""
    if not speed:
        return ""
    return f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s/step"


def _brief(metrics: Mapping[str, float]) -> str:
    """Return the first two metrics, without the stage's prefix."""
    pairs = list(metrics.items())[:2]
    return ", ".join(f"{name.rpartition('/')[2].replace('_', ' ')} {value:.3g}" for name, value in pairs)


_display: ProgressDisplay | None = None


@hookimpl
def rltk_run_start(directory: Path) -> None:
    """Open the display on stderr."""
    from rich.console import Console

    global _display
    _display = ProgressDisplay(Console(stderr=True))


@hookimpl
def rltk_stage_start(stage: str, index: int, count: int) -> None:
    """Begin a stage."""
    if _display is not None:
        _display.stage_start(stage, index, count)


@hookimpl
def rltk_metrics(step: int, total: int, metrics: Mapping[str, float]) -> None:
    """Show a step."""
    if _display is not None:
        _display.metrics(step, total, metrics)


@hookimpl
def rltk_stage_end(seconds: float) -> None:
    """End a stage."""
    if _display is not None:
        _display.stage_end(seconds)


@hookimpl
def rltk_run_end(error: BaseException | None) -> None:
    """Close the display, whatever happened."""
    global _display
    if _display is not None:
        _display.close()
    _display = None
