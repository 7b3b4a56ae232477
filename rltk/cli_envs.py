"""The commands about environments: list them, check one, play one."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from rltk.cli_collection import without_collection
from rltk.cli_options import Debug, Plugins
from rltk.cli_plugins import Json

envs_app = typer.Typer(help="List, check and play environments.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="An environment or a Gymnasium id.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Options to make it with.")
]


@envs_app.callback(invoke_without_command=True)
def list_all(
    context: typer.Context, plugin: Plugins = None, as_json: Json = False, debug: Debug = False
) -> None:
    """List environments: kind, turns, levels, the scores of random actions and of the oracle."""
    if context.invoked_subcommand is None:
        with without_collection():
            from rltk.envs_listing import list_environments

            list_environments(plugin or [], as_json=as_json)


@envs_app.command()
def check(
    name: NameArgument, overrides: Overrides = None, plugin: Plugins = None, debug: Debug = False
) -> None:
    """Check that it keeps its contract, and that scores are what it declares."""
    from rltk.envs_checking import check_named_environment

    check_named_environment(name, overrides or [], plugin or [])


@envs_app.command()
def play(
    name: NameArgument,
    overrides: Overrides = None,
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="Whose prompts, where it is text.")
    ] = "train",
    seed: Annotated[int, typer.Option(min=0, help="Which prompts or initial states.")] = 0,
    plugin: Plugins = None,
    debug: Debug = False,
) -> None:
    """Play it yourself in the terminal; Ctrl-D ends the game."""
    from rltk.envs_playing import play as play_environment

    play_environment(name, overrides or [], plugin or [], split=split, seed=seed)
