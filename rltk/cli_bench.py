"""The command ``rltk bench``: options that take several values, up to the next option."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from rltk.cli_options import Debug, Plugins, Strict

_SEVERAL = {"--policies", "--envs"}
_OVERRIDE = re.compile(r"^[A-Za-z_][\w.-]*=")


class BenchCommand(TyperCommand):
    """Reads ``--policies a b`` as ``--policies a --policies b``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments after repeating the options that take several."""
        return super().parse_args(ctx, repeated(args))


def repeated(arguments: list[str]) -> list[str]:
    """Return the arguments with an option before each of its values; overrides are no values."""
    result: list[str] = []
    option = None
    for argument in arguments:
        if argument.startswith("-") or _OVERRIDE.match(argument):
            option = argument if argument in _SEVERAL else None
            result += [] if option else [argument]
        else:
            result += [option, argument] if option else [argument]
    return result


def bench(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[BENCH.yaml] [KEY.PATH=VALUE]...", help="What to compare, and values to override."
        ),
    ] = None,
    policies: Annotated[
        list[str] | None,
        typer.Option(help="Runs (RUN or RUN:NAME), model folders, hf:ID, plugins, random, oracle."),
    ] = None,
    envs: Annotated[list[str] | None, typer.Option(help="Environments, by name or Gymnasium id.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Evaluation seeds (default 5).")] = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="Episodes a cell (default 100).")] = None,
    run: Annotated[Path | None, typer.Option(help="Where to keep it (default runs/NAME-TIME).")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that cells are spread over.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the bench in --run.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Only write the report of the bench in this directory again; baseline=, margin= apply."
        ),
    ] = None,
    plugin: Plugins = None,
    strict: Strict = False,
    debug: Debug = False,
) -> None:
    """Compare policies in environments, on the same prompts and with the same seeds."""
    from rltk.bench.command import bench as command
    from rltk.bench.command import report as write_report

    if report is not None:
        write_report(report, arguments or [], plugins=plugin or [], strict=strict)
        return
    options = {"policies": policies, "environments": envs, "seeds": seeds, "episodes": episodes}
    played = command(
        arguments or [],
        given={key: value for key, value in options.items() if value is not None},
        run=run,
        resume=resume,
        workers=workers,
        plugins=plugin or [],
        strict=strict,
    )
    if not played:
        raise typer.Exit(1)
