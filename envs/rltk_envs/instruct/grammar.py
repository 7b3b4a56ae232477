"""The sentences of the world: a sampler, and a check that accepts exactly such sentences.

Every word has one category letter; a sentence is well formed where its letters match a regular expression.
What eats is alive and what is eaten is food, so fluent nonsense fails the check as word salad does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
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

CONTENT_LETTERS = frozenset("amtfljc")


def is_content(word: str) -> bool:
    """Tell whether a word names something that a text may or may not hold: a thing, a place, a quality."""
    return _LETTER.get(word, "") in CONTENT_LETTERS or word in v.NUMBERS or word in v.DAYS


def is_well_formed(words: Sequence[str], shape: str = "statement") -> bool:
    """Tell whether words (without the closing mark) are one sentence of the given shape.

    A content word said twice makes a sentence bad: nobody means ``the dog saw the dog``.
    """
    letters = "".join(_LETTER.get(word, "?") for word in words)
    content = [word for word in words if is_content(word)]
    return bool(SHAPES[shape][0].fullmatch(letters)) and len(set(content)) == len(content)


def noun_phrase(rng: Random, noun: str) -> list[str]:
    """Return ``noun`` with an article and perhaps a quality and a colour; a name stands alone."""
    if noun in v.NAMES:
        return [noun]
    words = ["the" if rng.random() < 0.65 else "a"]
    if rng.random() < 0.25:
        words.append(rng.choice(v.ADJECTIVES))
    if rng.random() < 0.25:
        words.append(rng.choice(v.COLOURS))
    return [*words, noun]


def place_phrase(rng: Random, place: str | None = None) -> list[str]:
    """Return where something is."""
    return [rng.choice(v.PREPOSITIONS), "the", place or rng.choice(v.PLACES)]


def somebody(rng: Random) -> str:
    """Return a name or an animal."""
    return rng.choice(v.NAMES if rng.random() < 0.5 else v.ANIMALS)


def doing(rng: Random, thing: str | None = None, place: str | None = None) -> list[str]:
    """Return what somebody did, to ``thing`` and at ``place`` where they are given."""
    where = place_phrase(rng, place) if place or rng.random() < 0.3 else []
    if thing is None and rng.random() < 0.5:
        return [rng.choice(v.INTRANSITIVE), *([rng.choice(v.ADVERBS)] if rng.random() < 0.3 else []), *where]
    if thing in v.FOODS or (thing is None and rng.random() < 0.3):
        food = thing or rng.choice(v.FOODS)
        verbs = v.EATING if rng.random() < 0.8 else v.TRANSITIVE
        return [rng.choice(verbs), *noun_phrase(rng, food), *where]
    return [rng.choice(v.TRANSITIVE), *noun_phrase(rng, thing or rng.choice(v.OBJECTS)), *where]


def statement(rng: Random, topic: str, other: str | None = None) -> list[str]:
    """Return a well-formed statement about ``topic`` (and a thing or a place), without its closing mark."""
    while True:
        opener = [rng.choice(v.OPENERS)] if rng.random() < 0.15 else []
        words = [*opener, *(_statement(rng, topic) if other is None else _scene(rng, topic, other))]
        if is_well_formed(words):
            return words


def _scene(rng: Random, who: str, other: str) -> list[str]:
    if other not in v.PLACES:
        return [*noun_phrase(rng, who), *doing(rng, thing=other)]
    act = doing(rng, place=other) if rng.random() < 0.7 else [rng.choice(v.BE), *place_phrase(rng, other)]
    return [*noun_phrase(rng, who), *act]


def _statement(rng: Random, topic: str) -> list[str]:
    letter = _LETTER[topic]
    if letter == "l":
        return _scene(rng, somebody(rng), topic)
    if letter in "tf" and rng.random() < 0.35:
        return [*noun_phrase(rng, topic), *_being(rng)]
    if letter in "tf" or rng.random() < 0.2:
        return [*noun_phrase(rng, somebody(rng)), *doing(rng, thing=topic)]
    if rng.random() < 0.25:
        return [*noun_phrase(rng, topic), *_being(rng)]
    more = ["and", *doing(rng)] if rng.random() < 0.15 else []
    return [*noun_phrase(rng, topic), *doing(rng), *more]


def _being(rng: Random) -> list[str]:
    if rng.random() < 0.4:
        return [rng.choice(v.BE), *place_phrase(rng)]
    quality = rng.choice(v.COLOURS if rng.random() < 0.3 else v.ADJECTIVES)
    return [rng.choice(v.BE), quality]


def description(rng: Random, topic: str) -> list[str]:
    """Return two qualities of ``topic`` in a sentence, without its closing mark."""
    first, second = rng.sample(v.ADJECTIVES, 2) if rng.random() < 0.5 else _quality_and_colour(rng)
    subject = [topic] if topic in v.NAMES else ["the", topic]
    return [*subject, rng.choice(v.BE), first, "and", second]


def _quality_and_colour(rng: Random) -> tuple[str, str]:
    return rng.choice(v.ADJECTIVES), rng.choice(v.COLOURS)


def question(rng: Random, topic: str) -> list[str]:
    """Return a question about ``topic``, without its closing mark."""
    subject = [topic] if topic in v.NAMES else ["the", topic]
    if rng.random() < 0.5:
        return ["where", rng.choice(v.BE), *subject]
    return ["why", rng.choice(v.BE), *subject, rng.choice(v.ADJECTIVES)]


def write(rng: Random, shape: str, mentions: Sequence[str]) -> list[str]:
    """Return a sentence of a shape that mentions one or two words, without its closing mark."""
    if shape == "description":
        return description(rng, mentions[0])
    if shape == "question":
        return question(rng, mentions[0])
    return statement(rng, *mentions)
