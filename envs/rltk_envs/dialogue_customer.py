"""The customer of the dialogue world: what they say next, and what the clerk had to say."""

from __future__ import annotations

from collections.abc import Iterable

from rltk.interfaces import Row

#: How often an order may be got wrong before the customer leaves.
_ATTEMPTS = 2
#: What an order got right at the second attempt counts.
_SECOND_TRY = 0.5


class Customer:
    """Orders one thing after the other, each to be said back, and asks a question at the end.

    An order that is not said back rightly is repeated once. The customer leaves after the second mistake, and
    after the answer to the question.

    :param row: with ``orders``, pairs of a number and a thing, ``question`` and ``answer``.
    """

    def __init__(self, row: Row) -> None:
        self._orders = [f"{count} {thing}" for count, thing in row["orders"]]
        self._question, self._answer = row["question"], row["answer"]
        self._done, self._mistakes, self._credit = 0, 0, 0.0
        self.answered, self.left = False, False

    @property
    def expected(self) -> str:
        """What the clerk should say now."""
        return self._orders[self._done] if self._done < len(self._orders) else self._answer

    @property
    def utility(self) -> float:
        """Share of the orders and the answer that were right so far; half for a second attempt."""
        return self._credit / (len(self._orders) + 1)

    @property
    def orders_taken(self) -> float:
        """Share of the orders that were said back, at whichever attempt."""
        return self._done / len(self._orders)

    def reply(self, turn: str) -> str | None:
        """Return what the customer says to the clerk's turn; None when leaving."""
        right, asked = turn == self.expected, self._done == len(self._orders)
        if asked:
            self.answered = right
            self._credit += right
        elif not right:
            self._mistakes += 1
        if asked or self._mistakes == _ATTEMPTS:
            self.left = True
            return None
        return f"customer : {self._go_on() if right else f'no , {self.expected} please'} clerk :"

    def _go_on(self) -> str:
        self._credit += _SECOND_TRY if self._mistakes else 1.0
        self._done, self._mistakes = self._done + 1, 0
        if self._done == len(self._orders):
            return f"yes , {self._question}"
        return f"yes , and {self.expected} please"


def listen(row: Row, said: Iterable[str]) -> Customer:
    """Return the customer after some turns of the clerk; what comes too late is not heard."""
    customer = Customer(row)
    for turn in said:
        if not customer.left:
            customer.reply(turn)
    return customer
