"""What ``rltk bench`` does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rltk.bench.config import read_bench, read_report_options
from rltk.cli_collection import without_collection
from rltk.errors import Interrupted, UserError
from rltk.registry import load_plugins


def bench(
    arguments: Sequence[str],
    *,
    given: dict[str, Any],
    run: Path | None,
    resume: bool,
    workers: int,
    plugins: Sequence[str],
    strict: bool,
) -> bool:
    """Run a bench and show what came out.

    :param arguments: a YAML file, then overrides.
    :param given: keys of the config that options of the command line replace.
    :returns: whether every cell was played.
    """
    named = bool(arguments) and "=" not in arguments[0]
    path = Path(arguments[0]) if named else None
    if resume and run is None:
        raise UserError("--resume", "which bench is not said", fix="add --run DIR")
    if resume and not named and run is not None and (run / "config.yaml").is_file():
        path = run / "config.yaml"
    with without_collection():
        load_plugins(plugins, strict=strict)
        config = read_bench(path, given, arguments[1:] if named else arguments)
        from rltk.bench.running import run_bench
        from rltk.runs import default_directory

    directory = run or default_directory(config.name)
    print(f"rltk: {config.name} -> {directory}", file=sys.stderr)
    try:
        outcome = run_bench(config, directory, resume=resume, workers=workers, plugins=plugins)
    except Interrupted:
        again = " ".join(["rltk bench", f"--run {directory} --resume", *(f"-p {item}" for item in plugins)])
        print(f"rltk: interrupted, finished cells kept. Go on with: {again}", file=sys.stderr)
        raise
    _show(directory)
    for cell, reason in outcome.errors.items():
        print(f"rltk: error: {cell}: {reason}", file=sys.stderr)
    if outcome.errors:
        fix = f"repair what is wrong and go on with: rltk bench --run {directory} --resume"
        what = f"{len(outcome.errors)} of {len(outcome.plan.cells)} cells failed"
        print(f"rltk: error: {what}; tracebacks in {directory / 'error.log'}. Fix: {fix}.", file=sys.stderr)
    return not outcome.errors


def report(directory: Path, overrides: Sequence[str], *, plugins: Sequence[str], strict: bool) -> None:
    """Write the report of a bench anew from its records and show it; nothing is played.

    :param overrides: ``baseline=POLICY`` and ``margin=NUMBER`` replace the config's.
    """
    with without_collection():
        load_plugins(plugins, strict=strict)
    _show(directory, **read_report_options(overrides))


def _show(directory: Path, **options: Any) -> None:
    from rltk.bench.report import write_report
    from rltk.bench.reporting.terminal import print_summary

    print_summary(write_report(directory, **options))
    print(f"\nreport: {directory / 'report.html'}")
