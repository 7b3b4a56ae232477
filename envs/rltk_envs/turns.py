"""Somebody to talk to: what an environment answers between the policy's turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from rltk.interfaces import Row


class Partner(Protocol):
    """Answers the policy in one episode; the same for the same turns, so without randomness of its own."""

    def reply(self, turn: str) -> str | None:
        """Return what to say to the policy's turn; None: the episode is over.

        :param turn: what the policy said, without special tokens or the stop text.
        """


#: Makes the partner of an episode from its prompt's row.
MakePartner = Callable[[Row], Partner]


@dataclass
class Conversation:
    """The turns of one episode so far.

    :param partner: who answers.
    :param start: column of the first token of the policy's turn.
    :ivar turns: what was said and answered.
    :ivar answers: columns (from, to) of the answers.
    """

    partner: Partner
    start: int
    turns: list[tuple[str, str]] = field(default_factory=list)
    answers: list[tuple[int, int]] = field(default_factory=list)

    def answered(self, said: str, reply: str, begin: int, end: int) -> None:
        """Note an answer in columns ``begin`` to ``end``; the policy's next turn starts after it."""
        self.turns.append((said, reply))
        self.answers.append((begin, end))
        self.start = end

    def action_mask(self, begin: int, end: int) -> tuple[bool, ...] | None:
        """Return which of the columns ``begin`` to ``end`` the policy wrote; None: all of them."""
        if not self.answers:
            return None
        mask = [True] * (end - begin)
        for first, after in self.answers:
            mask[first - begin : after - begin] = [False] * (after - first)
        return tuple(mask)
