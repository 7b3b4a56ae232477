"""Open questions, classification and small word tasks: one answer is right, said in a few ways."""

from __future__ import annotations

from random import Random

from rltk_envs.instruct import vocabulary as v
from rltk_envs.instruct.tasks import Draft, Kind


def answer(slots: dict[str, str], accepted: list[str], keys: list[str], passage: str | None = None) -> Draft:
    """Return a draft whose response is one of some texts.

    :param keys: words without which a response earns nothing.
    """
    return Draft(slots, "answer", {"accepted": accepted, "keys": keys}, passage=passage)


def _colour_of(rng: Random) -> Draft:
    thing, colour = rng.choice(list(v.COLOUR_OF.items()))
    return answer({"thing": thing}, [colour, f"it is {colour} .", f"the {thing} is {colour} ."], [colour])


def _sound_of(rng: Random) -> Draft:
    animal, sound = rng.choice(list(v.SOUND_OF.items()))
    return answer({"animal": animal}, [sound, f"it says {sound} .", f"the {animal} says {sound} ."], [sound])


def _young_of(rng: Random) -> Draft:
    animal, young = rng.choice(list(v.YOUNG_OF.items()))
    return answer({"animal": animal}, [young, f"a {young} .", f"a young {animal} is a {young} ."], [young])


def _legs_of(rng: Random) -> Draft:
    animal, legs = rng.choice(list(v.LEGS_OF.items()))
    return answer(
        {"animal": animal}, [legs, f"it has {legs} legs .", f"the {animal} has {legs} legs ."], [legs]
    )


def _opposite(rng: Random) -> Draft:
    word = rng.choice(v.ADJECTIVES)
    other = v.OPPOSITES[word]
    return answer(
        {"word": word}, [other, f"it is {other} .", f"the opposite of {word} is {other} ."], [other]
    )


def _sum(rng: Random) -> Draft:
    a, b = rng.randint(0, 5), rng.randint(0, 5)
    total = v.NUMBERS[a + b]
    slots = {"a": v.NUMBERS[a], "b": v.NUMBERS[b]}
    return answer(slots, [total, f"it is {total} .", f"{slots['a']} plus {slots['b']} is {total} ."], [total])


def _day_after(rng: Random) -> Draft:
    index = rng.randrange(7)
    day, after = v.DAYS[index], v.DAYS[(index + 1) % 7]
    return answer({"day": day}, [after, f"it is {after} .", f"after {day} comes {after} ."], [after])


def _sentiment(rng: Random) -> Draft:
    good = rng.random() < 0.5
    thing = rng.choice((*v.FOODS, *v.OBJECTS, *v.PLACES))
    said = rng.choice(
        (
            f"i {rng.choice(v.GOOD_VERBS if good else v.BAD_VERBS)} the {thing} .",
            f"the {thing} was {'great' if good else 'bad'} .",
            f"what a {'nice' if good else 'bad'} {thing} !",
        )
    )
    label = "positive" if good else "negative"
    return answer({"text": said}, [label, f"it is {label} .", f"the text is {label} ."], [label])


def _class(rng: Random) -> Draft:
    label, members = rng.choice(list(v.CLASSES.items()))
    word, other = rng.choice(members), rng.choice([name for name in v.CLASSES if name != label])
    first, second = rng.sample((label, other), 2)
    slots = {"word": word, "first": first, "second": second}
    return answer(slots, [label, f"{word} is {label} .", f"it is {label} ."], [label])


def _repeat(rng: Random) -> Draft:
    count, word = rng.randint(2, 5), rng.choice((*v.ANIMALS, *v.FOODS, *v.COLOURS, *v.OBJECTS))
    return answer({"count": v.NUMBERS[count], "word": word}, [" ".join([word] * count)], [word])


def _words(rng: Random, count: int) -> list[str]:
    return rng.sample((*v.ANIMALS, *v.FOODS, *v.COLOURS, *v.OBJECTS, *v.NAMES), count)


def _pick(rng: Random) -> Draft:
    words = _words(rng, rng.randint(3, 5))
    which = rng.choice(("first", "last"))
    word = words[0] if which == "first" else words[-1]
    return answer({"which": which, "words": " ".join(words)}, [word, f"the {which} word is {word} ."], [word])


def _count(rng: Random) -> Draft:
    words = _words(rng, rng.randint(2, 6))
    number = v.NUMBERS[len(words)]
    return answer({"words": " ".join(words)}, [number, f"there are {number} words ."], [number])


def _sort(rng: Random) -> Draft:
    numbers = rng.sample(range(1, 10), 3)
    in_order = " ".join(v.NUMBERS[n] for n in sorted(numbers))
    return answer({"numbers": " ".join(v.NUMBERS[n] for n in numbers)}, [in_order], [])


KINDS = (
    Kind(
        "open qa",
        "colour of",
        _colour_of,
        (
            "what colour is the {thing} ?",
            "which colour does the {thing} have ?",
            "tell me the colour of the {thing} .",
        ),
        ("what is the colour of the {thing} ?",),
    ),
    Kind(
        "open qa",
        "sound of",
        _sound_of,
        ("what does the {animal} say ?", "what sound does the {animal} make ?"),
        ("which sound does the {animal} make ?",),
    ),
    Kind(
        "open qa",
        "young of",
        _young_of,
        ("what is a young {animal} called ?", "what do you call a young {animal} ?"),
        ("what is the name of a young {animal} ?",),
    ),
    Kind(
        "open qa",
        "legs of",
        _legs_of,
        ("how many legs does the {animal} have ?", "how many legs does a {animal} have ?"),
        ("tell me how many legs the {animal} has .",),
    ),
    Kind(
        "open qa",
        "opposite",
        _opposite,
        (
            "what is the opposite of {word} ?",
            "what is not {word} but the opposite ?",
            "tell me the opposite of {word} .",
        ),
        ("which word is the opposite of {word} ?",),
    ),
    Kind(
        "open qa",
        "sum",
        _sum,
        ("what is {a} plus {b} ?", "how much is {a} plus {b} ?"),
        ("tell me what {a} plus {b} is .",),
    ),
    Kind(
        "open qa",
        "day after",
        _day_after,
        ("which day comes after {day} ?", "what day is after {day} ?", "tell me the day after {day} ."),
        ("what comes after {day} ?",),
    ),
    Kind(
        "classification",
        "sentiment",
        _sentiment,
        ("is this positive or negative : {text}", "positive or negative ? {text}"),
        ("tell me if this is positive or negative : {text}",),
    ),
    Kind(
        "classification",
        "class",
        _class,
        ("is {word} {first} or {second} ?", "{first} or {second} : {word}"),
        ("what is {word} , {first} or {second} ?",),
    ),
    Kind(
        "other",
        "repeat",
        _repeat,
        ("say {word} {count} times .", "repeat the word {word} {count} times ."),
        ("please say {word} {count} times .",),
    ),
    Kind(
        "other",
        "pick",
        _pick,
        ("what is the {which} word : {words}", "give me the {which} word of : {words}"),
        ("tell me the {which} word : {words}",),
    ),
    Kind(
        "other",
        "count",
        _count,
        ("count the words : {words}", "how many words are there : {words}"),
        ("tell me how many words there are : {words}",),
    ),
    Kind(
        "other",
        "sort",
        _sort,
        ("put the numbers in order : {numbers}", "order the numbers : {numbers}"),
        ("please put in order : {numbers}",),
    ),
)
