"""The sentences of the world: a sampler, and a check that accepts exactly such sentences.

Every word has one category letter; a sentence is well formed where its letters match a regular expression.
What eats is alive and what is eaten is food, so fluent nonsense fails the check as word salad does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from rltk_envs.instruct import vocabulary as v

_CATEGORIES = {
    "a": (*v.ANIMALS, *v.YOUNG_ANIMALS),
    "m": v.NAMES,
    "t": (*v.OBJECTS, *v.NATURE),
    "f": v.FOODS,
    "l": v.PLACES,
    "j": v.ADJECTIVES,
    "c": v.COLOURS,
    "i": v.INTRANSITIVE,
    "s": v.TRANSITIVE,
    "e": v.EATING,
    "r": v.ADVERBS,
    "o": v.OPENERS,
    "p": v.PREPOSITIONS,
    "d": v.ARTICLES,
    "b": v.BE,
    "k": ("and",),
    "W": ("where",),
    "Y": ("why",),
}
_LETTER = {word: letter for letter, words in _CATEGORIES.items() for word in words}

_PLACE = "(?:pdl)"
_ALIVE = "(?:m|dj?c?a)"
_THING = "(?:dj?c?[tf])"
_BEING = f"b(?:[jc](?:k[jc])?|{_PLACE})"
_DOING = f"(?:ir?{_PLACE}?|s(?:{_ALIVE}|{_THING}){_PLACE}?|edj?c?f{_PLACE}?)"
_STATEMENT = re.compile(f"o?(?:{_ALIVE}(?:{_DOING}(?:k{_DOING})?|{_BEING})|{_THING}{_BEING})")
_DESCRIPTION = re.compile(f"(?:{_ALIVE}|{_THING}|dj?c?l)b[jc]k[jc]")
_QUESTION = re.compile(f"Wb(?:{_ALIVE}|{_THING}|dj?c?l)|Yb(?:{_ALIVE}|{_THING}|dj?c?l)[jc]")
SHAPES = {"statement": (_STATEMENT, "."), "description": (_DESCRIPTION, "."), "question": (_QUESTION, "?")}

_CONTENT = frozenset(
    {word for word, letter in _LETTER.items() if letter in "amtfljc"} | {*v.NUMBERS, *v.DAYS}
)


def is_content(word: str) -> bool:
    """Tell whether a word names something that a text may or may not hold: a thing, a place, a quality."""
    return word in _CONTENT


def is_well_formed(words: Sequence[str], shape: str = "statement") -> bool:
    """Tell whether words (without the closing mark) are one sentence of the given shape.

    A content word said twice makes a sentence bad: nobody means ``the dog saw the dog``.
    """
    letters = "".join(_LETTER.get(word, "?") for word in words)
    content = [word for word in words if is_content(word)]
    return bool(SHAPES[shape][0].fullmatch(letters)) and len(set(content)) == len(content)


@dataclass(frozen=True)
class Cast:
    """What sentences are made of: a story keeps to a few of the world's words."""

    creatures: Sequence[str] = (*v.NAMES, *v.NAMES, *v.ANIMALS)
    objects: Sequence[str] = v.OBJECTS
    foods: Sequence[str] = v.FOODS
    places: Sequence[str] = v.PLACES
    adjectives: Sequence[str] = v.ADJECTIVES
    colours: Sequence[str] = v.COLOURS


EVERYTHING = Cast()


def small_cast(rng: Random) -> Cast:
    """Return the cast of one story."""
    return Cast(
        creatures=[rng.choice(EVERYTHING.creatures), rng.choice(EVERYTHING.creatures)],
        objects=[rng.choice(v.OBJECTS)],
        foods=[rng.choice(v.FOODS)],
        places=[rng.choice(v.PLACES)],
        adjectives=rng.sample(v.ADJECTIVES, 2),
        colours=rng.sample(v.COLOURS, 2),
    )


def statement(rng: Random, topic: str, other: str | None = None, cast: Cast = EVERYTHING) -> list[str]:
    """Return a well-formed statement about ``topic`` (and a thing or a place), without its closing mark."""
    writer = _Writer(rng, cast)
    while True:
        opener = [rng.choice(v.OPENERS)] if rng.random() < 0.1 else []
        words = [*opener, *(writer.about(topic) if other is None else writer.scene(topic, other))]
        if is_well_formed(words):
            return words


def description(rng: Random, topic: str, cast: Cast = EVERYTHING) -> list[str]:
    """Return two qualities of ``topic`` in a sentence, without its closing mark."""
    if rng.random() < 0.5:
        qualities = rng.sample(cast.adjectives, 2)
    else:
        qualities = [rng.choice(cast.adjectives), rng.choice(cast.colours)]
    return [*_the(topic), rng.choice(v.BE), qualities[0], "and", qualities[1]]


def question(rng: Random, topic: str, cast: Cast = EVERYTHING) -> list[str]:
    """Return a question about ``topic``, without its closing mark."""
    if rng.random() < 0.5:
        return ["where", rng.choice(v.BE), *_the(topic)]
    return ["why", rng.choice(v.BE), *_the(topic), rng.choice(cast.adjectives)]


def write(rng: Random, shape: str, mentions: Sequence[str], cast: Cast = EVERYTHING) -> list[str]:
    """Return a sentence of a shape that mentions one or two words, without its closing mark."""
    if shape == "description":
        return description(rng, mentions[0], cast)
    if shape == "question":
        return question(rng, mentions[0], cast)
    return statement(rng, mentions[0], mentions[1] if len(mentions) > 1 else None, cast)


def _the(noun: str) -> list[str]:
    return [noun] if noun in v.NAMES else ["the", noun]


class _Writer:
    """Puts phrases together out of the words of a cast."""

    def __init__(self, rng: Random, cast: Cast) -> None:
        self._rng = rng
        self._cast = cast

    def about(self, topic: str) -> list[str]:
        """Return a statement about one word."""
        letter, chance = _LETTER[topic], self._rng.random()
        if letter == "l":
            return self.scene(self._somebody(), topic)
        if letter in "tf" and chance < 0.35:
            return [*self._noun(topic), *self._being()]
        if letter in "tf" or chance < 0.1:
            return [*self._noun(self._somebody()), *self._doing(thing=topic)]
        if chance < 0.35:
            return [*self._noun(topic), *self._being()]
        more = ["and", *self._doing()] if self._rng.random() < 0.1 else []
        return [*self._noun(topic), *self._doing(), *more]

    def scene(self, who: str, other: str) -> list[str]:
        """Return a statement about somebody and a thing or a place."""
        if other not in v.PLACES:
            return [*self._noun(who), *self._doing(thing=other)]
        if self._rng.random() < 0.7:
            return [*self._noun(who), *self._doing(place=other)]
        return [*self._noun(who), self._rng.choice(v.BE), *self._where(other)]

    def _somebody(self) -> str:
        return self._rng.choice(self._cast.creatures)

    def _noun(self, noun: str) -> list[str]:
        """Return a noun with an article and perhaps a quality and a colour; a name stands alone."""
        rng = self._rng
        if noun in v.NAMES:
            return [noun]
        quality = [rng.choice(self._cast.adjectives)] if rng.random() < 0.1 else []
        colour = [rng.choice(self._cast.colours)] if rng.random() < 0.15 else []
        return ["the" if rng.random() < 0.65 else "a", *quality, *colour, noun]

    def _where(self, place: str | None) -> list[str]:
        return [self._rng.choice(v.PREPOSITIONS), "the", place or self._rng.choice(self._cast.places)]

    def _being(self) -> list[str]:
        if self._rng.random() < 0.4:
            return [self._rng.choice(v.BE), *self._where(None)]
        qualities = self._cast.colours if self._rng.random() < 0.3 else self._cast.adjectives
        return [self._rng.choice(v.BE), self._rng.choice(qualities)]

    def _doing(self, thing: str | None = None, place: str | None = None) -> list[str]:
        rng = self._rng
        where = self._where(place) if place or rng.random() < 0.2 else []
        if thing is None and rng.random() < 0.5:
            manner = [rng.choice(v.ADVERBS)] if rng.random() < 0.3 else []
            return [rng.choice(v.INTRANSITIVE), *manner, *where]
        if thing in v.FOODS or (thing is None and rng.random() < 0.4):
            verbs = v.EATING if rng.random() < 0.8 else v.TRANSITIVE
            return [rng.choice(verbs), *self._noun(thing or rng.choice(self._cast.foods)), *where]
        return [rng.choice(v.TRANSITIVE), *self._noun(thing or rng.choice(self._cast.objects)), *where]
