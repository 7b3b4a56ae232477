"""Which episode a slot gets next: from one deal for all slots, or from a deal of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rltk.errors import UserError
from rltk_envs.prompts import Deck

Seed = int | Sequence[int | None] | None


class SharedDeal:
    """Numbers episodes over all slots: whichever is free takes the next.

    :param deck: the order of the prompts.
    :param first: number of the first episode.
    :param count: how many there are; None: without end.
    """

    def __init__(self, deck: Deck, *, first: int, count: int | None) -> None:
        self._deck, self.episode = deck, first
        self._end = None if count is None else first + count

    def next(self, slot: int) -> tuple[int, int] | None:
        """Return the next episode, whatever the slot."""
        if self._end is not None and self.episode >= self._end:
            return None
        episode, self.episode = self.episode, self.episode + 1
        return episode, self._deck.prompt_index(episode)


class SlotDeals:
    """Numbers the episodes of each slot by themselves, as environments side by side do.

    :param decks: the order of the prompts of each slot.
    """

    def __init__(self, decks: Sequence[Deck]) -> None:
        self._decks, self._episodes = list(decks), [0] * len(decks)

    def restart(self, slot: int, deck: Deck) -> None:
        """Begin a slot anew with episode 0 of another order."""
        self._decks[slot], self._episodes[slot] = deck, 0

    def next(self, slot: int) -> tuple[int, int]:
        """Return the slot's next episode."""
        episode = self._episodes[slot]
        self._episodes[slot] = episode + 1
        return episode, self._decks[slot].prompt_index(episode)


class Dealer:
    """Deals as the latest ``reset`` asked for; see :meth:`TextGenerationVectorEnv.reset`.

    :param num_slots: how many slots there are.
    :param make_deck: returns the order of the prompts for a seed.
    :param random_seed: draws a seed where none was ever given.
    """

    def __init__(
        self, num_slots: int, make_deck: Callable[[int], Deck], random_seed: Callable[[], int]
    ) -> None:
        self._num_slots, self._make_deck, self._random_seed = num_slots, make_deck, random_seed
        self._deal: SharedDeal | SlotDeals | None = None
        self._shared_seed: int | None = None

    @property
    def shared(self) -> bool:
        """Whether all slots take their episodes from one deal, so that each number is dealt once."""
        return isinstance(self._deal, SharedDeal)

    def reset(self, seed: Seed, options: Mapping[str, Any]) -> None:
        """Begin to deal anew, or go on, as seed and options say."""
        seeds = self._seeds(seed)
        if {"first_episode", "episodes"} & options.keys():
            self._deal = self._shared(seeds[0], options)
        elif isinstance(self._deal, SlotDeals):
            for slot, one in enumerate(seeds):
                if one is not None:
                    self._deal.restart(slot, self._make_deck(one))
        else:
            self._deal = SlotDeals([self._make_deck(self._known(one)) for one in seeds])

    def next(self, slot: int) -> tuple[int, int] | None:
        """Return the number of the slot's next episode and the index of its prompt; None: there is none."""
        assert self._deal is not None
        return self._deal.next(slot)

    def _shared(self, seed: int | None, options: Mapping[str, Any]) -> SharedDeal:
        if seed is not None or self._shared_seed is None:
            self._shared_seed = self._known(seed)
        went_before = self._deal.episode if isinstance(self._deal, SharedDeal) and seed is None else 0
        count = options.get("episodes")
        return SharedDeal(
            self._make_deck(self._shared_seed),
            first=int(options.get("first_episode", went_before)),
            count=None if count is None else int(count),
        )

    def _seeds(self, seed: Seed) -> list[int | None]:
        if seed is None:
            return [None] * self._num_slots
        if not isinstance(seed, Sequence):
            return [int(seed) + slot for slot in range(self._num_slots)]
        if len(seed) != self._num_slots:
            what = f"a list of seeds must have one for each of the {self._num_slots} slots"
            raise UserError("reset.seed", what, got=len(seed), fix="give one number, or one per slot")
        return [None if one is None else int(one) for one in seed]

    def _known(self, seed: int | None) -> int:
        return self._random_seed() if seed is None else seed
