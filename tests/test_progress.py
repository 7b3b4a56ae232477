import io

import pytest
from rich.console import Console

from rltk_observers.progress import ProgressDisplay, rate


def _follow(console: Console) -> None:
    display = ProgressDisplay(console)
    display.stage_start("sft", 0, 2)
    for step in range(1, 4):
        display.metrics(step, 3, {"sft/loss": 1 / step, "sft/grad_norm": 2.0, "sft/other": 3.0})
    display.metrics(3, 3, {})
    display.stage_end(12.34)
    display.stage_start("[evaluate]", 1, 2)
    display.stage_end(0.5)
    display.close()


def test_without_a_terminal_a_stage_is_one_line() -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=200)
    _follow(console)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "[1/2] sft: 12.3 s, 3 steps, loss 0.333, grad norm 2",
        "[2/2] [evaluate]: 0.5 s",
    ]


def test_on_a_terminal_there_are_bars_with_the_step_and_the_metrics() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160, color_system=None)
    _follow(console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("[1/2] sft", "3/3", "loss 0.333", "[2/2] [evaluate]"):
        assert part in shown


@pytest.mark.parametrize(("speed", "text"), [(None, ""), (0.0, ""), (12.34, "12.3/s"), (0.25, "4.0 s/step")])
def test_rates_read_well(speed: float | None, text: str) -> None:
    assert rate(speed) == text
