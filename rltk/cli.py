"""The command line: thin wrappers, loaded when used, whose every error is one line."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from rltk import API_VERSION, __version__
from rltk.cli_bench import BenchCommand, bench
from rltk.cli_collection import without_collection
from rltk.cli_envs import envs_app
from rltk.cli_options import DEFAULT_RECIPE, Debug, Plugins, Strict
from rltk.cli_plugins import config_app, plugins_app
from rltk.errors import Interrupted, UserError

# Loading messages and bars of the libraries underneath would hide the run's own.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

# Threads that wait by spinning bring a busy machine to a halt: steps of 4 s in place of 0.1 s were seen with
# one other process on two cores. A short spin before sleeping is as fast as a long one. Read with torch.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

app = typer.Typer(add_completion=False, no_args_is_help=True)
# click's own class of "wrong option" errors; typer carries a private copy of click in newer versions
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app.command(cls=BenchCommand)(bench)
app.add_typer(plugins_app, name="plugins")
app.add_typer(config_app, name="config")
app.add_typer(envs_app, name="envs")


def _show_version(asked: bool) -> None:
    if asked:
        print(f"rltk {__version__}, plugin API {API_VERSION}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Train agents, language models among them, with plugins for every part."""


RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory.")]


@app.command()
def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [KEY.PATH=VALUE]...",
            help=f"A shipped recipe or a .yaml file (default {DEFAULT_RECIPE}), and values to override.",
        ),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Run directory (default runs/RECIPE-TIME).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --run.")] = False,
    plugin: Plugins = None,
    strict: Strict = False,
    debug: Debug = False,
) -> None:
    """Run a recipe: every stage in order, results in a run directory."""
    from rltk.commands import train as command

    options = plugin or []
    command(arguments or [], run=run, resume=resume, plugins=options, strict=strict, default=DEFAULT_RECIPE)


@app.command()
def generate(
    run: RunArgument,
    prompt: Annotated[str, typer.Argument(help="What to ask.")],
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Longest response in tokens.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampling.")] = 0,
    greedy: Annotated[bool, typer.Option("--greedy", help="Take the likeliest token every time.")] = False,
    policy: Annotated[str | None, typer.Option(help="Which policy (default: the final one).")] = None,
    plugin: Plugins = None,
    debug: Debug = False,
) -> None:
    """Answer a prompt with a run's final policy."""
    with without_collection():
        from rltk.generation import generate as answer
        from rltk.registry import load_plugins

        load_plugins(plugin or [])
        options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "seed": seed, "greedy": greedy}
        print(answer(run, prompt, policy=policy, **options))


@app.command()
def report(run: RunArgument, debug: Debug = False) -> None:
    """Write the report of a run again."""
    from rltk.report import write_report

    print(write_report(run))


@app.command()
def recipes() -> None:
    """List the shipped recipes."""
    from rltk.commands import list_recipes

    list_recipes()


def main() -> None:
    """Run the command line and exit: 0, 2 for wrong input, 1 for a bug, 128 + N for signal N."""
    warnings.showwarning = lambda message, *rest: _print_error("warning", str(message))
    logging.basicConfig(format="rltk: warning: %(message)s", level=logging.WARNING)
    try:
        code = typer.main.get_command(app).main(prog_name="rltk", standalone_mode=False)
    except UserError as error:
        _show_traceback()
        for line in str(error).splitlines():
            _print_error("error", line)
        code = 2
    except _UsageError as error:
        message = error.format_message()  # type: ignore[attr-defined]
        if message:  # none where the help was printed for want of a command
            _print_error("error", f"command line: {message.rstrip('.')}. Fix: see rltk --help.")
        code = 2
    except Interrupted as error:
        code = 128 + error.signum
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except BrokenPipeError:
        code = 141
    except Exception as error:
        _show_traceback()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        _print_error("error", f"{reason}. Fix: run again with --debug and report the traceback.")
        code = 1
    sys.exit(code)


def _show_traceback() -> None:
    if "--debug" in sys.argv:
        traceback.print_exc()


def _print_error(level: str, text: str) -> None:
    print(f"rltk: {level}: {text}", file=sys.stderr)
