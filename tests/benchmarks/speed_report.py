"""The report of tests/benchmarks/speed.py: a JSON file and the tables of docs/benchmarks/speed.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rltk.reporting.tables import DASH, Table, markdown_table
from tests.benchmarks.control_report import put_between_markers
from tests.benchmarks.speed_summary import best_machine, by_run, growth, met, summarise
from tests.benchmarks.speed_work import PEERS, Work

Record = dict[str, Any]
_SCALING = "scaling-"


def write_report(records: Sequence[Record], works: Iterable[Work], directory: Path, *, itemsize: int) -> None:
    """Write ``speed.json`` and the tables of ``speed.md``; on a GPU ``speed_cuda.json`` and its own table.

    :param records: all of the same settings.
    :param itemsize: bytes of a weight in acting.
    """
    entries = summarise(records, works, itemsize=itemsize)
    lines = [entry for entry in entries if not entry["row"].startswith(_SCALING)]
    cuda = records[0]["settings"]["device"] == "cuda"
    tables = {"gpu": gpu_table(lines)} if cuda else _cpu_tables(lines, growth(entries))
    texts = {name: markdown_table(table) for name, table in tables.items()}
    conditions = {"conditions_gpu" if cuda else "conditions": conditions_of(records)}
    directory.mkdir(parents=True, exist_ok=True)
    put_between_markers(directory / "speed.md", conditions | texts)
    everything = {"rows": entries, "runs": sorted(records, key=_order)}
    parts = (
        f'"{name}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]" for name, rows in everything.items()
    )
    name = "speed_cuda.json" if cuda else "speed.json"
    (directory / name).write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


def _cpu_tables(lines: Sequence[Record], grown: Sequence[Record]) -> dict[str, Table]:
    return {
        "speed": speed_table(lines),
        "memory": memory_table(lines),
        "floors": floor_table(lines),
        "phases": phase_table(lines),
        "growth": growth_table(grown),
    }


def conditions_of(records: Sequence[Record]) -> str:
    """Return a sentence with what the tables were measured with."""
    settings = records[0]["settings"]
    machine = best_machine(by_run(records)["machine", "machine"].values())
    copies = sorted(machine["copy"].items(), key=lambda item: int(item[0]))
    (small, fast), (large, slow) = copies[0], copies[-1]
    repetitions = len({record["repetition"] for record in records})
    load = max(record["load"] for record in records)
    quick = " with `--quick`" if settings["quick"] else ""
    return (
        f"Measured on {settings['device']} with {settings['threads']} threads, in {repetitions} repetitions"
        f"{quick}, at a load average of up to {load:.1f}. The machine: "
        f"{machine['matrix'] / 1e9:,.0f} GFLOP/s in a matrix product, {fast / 1e9:.0f} GB/s in a copy of "
        f"{int(small) / 1e6:.0f} MB and {slow / 1e9:.0f} GB/s in one of {int(large) / 1e6:,.0f} MB."
    )


def speed_table(entries: Iterable[Record]) -> Table:
    """Return times of both sides and their ratio, beside the goal."""
    header = [
        "work",
        "peer",
        "rltk, s",
        "peer, s",
        "rltk, tokens/s",
        "times faster",
        "by CPU time",
        "goal",
        "",
    ]
    rows = []
    for entry in entries:
        peer = PEERS[entry["peer"]] if entry["peer"] else DASH
        theirs = entry["theirs"]
        rows.append(
            [
                entry["row"],
                peer,
                f"{entry['rltk']['seconds']:.2f}",
                f"{theirs['seconds']:.2f}" if theirs else DASH,
                f"{entry['rltk']['tokens_per_second']:,.0f}",
                f"overhead {entry['overhead']:.1%}" if "overhead" in entry else _ratio(entry["ratio"]),
                _ratio(entry["cpu_ratio"]),
                _goal(entry),
                {True: "met", False: "**missed**", None: ""}[met(entry)],
            ]
        )
    return header, rows


def memory_table(entries: Iterable[Record]) -> Table:
    """Return the memory above the imports of whole iterations."""
    rows = [
        [
            entry["row"],
            _megabytes(entry["rltk"]),
            _megabytes(entry["theirs"]) if entry["theirs"] else DASH,
            DASH if entry["memory_ratio"] is None else f"{entry['memory_ratio']:.2f}",
            DASH if entry["memory_goal"] is None else f"≤ {entry['memory_goal']}",
        ]
        for entry in entries
        if entry["kind"] in ("ppo", "rloo")
    ]
    return ["work", "rltk, MB", "peer, MB", "share", "goal"], rows


def floor_table(entries: Iterable[Record]) -> Table:
    """Return the least that each line could take, and how far both sides are from it."""
    rows = [
        [
            entry["row"],
            f"{entry['floor']['operations'] / 1e9:,.1f}",
            f"{entry['floor']['bytes'] / 1e9:,.2f}",
            f"{entry['floor']['seconds']:.3f}",
            f"{entry['distance']:.1f}",
            f"{entry['theirs']['seconds'] / entry['floor']['seconds']:.1f}" if entry["theirs"] else DASH,
        ]
        for entry in entries
    ]
    return ["work", "operations, G", "bytes, G", "floor, s", "rltk / floor", "peer / floor"], rows


def phase_table(entries: Iterable[Record]) -> Table:
    """Return the share of an iteration that each phase takes."""
    names = ("decode", "reward", "values", "reference", "update")
    rows = []
    for entry in entries:
        if entry["kind"] in ("ppo", "rloo"):
            phases, total = entry["rltk"]["phases"], entry["rltk"]["seconds"]
            shares = [phases.get(name, 0.0) / total for name in names]
            rows.append([entry["row"], *(f"{100 * share:.0f} %" if share else DASH for share in shares)])
    return ["work", *names], rows


def growth_table(grown: Iterable[Record]) -> Table:
    """Return seconds at each value of what grows, and the exponent."""
    rows = []
    for entry in grown:
        points = " · ".join(f"{value:,}: {seconds:.3f}" for value, seconds in entry["seconds"].items())
        power = DASH if entry["exponent"] is None else f"{entry['exponent']:.2f}"
        rows.append([entry["factor"].replace("-", ", "), points, power])
    return ["what grows", "value: seconds", "exponent"], rows


def gpu_table(entries: Iterable[Record]) -> Table:
    """Return speed against the floor, and the share of the matrix rate that the model's operations take."""
    rows = [
        [
            entry["row"],
            f"{entry['rltk']['tokens_per_second']:,.0f}",
            f"{1 / entry['distance']:.0%}",
            f"{entry['utilisation']:.0%}",
            _ratio(entry["ratio"]),
            _megabytes(entry["rltk"]),
        ]
        for entry in entries
    ]
    header = ["work", "tokens/s", "of the floor's speed", "model FLOP utilisation"]
    return [*header, "times faster than `generate`", "memory, MB"], rows


def _ratio(ratio: Record | None) -> str:
    if ratio is None:
        return DASH
    one = ratio["lowest"] == ratio["highest"]
    return ("{median:.2f}" if one else "{median:.2f} [{lowest:.2f}, {highest:.2f}]").format(**ratio)


def _goal(entry: Record) -> str:
    if entry["goal"] is None:
        return DASH
    return f"≤ {entry['goal']:.0%}" if entry["kind"] == "overhead" else f"≥ {entry['goal']}"


def _megabytes(side: Record) -> str:
    return f"{side['memory'] / 1e6:,.0f}"


def _order(record: Record) -> tuple[Any, ...]:
    return tuple(record[name] for name in ("row", "side", "repetition"))
