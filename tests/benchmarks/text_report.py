"""What the runs of tests/benchmarks/text_algorithms.py amount to: a table, the frontier and a JSON file."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rltk.reporting.charts import HEIGHT, LEFT, RIGHT, WIDTH, Frame, ticks
from rltk.reporting.tables import Table, markdown_table
from tests.benchmarks.control_report import put_between_markers

#: Okabe and Ito's colours, which colour-blind readers can tell apart, darkened for a white page.
COLOURS = {"ppo": "#0072b2", "trpo": "#d55e00", "a2c": "#008f68", "rloo": "#b0578d", "grpo": "#a06f00"}
_STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#1b1f24}.m{fill:#5a6472}"
    ".e{text-anchor:end}.c{text-anchor:middle}"
)
_BOTTOM = 36
EPISODES_A_POINT = 512


@dataclass(frozen=True)
class Run:
    """One algorithm with one seed.

    :param tokens: sampled in training.
    :param seconds: of the rl stage, one thread.
    :param curve: KL to the reference, utility and learned reward on prompts of training, each point the mean
        of about ``EPISODES_A_POINT`` episodes.
    :param final: the evaluation's measures of the trained policy, on held-out prompts.
    :param start: those of the supervised policy.
    """

    algorithm: str
    seed: int
    tokens: int
    seconds: float
    curve: list[tuple[float, float, float]]
    final: dict[str, Any]
    start: dict[str, Any]

    @classmethod
    def read(cls, directory: Path, algorithm: str, seed: int) -> Run:
        """Return what a finished run left."""
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        lines = (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        logged = [row["metrics"] for row in map(json.loads, lines) if row["stage"] == "rl"]
        episodes = summary["rl"]["episodes"] / summary["rl"]["iterations"]
        return cls(
            algorithm=algorithm,
            seed=seed,
            tokens=round(sum(row["rl/length"] * episodes for row in logged)),
            seconds=summary["seconds"]["rl"],
            curve=_curve(logged, rollouts=max(1, round(EPISODES_A_POINT / episodes))),
            final=_measures(summary["policies"]["rl"]),
            start=_measures(summary["policies"]["sft"]),
        )


def _curve(logged: Sequence[dict[str, float]], *, rollouts: int) -> list[tuple[float, float, float]]:
    """Return the means of so many rollouts after one another."""
    points = np.array([[row["rl/kl"], row["rl/utility"], row["rl/score"]] for row in logged])
    means = [points[i : i + rollouts].mean(0).tolist() for i in range(0, len(points), rollouts)]
    return [(kl, utility, reward) for kl, utility, reward in means]


def _measures(policy: dict[str, Any]) -> dict[str, Any]:
    """Return what was measured of a policy, without where it lay on the machine that did so."""
    return {name: value for name, value in policy.items() if name != "path"}


def write_report(runs: Sequence[Run], directory: Path) -> None:
    """Write ``text_algorithms.json`` and ``.svg``, and put the table between the markers of ``.md``."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(asdict(run)) for run in runs)
    (directory / "text_algorithms.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    (directory / "text_algorithms.svg").write_text(frontier(runs), encoding="utf-8")
    put_between_markers(directory / "text_algorithms.md", {"results": markdown_table(result_table(runs))})


def result_table(runs: Sequence[Run]) -> Table:
    """Return means over the seeds, with the lowest and highest seed."""
    measures = {
        "utility": lambda run: run.final["utility"],
        "greedy utility": lambda run: run.final["utility_greedy"],
        "win rate vs sft, %": lambda run: 100 * run.final["win_rate"],
        "learned reward": lambda run: run.final["reward"],
        "KL to sft": lambda run: run.final["kl"],
        "tokens sampled": lambda run: run.tokens,
        "seconds": lambda run: run.seconds,
    }
    rows = []
    for algorithm, group in by_algorithm(runs).items():
        cells = [spread([float(measure(run)) for run in group]) for measure in measures.values()]
        rows.append([algorithm, str(len(group)), *cells])
    return ["algorithm", "seeds", *measures], rows


def by_algorithm(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the runs of each algorithm, in the order in which they come."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.algorithm].append(run)
    return groups


def spread(values: Sequence[float]) -> str:
    """Return ``mean [lowest, highest]`` with as many digits as the size of the numbers asks for."""
    digits = 2 if abs(values[0]) < 10 else 0
    mean, low, high = (f"{value:,.{digits}f}" for value in (np.mean(values), min(values), max(values)))
    return f"{mean} [{low}, {high}]"


def frontier(runs: Sequence[Run]) -> str:
    """Return utility and learned reward over KL, side by side: a thin line a seed, a dot where it ended."""
    panels = [(1, "utility on prompts of training"), (2, "learned reward")]
    body = "".join(
        f'<g transform="translate({i * (WIDTH + 24)} 0)">{_panel(runs, column, title)}</g>'
        for i, (column, title) in enumerate(panels)
    )
    legend = "".join(
        f'<rect x="{LEFT + 70 * i}" y="{HEIGHT + 6}" width="14" height="4" fill="{COLOURS[name]}"/>'
        f'<text x="{LEFT + 70 * i + 18}" y="{HEIGHT + 12}">{name}</text>'
        for i, name in enumerate(by_algorithm(runs))
    )
    size = f"0 0 {2 * WIDTH + 24} {HEIGHT + 20}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}"><style>{_STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{body}{legend}</svg>\n'
    )


def _panel(runs: Sequence[Run], column: int, title: str) -> str:
    points = [point for run in runs for point in run.curve]
    kls, values = [point[0] for point in points], [point[column] for point in points]
    frame = Frame(ticks(0.0, max(kls)), ticks(min(values), max(values)))
    parts = [f'<text x="4" y="12">{title}</text>', _axes(frame)]
    for run in runs:
        places = [(frame.x(point[0]), frame.y(point[column])) for point in run.curve]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        colour, (x, y) = COLOURS[run.algorithm], places[-1]
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-opacity="0.7"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
    return "".join(parts)


def _axes(frame: Frame) -> str:
    parts = []
    for tick in frame.y_ticks:
        y = frame.y(tick)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dfe3e8"/>')
        parts.append(f'<text class="m e" x="{LEFT - 6}" y="{y + 4:.1f}">{tick:.4g}</text>')
    for tick in frame.x_ticks:
        parts.append(
            f'<text class="m c" x="{frame.x(tick):.1f}" y="{HEIGHT - _BOTTOM + 16}">{tick:.4g}</text>'
        )
    parts.append(
        f'<text class="m e" x="{WIDTH - RIGHT}" y="{HEIGHT - 6}">KL to sft, nats per response</text>'
    )
    return "".join(parts)
