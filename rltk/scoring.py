"""Ask a reward for scores and hold it to its contract."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rltk.episode import Episode
from rltk.errors import NonFiniteError, UserError

if TYPE_CHECKING:
    from rltk.interfaces import RewardModel

#: One number, one number a response token, or None for an episode that cannot be scored.
Score = float | list[float] | None


def score_episodes(
    reward: RewardModel | Callable[[list[Episode]], Sequence[Any]] | None, episodes: list[Episode]
) -> list[Score]:
    """Return one checked score an episode; 0 for all where there is no reward.

    :raises UserError: the reward raised, or returned the wrong number or type of values.
    :raises NonFiniteError: a value is NaN or infinite.
    """
    if reward is None or not episodes:
        return [0.0] * len(episodes)
    score: Any = getattr(reward, "score", reward)
    where = f"reward {reward_name(reward)!r}"
    try:
        scores = score(episodes)
    except UserError:
        raise
    except Exception as error:
        reason = f"it raised {type(error).__name__}: {error}"
        raise UserError(where, reason, fix="repair it; --debug shows the traceback") from error
    try:
        count = len(scores)
    except TypeError:
        raise UserError(
            where, "it must return one score an episode", got=type(scores).__name__, fix="return a list"
        ) from None
    if count != len(episodes):
        raise UserError(
            where,
            f"it returned {count} scores for {len(episodes)} episodes",
            fix="return one score an episode",
        )
    return [_checked(value, episode, where) for value, episode in zip(scores, episodes, strict=True)]


def reward_name(reward: Any) -> str:
    """Return what to call a reward in messages."""
    return str(getattr(reward, "name", None) or getattr(reward, "__name__", type(reward).__name__))


def _checked(value: Any, episode: Episode, where: str) -> Score:
    if value is None:
        return None
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if len(value) != len(episode.response_tokens):
            raise UserError(
                where,
                f"it gave {len(value)} token rewards to a response of {len(episode.response_tokens)} tokens",
                fix="return one number, or one a response token",
            )
        return [_finite(number, where) for number in value]
    return _finite(value, where)


def _finite(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise UserError(
            where, "a score must be a number, a list of numbers or None", got=value, fix="return floats"
        ) from None
    if not math.isfinite(number):
        raise NonFiniteError(
            where, "a score is not finite", got=number, fix="return None for an episode that cannot be scored"
        )
    return number
