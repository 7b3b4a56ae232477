"""Measure how fast rltk decodes and learns text, beside transformers and TRL.

    make peers-text
    .venv/bin/python -m tests.benchmarks.speed
    .venv/bin/python -m tests.benchmarks.speed --quick --rows decode-fixed-gpt2-1m ppo

Every measurement is a process of its own; the sides take turns, so that whatever else the machine does meets
both. Each finished one is a line of a JSONL file, from which an interrupted benchmark goes on; begin another
file when the code or the machine has changed. docs/benchmarks/speed.{json,md} are written from it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.control import read_records
from tests.benchmarks.speed_floor import working_set
from tests.benchmarks.speed_report import write_report
from tests.benchmarks.speed_work import Work, rows

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
#: Side -> its script and the environment that runs it.
SIDES = {
    "machine": ("speed_machine.py", ".venv"),
    "rltk": ("speed_rltk.py", ".venv"),
    "generate": ("peers_generate.py", ".venv"),
    "trl_ppo": ("peers_trl_ppo.py", ".venv-peers-trl-ppo"),
    "trl_rloo": ("peers_trl_rloo.py", ".venv-peers-trl-rloo"),
}

Record = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What all measurements of a report share.

    :param repeats: laps a process, after the warm-up.
    """

    device: str
    threads: int
    quick: bool
    repeats: int

    @property
    def dtype(self) -> str:
        """What models compute in."""
        return "bfloat16" if self.device == "cuda" else "float32"


@dataclass(frozen=True)
class Run:
    """One process."""

    row: str
    side: str
    repetition: int


def planned(works: Iterable[Work], repetitions: int) -> Iterator[Run]:
    """Yield all processes, the sides of a line next to each other, each first in turn."""
    works = list(works)
    for repetition in range(repetitions):
        yield Run("machine", "machine", repetition)
        runs: dict[Run, None] = {}
        for work in works:
            pair = [Run(work.name, "rltk", repetition)]
            if work.peer is not None:
                pair.append(Run(work.peer_row or work.name, work.peer, repetition))
            runs.update(dict.fromkeys(pair if repetition % 2 == 0 else reversed(pair)))
        yield from runs


def selected(device: str, prefixes: Sequence[str], *, quick: bool) -> list[Work]:
    """Return the lines whose names begin with one of ``prefixes``; all where there are none."""
    chosen = [work for work in rows(device) if not prefixes or work.name.startswith(tuple(prefixes))]
    return [work.quick() for work in chosen] if quick else chosen


def measure(run: Run, settings: Settings, models: Path) -> Record:
    """Measure in a process of its own.

    :param models: folder for models that have to be loaded from one.
    :raises RuntimeError: the process failed.
    """
    if run.side == "machine":
        sizes = sorted({working_set(work.shape, itemsize(settings)) for work in rows(settings.device)})
        job = {**asdict(settings), "dtype": settings.dtype, "sizes": sizes}
    else:
        job = as_job(run, settings, models)
    script, environment = SIDES[run.side]
    output = _call(ROOT / environment / "bin/python", HERE / script, job, settings.threads)
    load = round(os.getloadavg()[0], 2)
    return {**asdict(run), "settings": asdict(settings), **json.loads(output), "load": load}


def as_job(run: Run, settings: Settings, models: Path) -> dict[str, Any]:
    """Return what the scripts read: a line and its settings as plain values."""
    (work,) = (work for work in rows(settings.device) if work.name == run.row)
    work = work.quick() if settings.quick else work
    job = {**asdict(work), **asdict(settings), "dtype": settings.dtype, "options": work.shape.options()}
    job |= {"prompts": work.prompts(), "lengths": work.lengths(), "models": str(models / work.name)}
    if work.kind in ("ppo", "rloo") and not Path(job["models"]).exists():
        _call(Path(sys.executable), HERE / "speed_models.py", job, settings.threads)
    return job


def itemsize(settings: Settings) -> int:
    """Return the bytes of a weight in acting."""
    return 2 if settings.dtype == "bfloat16" else 4


def _call(python: Path, script: Path, job: dict[str, Any], threads: int) -> str:
    """Run a script with a job as its input, and no network; return its output."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"), "1")
    environment = {**os.environ, **dict.fromkeys(names, str(threads)), **offline}
    command = [str(python), str(script)]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, then write the report of everything that is there."""
    options = _options(arguments)
    settings = Settings(options.device, options.threads, options.quick, options.repeats)
    works = selected(settings.device, options.rows, quick=settings.quick)
    path = options.records or ROOT / f"runs/benchmarks/speed-{settings.device}.jsonl"
    records = read_records(path)
    done = {_key(record) for record in records}
    missing = [
        run
        for run in planned(works, options.repetitions)
        if _key({**asdict(run), "settings": asdict(settings)}) not in done
    ]
    _require({run.side for run in missing})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    with path.open("a", encoding="utf-8") as file, tempfile.TemporaryDirectory() as models:
        for run in missing:
            records.append(measure(run, settings, Path(models)))
            file.write(json.dumps(records[-1]) + "\n")
            file.flush()
            print(_line(records[-1]), file=sys.stderr)
    same = [record for record in records if record["settings"] == asdict(settings)]
    everything = selected(settings.device, (), quick=settings.quick)
    write_report(same, everything, options.docs, itemsize=itemsize(settings))


def _require(sides: Iterable[str]) -> None:
    for side in sides:
        if not (ROOT / SIDES[side][1] / "bin/python").exists():
            sys.exit(f"{ROOT / SIDES[side][1]} is missing. Fix: make peers-text")


def _key(record: Record) -> tuple[Any, ...]:
    run = (record[name] for name in ("row", "side", "repetition"))
    return (*run, json.dumps(record["settings"], sort_keys=True))


def _line(record: Record) -> str:
    name = "{row} {side} {repetition}: ".format(**record)
    if record["side"] == "machine":
        return name + "{:.0f} GFLOP/s".format(record["matrix"] / 1e9)
    return name + "{:.2f} s, {:.0f} MB".format(min(record["seconds"]), record["memory"] / 1e6)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=(), help="beginnings of names; all where not given")
    parser.add_argument("--quick", action="store_true", help="a quarter of the ragged responses")
    parser.add_argument("--repetitions", type=int, default=5, help="processes of each side")
    parser.add_argument("--repeats", type=int, default=2, help="laps a process, after a warm-up")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--records", type=Path, help="default: runs/benchmarks/speed-DEVICE.jsonl")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs/benchmarks")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
