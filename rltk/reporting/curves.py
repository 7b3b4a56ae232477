"""Learning curves of the stages and the frontier between reward and KL."""

from collections.abc import Mapping
from html import escape

from rltk.reporting.charts import Mark, Series, line_chart
from rltk.reporting.record import RunRecord
from rltk.reporting.tables import finite

Curve = tuple[list[float], list[float | None]]

#: Metrics shown at once, by what follows the last slash: title and unit. All others are folded away.
_SHOWN = {
    "loss": ("Loss", "nats"),
    "accuracy": ("Accuracy", "share of pairs"),
    "return": ("Return", "per episode"),
    "score": ("Reward", "per episode"),
    "utility": ("True utility", "0 to 1"),
    "kl": ("KL to the reference", "nats per response"),
    "entropy": ("Entropy", "nats per action"),
    "length": ("Length", "actions per episode"),
}


def curves_section(record: RunRecord) -> str:
    """Return the learning curves of every stage that logged any, as HTML."""
    parts = []
    for stage in record.stages():
        charts = _stage_charts(stage, record)
        # The loss of an algorithm that learns from rewards says little; its parts are folded away with it.
        important = {name for name in charts if name in _SHOWN and not (name == "loss" and "score" in charts)}
        shown = "".join(chart for name, chart in charts.items() if name in important)
        folded = "".join(chart for name, chart in charts.items() if name not in important)
        if shown or folded:
            parts.append(f"<h3>{escape(stage)}</h3>")
        if shown:
            parts.append(f'<div class="charts">{shown}</div>')
        if folded:
            more = "More curves" if shown else "Curves"
            parts.append(f'<details><summary>{more}</summary><div class="charts">{folded}</div></details>')
    return f"<h2>Learning curves</h2>{''.join(parts)}" if parts else ""


def frontier_section(record: RunRecord) -> str:
    """Return charts of learned reward and true utility against KL to the reference, as HTML."""
    charts = []
    for stage in record.stages():
        curves = {key.rpartition("/")[2]: curve for key, curve in record.series(stage).items()}
        if "kl" in curves:
            charts += [
                _frontier(record, curves, "score", "reward", f"Learned reward against KL ({stage})"),
                _frontier(record, curves, "utility", "utility", f"True utility against KL ({stage})"),
            ]
    if not any(charts):
        return ""
    return (
        "<h2>What the reward cost</h2><p class=muted>Dots are iterations on training prompts, the later the "
        "stronger; diamonds are the evaluated policies on held-out prompts. Learned reward that rises while "
        "utility falls is over-optimisation: the policy has learned the reward model's mistakes.</p>"
        f'<div class="charts wide">{"".join(charts)}</div>'
    )


def _stage_charts(stage: str, record: RunRecord) -> dict[str, str]:
    """Return one chart a metric; ``validation_x`` shares the chart of ``x``."""
    grouped: dict[str, dict[str, Curve]] = {}
    for key, curve in record.series(stage).items():
        name = key.rpartition("/")[2]
        grouped.setdefault(name.removeprefix("validation_"), {})[name] = curve
    plugin = (record.config["stages"][stage] or {}).get("stage")
    x_label = "iteration" if plugin == "rl" else "step"
    return {name: _chart(name, curves, x_label) for name, curves in grouped.items()}


def _chart(name: str, curves: Mapping[str, Curve], x_label: str) -> str:
    title, unit = _SHOWN.get(name, (name.replace("_", " "), ""))
    names = {name: "training", f"validation_{name}": "validation"}
    series = [Series(names[key], *curve) for key, curve in sorted(curves.items())]
    if len(series) == 1 and name not in curves:
        title = f"Validation {title.lower()}"
    return line_chart(title, series, x_label=x_label, y_label=unit)


def _frontier(record: RunRecord, curves: Mapping[str, Curve], name: str, key: str, title: str) -> str:
    if name not in curves:
        return ""
    by_step = dict(zip(*curves["kl"], strict=True))
    points = [
        (kl, y)
        for step, y in zip(*curves[name], strict=True)
        if (kl := finite(by_step.get(step))) is not None
    ]
    reach = 1.5 * max((kl for kl, _ in points), default=0.0)  # a base model lies far off to the right
    marks = []
    for policy, measures in (record.summary.get("policies") or {}).items():
        x, y = finite(measures.get("kl")), finite(measures.get(key))
        if x is not None and y is not None and x <= reach:
            marks.append(Mark(policy, x, y))
    reference = (record.summary.get("evaluation") or {}).get("reference", "the reference")
    series = Series(name, [kl for kl, _ in points], [y for _, y in points])
    return line_chart(
        title,
        [series],
        x_label=f"KL to {reference}, nats per response",
        y_label=_SHOWN[name][1],
        marks=marks,
        path=True,
    )
