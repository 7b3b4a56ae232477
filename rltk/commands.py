"""What the commands of the command line do."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rltk.cli_collection import without_collection
from rltk.config import Recipe, load_recipe, read_recipe, recipe_names
from rltk.errors import Interrupted, UserError
from rltk.processes import require_one_process
from rltk.registry import load_plugins


def train(
    arguments: Sequence[str],
    *,
    run: Path | None,
    resume: bool,
    plugins: Sequence[str],
    strict: bool,
    default: str,
) -> None:
    """Run a recipe and show what came out.

    :param arguments: a recipe's name or file, then overrides; ``default`` where the first is an override.
    """
    require_one_process()
    named = bool(arguments) and "=" not in arguments[0]
    if resume and run is None:
        raise UserError("--resume", "which run is not said", fix="add --run DIR")
    if resume and run is not None:
        default = str(run / "config.yaml")
        if not Path(default).is_file():
            raise UserError("--run", "no run is here", got=str(run), fix="leave --resume out to begin one")
    source, overrides = (arguments[0], arguments[1:]) if named else (default, arguments)
    read_recipe(source)  # a misspelt name is told before torch is loaded with the plugins
    with without_collection():
        load_plugins(plugins, strict=strict)
        recipe = load_recipe(source, overrides)
        from rltk.runs import default_directory
        from rltk.runs import train as run_stages

    directory = run or default_directory(recipe.name)
    print(f"rltk: {recipe.name} -> {directory}", file=sys.stderr)
    try:
        summary = run_stages(recipe, directory, resume=resume)
    except Interrupted:
        again = " ".join(["rltk train", f"--run {directory} --resume", *(f"-p {item}" for item in plugins)])
        print(f"rltk: interrupted, state saved. Go on with: {again}", file=sys.stderr)
        raise
    except UserError:
        raise
    except Exception:
        _keep_traceback(directory)
        raise
    _show_results(recipe, summary, directory, plugins)


def list_recipes() -> None:
    """Print the shipped recipes."""
    rows = [[name, str(read_recipe(name).get("description", ""))] for name in recipe_names()]
    print_table(["recipe", "what it does"], rows)


def _show_results(recipe: Recipe, summary: dict[str, Any], directory: Path, plugins: Sequence[str]) -> None:
    """Print the table of policies, the report's path and what to try next."""
    from rltk.report import headline, next_steps, policy_table

    if summary["policies"]:
        print_table(*policy_table(summary))
    if sentence := headline(summary):
        print(sentence)
    print(f"\nreport: {directory / 'report.html'}")
    for command, purpose in next_steps(recipe.resolved(), str(directory), plugins):
        print(f"next: {command}  # {purpose}")


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in the terminal's width, or wide enough for most where there is none."""
    table = Table(box=None, pad_edge=False)
    for title in header:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _keep_traceback(directory: Path) -> None:
    if directory.is_dir():
        (directory / "error.log").write_text(traceback.format_exc(), encoding="utf-8")
        print(f"rltk: the traceback is in {directory / 'error.log'}", file=sys.stderr)
