"""Ask a reward for scores and hold it to its contract."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, TypeVar

from rltk.coroutines import resolve
from rltk.episode import Episode
from rltk.errors import NonFiniteError, UserError

#: One number, one number per response token, or None for an episode that cannot be scored.
Score = float | list[float] | None
Reward = TypeVar("Reward")


def score_episodes(reward: Any, episodes: Sequence[Episode], *, where: str | None = None) -> list[Score]:
    """Return one checked score an episode; 0 for all where there is no reward.

    :param reward: a reward model or a function of a list of episodes, either may be ``async def``; or None.
    :param where: what to call the reward in errors; its name and plugin where not given.
    :raises UserError: the reward raised, or returned the wrong number, type or shape of values.
    :raises NonFiniteError: a value is NaN or infinite.
    """
    if reward is None or not episodes:
        return [0.0] * len(episodes)
    with errors_of(reward, where):
        returned = resolve(getattr(reward, "score", reward)(list(episodes)))
        values = _one_an_episode(returned, len(episodes))
        return [_checked(value, e.num_actions) for value, e in zip(values, episodes, strict=True)]


def reward_metrics(reward: Any) -> dict[str, float]:
    """Return what a reward has to log of its last scores; nothing where it is no reward model.

    :raises UserError: it raised, or gave something else than numbers by name.
    """
    if not hasattr(reward, "metrics"):
        return {}
    with errors_of(reward):
        metrics = reward.metrics()
        if not isinstance(metrics, Mapping):
            raise _Breach("metrics() must return numbers by name", got=_shown(metrics), fix="return a dict")
        return {str(name): _number(value, "a metric must be a number") for name, value in metrics.items()}


@contextlib.contextmanager
def in_use(reward: Reward) -> Iterator[Reward]:
    """Set a reward model up for the block and close it after, also after an error.

    A function, which has neither ``setup`` nor ``close``, is used as it is.

    :raises UserError: ``setup`` or ``close`` raised.
    """
    _call(reward, "setup")
    try:
        yield reward
    except BaseException:
        with contextlib.suppress(UserError):  # what went wrong first is what has to be told
            _call(reward, "close")
        raise
    _call(reward, "close")


@contextlib.contextmanager
def errors_of(reward: Any, where: str | None = None) -> Iterator[None]:
    """Turn what a reward raises in the block into one line that names it.

    :param where: what to call the reward; :func:`describe_reward` where not given.
    :raises UserError: in place of any exception; one that the reward itself raised as such passes.
    """
    try:
        yield
    except _Breach as error:
        kind = NonFiniteError if error.non_finite else UserError
        raise kind(where or describe_reward(reward), error.what, got=error.got, fix=error.fix) from None
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        reason = f"it raised {type(error).__name__}: {error}".rstrip(": ")
        fix = "repair it; --debug shows the traceback"
        raise UserError(where or describe_reward(reward), reason, fix=fix) from error


def describe_reward(reward: Any) -> str:
    """Return what to call a reward in messages, with the plugin that provided it."""
    from rltk.registry import get_registry

    described = f"reward {reward_name(reward)!r}"
    provided = get_registry().provider(type(reward)) if hasattr(reward, "kind") else None
    return f"{described} of plugin {provided.plugin!r} ({provided.distribution})" if provided else described


def reward_name(reward: Any) -> str:
    """Return a reward's name; one that runs what its options name may say so in an attribute ``label``."""
    names = (getattr(reward, attribute, None) for attribute in ("label", "name", "__name__"))
    return str(next((name for name in names if name), type(reward).__name__))


class _Breach(Exception):  # noqa: N818 - never leaves this module
    """What is wrong with a reward's answer, before it is known what the reward is called."""

    def __init__(self, what: str, *, fix: str, got: object = None, non_finite: bool = False) -> None:
        self.what, self.fix, self.got, self.non_finite = what, fix, got, non_finite


def _call(reward: Any, method: str) -> None:
    if hasattr(reward, method):
        with errors_of(reward, f"{describe_reward(reward)}, {method}()"):
            resolve(getattr(reward, method)())


def _one_an_episode(scores: Any, count: int) -> Sequence[Any]:
    """Return as many values as there are episodes, or raise."""
    shape = _shape(scores)
    if shape is not None and len(shape) != 1:
        fix = "return a 1-D array, or a list with one row per response, without padding"
        raise _Breach(f"it returned an array of shape {shape} for {count} episodes", fix=fix)
    if isinstance(scores, str | bytes | Mapping | Set) or not hasattr(scores, "__len__"):
        what = "it must return a list with one score per episode"
        raise _Breach(what, got=_shown(scores), fix="return a list")
    if len(scores) != count:
        fix = "return one score per episode, None where there is none"
        raise _Breach(f"it returned {len(scores)} scores for {count} episodes", fix=fix)
    values: Sequence[Any] = scores.tolist() if shape is not None else list(scores)
    return values


def _checked(value: Any, tokens: int) -> Score:
    """Return the score of a response of ``tokens`` tokens of the policy's as plain floats."""
    if value is None:
        return None
    shape = _shape(value)
    if shape is not None and len(shape) > 1:
        fix = "give one number per response token, in one dimension"
        raise _Breach(f"a score is an array of shape {shape}", fix=fix)
    plain = value.tolist() if shape is not None else value
    if not isinstance(plain, Sequence) or isinstance(plain, str | bytes):
        return _finite(plain)
    if len(plain) != tokens:
        raise _Breach(
            f"it gave {len(plain)} token rewards to a response of {tokens} tokens",
            fix="return one number, or one a response token, EOS included and without padding",
        )
    return [_finite(number) for number in plain]


def _finite(value: Any) -> float:
    number = _number(value, "a score must be a number, a list of numbers or None")
    if not math.isfinite(number):
        fix = "return None for an episode that cannot be scored"
        raise _Breach("a score is not finite", got=number, fix=fix, non_finite=True)
    return number


def _number(value: Any, what: str) -> float:
    """Return a float for anything that is a number; text that looks like one is not."""
    if inspect.iscoroutine(value):
        value.close()
        raise _Breach("a score was never awaited", fix="await it, in a function that is an `async def`")
    if isinstance(value, str | bytes) or (_shape(value) or ()) != ():
        raise _Breach(what, got=_shown(value), fix="return floats")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _Breach(what, got=_shown(value), fix="return floats") from None


def _shape(value: Any) -> list[int] | None:
    """Return the shape of an array or tensor of any library; None for anything else."""
    return [int(size) for size in value.shape] if hasattr(value, "shape") else None


def _shown(value: Any) -> Any:
    """Return what to show of a value that is none: short text itself, of anything else the type."""
    return value[:60] if isinstance(value, str) else type(value).__name__
