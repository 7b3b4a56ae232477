"""What the records of the benchmark of speed amount to: ratios, distances to the floor, growth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, linear_regression, median
from typing import Any

from tests.benchmarks.speed_floor import floor, floor_seconds
from tests.benchmarks.speed_work import SCALING, Work

Record = dict[str, Any]
Records = Mapping[tuple[str, str], Mapping[int, Record]]


def by_run(records: Iterable[Record]) -> dict[tuple[str, str], dict[int, Record]]:
    """Return the records by (line, side), and there by repetition."""
    groups: dict[tuple[str, str], dict[int, Record]] = {}
    for record in records:
        groups.setdefault((record["row"], record["side"]), {})[record["repetition"]] = record
    return groups


def best_machine(runs: Iterable[Record]) -> Record:
    """Return the highest rates that were ever seen: a floor should not move with the machine's load."""
    runs = list(runs)
    copies = {size: max(run["copy"][size] for run in runs) for size in runs[0]["copy"]}
    return {"matrix": max(run["matrix"] for run in runs), "copy": copies}


def summarise(records: Sequence[Record], works: Iterable[Work], *, itemsize: int) -> list[Record]:
    """Return an entry for each line that was measured.

    :param itemsize: bytes of a weight in acting.
    """
    groups = by_run(records)
    machine = best_machine(groups["machine", "machine"].values())
    return [
        _summary(work, groups, floor_seconds(work, machine, itemsize), floor(work, itemsize), machine)
        for work in works
        if (work.name, "rltk") in groups
    ]


def _summary(work: Work, groups: Records, least: float, cost: Any, machine: Record) -> Record:
    ours = groups[work.name, "rltk"]
    theirs = groups.get((work.peer_row or work.name, work.peer or ""), {})
    entry: Record = {
        "row": work.name,
        "kind": work.kind,
        "peer": work.peer,
        "goal": work.goal,
        "memory_goal": work.memory_goal,
        "rltk": measured(ours.values()),
        "theirs": measured(theirs.values()) if theirs else None,
        "ratio": ratio(ours, theirs, "seconds"),
        "cpu_ratio": ratio(ours, theirs, "cpu_seconds"),
        "memory_ratio": _memory_ratio(ours, theirs),
        "floor": {"operations": cost.operations, "bytes": cost.bytes, "seconds": least},
    }
    entry["distance"] = entry["rltk"]["seconds"] / least
    entry["utilisation"] = cost.operations / entry["rltk"]["seconds"] / machine["matrix"]
    if work.kind == "overhead":
        entry["overhead"] = median(overhead(record) for record in ours.values())
    return entry


def measured(records: Iterable[Record]) -> Record:
    """Return medians over the processes of the median lap, memory, and mean seconds of each phase."""
    records = list(records)
    seconds = median(median(record["seconds"]) for record in records)
    names = records[0].get("phases", {})
    return {
        "repetitions": len(records),
        "seconds": seconds,
        "cpu_seconds": median(median(record["cpu_seconds"]) for record in records),
        "tokens_per_second": records[0]["tokens"] / seconds,
        "memory": median(record["memory"] for record in records),
        "phases": {name: fmean(_phase(record, name) for record in records) for name in names},
    }


def ratio(ours: Mapping[int, Record], theirs: Mapping[int, Record], name: str) -> Record | None:
    """Return how many times the peer's time is ours: median, lowest and highest over the pairs."""
    pairs = sorted(ours.keys() & theirs.keys())
    if not pairs:
        return None
    ratios = [median(theirs[pair][name]) / median(ours[pair][name]) for pair in pairs]
    return {"median": median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def overhead(record: Record) -> float:
    """Return the time outside of acting as a share of the time in it."""
    return (sum(record["seconds"]) - record["phases"]["acting"]) / record["phases"]["acting"]


def _phase(record: Record, name: str) -> float:
    """Return the seconds a lap."""
    return float(record["phases"][name]) / len(record["seconds"])


def _memory_ratio(ours: Mapping[int, Record], theirs: Mapping[int, Record]) -> float | None:
    if not theirs:
        return None
    own, other = (median(record["memory"] for record in side.values()) for side in (ours, theirs))
    return own / other


def met(entry: Record) -> bool | None:
    """Return whether a line reached its goals; None where it has none, or nothing to compare with."""
    if entry["kind"] == "overhead":
        return bool(entry["overhead"] <= entry["goal"])
    if entry["goal"] is None or entry["ratio"] is None:
        return None
    lean = entry["memory_goal"] is None or entry["memory_ratio"] <= entry["memory_goal"]
    return bool(entry["ratio"]["median"] >= entry["goal"] and lean)


def growth(entries: Iterable[Record]) -> list[Record]:
    """Return, for each factor that was measured, the seconds at its values and the exponent of growth."""
    seconds = {entry["row"]: entry["rltk"]["seconds"] for entry in entries}
    found = []
    for factor, series in SCALING.items():
        named = {value: f"scaling-{factor}-{value}" for value in series}
        points = {value: seconds[name] for value, name in named.items() if name in seconds}
        if len(points) > 1:
            found.append({"factor": factor, "seconds": points, "exponent": exponent(points)})
    return found


def exponent(points: Mapping[int, float]) -> float | None:
    """Return b of the fit seconds = a * value ** b; None where a value is 0."""
    if 0 in points:
        return None
    x, y = [math.log(value) for value in points], [math.log(seconds) for seconds in points.values()]
    return linear_regression(x, y).slope
