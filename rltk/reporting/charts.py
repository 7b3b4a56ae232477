"""Charts as inline SVG: sized for a phone, coloured by the page's variables so that light and dark both work.

Every chart has one message, a title, axes with units and no second y axis. Series take the colours
``--c0`` to ``--c5`` of the style sheet, which follow Okabe and Ito and can be told apart by colour-blind
readers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rltk.reporting.tables import finite

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 24, 36
_SMOOTHED_FROM = 60
_COLOURS = 6


@dataclass(frozen=True)
class Series:
    """A line; a y that is None or not finite leaves a gap."""

    label: str
    x: Sequence[float]
    y: Sequence[float | None]

    def runs(self) -> list[list[tuple[float, float]]]:
        """Return the points in stretches without a gap."""
        stretches: list[list[tuple[float, float]]] = [[]]
        for x, y in zip(self.x, self.y, strict=True):
            value = finite(y)
            if value is None:
                stretches.append([])
            else:
                stretches[-1].append((float(x), value))
        return [stretch for stretch in stretches if stretch]

    def smoothed(self) -> "Series":
        """Return the centred moving average over a twentieth of the points."""
        half = max(1, len(self.y) // 40)
        means: list[float | None] = []
        for i in range(len(self.y)):
            near = [v for v in map(finite, self.y[max(0, i - half) : i + half + 1]) if v is not None]
            means.append(sum(near) / len(near) if near else None)
        return Series(self.label, self.x, means)


@dataclass(frozen=True)
class Mark:
    """A labelled point."""

    label: str
    x: float
    y: float


@dataclass(frozen=True)
class Frame:
    """Maps values to places in the drawing."""

    x_ticks: list[float]
    y_ticks: list[float]

    def x(self, value: float) -> float:
        """Return the horizontal place of a value."""
        return LEFT + _share(value, self.x_ticks) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the vertical place of a value."""
        return HEIGHT - BOTTOM - _share(value, self.y_ticks) * (HEIGHT - TOP - BOTTOM)


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    marks: Sequence[Mark] = (),
    path: bool = False,
) -> str:
    """Return a figure with one line a series, or "" where there is no finite point.

    :param path: the points are a way through the plane: draw every one, the later the stronger.
    """
    points = [point for line in series for run in line.runs() for point in run]
    xs = [x for x, _ in points] + [mark.x for mark in marks]
    ys = [y for _, y in points] + [mark.y for mark in marks]
    if not points:
        return ""
    frame = Frame(ticks(min(xs), max(xs)), ticks(min(ys), max(ys)))
    body = [axes(frame, x_label, y_label)]
    for i, line in enumerate(series):
        body.append(_path(frame, line) if path else _line(frame, line, i))
    body += [_mark(frame, mark) for mark in marks]
    return _figure(title, "".join(body), [line.label for line in series] if len(series) > 1 else [])


def bar_chart(title: str, bars: Sequence[tuple[str, float, str]], *, highest: float | None = None) -> str:
    """Return a figure of horizontal bars, or "" where there are none.

    :param bars: label, value from 0 up, and the value as text.
    :param highest: value of a full bar; the largest one by default.
    """
    if not bars:
        return ""
    full = highest or max(value for _, value, _ in bars) or 1.0
    rows = "".join(
        f'<div class="bar"><span>{escape(label)}</span>'
        f'<i><b style="width:{min(1.0, value / full) * 100:.1f}%"></b></i><span>{escape(text)}</span></div>'
        for label, value, text in bars
    )
    return f'<figure class="bars"><figcaption>{escape(title)}</figcaption>{rows}</figure>'


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return evenly spaced numbers around ``[low, high]``, 1, 2 or 5 times a power of 10 apart."""
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    rough = (high - low) / (count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-3))
    # A value may stick out by a thousandth of a step, so that a KL of -1e-8 does not cost a whole step.
    first, last = math.floor(low / step + 1e-3), math.ceil(high / step - 1e-3)
    return [i * step for i in range(first, last + 1)]


def _share(value: float, ticks: list[float]) -> float:
    return (value - ticks[0]) / (ticks[-1] - ticks[0])


def tick_text(value: float) -> str:
    """Return a number as axes show it."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}") if value else "0"


def axes(frame: Frame, x_label: str, y_label: str) -> str:
    """Return the axes of a chart with their numbers and names, as SVG."""
    bottom = HEIGHT - BOTTOM
    parts = []
    for tick in frame.y_ticks:
        y = frame.y(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="end" x="{LEFT - 6}" y="{y + 4:.1f}">{tick_text(tick)}</text>')
    for tick in frame.x_ticks:
        x = frame.x(tick)
        parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        anchor = "end" if x > WIDTH - RIGHT - 8 else "middle"
        parts.append(f'<text class="{anchor}" x="{x:.1f}" y="{bottom + 16}">{tick_text(tick)}</text>')
    parts.append(f'<text class="axis" x="4" y="11">{escape(y_label)}</text>')
    parts.append(f'<text class="axis end" x="{WIDTH - RIGHT}" y="{HEIGHT - 4}">{escape(x_label)}</text>')
    return "".join(parts)


def _polyline(frame: Frame, run: Sequence[tuple[float, float]], attributes: str) -> str:
    points = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in run)
    return f'<polyline {attributes} points="{points}"/>'


def _line(frame: Frame, series: Series, index: int) -> str:
    colour = f'style="stroke:var(--c{index % _COLOURS})"'
    parts = []
    if len(series.y) >= _SMOOTHED_FROM:
        parts += [_polyline(frame, run, f'class="raw" {colour}') for run in series.runs()]
        series = series.smoothed()
    parts += [_polyline(frame, run, f'class="line" {colour}') for run in series.runs() if len(run) > 1]
    alone = [run[0] for run in series.runs() if len(run) == 1]
    fill = f'r="3" style="fill:var(--c{index % _COLOURS})"'
    parts += [f'<circle {fill} cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}"/>' for x, y in alone]
    return "".join(parts)


def _path(frame: Frame, series: Series) -> str:
    points = [point for run in series.runs() for point in run]
    parts = []
    for i, (x, y) in enumerate(points):
        place = f'cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}"'
        parts.append(
            f'<circle class="step" r="3" {place} opacity="{0.25 + 0.75 * (i + 1) / len(points):.2f}"/>'
        )
    return "".join(parts)


def _mark(frame: Frame, mark: Mark) -> str:
    x, y = frame.x(mark.x), frame.y(mark.y)
    to_the_left = x > WIDTH * 0.7
    place = f'class="mark end" x="{x - 8:.1f}"' if to_the_left else f'class="mark" x="{x + 8:.1f}"'
    diamond = f'<path class="mark" d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6-6z"/>'
    return f'{diamond}<text {place} y="{y - 6:.1f}">{escape(mark.label)}</text>'


def _figure(title: str, body: str, labels: Sequence[str]) -> str:
    legend = "".join(
        f'<span><i style="background:var(--c{i % _COLOURS})"></i>{escape(label)}</span>'
        for i, label in enumerate(labels)
    )
    caption = escape(title) + (f'<span class="legend">{legend}</span>' if legend else "")
    return (
        f'<figure class="chart"><figcaption>{caption}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{body}</svg></figure>'
    )
