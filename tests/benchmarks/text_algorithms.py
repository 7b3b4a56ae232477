"""Train every algorithm on the instruct world from one supervised policy, by one reward model.

    rltk train instructgpt-mini --run runs/mini
    .venv/bin/python -m tests.benchmarks.text_algorithms --base runs/mini

Each run is a process of its own with one thread. Finished runs are kept, so that the command goes on where it
was stopped; from all of them docs/benchmarks/text_algorithms.{json,md,svg} are written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from rltk import yaml_io
from tests.benchmarks.text_report import Run, write_report

ROOT = Path(__file__).parent.parent.parent
#: By the recipe's settings of each, its own or a variant's; all sample 8,192 episodes.
ALGORITHMS = ("ppo", "trpo", "a2c", "rloo", "grpo")


def derived_recipe(base: Path) -> dict[str, Any]:
    """Return the recipe that goes on from the supervised policy and the reward model of a run.

    :param base: a run of ``instructgpt-mini``.
    """
    text = (base / "config.yaml").read_text(encoding="utf-8")
    for made in ("pretrain", "sft", "reward_model"):
        text = text.replace(f"$RUN/stages/{made}/", f"{base.resolve()}/stages/{made}/")
    tree: dict[str, Any] = yaml_io.parse(text, "config.yaml")
    stages = tree["stages"]
    stages["evaluate"]["policies"] = {name: stages["evaluate"]["policies"][name] for name in ("sft", "rl")}
    return {**tree, "stages": {name: stages[name] for name in ("rl", "evaluate")}}


def train(recipe: Path, directory: Path, algorithm: str, seed: int) -> None:
    """Run one algorithm with one seed, or go on with it; do nothing where it has finished."""
    run = directory / f"{algorithm}-{seed}"
    if (run / "report.html").is_file():
        return
    command = [str(Path(sys.executable).parent / "rltk"), "train", str(recipe), f"seed={seed}"]
    command += [f"rl.algorithm.name={algorithm}", "device=cpu", "--run", str(run)]
    if (run / "config.yaml").is_file():
        command.append("--resume")
    print(" ".join(command), flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (directory / f"{algorithm}-{seed}.log").open("a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log, env=environment)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="a run of instructgpt-mini")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/benchmarks/text", help="where runs go")
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS, choices=ALGORITHMS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/benchmarks")
    options = parser.parse_args(arguments)
    options.runs.mkdir(parents=True, exist_ok=True)
    recipe = options.runs / "recipe.yaml"
    recipe.write_text(yaml_io.dump(derived_recipe(options.base)), encoding="utf-8")
    jobs = [(algorithm, seed) for seed in range(options.seeds) for algorithm in options.algorithms]
    with ThreadPoolExecutor(options.jobs) as pool:
        one = partial(train, recipe, options.runs)
        for _ in pool.map(lambda job: one(*job), jobs):
            pass
    runs = [Run.read(options.runs / f"{algorithm}-{seed}", algorithm, seed) for algorithm, seed in jobs]
    write_report(runs, options.output)
    print(json.dumps({"runs": len(runs)}))


if __name__ == "__main__":
    main()
