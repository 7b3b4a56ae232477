"""Train rltk and Stable-Baselines3 on the same control tasks, with the same settings, steps and seeds.

    make peers
    .venv/bin/python -m tests.benchmarks.control

Every run is a process of its own with one thread; both libraries take turns, so that whatever else the
machine does meets both. Each finished run is one line of a JSONL file, from which an interrupted benchmark
goes on and from which docs/benchmarks/control.{json,md} are written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rltk.config import Recipe, load_recipe
from tests.benchmarks.control_report import write_report
from tests.benchmarks.sb3_translation import sb3_job

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PEERS = ROOT / ".venv-peers/bin/python"
ENVIRONMENTS = ("cartpole", "acrobot", "lunarlander", "pendulum", "halfcheetah", "hopper")
ALGORITHMS = ("ppo", "trpo", "a2c")
LIBRARIES = ("rltk", "sb3")
_CURVE_POINTS = 20

Record = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One run.

    :param environment: name of the shipped recipe.
    :param steps: environment steps, rounded up to whole rollouts; None: as many as the recipe takes.
    """

    library: str
    environment: str
    algorithm: str
    seed: int
    steps: int | None

    def overrides(self) -> list[str]:
        """Return what differs from the recipe."""
        chosen = [f"rl.algorithm.name={self.algorithm}", f"seed={self.seed}", "device=cpu"]
        if self.steps is not None:
            rollout = load_recipe(self.environment, chosen).stages["rl"].options["steps"]
            chosen.append(f"rl.iterations={-(-self.steps // rollout)}")
        return chosen

    def recipe(self) -> Recipe:
        """Return the recipe with everything filled in."""
        return load_recipe(self.environment, self.overrides())


def planned(
    environments: Sequence[str], algorithms: Sequence[str], seeds: int, steps: int | None
) -> Iterator[Job]:
    """Yield all runs, the two of a pair next to each other, each library first in turn."""
    for seed in range(seeds):
        for environment in environments:
            for algorithm in algorithms:
                for library in LIBRARIES if seed % 2 == 0 else reversed(LIBRARIES):
                    yield Job(library, environment, algorithm, seed, steps)


def read_records(path: Path) -> list[Record]:
    """Return the finished runs of a JSONL file, without a last line that was cut off."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def run(job: Job, *, jobs: int = 1) -> Record:
    """Train and evaluate in a process of its own; return the measurements.

    :param jobs: how many runs share the machine, for the record.
    :raises RuntimeError: the process failed.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        measure = _run_rltk if job.library == "rltk" else _run_sb3
        measured = measure(job, Path(directory))
    wall = time.perf_counter() - started
    return {**asdict(job), "requested": job.steps, **measured, "wall": wall, "load": _load(), "jobs": jobs}


def _run_rltk(job: Job, directory: Path) -> Record:
    run = directory / "run"
    clock, rltk = HERE / "cpu_clock.py", Path(sys.executable).with_name("rltk")
    command = [str(rltk), "train", job.environment, *job.overrides()]
    _call([*command, "--run", str(run), "-p", str(clock)], directory)
    summary = json.loads((run / "summary.json").read_text())
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = summary["rl"]["steps"]
    return {
        "steps": steps,
        "seconds": summary["seconds"]["rl"],
        "cpu_seconds": json.loads((run / "cpu_seconds.json").read_text())["rl"],
        **{name: summary["policies"]["rl"][name] for name in ("return", "greedy_return")},
        "curve": _curve([row for row in rows if row["stage"] == "rl"], steps),
        "versions": {name: version(name) for name in ("rltk", "torch")},
    }


def _run_sb3(job: Job, directory: Path) -> Record:
    output = _call([str(PEERS), str(HERE / "peers_sb3.py")], directory, json.dumps(sb3_job(job.recipe())))
    return json.loads(output)


def _call(command: Sequence[str], directory: Path, stdin: str = "") -> str:
    """Run a command with one thread; return its output."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        command, cwd=directory, input=stdin, capture_output=True, text=True, env={**os.environ, **one}
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def _curve(rows: Sequence[Record], steps: int) -> list[tuple[int, float]]:
    """Return the mean return of the last 100 training episodes, at about twenty points."""
    points: list[tuple[int, float]] = []
    for row in rows:
        done = row["step"] * steps // row["total"]
        if "rl/return" in row["metrics"] and done >= len(points) * steps / _CURVE_POINTS:
            points.append((done, row["metrics"]["rl/return"]))
    return points


def _load() -> float:
    """Return how many processes have wanted to run in the last minute, on average."""
    return round(os.getloadavg()[0], 2)


def _key(record: Record) -> tuple[Any, ...]:
    return tuple(record[name] for name in ("library", "environment", "algorithm", "seed", "requested"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then write the report of everything that is there."""
    options = _options(arguments)
    records = read_records(options.resume)
    done = {_key(record) for record in records}
    plan = planned(options.environments, options.algorithms, options.seeds, options.steps)
    missing = [job for job in plan if _key({**asdict(job), "requested": job.steps}) not in done]
    if missing and not PEERS.is_file():
        sys.exit(f"{PEERS} is missing. Fix: make peers")
    options.resume.parent.mkdir(parents=True, exist_ok=True)
    options.resume.write_text("".join(json.dumps(record) + "\n" for record in records))
    with ThreadPoolExecutor(options.jobs) as pool, options.resume.open("a", encoding="utf-8") as file:
        for record in pool.map(partial(run, jobs=options.jobs), missing):
            file.write(json.dumps(record) + "\n")
            file.flush()
            records.append(record)
            print(_line(record), file=sys.stderr)
    write_report(records, options.docs)


def _line(record: Record) -> str:
    name = "{library:4} {environment} {algorithm} seed {seed}".format(**record)
    return "{}: {steps} steps, return {greedy_return:.1f}, {seconds:.1f} s".format(name, **record)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--environments", nargs="+", choices=ENVIRONMENTS, default=ENVIRONMENTS)
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=ALGORITHMS)
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0")
    parser.add_argument("--steps", type=int, help="environment steps a run; the recipe's where not given")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; speed means little above 1")
    parser.add_argument("--resume", type=Path, default=ROOT / "runs/benchmarks/control.jsonl")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs/benchmarks")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
