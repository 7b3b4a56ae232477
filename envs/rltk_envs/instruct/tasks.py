"""Tasks: what a prompt asks for, in a form that can be judged.

A task is drawn in three steps: a use case in the proportions of InstructGPT's Table 1 (Ouyang et al. 2022),
one of its kinds, and a wording. The split of a prompt is a function of its text, so splits never overlap.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from rltk.interfaces import Row, Split

#: Share of each use case, in per cent (Ouyang et al. 2022, Table 1).
USE_CASES: Mapping[str, float] = {
    "generation": 45.6,
    "open qa": 12.4,
    "brainstorming": 11.2,
    "chat": 8.4,
    "rewrite": 6.6,
    "summarization": 4.2,
    "classification": 3.5,
    "other": 3.5,
    "closed qa": 2.6,
    "extract": 1.9,
}
#: ``text``: sentences of the grammar; ``list``: distinct members of a group; ``answer``: one of some texts.
Form = Literal["text", "list", "answer"]


@dataclass(frozen=True)
class Task:
    """One thing asked for.

    :param kind: what sort of task, unique over all use cases.
    :param wording: which of the kind's wordings the prompt has.
    :param prompt: the prompt's text.
    :param form: how the response is judged.
    :param expected: what a good response holds. ``text``: shape, sentences, mentions, different_from;
        ``list``: members, count, all (whether every member is wanted); ``answer``: accepted texts, keys.
    :param constraint: an explicit limit: ``words`` (how many), ``avoid``, ``use`` or ``first`` (a word);
        empty if there is none.
    :param passage: the text that holds the answer, where the prompt has one.
    """

    use_case: str
    kind: str
    wording: int
    prompt: str
    form: Form
    expected: Mapping[str, Any]
    constraint: Mapping[str, Any] = field(default_factory=dict)
    passage: str | None = None

    def to_row(self) -> Row:
        """Return the data row: ``prompt``, ``use_case``, ``kind`` and the whole task, all JSON values."""
        task = dataclasses.asdict(self)
        return {"prompt": self.prompt, "use_case": self.use_case, "kind": self.kind, "task": task}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Task:
        """Return the task of a data row or of an episode's columns."""
        return cls(**row["task"])


@dataclass(frozen=True)
class Draft:
    """A task without its words: the values that wordings are filled with, and what to expect."""

    slots: Mapping[str, str]
    form: Form
    expected: Mapping[str, Any]
    constraint: Mapping[str, Any] = field(default_factory=dict)
    passage: str | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of task.

    :param draw: returns a draft from a source of randomness.
    :param wordings: templates seen in training; ``test_wordings``: templates that only test prompts have.
    :param weight: how often the kind is drawn within its use case.
    """

    use_case: str
    name: str
    draw: Callable[[Random], Draft]
    wordings: tuple[str, ...]
    test_wordings: tuple[str, ...]
    weight: int = 1

    def task(self, rng: Random, *, unseen_wording: bool = False) -> Task:
        """Return a task of this kind, worded as in training or as in test only."""
        wordings = self.wordings + self.test_wordings
        first, last = (len(self.wordings), len(wordings)) if unseen_wording else (0, len(self.wordings))
        wording = rng.randrange(first, last)
        draft = self.draw(rng)
        prompt = wordings[wording].format(**draft.slots)
        return Task(
            self.use_case,
            self.name,
            wording,
            prompt,
            draft.form,
            draft.expected,
            draft.constraint,
            draft.passage,
        )


#: Share of the test prompts whose wording no training prompt has.
UNSEEN_WORDING_SHARE = 0.25


def split_of(prompt: str) -> Split:
    """Return the split a prompt in a training wording belongs to: 70 % train, 15 % validation, 15 % test."""
    bucket = hashlib.sha256(prompt.encode()).digest()[0]
    return "train" if bucket < 180 else "validation" if bucket < 218 else "test"


def all_kinds() -> dict[str, list[Kind]]:
    """Return the kinds of each use case."""
    from rltk_envs.instruct.kinds_answers import KINDS as ANSWERS
    from rltk_envs.instruct.kinds_chat import KINDS as CHAT
    from rltk_envs.instruct.kinds_generation import KINDS as GENERATION
    from rltk_envs.instruct.kinds_passages import KINDS as PASSAGES

    kinds = [*GENERATION, *ANSWERS, *CHAT, *PASSAGES]
    return {use_case: [kind for kind in kinds if kind.use_case == use_case] for use_case in USE_CASES}


class TaskSampler:
    """Draws tasks of one split.

    :param rng: the source of randomness.
    :param split: whose prompts to draw.
    """

    def __init__(self, rng: Random, split: Split) -> None:
        self._rng = rng
        self._split = split
        self._kinds = {name: (kinds, [kind.weight for kind in kinds]) for name, kinds in all_kinds().items()}
        self._use_cases = list(USE_CASES)
        self._shares = list(USE_CASES.values())

    def __call__(self, use_case: str | None = None) -> Task:
        """Return a task, of a use case drawn by its share where none is asked for."""
        use_case = use_case or self._rng.choices(self._use_cases, self._shares)[0]
        unseen = self._split == "test" and self._rng.random() < UNSEEN_WORDING_SHARE
        while True:
            kind = self._rng.choices(*self._kinds[use_case])[0]
            task = kind.task(self._rng, unseen_wording=unseen)
            if unseen or split_of(task.prompt) == self._split:
                return task
