"""What a directory of a bench holds, read back for statistics and reports."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rltk import yaml_io
from rltk.bench.config import BenchConfig, validate_bench
from rltk.bench.plan import Cell
from rltk.bench.records import Record, read_records
from rltk.bench.running import PLAN
from rltk.errors import UserError


@dataclass(frozen=True)
class Results:
    """The results of a bench.

    :param config: what was compared.
    :param plan: ``plan.json``: the environments and their bounds, where policies come from, what is left out.
    :param records: of all finished cells, in the order of policies, training seeds, environments and seeds.
    :param errors: why cells failed, by their names as in ``cells/NAME.error``.
    """

    config: BenchConfig
    plan: dict[str, Any]
    records: list[Record]
    errors: dict[str, str]


def read_results(directory: Path) -> Results:
    """Return the results that a bench left behind.

    :raises UserError: there is no bench, or a file of it is broken.
    """
    written = directory / "config.yaml"
    if not (directory / PLAN).is_file() or not written.is_file():
        fix = "name the directory that `rltk bench` made"
        raise UserError(str(directory), "no bench is here", fix=fix)
    config = validate_bench(yaml_io.parse(written.read_text(encoding="utf-8"), str(written)), str(written))
    plan = _read_plan(directory / PLAN, config)
    records: list[Record] = []
    errors: dict[str, str] = {}
    for item in plan["policies"]:
        policy, train_seed, environment = item["policy"], item["train_seed"], item["environment"]
        for seed in range(config.seeds):
            cell = Cell(policy, train_seed, environment, seed)
            if (directory / cell.error_path).is_file():
                errors[str(cell)] = (directory / cell.error_path).read_text(encoding="utf-8").strip()
            if (directory / cell.path).is_file():
                count = plan["environments"][environment]["episodes"]
                records += read_records(directory / cell.path, count)
    return Results(config, plan, records, errors)


def _read_plan(path: Path, config: BenchConfig) -> dict[str, Any]:
    fix = "go on with rltk bench --run DIR --resume, or play a new bench"
    try:
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}", f"no JSON ({error.msg})", fix=fix) from error
    keys = {"environments", "policies", "left_out"}
    if (
        not isinstance(plan, dict)
        or not keys <= plan.keys()
        or {*plan["environments"]} != {*config.environments}
    ):
        raise UserError(str(path), "no plan of this bench", fix=fix)
    return plan
