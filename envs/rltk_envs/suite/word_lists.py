"""The words of the word game, and how few guesses tell some of them apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from functools import cache

#: Words by their length, of few letters, so that they have many in common.
WORDS = {
    3: "ale and ant ape are art ate den dip dot ear eat end ion lad lap led let lid lie lip lot nap net nod "
    "oil old one pan pea pen pie pin pit pod pot ran rap rat red rid rip rod rot sad sap sat sea set sin "
    "sip sit tan tap tea ten tie tin tip toe ton top",
    4: "dare dart date deal dine dirt done idle into laid land lane last late lead lean lend line lion list "
    "load loan lone lost nail near nest nose note pain pair pale part past pear pest pile pine plan plot "
    "poet pole pond port post rail rain rate read rent rest ride ripe rise road role rose salt sand seal "
    "seat send side sole sort tail tale tear tile tone trap trip",
    5: "alert alien alone dealt drain learn least onset paint panel paste pearl petal pilot plain plane "
    "plant plate point pride print raise ratio siren slate snail solid spade spare spear spend spent "
    "spine split spoil sport stain stair stale stand stare steal stern stone store strap strip tired "
    "trade trail train trial",
}
LETTERS = tuple(sorted(set("".join(WORDS.values())) - {" "}))
PLACED, ELSEWHERE, ABSENT = "+", "-", "."


@cache
def marks(guess: str, secret: str) -> str:
    """Return a mark for each letter of a guess: in its place, elsewhere in the word, or not there.

    A letter is marked as often as the secret has it, where it is in its place first, then from the left.
    """
    pairs = list(zip(guess, secret, strict=True))
    left = Counter(letter for said, letter in pairs if said != letter)
    found = ""
    for said, letter in pairs:
        elsewhere = said != letter and left[said] > 0
        left[said] -= elsewhere
        found += PLACED if said == letter else ELSEWHERE if elsewhere else ABSENT
    return found


def groups(guess: str, words: Collection[str]) -> list[tuple[str, ...]]:
    """Return the words other than the guess, those together that give it the same marks."""
    found = defaultdict(list)
    for word in words:
        if word != guess:
            found[marks(guess, word)].append(word)
    return [tuple(alike) for alike in found.values()]


@cache
def guesses_needed(words: tuple[str, ...]) -> int:
    """Return how many guesses find any of some words, if each guess is one that can still be right."""
    return min(guesses_after(guess, words) for guess in words)


def guesses_after(guess: str, words: tuple[str, ...]) -> int:
    """Return how many guesses find any of some words, of which ``guess`` is the first."""
    return 1 + max((guesses_needed(alike) for alike in groups(guess, words)), default=0)
