"""What the runs of tests/benchmarks/control.py amount to: a JSON file and two Markdown tables."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rltk.reporting.tables import Table, markdown_table
from rltk.rng import numpy_generator
from rltk.stats import interquartile_mean, iqm_bootstrap_interval

Record = dict[str, Any]
LIBRARIES = ("rltk", "sb3")
_MARKED = "<!-- {name}: begin -->\n", "<!-- {name}: end -->"


def write_report(records: Sequence[Record], directory: Path) -> None:
    """Write ``control.json`` and put the tables between the markers of ``control.md``."""
    pairs = summarise(records)
    directory.mkdir(parents=True, exist_ok=True)
    everything = {"pairs": pairs, "runs": sorted(records, key=_order)}
    lines = (
        f'"{name}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]" for name, rows in everything.items()
    )
    (directory / "control.json").write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")
    tables = {"returns": return_table(pairs), "speed": speed_table(pairs)}
    put_between_markers(
        directory / "control.md", {name: markdown_table(table) for name, table in tables.items()}
    )


def put_between_markers(page: Path, texts: Mapping[str, str]) -> None:
    """Replace what stands between the markers of each name; make the page where there is none.

    :raises ValueError: the page lacks a marker.
    """
    content = page.read_text(encoding="utf-8") if page.is_file() else _empty(texts)
    for name, text in texts.items():
        content = _replace(content, name, text)
    page.write_text(content, encoding="utf-8")


def summarise(records: Iterable[Record]) -> list[Record]:
    """Return one entry for each environment, algorithm and length: both libraries and their ratio."""
    groups: dict[tuple[str, str, int], dict[str, dict[int, Record]]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        key = record["environment"], record["algorithm"], record["steps"]
        groups[key][record["library"]][record["seed"]] = record
    return [
        {
            **dict(zip(("environment", "algorithm", "steps"), key, strict=True)),
            **{library: _measured(key, runs) for library, runs in libraries.items()},
            "ratio": _ratio(libraries, "seconds"),
            "cpu_ratio": _ratio(libraries, "cpu_seconds"),
        }
        for key, libraries in sorted(groups.items())
    ]


def _measured(key: tuple[str, str, int], runs: dict[int, Record]) -> Record:
    """Return the interquartile mean of each return with its interval, and the median speed."""
    rows = [runs[seed] for seed in sorted(runs)]
    measured: Record = {"seeds": sorted(runs)}
    for name in ("greedy_return", "return"):
        values = [row[name] for row in rows]
        interval = iqm_bootstrap_interval([values], generator=numpy_generator(*key, name))
        measured[name] = {"iqm": interquartile_mean(values), "interval": interval, "values": values}
    for name in ("seconds", "cpu_seconds"):
        measured[name] = median(row[name] for row in rows)
    measured["steps_per_second"] = median(row["steps"] / row["seconds"] for row in rows)
    measured["load"] = median(row["load"] for row in rows)
    return measured


def _ratio(libraries: dict[str, dict[int, Record]], seconds: str) -> float | None:
    """Return the median over seeds of how many times rltk's steps a second are the peer's."""
    ours, theirs = (libraries.get(library, {}) for library in LIBRARIES)
    both = sorted(ours.keys() & theirs.keys())
    return median(theirs[seed][seconds] / ours[seed][seconds] for seed in both) if both else None


def return_table(pairs: Sequence[Record]) -> Table:
    """Return the table of returns, of the mode and of sampled actions."""
    header = ["task", "algorithm", "steps", "seeds", "rltk", "SB3", "rltk, sampled", "SB3, sampled"]
    rows = [
        [
            *_named(pair),
            " and ".join(dict.fromkeys(str(len(pair[x]["seeds"])) for x in LIBRARIES if x in pair)),
            *(_return(pair, library, "greedy_return") for library in LIBRARIES),
            *(_return(pair, library, "return") for library in LIBRARIES),
        ]
        for pair in pairs
    ]
    return header, rows


def speed_table(pairs: Sequence[Record]) -> Table:
    """Return the table of times and speeds."""
    header = ["task", "algorithm", "steps", "rltk, s", "SB3, s", "rltk, steps/s", "SB3, steps/s", "rltk/SB3"]
    rows = [
        [
            *_named(pair),
            *(_number(pair, library, "seconds", 1) for library in LIBRARIES),
            *(_number(pair, library, "steps_per_second", 0) for library in LIBRARIES),
            _times(pair["ratio"]),
            _times(pair["cpu_ratio"]),
        ]
        for pair in pairs
    ]
    return [*header, "by CPU time"], rows


def _named(pair: Record) -> list[str]:
    return [pair["environment"], pair["algorithm"], f"{pair['steps']:,}"]


def _return(pair: Record, library: str, name: str) -> str:
    if library not in pair:
        return "-"
    measured = pair[library][name]
    if len(measured["values"]) == 1:
        return f"{measured['iqm']:.1f}"
    low, high = measured["interval"]
    return f"{measured['iqm']:.1f} [{low:.1f}, {high:.1f}]"


def _number(pair: Record, library: str, name: str, digits: int) -> str:
    return f"{pair[library][name]:,.{digits}f}" if library in pair else "-"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _order(record: Record) -> tuple[Any, ...]:
    return tuple(record[name] for name in ("environment", "algorithm", "steps", "seed", "library"))


def _empty(names: Iterable[str]) -> str:
    return "".join("{}{}\n\n".format(*(mark.format(name=name) for mark in _MARKED)) for name in names)


def _replace(content: str, name: str, table: str) -> str:
    begin, end = (mark.format(name=name) for mark in _MARKED)
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    changed, count = re.subn(pattern, lambda _: f"{begin}{table}\n{end}", content, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"the page needs the marker {begin.strip()} and its end once")
    return changed
