"""Results made by hand, without playing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rltk import yaml_io
from rltk.bench.plan import Cell
from rltk.bench.records import Record, write_records
from rltk.bench.results import Results
from rltk.run_directory import write_json
from tests.bench.conftest import config_of

#: Scores of one cell: a list a prompt, in order, each with a score a sample.
Scores = Sequence[Sequence[float]]
#: By policy, or policy@training seed, and environment: a cell an evaluation seed; a text where it failed.
Played = Mapping[tuple[str, str], Sequence[Scores | str]]

BOUNDS = {"echo": (0.0, 1.0), "lock": (0.2, 0.7), "restricted": None}


def made_up(played: Played, *, shared_prompts: bool = False, **keys: Any) -> Results:
    """Return results with these scores.

    :param shared_prompts: every evaluation seed has the same prompts; otherwise each has its own.
    """
    policies = dict.fromkeys(name.partition("@")[0] for name, _ in played)
    environments = dict.fromkeys(environment for _, environment in played)
    seeds = max(len(cells) for cells in played.values())
    cells = [cell for one in played.values() for cell in one if not isinstance(cell, str)]
    samples = len(cells[0][0])
    config = config_of(
        dict.fromkeys(policies, "random"),
        list(environments),
        seeds=seeds,
        samples=samples,
        episodes=len(cells[0]) * samples,
        **keys,
    )
    records: list[Record] = []
    errors: dict[str, str] = {}
    for (name, environment), per_seed in played.items():
        for seed, scores in enumerate(per_seed):
            cell = Cell(name.partition("@")[0], _train_seed(name), environment, seed)
            if isinstance(scores, str):
                errors[str(cell)] = scores
            else:
                records += _records(cell, scores, 0 if shared_prompts else seed)
    return Results(config, _plan(played, policies, environments, config.episodes), records, errors)


def cell(values: ArrayLike) -> list[list[float]]:
    """Return scores of one sample a prompt."""
    return [[float(value)] for value in np.asarray(values)]


def keep(results: Results, directory: Path) -> Path:
    """Write results as a bench leaves them behind."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.yaml").write_text(yaml_io.dump(results.config.resolved()), encoding="utf-8")
    write_json(directory / "plan.json", results.plan)
    cells: dict[Path, list[Record]] = {}
    for record in results.records:
        cell = Cell(record.policy, record.train_seed, record.environment, record.seed)
        cells.setdefault(directory / cell.path, []).append(record)
    for path, records in cells.items():
        write_records(path, records)
    for name, reason in results.errors.items():
        path = directory / "cells" / f"{name}.error"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{reason}\n", encoding="utf-8")
    return directory


def _records(cell: Cell, scores: Scores, draw: int) -> list[Record]:
    return [
        Record(
            policy=cell.policy,
            train_seed=cell.train_seed,
            environment=cell.environment,
            seed=cell.seed,
            prompt=prompt,
            prompt_key=hashlib.sha256(f"{draw} {prompt}".encode()).hexdigest()[:16],
            sample=sample,
            score=score,
            reward=None,
            kl=None,
            prompt_text=f"prompt {prompt}",
            response=f"{cell.policy} says {score}",
            length=prompt + 1,
            terminated=sample == 0,
            truncated=sample > 0,
        )
        for prompt, samples in enumerate(scores)
        for sample, score in enumerate(samples)
    ]


def _plan(played: Played, policies: Any, environments: Any, episodes: int) -> dict[str, Any]:
    there = {(name.partition("@")[0], environment) for name, environment in played}
    return {
        "environments": {
            name: {"text": True, "oracle": True, "episodes": episodes, "bounds": BOUNDS[name]}
            for name in environments
        },
        "policies": [
            {
                "policy": name.partition("@")[0],
                "train_seed": _train_seed(name),
                "environment": environment,
                "form": {},
            }
            for name, environment in played
        ],
        "left_out": [
            {"policy": policy, "environment": name, "reason": "it has no hands"}
            for policy in policies
            for name in environments
            if (policy, name) not in there
        ],
    }


def _train_seed(name: str) -> int | None:
    return int(name.partition("@")[2]) if "@" in name else None
