"""Run the checks of a contract one by one, each under the name of what it holds a component to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

from rltk.errors import Interrupted, UserError

Subject = TypeVar("Subject")
#: Told of every check that was run: what it holds a component to, and what went wrong (None: nothing).
Progress = Callable[[str, AssertionError | None], None]


def ignore(title: str, error: AssertionError | None) -> None:
    """Take no note of progress."""


def fail(seen: str, *, fix: str) -> NoReturn:
    """Raise AssertionError with what was seen and what to change."""
    raise AssertionError(f"{seen}. Fix: {fix}.")


def require(condition: Any, seen: str, *, fix: str) -> None:
    """Raise AssertionError with what was seen and what to change, unless ``condition`` holds."""
    if not condition:
        fail(seen, fix=fix)


def title(check: Callable[..., Any]) -> str:
    """Return what a check holds a component to: the first line of its docstring."""
    return (inspect.getdoc(check) or check.__name__).partition("\n")[0].rstrip(".")


def run_checks(
    who: str,
    checks: Iterable[Callable[[Subject], None]],
    subject: Subject,
    progress: Progress = ignore,
) -> None:
    """Run the checks in order until one fails.

    :param who: what is checked, such as ``reward_model 'polite'``; every message begins with it.
    :param progress: told of each check.
    :raises AssertionError: a check failed, or the component raised anything while it was checked.
    :raises Interrupted: somebody stopped a run that a check made.
    """
    for check in checks:
        try:
            check(subject)
        except Interrupted:
            raise
        except Exception as error:
            reason = error if isinstance(error, AssertionError) else _raised(error)
            failure = AssertionError(f"{who}: {title(check)}: {reason}")
            progress(title(check), failure)
            raise failure from error
        progress(title(check), None)


def _raised(error: Exception) -> str:
    reason = " ".join(str(error).split())
    return reason if isinstance(error, UserError) else f"it raised {type(error).__name__}: {reason}"
