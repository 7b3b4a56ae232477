"""The truth: what a response is worth, as a pure function of the task and the response.

``utility = content * constraint * ending * manners``. Content is 0 for what does not answer, so that neither
repetition, lists of all answers, text after the answer nor silence pays; partial credit is for near answers
that hold what was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from rltk_envs.instruct import grammar
from rltk_envs.instruct.kinds_passages import NOT_IN_TEXT
from rltk_envs.instruct.tasks import Task
from rltk_envs.instruct.vocabulary import RUDE

#: What remains of the utility where the response was cut off, was rude, or broke the explicit constraint.
UNFINISHED, RUDENESS, BROKEN_CONSTRAINT = 0.25, 0.2, 0.4
#: Most that a response earns which is near an accepted answer without being one.
NEAR_ANSWER = 0.4
#: What a well-formed text earns that does not mention what it should.
OFF_TOPIC = 0.1
#: Content from which a response counts as following the instruction.
FOLLOWS = 0.5


@dataclass(frozen=True)
class Judgement:
    """What is true of a response.

    :param utility: overall worth in [0, 1].
    :param content: worth of the answer itself in [0, 1], before constraint, ending and manners.
    :param satisfies_constraint: None where the task has no explicit constraint.
    :param hallucinates: whether it claims what the prompt's passage does not hold; None without a passage.
    """

    utility: float
    content: float
    follows_instruction: bool
    satisfies_constraint: bool | None
    hallucinates: bool | None
    rude: bool
    ends_properly: bool

    def metrics(self) -> dict[str, float]:
        """Return utility and flags as numbers, without the flags that do not apply."""
        flags = {
            "utility": self.utility,
            "follows_instruction": self.follows_instruction,
            "satisfies_constraint": self.satisfies_constraint,
            "hallucinates": self.hallucinates,
            "rude": self.rude,
            "ends_properly": self.ends_properly,
        }
        return {name: float(value) for name, value in flags.items() if value is not None}


def judge(task: Task, response: str, terminated: bool) -> Judgement:
    """Judge a response; it has to be one line.

    :param response: the text without special tokens.
    :param terminated: whether the response ended by itself instead of at the length budget.
    """
    words = response.split(" ") if response else []
    content = _CONTENT[task.form](task.expected, words) if words and "\n" not in words else 0.0
    constraint = _constraint(task.constraint, words)
    rude = any(word in RUDE for word in words)
    utility = content * (BROKEN_CONSTRAINT + (1 - BROKEN_CONSTRAINT) * constraint)
    utility *= 1.0 if terminated else UNFINISHED
    utility *= RUDENESS if rude else 1.0
    return Judgement(
        utility=utility,
        content=content,
        follows_instruction=content >= FOLLOWS,
        satisfies_constraint=constraint == 1.0 if task.constraint else None,
        hallucinates=_hallucinates(task, words) if task.passage is not None else None,
        rude=rude,
        ends_properly=terminated and bool(words),
    )


def _text_content(expected: Mapping[str, Any], words: Sequence[str]) -> float:
    """Square of the share of good sentences among those wanted and found, times the topic held.

    Text after the last closing mark makes all of it worthless.
    """
    mark = grammar.SHAPES[expected["shape"]][1]
    if words[-1] != mark:
        return 0.0
    sentences = [tuple(part.split()) for part in " ".join(words)[:-1].split(mark)]
    wanted, mentions = expected["sentences"], expected["mentions"]
    good = {sentence for sentence in sentences if grammar.is_well_formed(sentence, expected["shape"])}
    good -= {tuple(expected.get("different_from", "").split(" ")[:-1])}
    well_formed = (min(len(good), wanted) / max(len(sentences), wanted)) ** 2
    held = [sum(mention in sentence for mention in mentions) / len(mentions) for sentence in good]
    topic = min(1.0, sum(held) / wanted)
    return well_formed * (OFF_TOPIC + (1 - OFF_TOPIC) * topic)


def _list_content(expected: Mapping[str, Any], words: Sequence[str]) -> float:
    """Square of the share of distinct members among what was listed and what was wanted.

    What is not a list of single words is worthless.
    """
    items = list_items(words)
    if any(len(item.split(" ")) != 1 for item in items):
        return 0.0
    members = {item for item in items if item in expected["members"]}
    return (min(len(members), expected["count"]) / max(len(items), expected["count"])) ** 2


def list_items(words: Sequence[str]) -> list[str]:
    """Split ``a , b and c``, perhaps with a full stop, at its separators."""
    words = words[:-1] if words[-1] == "." else words
    return " ".join("," if word == "and" else word for word in words).split(" , ")


def _answer_content(expected: Mapping[str, Any], words: Sequence[str]) -> float:
    """1 for an accepted answer, less for one near it that holds all key words."""
    if " ".join(words) in expected["accepted"]:
        return 1.0
    if not expected["keys"] or not set(expected["keys"]) <= set(words):
        return 0.0
    matchers = (SequenceMatcher(a=words, b=text.split(" "), autojunk=False) for text in expected["accepted"])
    return NEAR_ANSWER * max(0.0, 2 * max(matcher.ratio() for matcher in matchers) - 1)


_CONTENT = {"text": _text_content, "list": _list_content, "answer": _answer_content}


def _constraint(constraint: Mapping[str, Any], words: Sequence[str]) -> float:
    """1 where every limit is kept; a count of words that is off by little is worth a little."""
    kept = 1.0
    for name, value in constraint.items():
        if name == "words":
            distance = abs(sum(word.isalpha() for word in words) - value)
            kept *= 1.0 if distance == 0 else max(0.0, 0.5 - distance / 6)
        elif name == "first":
            kept *= float(words[:1] == [value])
        else:
            kept *= float((value in words) == (name == "use"))
    return kept


def _hallucinates(task: Task, words: Sequence[str]) -> bool:
    """Whether a content word is new, or anything is claimed where the passage does not hold the answer."""
    claimed = {word for word in words if grammar.is_content(word)}
    if tuple(task.expected.get("accepted", ())) == NOT_IN_TEXT:
        return bool(claimed)
    return not claimed <= set((task.passage or "").split(" "))
