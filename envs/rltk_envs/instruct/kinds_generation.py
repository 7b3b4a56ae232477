"""Generation and brainstorming: many responses are right."""

from __future__ import annotations

from random import Random
from typing import Any

from rltk_envs.instruct import grammar
from rltk_envs.instruct import vocabulary as v
from rltk_envs.instruct.tasks import Draft, Kind

_TOPICS = (*v.ANIMALS, *v.ANIMALS, *v.NAMES, *v.NAMES, *v.OBJECTS, *v.FOODS, *v.PLACES)
_LONE_TOPICS = tuple(topic for topic in _TOPICS if topic not in v.PLACES)


def _called(topic: str) -> str:
    """Return how a prompt names a topic."""
    return topic if topic in v.NAMES else f"the {topic}"


def _text(
    *mentions: str, shape: str = "statement", sentences: int = 1, different_from: str = ""
) -> dict[str, Any]:
    expected = {"shape": shape, "sentences": sentences, "mentions": list(mentions)}
    return {**expected, "different_from": different_from} if different_from else expected


def _sentence_constraint(rng: Random) -> tuple[str, dict[str, Any]]:
    """Return how a constraint is said, and the constraint; nothing in two cases of five."""
    kind = rng.choices(("none", "words", "avoid", "use", "first"), (40, 24, 12, 12, 12))[0]
    if kind == "words":
        count = rng.randint(4, 8)
        return f" in exactly {v.NUMBERS[count]} words", {"words": count}
    if kind == "avoid":
        word = rng.choice(("the", "a", "was", "and"))
        return f" without the word {word}", {"avoid": word}
    if kind == "use":
        word = rng.choice((*v.ADJECTIVES, *v.COLOURS))
        return f" with the word {word}", {"use": word}
    if kind == "first":
        word = rng.choice(v.OPENERS)
        return f" starting with {word}", {"first": word}
    return "", {}


def _sentence(rng: Random) -> Draft:
    topic = rng.choice(_LONE_TOPICS)
    said, constraint = _sentence_constraint(rng)
    return Draft({"topic": _called(topic), "limit": said}, "text", _text(topic), constraint)


def _scene(rng: Random) -> Draft:
    topic, place = rng.choice(grammar.EVERYTHING.creatures), rng.choice(v.PLACES)
    return Draft({"topic": _called(topic), "place": place}, "text", _text(topic, place))


def _story(rng: Random) -> Draft:
    topic = rng.choice(grammar.EVERYTHING.creatures)
    said, constraint = ("", {})
    if rng.random() < 0.4:
        word = rng.choice(("the", "a", "and", *v.OPENERS))
        said, constraint = f" without the word {word}", {"avoid": word}
    return Draft({"topic": _called(topic), "limit": said}, "text", _text(topic, sentences=2), constraint)


def _combine(rng: Random) -> Draft:
    who, what = rng.choice(grammar.EVERYTHING.creatures), rng.choice((*v.OBJECTS, *v.FOODS))
    return Draft({"who": who, "what": what}, "text", _text(who, what))


def _describe(rng: Random) -> Draft:
    topic = rng.choice(_TOPICS)
    said, constraint = "", {}
    if rng.random() < 0.5:
        word = rng.choice((*v.ADJECTIVES, *v.COLOURS))
        said, constraint = f" with the word {word}", {"use": word}
    return Draft(
        {"topic": _called(topic), "limit": said}, "text", _text(topic, shape="description"), constraint
    )


def _question(rng: Random) -> Draft:
    topic = rng.choice(_TOPICS)
    said, constraint = "", {}
    if rng.random() < 0.5:
        word = rng.choice(("where", "why"))
        said, constraint = f" starting with {word}", {"first": word}
    return Draft({"topic": _called(topic), "limit": said}, "text", _text(topic, shape="question"), constraint)


def _continue(rng: Random) -> Draft:
    topic = rng.choice(grammar.EVERYTHING.creatures)
    begin = " ".join(grammar.statement(rng, topic)) + " ."
    while len(begin.split()) > 9:
        begin = " ".join(grammar.statement(rng, topic)) + " ."
    return Draft({"begin": begin}, "text", _text(topic, different_from=begin))


def _list(rng: Random) -> Draft:
    group = rng.choice(("animals", "animals", "colours", "foods", "places", "names"))
    count = rng.randint(2, 4)
    constraint = {"avoid": rng.choice(v.GROUPS[group])} if rng.random() < 0.4 else {}
    said = f" without {constraint['avoid']}" if constraint else ""
    expected = {"members": list(v.GROUPS[group]), "count": count, "all": False}
    return Draft({"group": group, "count": v.NUMBERS[count], "limit": said}, "list", expected, constraint)


def _animals_that(rng: Random) -> Draft:
    what, animals = rng.choice(list(v.ANIMALS_THAT.items()))
    count = rng.randint(2, min(3, len(animals) - 1))
    constraint = {"avoid": rng.choice(animals)} if rng.random() < 0.5 else {}
    said = f" without {constraint['avoid']}" if constraint else ""
    expected = {"members": list(animals), "count": count, "all": False}
    return Draft({"what": what, "count": v.NUMBERS[count], "limit": said}, "list", expected, constraint)


def _ideas(rng: Random) -> Draft:
    purpose, group = rng.choice(
        (
            ("to cook", v.FOODS),
            ("to eat", v.FOODS),
            ("to buy", (*v.OBJECTS, *v.FOODS)),
            ("to carry", v.OBJECTS),
            ("to draw", (*v.ANIMALS, *v.OBJECTS)),
        )
    )
    who, count = rng.choice(v.NAMES), rng.randint(2, 4)
    expected = {"members": list(group), "count": count, "all": False}
    return Draft({"purpose": purpose, "who": who, "count": v.NUMBERS[count]}, "list", expected)


KINDS = (
    Kind(
        "generation",
        "sentence",
        _sentence,
        (
            "write a sentence about {topic}{limit} .",
            "please make a sentence about {topic}{limit} .",
            "give me one sentence about {topic}{limit} .",
        ),
        ("can you write one sentence about {topic}{limit} ?",),
        weight=3,
    ),
    Kind(
        "generation",
        "scene",
        _scene,
        ("write about {topic} at the {place} .", "write a sentence about {topic} and the {place} ."),
        ("make a sentence about {topic} at the {place} .",),
    ),
    Kind(
        "generation",
        "story",
        _story,
        (
            "write a short story about {topic}{limit} .",
            "tell me a story about {topic}{limit} .",
            "write two sentences about {topic}{limit} .",
        ),
        ("please write a story about {topic}{limit} .",),
    ),
    Kind(
        "generation",
        "combine",
        _combine,
        ("make a sentence with {who} and {what} .", "use the words {who} and {what} in a sentence ."),
        ("write a sentence with the words {who} and {what} .",),
    ),
    Kind(
        "generation",
        "describe",
        _describe,
        ("describe {topic}{limit} .", "what is {topic} like ? describe it{limit} ."),
        ("please describe {topic}{limit} .",),
    ),
    Kind(
        "generation",
        "question",
        _question,
        ("write a question about {topic}{limit} .", "ask me a question about {topic}{limit} ."),
        ("please ask a question about {topic}{limit} .",),
    ),
    Kind(
        "generation",
        "continue",
        _continue,
        ("continue the story : {begin}", "what comes next in the story : {begin}"),
        ("write the next sentence : {begin}",),
    ),
    Kind(
        "brainstorming",
        "list",
        _list,
        (
            "list {count} {group}{limit} .",
            "name {count} {group}{limit} .",
            "give me {count} {group}{limit} .",
        ),
        ("please list {count} {group}{limit} .",),
    ),
    Kind(
        "brainstorming",
        "animals that",
        _animals_that,
        ("list {count} animals that {what}{limit} .", "name {count} animals that {what}{limit} ."),
        ("give me {count} animals that {what}{limit} .",),
    ),
    Kind(
        "brainstorming",
        "ideas",
        _ideas,
        (
            "give {who} {count} ideas for things {purpose} .",
            "what could {who} find {purpose} ? name {count} things .",
        ),
        ("list {count} things for {who} {purpose} .",),
    ),
)
