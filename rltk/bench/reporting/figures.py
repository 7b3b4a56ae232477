"""Figures as inline SVG in the page's colours: dots on bars for intervals, curves, points in a plane.

Markup's ``format`` escapes whatever is filled in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rltk.bench.grids import Interval
from rltk.reporting.charts import HEIGHT, LEFT, TOP, WIDTH, Frame, axes, tick_text, ticks

_COLOURS = 6
#: Lines that share a colour differ in their dashes.
_DASHES = ("none", "6 3", "2 3")


@dataclass(frozen=True)
class Line:
    """One row of an interval plot.

    :param estimate: where the dot and the bar are; None leaves the row empty.
    :param text: the same in digits, or why there is none.
    :param kind: class of the dot and of the words: better, worse, tied, underpowered, error or none.
    :param note: words behind the digits.
    """

    label: str
    estimate: Interval | None
    text: str
    kind: str = ""
    note: str = ""


@dataclass(frozen=True)
class _Scale:
    """A stretch of numbers from the left to the right of a row."""

    low: float
    high: float
    ticks: Sequence[float]

    @classmethod
    def over(cls, values: Sequence[float]) -> _Scale:
        """Return a scale with all the values, and the round numbers in it."""
        around = ticks(min(values), max(values))
        room = 0.02 * (max(values) - min(values)) or (around[-1] - around[0]) / 2
        low, high = min(values) - room, max(values) + room
        finest = (ticks(low, high, count) for count in (4, 6, 9))
        inside = ([tick for tick in found if low <= tick <= high] for found in finest)
        return cls(low, high, next((found for found in inside if len(found) > 1), around))

    def place(self, value: float) -> float:
        """Return where a value lies, in percent."""
        return 100.0 * (value - self.low) / (self.high - self.low)


def interval_plot(
    lines: Sequence[Line], *, anchors: Sequence[float] = (), band: tuple[float, float] | None = None
) -> Markup:
    """Return rows with a dot and a bar each over one scale, its numbers below; "" where no row has any.

    :param anchors: numbers that the scale has to reach.
    :param band: a stretch of the scale to shade.
    """
    estimates = [line.estimate for line in lines if line.estimate is not None]
    ends = [end for one in estimates for end in (one.value, one.low, one.high) if end is not None]
    if not ends:
        return Markup("")
    scale = _Scale.over([*ends, *anchors])
    grid = Markup("").join(_rule(scale, tick, "zero" if tick == 0 else "grid") for tick in scale.ticks)
    shade = Markup("") if band is None else _stretch(scale, band)
    rows = Markup("").join(_line(line, scale, shade + grid) for line in lines)
    return Markup('<div class="forest{}">{}{}</div>').format(
        " noted" if any(line.note for line in lines) else "", rows, _scale(scale)
    )


def profile_chart(
    title: str, thresholds: Sequence[float], curves: Sequence[tuple[str, Sequence[Interval]]]
) -> Markup:
    """Return curves of shares over thresholds, each with its band."""
    frame = Frame(ticks(min(thresholds), max(thresholds)), [0.0, 0.25, 0.5, 0.75, 1.0])
    bands = Markup("").join(_band(frame, thresholds, curve, i) for i, (_, curve) in enumerate(curves))
    lines = Markup("").join(_curve(frame, thresholds, curve, i) for i, (_, curve) in enumerate(curves))
    body = Markup(axes(frame, "normalised score", "share of runs above")) + bands + lines
    return _figure(title, body, legend(label for label, _ in curves))


def plane_chart(
    title: str, points: Sequence[tuple[str, Interval, Interval, bool]], *, x_label: str, y_label: str
) -> Markup:
    """Return labelled points with an interval in both directions.

    :param points: label, x, y, and whether the point is filled.
    """
    xs = [end for _, x, _, _ in points for end in _ends(x)]
    ys = [end for _, _, y, _ in points for end in _ends(y)]
    frame = Frame(ticks(min(0.0, *xs), max(xs)), ticks(min(ys), max(ys)))
    crosses = Markup("").join(_cross(frame, point) for point in points)
    places = _label_places(frame, points)
    labels = Markup("").join(
        Markup('<text class="mark {}" x="{:.1f}" y="{:.1f}">{}</text>').format(anchor, x, y, point[0])
        for point, (x, y, anchor) in zip(points, places, strict=True)
    )
    return _figure(title, Markup(axes(frame, x_label, y_label)) + crosses + labels, Markup(""))


def legend(labels: Iterable[str]) -> Markup:
    """Return the names of curves with their strokes, in the order of the curves."""
    stroke = '<svg class="key" viewBox="0 0 24 8"><line x1="0" x2="24" y1="4" y2="4" {}/></svg>'
    item = Markup("<span>" + stroke + "{}</span>")
    return Markup("").join(item.format(_stroke(i), label) for i, label in enumerate(labels))


def _line(line: Line, scale: _Scale, behind: Markup) -> Markup:
    return Markup(
        '<div class="row {}"><span class="label">{}</span><svg class="track">{}{}</svg>'
        '<span class="value">{}</span>{}</div>'
    ).format(
        line.kind,
        line.label,
        behind,
        Markup("") if line.estimate is None else _dot(scale, line.estimate),
        line.text,
        Markup('<span class="note">{}</span>').format(line.note) if line.note else Markup(""),
    )


def _dot(scale: _Scale, estimate: Interval) -> Markup:
    bar = Markup("")
    if estimate.low is not None and estimate.high is not None:
        bar = Markup('<line class="bar" x1="{:.2f}%" x2="{:.2f}%" y1="50%" y2="50%"/>').format(
            scale.place(estimate.low), scale.place(estimate.high)
        )
    dot = Markup('<circle class="dot" cx="{:.2f}%" cy="50%" r="4.5"/>')
    return bar + dot.format(scale.place(estimate.value))


def _rule(scale: _Scale, value: float, name: str) -> Markup:
    line = Markup('<line class="{}" x1="{:.2f}%" x2="{:.2f}%" y1="0" y2="100%"/>')
    return line.format(name, scale.place(value), scale.place(value))


def _stretch(scale: _Scale, band: tuple[float, float]) -> Markup:
    low, high = (min(max(scale.place(end), 0.0), 100.0) for end in band)
    rect = Markup('<rect class="band" x="{:.2f}%" width="{:.2f}%" y="0" height="100%"/>')
    return rect.format(low, high - low)


def _scale(scale: _Scale) -> Markup:
    text = Markup('<text class="middle" x="{:.2f}%" y="12">{}</text>')
    texts = Markup("").join(text.format(scale.place(tick), tick_text(tick)) for tick in scale.ticks)
    row = '<div class="row scale"><svg class="track" aria-hidden="true">{}</svg></div>'
    return Markup(row).format(texts)


def _band(frame: Frame, xs: Sequence[float], curve: Sequence[Interval], index: int) -> Markup:
    if any(point.low is None or point.high is None for point in curve):
        return Markup("")
    upper = _steps(frame, xs, [point.high or 0.0 for point in curve])
    lower = _steps(frame, xs, [point.low or 0.0 for point in curve])
    return Markup('<polygon class="band" style="fill:var(--c{})" points="{}"/>').format(
        index % _COLOURS, " ".join([*upper, *reversed(lower)])
    )


def _curve(frame: Frame, xs: Sequence[float], curve: Sequence[Interval], index: int) -> Markup:
    points = " ".join(_steps(frame, xs, [point.value for point in curve]))
    return Markup('<polyline class="line" {} points="{}"/>').format(_stroke(index), points)


def _steps(frame: Frame, xs: Sequence[float], ys: Sequence[float]) -> list[str]:
    """Return the corners of a curve that stays at each value up to the next threshold."""
    corners = []
    for number, (x, y) in enumerate(zip(xs, ys, strict=True)):
        if number:
            corners.append((x, ys[number - 1]))
        corners.append((x, y))
    return [f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in corners]


def _stroke(index: int) -> Markup:
    return Markup('style="stroke:var(--c{})" stroke-dasharray="{}"').format(
        index % _COLOURS, _DASHES[index // _COLOURS % len(_DASHES)]
    )


def _ends(estimate: Interval) -> list[float]:
    return [end for end in (estimate.value, estimate.low, estimate.high) if end is not None]


def _cross(frame: Frame, point: tuple[str, Interval, Interval, bool]) -> Markup:
    _, x, y, filled = point
    across = [frame.x(end) for end in _ends(x)[1:]] or [frame.x(x.value)] * 2
    along = [frame.y(end) for end in _ends(y)[1:]] or [frame.y(y.value)] * 2
    place = frame.x(x.value), frame.y(y.value)
    return Markup(
        '<line class="bar" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>'
        '<line class="bar" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>'
        '<circle class="dot{}" cx="{:.1f}" cy="{:.1f}" r="4.5"/>'
    ).format(*across, place[1], place[1], place[0], place[0], *along, "" if filled else " hollow", *place)


def _label_places(
    frame: Frame, points: Sequence[tuple[str, Interval, Interval, bool]]
) -> list[tuple[float, float, str]]:
    """Return where labels stand: beside their points, where they cover nothing if there is such a place."""
    taken = [_box(frame.x(x.value) - 5, frame.y(y.value) + 5, 10.0, 10.0) for _, x, y, _ in points]
    places = []
    for label, across, along, _ in points:
        x, y, width = frame.x(across.value), frame.y(along.value), 6.2 * len(label)
        choices = [
            (x + 8, y - 6, "", x + 8),
            (x - 8, y - 6, "end", x - 8 - width),
            (x + 8, y + 14, "", x + 8),
            (x - 8, y + 14, "end", x - 8 - width),
        ]
        inside = [one for one in choices if one[3] >= LEFT and one[3] + width <= WIDTH and one[1] > TOP]
        best = min(
            inside or choices, key=lambda choice: _covered(_box(choice[3], choice[1], width, 11.0), taken)
        )
        taken.append(_box(best[3], best[1], width, 11.0))
        places.append(best[:3])
    return places


_Box = tuple[float, float, float, float]


def _box(left: float, bottom: float, width: float, height: float) -> _Box:
    return left, bottom - height, left + width, bottom


def _covered(box: _Box, others: Sequence[_Box]) -> float:
    """Return how much of a box others cover."""
    return sum(
        max(min(box[2], other[2]) - max(box[0], other[0]), 0.0)
        * max(min(box[3], other[3]) - max(box[1], other[1]), 0.0)
        for other in others
    )


def _figure(title: str, body: Markup, keys: Markup) -> Markup:
    return Markup(
        '<figure class="chart"><figcaption>{}</figcaption>{}'
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg></figure>'
    ).format(title, Markup('<p class="keys">{}</p>').format(keys) if keys else "", WIDTH, HEIGHT, title, body)
