"""``rltk plugins check``: the contract checks of a component, or of all that a plugin provides."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer

import rltk.testing
from rltk.config import build_config
from rltk.errors import UserError, suggestion
from rltk.registry import Provided, Registry, load_plugins
from rltk.testing.components import OptionsNeededError
from rltk.yaml_io import parse


def check_plugin(name: str, overrides: Sequence[str], options: Sequence[str]) -> None:
    """Print a line for every property checked, what failed on stderr, and exit with 1 if anything did.

    :param name: of a component or of a plugin.
    :param overrides: ``key=value`` options to make the component with; none: its ``check_options``.
    :param options: values of ``-p``.
    :raises UserError: nobody is named so, or options are missing or wrong.
    :raises typer.Exit: with code 1, a check failed.
    """
    found = _find(load_plugins(options), name)
    given = read_options(overrides)
    if given is not None and len(found) > 1:
        names = ", ".join(repr(item.component.name) for item in found)
        fix = f"name one of its components: {names}"
        raise UserError(overrides[0], f"{name!r} has several components to give options to", fix=fix)
    if given is not None and found[0].kind != "stage":  # those of a stage stand beside its recipe's
        build_config(found[0].kind, found[0].component.name, given, where=name)
    failures = [error for item in found if (error := _check(item, given)) is not None]
    for failure in failures:
        print(f"rltk: error: {' '.join(str(failure).split())}", file=sys.stderr)
    if failures:
        raise typer.Exit(1)


def _find(registry: Registry, name: str) -> list[Provided]:
    """Return the components of that name, or else those of the plugin of that name."""
    found = [item for item in registry.provided if item.component.name == name]
    found = found or [item for item in registry.provided if item.plugin == name]
    if found:
        return found
    for failure in registry.failures:
        if failure.plugin == name:
            raise UserError(f"plugin {name}", failure.reason, fix=failure.fix) from failure.error
    if name in (source.plugin for source in registry.sources):
        fix = "name a plugin with an algorithm, policy, reward, environment or stage"
        raise UserError(f"plugin {name}", "there is nothing to check: it provides no component", fix=fix)
    known = {item.component.name for item in registry.provided} | {item.plugin for item in registry.provided}
    raise UserError(
        "rltk plugins check", "no such component or plugin", got=name, fix=suggestion(name, known)
    )


def read_options(overrides: Sequence[str]) -> dict[str, Any] | None:
    """Return the options that ``key=value`` pairs stand for, nested where keys have dots; None of none."""
    tree: dict[str, Any] = {}
    for override in overrides:
        path, equals, text = override.partition("=")
        keys = path.split(".")
        if not equals or not all(keys):
            raise UserError("option", "not of the form key=value", got=override, fix="write e.g. target=8")
        parent = tree
        for key in keys[:-1]:
            parent = parent.setdefault(key, {})
        parent[keys[-1]] = parse(text, path)
    return tree or None


def _check(item: Provided, options: Mapping[str, Any] | None) -> AssertionError | None:
    """Run the checks on one component; return the failure."""
    check: Callable[..., None] = getattr(rltk.testing, f"check_{item.kind}")
    print(f"{item.kind} {item.component.name} ({item.plugin}, {item.distribution})")
    try:
        check(item.component, options=options, progress=show_check)
    except OptionsNeededError as error:
        where, _, reason = str(error).partition(": ")
        what, _, fix = reason.partition(" Fix: ")
        raise UserError(where, what.rstrip("."), fix=fix.rstrip(".")) from error
    except AssertionError as error:
        return error
    return None


def show_check(title: str, error: AssertionError | None) -> None:
    """Print a line for a check that was run."""
    print(f"  {'ok    ' if error is None else 'FAILED'}  {title}")
