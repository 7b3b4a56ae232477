"""Running a bench: the cells that are not done yet, each kept as soon as it is finished."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rltk.bench.config import BenchConfig
from rltk.bench.plan import Bench, Cell, Plan, make_plan
from rltk.bench.records import read_records
from rltk.bench.workers import play_in_processes
from rltk.bench.workshop import Outcome, Workshop
from rltk.checkpoint import write_text
from rltk.errors import UserError
from rltk.registry import get_registry
from rltk.run_directory import differing_keys, open_run, write_json
from rltk.signals import StopRequest, stop_on_signals

PLAN = "plan.json"
ERRORS = "error.log"


@dataclass(frozen=True)
class BenchOutcome:
    """How a bench ended.

    :param plan: what there was to do.
    :param errors: why cells failed, in the plan's order.
    """

    plan: Plan
    errors: dict[Cell, str]


def run_bench(
    config: BenchConfig,
    directory: Path,
    *,
    resume: bool = False,
    workers: int = 1,
    plugins: Sequence[str] = (),
) -> BenchOutcome:
    """Play every cell that is not done yet.

    :param directory: of the bench; made if it does not exist.
    :param resume: go on with the bench that ``directory`` holds; cells that failed are tried again.
    :param workers: processes; 1 plays in this one.
    :param plugins: values of ``-p``, for the processes.
    :raises UserError: the config, a policy, an environment or the directory is wrong.
    :raises Interrupted: a signal asked to stop; the cells that are finished are kept.
    """
    directory = directory.absolute()
    registry = get_registry()
    plan = make_plan(config)
    _check_cores(workers, config.threads)
    with stop_on_signals() as stop, open_run(directory, config, resume=resume):
        _keep_plan(directory / PLAN, plan)
        write_text(directory / ERRORS, "")
        finished = _Finished(directory, plan)
        registry.notify("rltk_run_start", directory=directory, config=config.resolved())
        error: BaseException | None = None
        try:
            _play(Bench(config, plan, directory, tuple(plugins)), workers, stop, finished)
        except BaseException as caught:
            error = caught
            raise
        finally:
            registry.notify("rltk_run_end", directory=directory, error=error)
    return BenchOutcome(plan, {cell: finished.errors[cell] for cell in plan.cells if cell in finished.errors})


class _Finished:
    """Keeps what became of cells, and shows the progress."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        self.directory = directory
        self.left = [cell for cell in plan.cells if not _is_done(directory, plan, cell)]
        self.errors: dict[Cell, str] = {}
        self._done, self._total = len(plan.cells) - len(self.left), len(plan.cells)

    def __call__(self, outcome: Outcome) -> None:
        path = self.directory / outcome.cell.error_path
        if outcome.reason is None:
            path.unlink(missing_ok=True)
        else:
            self.errors[outcome.cell] = outcome.reason
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, f"{outcome.reason}\n")
            with (self.directory / ERRORS).open("a", encoding="utf-8") as log:
                log.write(f"{outcome.cell}: {outcome.reason}\n{outcome.traceback}\n")
        self._done += 1
        metrics = {"bench/errors": float(len(self.errors))} if self.errors else {}
        get_registry().notify(
            "rltk_metrics", stage="bench", step=self._done, total=self._total, metrics=metrics
        )


def _play(bench: Bench, workers: int, stop: StopRequest, finished: _Finished) -> None:
    registry, started = get_registry(), time.monotonic()
    registry.notify("rltk_stage_start", stage="bench", plugin="bench", index=0, count=1)
    if workers == 1:
        with Workshop(bench) as workshop:
            for cell in finished.left:
                stop.raise_if_requested()
                finished(workshop.attempt(cell))
    else:
        play_in_processes(finished.left, bench, workers, stop, finished)
    stop.raise_if_requested()
    registry.notify("rltk_stage_end", stage="bench", results={}, seconds=time.monotonic() - started)


def _is_done(directory: Path, plan: Plan, cell: Cell) -> bool:
    """Return whether the records of a cell are all there; warn of a file that is torn."""
    path = directory / cell.path
    if not path.exists():
        return False
    try:
        read_records(path, plan.places[cell.environment].episodes)
    except UserError as error:
        print(f"rltk: warning: {error.where}: {error.what}; the cell is played again", file=sys.stderr)
        return False
    return True


def _keep_plan(path: Path, plan: Plan) -> None:
    """Write the plan, or make sure that it still is the one with which the finished cells were played."""
    new = plan.to_json()
    if path.is_file():
        old: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if changed := differing_keys(old, new):
            what = f"other runs or environments than before: {', '.join(changed)} differ"
            raise UserError(str(path), what, fix="begin a new bench with another --run")
    write_json(path, new)


def _check_cores(workers: int, threads: int) -> None:
    cores = os.cpu_count() or 1
    if workers * threads > cores:
        what = f"{workers} workers of {threads} threads are more than the {cores} cores here"
        print(f"rltk: warning: {what}. Fix: set --workers {max(cores // threads, 1)}.", file=sys.stderr)
