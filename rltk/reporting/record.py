"""What a run left behind, read as far as it got."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rltk.errors import UserError

Row = dict[str, Any]


@dataclass(frozen=True)
class RunRecord:
    """The files of a run directory that a report is made of; empty where a run has not come so far.

    :param summary: ``summary.json``: the results of the stages that are done.
    :param config: the resolved recipe.
    :param metrics: lines of ``metrics.jsonl``.
    :param samples: lines of the evaluation's ``samples.jsonl``.
    """

    directory: Path
    summary: Mapping[str, Any]
    config: Mapping[str, Any]
    metrics: list[Row]
    samples: list[Row]

    @classmethod
    def read(cls, directory: Path) -> "RunRecord":
        """Read a run directory.

        :raises UserError: it holds no run.
        """
        config_file = directory / "config.yaml"
        if not config_file.is_file():
            raise UserError(str(directory), "it holds no run (no config.yaml)", fix="name a run's directory")
        config = yaml.safe_load(config_file.read_text(encoding="utf-8")) or {}
        sample_files = sorted(directory.glob("stages/*/samples.jsonl"))
        return cls(
            directory=directory,
            summary=_read_json(directory / "summary.json"),
            config=config,
            metrics=_read_lines(directory / "metrics.jsonl"),
            samples=[row for file in sample_files for row in _read_lines(file)],
        )

    def series(self, stage: str) -> dict[str, tuple[list[float], list[float | None]]]:
        """Return steps and values of every metric that a stage logged, in the order of first appearance."""
        series: dict[str, tuple[list[float], list[float | None]]] = {}
        for row in self.metrics:
            if row.get("stage") == stage:
                for key, value in (row.get("metrics") or {}).items():
                    steps, values = series.setdefault(key, ([], []))
                    steps.append(float(row["step"]))
                    values.append(value)
        return series

    def stages(self) -> list[str]:
        """Return the names of the recipe's stages in order."""
        return list(self.config.get("stages") or {})


def _read_json(file: Path) -> Row:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _read_lines(file: Path) -> list[Row]:
    """Return the rows of a JSONL file without those a crash left unfinished."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows
