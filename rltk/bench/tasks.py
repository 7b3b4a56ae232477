"""What a player is asked to do, and what is left of each episode when it is done."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rltk.episode import Episode
from rltk.errors import UserError
from rltk.interfaces import Environment, Row, Split
from rltk.rng import derive_seed, numpy_generator

if TYPE_CHECKING:
    from rltk.policy import Policy

#: Seeds of initial states are kept this small, as some environments hand them to generators of 32 bits.
_LARGEST_SEED = 2**31


@dataclass(frozen=True)
class Task:
    """Episodes to play in one environment: every policy gets the same.

    :param environment: where.
    :param text: whether it deals prompts; otherwise rows hold the ``seed`` of an initial state.
    :param split: which of its splits the rows are from.
    :param rows: prompts, each dealt ``samples`` times in a row.
    :param indices: the place of each row in its split.
    :param seed: of the sampling.
    :param slots: episodes acted side by side.
    :param reference: the policy that KL is measured to, or None.
    :param prefix: text to put before each formatted prompt.
    :param stop: texts that end a turn, beside EOS; empty: the environment's own.
    """

    environment: Environment
    text: bool
    split: Split
    rows: Sequence[Row]
    indices: Sequence[int]
    seed: int
    samples: int = 1
    slots: int = 128
    reference: Policy | None = None
    prefix: str = ""
    stop: tuple[str, ...] = ()

    @property
    def episodes(self) -> int:
        """How many episodes there are to play."""
        return len(self.rows) * self.samples

    def row(self, episode: int) -> Row:
        """Return the row that an episode is dealt."""
        return self.rows[episode // self.samples]


@dataclass(frozen=True)
class Attempt:
    """One finished episode.

    :param length: actions taken.
    :param terminated: whether it ended by itself.
    :param truncated: whether it was cut off.
    :param score: its return, where there is no text.
    :param episode: prompt and response, where there is text.
    :param kl: estimate of the KL to the task's reference in nats, where it can be had.
    """

    length: int
    terminated: bool
    truncated: bool
    score: float | None = None
    episode: Episode | None = None
    kl: float | None = None

    def replace(self, **changes: object) -> Attempt:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    @property
    def said(self) -> Episode:
        """The episode.

        :raises ValueError: there is no text.
        """
        if self.episode is None:
            raise ValueError("an attempt without text has no episode")
        return self.episode


def choose_rows(rows: Sequence[Row], count: int, seed: int) -> tuple[list[Row], list[int]]:
    """Return ``count`` of the rows, or all where there are no more, and their places, in order.

    :param seed: of the cell; the same rows for the same seed.
    :raises UserError: there are no rows.
    """
    if not rows:
        raise UserError("split", "it has no prompts", fix="choose another split")
    places = sorted(numpy_generator(seed, "prompts").permutation(len(rows))[:count].tolist())
    return [rows[place] for place in places], places


def initial_states(count: int, seed: int) -> tuple[list[Row], list[int]]:
    """Return rows with the seeds of ``count`` initial states, and their numbers."""
    rows = [{"seed": derive_seed(seed, "initial state", number) % _LARGEST_SEED} for number in range(count)]
    return rows, list(range(count))


def prompt_key(row: Row) -> str:
    """Return 16 hex digits that only equal rows share."""
    text = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
