"""The people that questions are about: the same in every run, whatever the seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

PEOPLE = (
    "ann",
    "bob",
    "cho",
    "dee",
    "eli",
    "fay",
    "gus",
    "hal",
    "ida",
    "jon",
    "kim",
    "lou",
    "mia",
    "ned",
    "ora",
    "pat",
    "ray",
    "sue",
    "tom",
    "una",
    "vic",
    "wes",
    "yan",
    "zoe",
    "abe",
    "bea",
    "cal",
    "dan",
    "eva",
    "fox",
    "gil",
    "hua",
    "ivy",
    "jay",
    "ken",
    "leo",
    "may",
    "nia",
    "oli",
    "pia",
)
VALUES = {
    "town": ("bern", "cairo", "delhi", "lima", "oslo", "paris", "rome", "tokyo"),
    "pet": ("cat", "dog", "duck", "fish", "goat", "horse", "rabbit", "snake"),
    "job": ("baker", "clerk", "cook", "doctor", "farmer", "nurse", "pilot", "teacher"),
    "drink": ("beer", "cider", "cocoa", "coffee", "juice", "milk", "tea", "water"),
    "colour": ("black", "blue", "brown", "green", "grey", "pink", "red", "white"),
    "sport": ("boxing", "chess", "golf", "judo", "rowing", "skiing", "squash", "tennis"),
}
WORDINGS = (
    "what is the {subject} of {person}",
    "which {subject} has {person}",
    "the {subject} of {person} is",
    "say the {subject} of {person}",
    "name the {subject} of {person}",
    "{person} has which {subject}",
    "tell me the {subject} of {person}",
    "of {person} what is the {subject}",
)
UNKNOWN = "unknown"
_PLAIN = ["what", "is", "the", "of", "which", "has", "say", "name", "tell", "me"]
WORDS = (*PEOPLE, *VALUES, *(value for values in VALUES.values() for value in values), *_PLAIN, UNKNOWN)

#: known: shown in training with its answer; admitted: shown with "unknown"; unseen: not shown in training.
Status = Literal["known", "admitted", "unseen"]
_STATUS: tuple[Status, ...] = ("known",) * 6 + ("admitted", "unseen")


@dataclass(frozen=True)
class Fact:
    """What there is to know about one thing of one person.

    :param answer: a value, or ``unknown`` where nothing of it was ever told.
    """

    person: str
    subject: str
    status: Status
    answer: str

    def questions(self) -> Iterator[str]:
        """Yield the question in every wording."""
        for wording in WORDINGS:
            yield wording.format(person=self.person, subject=self.subject)


def facts(people: int, subjects: int) -> list[Fact]:
    """Return the facts about the first people in the first subjects; 6 of 8 are known.

    :param people: a multiple of 8.
    """
    found = []
    for subject in list(VALUES)[:subjects]:
        for start in range(0, people, len(_STATUS)):
            rng = Random(f"{subject} {start}")
            some = PEOPLE[start : start + len(_STATUS)]
            for person, status in zip(some, rng.sample(_STATUS, len(_STATUS)), strict=True):
                value = rng.choice(VALUES[subject])
                found.append(Fact(person, subject, status, value if status == "known" else UNKNOWN))
    return found
