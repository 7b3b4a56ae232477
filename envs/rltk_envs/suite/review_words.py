"""The words of little reviews, which word may follow which, and what a review makes of its subject."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

NOUNS = (
    "film",
    "plot",
    "cast",
    "music",
    "ending",
    "acting",
    "script",
    "camera",
    "story",
    "hero",
    "song",
    "joke",
)
VERBS = ("is", "was", "seems", "feels")
POSITIVE = (
    "good",
    "great",
    "fine",
    "lovely",
    "charming",
    "funny",
    "warm",
    "clever",
    "moving",
    "bright",
    "fresh",
    "strong",
)
NEGATIVE = (
    "bad",
    "dull",
    "weak",
    "poor",
    "silly",
    "cold",
    "boring",
    "clumsy",
    "ugly",
    "tired",
    "loud",
    "stale",
)
NEUTRAL = ("long", "short", "new", "old")
INTENSIFIERS = ("very", "really", "quite")
NEGATIONS = ("not", "never")
CONNECTIVES = ("and", "but", "while")
ADJECTIVES = (*POSITIVE, *NEGATIVE, *NEUTRAL)
WORDS = (*NOUNS, *VERBS, *ADJECTIVES, *INTENSIFIERS, *NEGATIONS, *CONNECTIVES, "the", ".")

_END = "<end>"
_GROUPS = {
    "noun": NOUNS,
    "verb": VERBS,
    "adjective": ADJECTIVES,
    "intensifier": INTENSIFIERS,
    "negation": NEGATIONS,
    "connective": CONNECTIVES,
    "the": ("the",),
    ".": (".",),
    _END: (_END,),
}
_GROUP = {word: group for group, words in _GROUPS.items() for word in words}
_MAY_FOLLOW = {
    "the": {"noun"},
    "noun": {"verb"},
    "verb": {"negation", "intensifier", "adjective"},
    "negation": {"intensifier", "adjective"},
    "intensifier": {"adjective"},
    "adjective": {"connective", "."},
    "connective": {"the"},
    ".": {_END},
}


def opinions(opening: Sequence[str], said: Sequence[str]) -> list[int]:
    """Return what each adjective of a continuation says: 1 for praise, -1 for blame, 0 for neither.

    A negation turns the adjective that it stands before, with an intensifier between the two or without.
    """
    words = [*opening, *said]
    return [
        _sign(words[:place]) * ((words[place] in POSITIVE) - (words[place] in NEGATIVE))
        for place in range(len(opening), len(words))
        if words[place] in ADJECTIVES
    ]


def grammatical(opening: Sequence[str], said: Sequence[str]) -> float:
    """Return the share of steps from word to word that the grammar has, the one to the end too."""
    steps = list(pairwise([*opening[-1:], *said, _END]))
    return sum(_GROUP.get(b) in _MAY_FOLLOW.get(_GROUP.get(a, ""), ()) for a, b in steps) / len(steps)


def varied(opening: Sequence[str], said: Sequence[str]) -> float:
    """Return the share of nouns and adjectives of the whole review that are not said again."""
    content = [word for word in (*opening, *said) if word in NOUNS or word in ADJECTIVES]
    return len(set(content)) / max(len(content), 1)


def _sign(before: Sequence[str]) -> int:
    kept = before[:-1] if before and before[-1] in INTENSIFIERS else before
    return -1 if kept and kept[-1] in NEGATIONS else 1
