"""The commands about plugins and configs: list, show, check and begin a plugin; a recipe's schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rltk.cli_collection import without_collection
from rltk.cli_options import DEFAULT_RECIPE, Debug, Plugins, Strict

plugins_app = typer.Typer(help="List, explain, check and begin plugins.")
config_app = typer.Typer(help="About recipes.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Machine-readable.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A component or plugin.")]


@plugins_app.callback(invoke_without_command=True)
def list_all(
    context: typer.Context,
    plugin: Plugins = None,
    as_json: Json = False,
    load: Annotated[bool, typer.Option("--load", help="Import all of them, torch and all.")] = False,
    strict: Strict = False,
    debug: Debug = False,
) -> None:
    """List plugins: where each is from, whether it works, what it provides."""
    if context.invoked_subcommand is None:
        from rltk.listing.listing import list_plugins

        with without_collection():
            list_plugins(plugin or [], as_json=as_json, load=load, strict=strict)


@plugins_app.command()
def show(name: NameArgument, plugin: Plugins = None, as_json: Json = False, debug: Debug = False) -> None:
    """Explain a component: what it is, its options, an example."""
    from rltk.describing.show import show_plugin

    show_plugin(name, plugin or [], as_json=as_json)


@plugins_app.command()
def check(
    name: NameArgument,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Options to make it with.")
    ] = None,
    plugin: Plugins = None,
    debug: Debug = False,
) -> None:
    """Run the contract checks on a component or on all of a plugin."""
    from rltk.testing.command import check_plugin

    check_plugin(name, overrides or [], plugin or [])


@plugins_app.command()
def new(
    kind: Annotated[str, typer.Argument(help="reward, algorithm, policy, environment, stage or observer.")],
    name: Annotated[str, typer.Argument(help="What configs will call it.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write the package.")],
    debug: Debug = False,
) -> None:
    """Write an installable package with a small working plugin and its test."""
    from rltk.scaffold import new_plugin, next_steps

    with without_collection():
        paths = new_plugin(kind, name, directory)
    for path in paths:
        print(path)
    print(next_steps(kind, name, directory))


@config_app.command()
def schema(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe or a .yaml file.")] = DEFAULT_RECIPE,
    plugin: Plugins = None,
    debug: Debug = False,
) -> None:
    """Print a recipe's JSON Schema, for editors."""
    from rltk.describing.config_schema import print_schema

    print_schema(recipe, plugin or [])
