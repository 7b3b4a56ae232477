"""Options that several commands share."""

from typing import Annotated

import typer

DEFAULT_RECIPE = "instructgpt-mini"

Plugins = Annotated[
    list[str] | None,
    typer.Option("-p", "--plugin", help="A .py file or module to load, or no:NAME to leave a plugin out."),
]
Strict = Annotated[
    bool, typer.Option("--strict-plugins", help="Stop if any plugin fails to load or two clash.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
