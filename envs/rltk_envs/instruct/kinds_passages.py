"""Rewriting, summaries, questions about a passage and extraction: the prompt holds the answer."""

from __future__ import annotations

from random import Random

from rltk_envs.instruct import vocabulary as v
from rltk_envs.instruct.kinds_answers import answer
from rltk_envs.instruct.tasks import Draft, Kind

_CREATURES = (*v.ANIMALS, *v.NAMES)
NOT_IN_TEXT = ("the text does not say .", "that is not in the text .")


def _called(noun: str, article: str = "the") -> str:
    return noun if noun in v.NAMES else f"{article} {noun}"


def _opposite(rng: Random) -> Draft:
    noun, word = rng.choice((*_CREATURES, *v.OBJECTS, *v.FOODS)), rng.choice(v.ADJECTIVES)
    other = v.OPPOSITES[word]
    begin = f"{_called(noun)} {rng.choice(v.BE)}"
    return answer({"text": f"{begin} {word} ."}, [f"{begin} {other} ."], [noun, other])


def _replace(rng: Random) -> Draft:
    old, new = rng.sample(v.ANIMALS, 2)
    place, verb = rng.choice(v.PLACES), rng.choice(v.INTRANSITIVE)
    begin, end = rng.choice((("the", f"{verb} at the {place} ."), ("a", f"was near the {place} .")))
    slots = {"old": old, "new": new, "text": f"{begin} {old} {end}"}
    return answer(slots, [f"{begin} {new} {end}"], [new, place])


def _past(rng: Random) -> Draft:
    noun, place, word = rng.choice((*_CREATURES, *v.OBJECTS)), rng.choice(v.PLACES), rng.choice(v.ADJECTIVES)
    end = rng.choice((f"{word} .", f"at the {place} ."))
    return answer({"text": f"{_called(noun)} is {end}"}, [f"{_called(noun)} was {end}"], [noun, "was"])


def _polite(rng: Random) -> Draft:
    thing = rng.choice((*v.OBJECTS, *v.FOODS))
    verb = rng.choice(("give me", "pass me", "bring me", "show me"))
    accepted = [f"please {verb} the {thing} .", f"could you {verb} the {thing} ?"]
    return answer({"text": f"{verb} the {thing} !"}, accepted, [thing])


def _merge(rng: Random) -> Draft:
    who = _called(rng.choice(_CREATURES))
    first, second = rng.sample(v.INTRANSITIVE, 2)
    passage = f"{who} {first} . {who} {second} ."
    return answer({"text": passage}, [f"{who} {first} and {second} ."], [first, second], passage)


def _summary(rng: Random) -> Draft:
    who, thing, place = rng.choice(_CREATURES), rng.choice((*v.OBJECTS, *v.FOODS)), rng.choice(v.PLACES)
    verb, quality = rng.choice(v.TRANSITIVE), rng.choice((*v.ADJECTIVES, *v.COLOURS))
    passage = f"{_called(who)} was at the {place} . {_called(who)} {verb} a {quality} {thing} ."
    accepted = [f"{_called(who)} {verb} a {thing} at the {place} .", f"{_called(who)} {verb} a {thing} ."]
    return answer({"text": passage}, accepted, [who, thing], passage)


def _title(rng: Random) -> Draft:
    who, thing = rng.choice(_CREATURES), rng.choice((*v.OBJECTS, *v.FOODS))
    end = rng.choice(("", f" at the {rng.choice(v.PLACES)}"))
    quality = rng.choice((*v.ADJECTIVES, *v.COLOURS))
    passage = f"{_called(who)} {rng.choice(v.TRANSITIVE)} a {quality} {thing}{end} ."
    accepted = [f"{_called(who)} and the {thing}", f"{_called(who)} and the {quality} {thing}"]
    return answer({"text": passage}, accepted, [who, thing], passage)


def _where(rng: Random) -> Draft:
    (who, other, absent), (place, elsewhere) = rng.sample(_CREATURES, 3), rng.sample(v.PLACES, 2)
    passage = f"{_called(who)} is at the {place} . {_called(other)} is at the {elsewhere} ."
    if rng.random() < 0.3:
        return answer(
            {"text": passage, "question": f"where is {_called(absent)} ?"}, list(NOT_IN_TEXT), [], passage
        )
    who, place = rng.choice(((who, place), (other, elsewhere)))
    accepted = [f"at the {place} .", f"{_called(who)} is at the {place} ."]
    return answer({"text": passage, "question": f"where is {_called(who)} ?"}, accepted, [place], passage)


def _who(rng: Random) -> Draft:
    (who, other), (thing, different, absent) = rng.sample(v.NAMES, 2), rng.sample((*v.OBJECTS, *v.FOODS), 3)
    verb = rng.choice(("has", "likes", "wants"))
    passage = f"{who} {verb} the {thing} . {other} {verb} the {different} ."
    if rng.random() < 0.3:
        return answer(
            {"text": passage, "question": f"who {verb} the {absent} ?"}, list(NOT_IN_TEXT), [], passage
        )
    who, thing = rng.choice(((who, thing), (other, different)))
    accepted = [who, f"{who} {verb} the {thing} ."]
    return answer({"text": passage, "question": f"who {verb} the {thing} ?"}, accepted, [who], passage)


def _extract(rng: Random) -> Draft:
    who = rng.choice(v.NAMES)
    animals, colours = rng.sample(v.ANIMALS, 2), rng.sample(v.COLOURS, 2)
    passage = f"{who} saw a {colours[0]} {animals[0]} and a {colours[1]} {animals[1]} ."
    group, members = rng.choice((("animals", animals), ("colours", colours), ("names", [who])))
    expected = {"members": members, "count": len(members), "all": True}
    return Draft({"group": group, "text": passage}, "list", expected, passage=passage)


def _extract_list(rng: Random) -> Draft:
    group, other = rng.sample(("animals", "colours", "foods", "names", "places"), 2)
    members, rest = rng.sample(v.GROUPS[group], rng.randint(1, 3)), rng.sample(v.GROUPS[other], 2)
    words = rng.sample((*members, *rest), len(members) + 2)
    passage = " ".join(words)
    expected = {"members": [word for word in words if word in members], "count": len(members), "all": True}
    return Draft({"group": group, "text": passage}, "list", expected, passage=passage)


KINDS = (
    Kind(
        "rewrite",
        "opposite sentence",
        _opposite,
        ("write the opposite : {text}", "change it to the opposite : {text}"),
        ("make it the opposite : {text}",),
    ),
    Kind(
        "rewrite",
        "replace",
        _replace,
        ("replace {old} with {new} : {text}", "write {new} in place of {old} : {text}"),
        ("change {old} to {new} : {text}",),
    ),
    Kind(
        "rewrite",
        "past",
        _past,
        ("write it in the past : {text}", "change it to the past : {text}"),
        ("put it in the past : {text}",),
    ),
    Kind(
        "rewrite",
        "polite",
        _polite,
        ("make it polite : {text}", "say it in a nice way : {text}"),
        ("write it in a polite way : {text}",),
    ),
    Kind(
        "summarization",
        "merge",
        _merge,
        ("write it in one sentence : {text}", "make it short : {text}"),
        ("put it in one sentence : {text}",),
    ),
    Kind(
        "summarization",
        "summary",
        _summary,
        ("summarize the story : {text}", "tell me the story in short : {text}"),
        ("summarize : {text}",),
    ),
    Kind(
        "summarization",
        "title",
        _title,
        ("give the story a title : {text}", "write a title : {text}"),
        ("make a title for the story : {text}",),
    ),
    Kind(
        "closed qa",
        "where",
        _where,
        ("read : {text} {question}", "{text} {question}"),
        ("text : {text} {question}",),
    ),
    Kind(
        "closed qa",
        "who",
        _who,
        ("read : {text} {question}", "{text} {question}"),
        ("text : {text} {question}",),
    ),
    Kind(
        "extract",
        "extract",
        _extract,
        ("find the {group} in the text : {text}", "which {group} are in the text : {text}"),
        ("list the {group} of the text : {text}",),
    ),
    Kind(
        "extract",
        "extract list",
        _extract_list,
        ("find the {group} : {text}", "which words are {group} : {text}"),
        ("keep the {group} : {text}",),
    ),
)
