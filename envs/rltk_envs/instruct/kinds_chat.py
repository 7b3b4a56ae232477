"""Chat: a polite reply that takes up what was said."""

from __future__ import annotations

from random import Random

from rltk_envs.instruct import vocabulary as v
from rltk_envs.instruct.kinds_answers import answer
from rltk_envs.instruct.tasks import Draft, Kind


def _greeting(rng: Random) -> Draft:
    name, place = rng.choice(v.NAMES), rng.choice(v.PLACES)
    replies = [
        f"hello {name} , nice to meet you .",
        f"hi {name} , how are you ?",
        f"hello {name} , how is the {place} ?",
        f"welcome {name} , i am glad you are here .",
    ]
    return answer({"name": name, "place": place}, replies, [name])


def _good_mood(rng: Random) -> Draft:
    name, thing = rng.choice(v.NAMES), rng.choice((*v.FOODS, *v.OBJECTS))
    replies = [
        f"that is great , i am glad you like the {thing} .",
        f"that is nice {name} , enjoy the {thing} .",
        f"i am happy for you , enjoy the {thing} .",
    ]
    return answer({"name": name, "thing": thing}, replies, [thing])


def _bad_mood(rng: Random) -> Draft:
    name, thing = rng.choice(v.NAMES), rng.choice((*v.FOODS, *v.OBJECTS))
    replies = [
        f"i am sorry you lost the {thing} .",
        f"i am sorry to hear that {name} , i hope you find the {thing} .",
        f"that is sad , i hope you find the {thing} .",
    ]
    return answer({"name": name, "thing": thing}, replies, [thing])


def _thanks(rng: Random) -> Draft:
    thing, name = rng.choice((*v.FOODS, *v.OBJECTS)), rng.choice(v.NAMES)
    replies = [
        f"you are welcome , enjoy the {thing} .",
        f"you are welcome {name} .",
        f"i am glad you like the {thing} .",
    ]
    return answer({"thing": thing, "name": name}, replies, ["you"])


def _goodbye(rng: Random) -> Draft:
    place, name = rng.choice(v.PLACES), rng.choice(v.NAMES)
    replies = [
        f"goodbye {name} , see you at the {place} .",
        f"goodbye , have a great time at the {place} .",
        f"bye {name} , enjoy the {place} .",
    ]
    return answer({"place": place, "name": name}, replies, [place])


def _insult(rng: Random) -> Draft:
    insult, name = rng.choice(sorted(v.RUDE - {"shut"})), rng.choice(v.NAMES)
    replies = [
        f"i am sorry you feel that way {name} .",
        "i am sorry , how can i help you ?",
        f"please be nice {name} , i want to help .",
    ]
    said = insult if insult in ("stupid", "dumb", "ugly") else f"a {insult}"
    return answer({"insult": said, "name": name}, replies, ["i"])


KINDS = (
    Kind(
        "chat",
        "greeting",
        _greeting,
        ("hello , i am {name} from the {place} .", "hi , my name is {name} and i live near the {place} ."),
        ("hello , my name is {name} , i am at the {place} .",),
    ),
    Kind(
        "chat",
        "good mood",
        _good_mood,
        ("i am {name} and i am happy , i like my {thing} .", "hello it is {name} , i love my {thing} !"),
        ("{name} here , i am happy about my {thing} .",),
    ),
    Kind(
        "chat",
        "bad mood",
        _bad_mood,
        ("i am {name} and i am sad , i lost my {thing} .", "hello it is {name} , i lost my {thing} ."),
        ("{name} here , i am sad , i lost the {thing} .",),
    ),
    Kind(
        "chat",
        "thanks",
        _thanks,
        ("thank you for the {thing} , {name} is happy .", "hello it is {name} , thanks for the {thing} !"),
        ("{name} here , thank you for the {thing} .",),
    ),
    Kind(
        "chat",
        "goodbye",
        _goodbye,
        ("goodbye , {name} will go to the {place} now .", "i am {name} and i go to the {place} , bye !"),
        ("{name} here , bye , i go to the {place} .",),
    ),
    Kind(
        "chat",
        "insult",
        _insult,
        ("you are {insult} , says {name} .", "hello it is {name} , i think you are {insult} !"),
        ("{name} here , you are {insult} .",),
    ),
)
