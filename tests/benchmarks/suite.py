"""Train policies in the suite with several algorithms, and bench them beside those that need no training.

    .venv/bin/python -m tests.benchmarks.suite --jobs 2

Finished runs and cells are kept, so that the command goes on where it was stopped. The tables of
docs/benchmarks/suite.md are written from what the benches say.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
RLTK = Path(sys.executable).parent / "rltk"
#: The tasks that policies are trained in, and the recipe that trains them.
TASKS = {
    "copy": ["suite", "environment.name=copy"],
    "sort": ["suite", "environment.name=sort"],
    "reverse": ["suite", "environment.name=reverse"],
    "brackets": ["suite", "environment.name=brackets"],
    "guess_number": ["suite", "environment.name=guess_number"],
    "sentiment": ["sentiment"],
}
ALGORITHMS = ("ppo", "trpo", "rloo")
PAGE = ROOT / "docs/benchmarks/suite.md"
#: The sections of each bench's summary that the page shows.
BENCHES = {
    "untrained": ["Mean scores"],
    "trained": ["Mean scores", "Over all environments", "Against sft", "Every pair"],
    "sentiment": ["sentiment", "Against sft"],
}


def train(runs: Path, task: str, algorithm: str, seed: int) -> None:
    """Train one policy, or go on with it; do nothing where it has finished."""
    run = runs / task / f"{algorithm}-{seed}"
    if (run / "report.html").is_file():
        return
    command = [
        str(RLTK),
        "train",
        *TASKS[task],
        f"rl.algorithm.name={algorithm}",
        f"seed={seed}",
        "device=cpu",
    ]
    command += ["--run", str(run), *(["--resume"] if (run / "config.yaml").is_file() else [])]
    print(" ".join(command), flush=True)
    run.parent.mkdir(parents=True, exist_ok=True)
    with run.with_suffix(".log").open("a") as log:
        subprocess.run(
            command, check=True, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )


def bench(runs: Path, name: str, workers: int) -> str:
    """Play what is missing of a bench and return its summary in Markdown."""
    directory = runs.with_name(f"{runs.name}-{name}")
    command = [str(RLTK), "bench", str(PAGE.with_name(f"suite-{name}.yaml")), "--run", str(directory)]
    command += ["--workers", str(workers), *(["--resume"] if (directory / "config.yaml").is_file() else [])]
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return (directory / "summary.md").read_text(encoding="utf-8")


def section(summary: str, title: str) -> str:
    """Return what stands under a heading."""
    return re.split(r"^## ", summary.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[
        0
    ].strip()


def with_tables(page: str, name: str, summary: str) -> str:
    """Return the page with the sections of a bench between the marks that name them."""
    for title in BENCHES[name]:
        begin, end = f"<!-- {name}: {title}: begin -->", f"<!-- {name}: {title}: end -->"
        head, rest = page.split(begin)
        page = f"{head}{begin}\n{section(summary, title)}\n{end}{rest.split(end)[1]}"
    return page


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and play what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/benchmarks/suite", help="where runs go")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--train-only", action="store_true", help="bench nothing")
    options = parser.parse_args(arguments)
    jobs = [(t, a, s) for s in range(options.seeds) for t in options.tasks for a in ALGORITHMS]
    with ThreadPoolExecutor(options.jobs) as pool:
        for _ in pool.map(lambda job: train(options.runs, *job), jobs):
            pass
    if options.train_only:
        return
    for name in BENCHES:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(with_tables(page, name, bench(options.runs, name, options.jobs)), encoding="utf-8")


if __name__ == "__main__":
    main()
