"""``rltk envs play``: a person in the place of the policy, in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rltk.config import build_config
from rltk.envs_names import find_environment, with_options
from rltk.interfaces import Environment, Split
from rltk.registry import construct, load_plugins
from rltk.testing.command import read_options

_GOODBYE = "Ctrl-D ends the game."


class EndOfGame(Exception):  # noqa: N818 - no error: the person has had enough
    """The person closed the input."""


def play(name: str, overrides: Sequence[str], options: Sequence[str], *, split: Split, seed: int) -> None:
    """Let a person play until they end the input (Ctrl-D) or interrupt (Ctrl-C).

    :param name: a component's name or a Gymnasium id.
    :param overrides: ``key=value`` options to make it with.
    :param options: values of ``-p``.
    :param split: whose prompts, where it is text.
    :raises UserError: nothing is called so, options are wrong, or its actions cannot be typed.
    """
    load_plugins(options)
    where = "rltk envs play"
    component, given = with_options(find_environment(name, where), read_options(overrides) or {})
    build_config("environment", component, given, where=name)
    environment: Environment = construct("environment", component, given, where=name, seed=seed)
    print(f"{name}. {_GOODBYE}")
    try:
        if environment.spaces() is None:
            from rltk.envs_playing_text import play_text

            play_text(environment, split=split, seed=seed)
        else:
            from rltk.envs_playing_arrays import play_arrays

            play_arrays(environment, seed=seed)
    except (EndOfGame, KeyboardInterrupt):
        print("\ngoodbye")


def ask(prompt: str) -> str:
    """Return a line that the person types.

    :raises EndOfGame: the input has ended.
    """
    print(prompt, end="", flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EndOfGame
    return line.rstrip("\n")


def report_mistake(error: str) -> None:
    """Say what was wrong with a line, so that another can be typed."""
    print(f"  ! {error}")


def shown(metrics: dict[str, Any]) -> str:
    """Return measures as one line."""
    return ", ".join(f"{name} {value:.3g}" for name, value in metrics.items())
