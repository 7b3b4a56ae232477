"""Errors that a user can cause, and the one line each becomes."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user gave: one line saying where, what and how to fix it; exit code 2.

    :param where: the key path, file or command the mistake is in.
    :param what: what is wrong.
    :param got: the offending value, shown as ``got <value>`` when given.
    :param fix: what to do about it.
    """

    def __init__(self, where: str, what: str, *, fix: str, got: object = None) -> None:
        self.where, self.what, self.got, self.fix = where, what, got, fix
        shown = "" if got is None else f", got {got!r}"
        super().__init__(f"{where}: {what}{shown}. Fix: {fix}.")


class PluginError(Exception):
    """A plugin that was found cannot be used; the message says everything that is wrong with it."""


class NonFiniteError(UserError):
    """A loss, gradient or reward became NaN or infinite; raised before any weight is changed."""


class Interrupted(Exception):  # noqa: N818 - a request by the user, not an error
    """The user asked to stop (Ctrl-C or SIGTERM) and the state has been saved.

    :param signum: the signal that asked.
    """

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(f"interrupted by signal {signum}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `` did you mean 'x'?``-style help for a misspelt name, or the list of what is known."""
    choices = sorted(known)
    close = difflib.get_close_matches(name, choices, n=1)
    if close:
        return f"did you mean {close[0]!r}"
    return f"choose one of {', '.join(choices)}" if choices else "none is available"
