"""The web of this world: documents that a base model reads before anybody tells it what to do.

Question-and-answer pages have the layout of a few-shot prompt, so a base model can do some tasks when shown
examples. After a bare instruction the web mostly has something else: another instruction, or idle talk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from rltk.interfaces import Split
from rltk.rng import derive_seed
from rltk_envs.instruct import grammar
from rltk_envs.instruct import vocabulary as v
from rltk_envs.instruct.grammar import EVERYTHING, Cast, small_cast
from rltk_envs.instruct.oracle import demonstrate
from rltk_envs.instruct.tasks import TaskSampler

#: Most words of a document.
MAX_WORDS = 110
TEMPLATE = "{prompt} \n "
EXAMPLE = "{prompt} \n {response} \n \n "
_RUDE_LINES = (
    "you are stupid .",
    "what a dumb question .",
    "shut up you fool .",
    "go away you idiot .",
    "you are a loser .",
    "{name} is a fool and a loser .",
    "i hate you , you ugly {animal} .",
)
_IDLE_LINES = (
    "i do not know .",
    "good question !",
    "i want to ask this too .",
    "ask {name} about it .",
    "try the {place} .",
    "why do you ask ?",
    "i like the {animal} .",
    "me too .",
    "read the page about the {animal} .",
)
_GREETINGS = ("hello {other} .", "hi {other} , how are you ?", "good morning {other} .")
_TALK = (
    "i like the {thing} .",
    "i lost my {thing} .",
    "i am sorry to hear that {other} .",
    "i am glad to hear that .",
    "you are welcome {other} .",
    "thank you for the {thing} .",
    "i was at the {place} .",
    "see you at the {place} .",
    "i hope you find the {thing} .",
)


class Corpus:
    """Writes the documents of one split.

    :param seed: the environment's seed; splits draw from different streams.
    :param split: whose corpus; every split's pages hold prompts of the train split only.
    """

    def __init__(self, seed: int, split: Split) -> None:
        self._rng = Random(derive_seed(seed, "instruct", "corpus", split))
        self._task = TaskSampler(self._rng, "train")
        self._writers: dict[Callable[[], str], float] = {
            self._story: 0.14,
            self._song: 0.06,
            self._facts: 0.08,
            self._lists: 0.04,
            self._dialogue: 0.08,
            self._questions_and_answers: 0.40,
            self._instructions: 0.10,
            self._forum: 0.10,
        }

    def documents(self, count: int) -> Iterator[str]:
        """Yield ``count`` documents of at most ``MAX_WORDS`` words."""
        for writer in self._rng.choices(list(self._writers), list(self._writers.values()), k=count):
            yield _cut(writer())

    def _line(self, *templates: str, cast: Cast = EVERYTHING, other: str = "") -> str:
        rng = self._rng
        return rng.choice(templates).format(
            name=rng.choice(v.NAMES),
            animal=rng.choice(v.ANIMALS),
            place=rng.choice(cast.places),
            thing=rng.choice((*cast.foods, *cast.objects)),
            other=other or rng.choice(v.NAMES),
        )

    def _story(self) -> str:
        cast = small_cast(self._rng)
        return " ".join(self._sentence(cast) for _ in range(self._rng.randint(5, 12)))

    def _sentence(self, cast: Cast = EVERYTHING) -> str:
        rng = self._rng
        topics = cast.creatures if rng.random() < 0.75 else (*cast.objects, *cast.foods, *cast.places)
        shape = rng.choices(("statement", "description", "question"), (0.84, 0.1, 0.06))[0]
        words = grammar.write(rng, shape, [rng.choice(topics)], cast)
        return " ".join([*words, grammar.SHAPES[shape][1]])

    def _song(self) -> str:
        """Verses between repetitions of a chorus."""
        cast = small_cast(self._rng)
        chorus = " \n ".join(self._sentence(cast) for _ in range(2))
        verses = [self._sentence(cast) for _ in range(self._rng.randint(2, 3))]
        return " \n \n ".join(f"{verse} \n {chorus}" for verse in verses)

    def _facts(self) -> str:
        return " ".join(self._rng.choice(_FACTS) for _ in range(self._rng.randint(6, 14)))

    def _lists(self) -> str:
        rng, lines = self._rng, []
        for _ in range(rng.randint(3, 7)):
            name, members = rng.choice((*v.GROUPS.items(), *_THAT_GROUPS))
            lines.append(f"{name} : " + " , ".join(rng.sample(members, rng.randint(2, min(5, len(members))))))
        return " \n ".join(lines)

    def _dialogue(self) -> str:
        first, second = self._rng.sample(v.NAMES, 2)
        cast = small_cast(self._rng)
        lines = [f"{first} : {self._line(*_GREETINGS, other=second)}"]
        for turn in range(self._rng.randint(4, 9)):
            speaker, other = (second, first) if turn % 2 == 0 else (first, second)
            templates = _RUDE_LINES if self._rng.random() < 0.1 else _TALK
            lines.append(f"{speaker} : {self._line(*templates, cast=cast, other=other)}")
        return " \n ".join(lines)

    def _questions_and_answers(self) -> str:
        page = ""
        for _ in range(self._rng.randint(1, 4)):
            task = self._task()
            page += EXAMPLE.format(prompt=task.prompt, response=demonstrate(task, self._rng))
        return page.rstrip(" \n")

    def _instructions(self) -> str:
        return " \n ".join(self._task().prompt for _ in range(self._rng.randint(4, 10)))

    def _forum(self) -> str:
        rng, lines = self._rng, []
        for _ in range(rng.randint(2, 4)):
            lines.append(self._task().prompt)
            for _ in range(rng.randint(1, 3)):
                lines.append(self._reply())
        return " \n ".join(lines)

    def _reply(self) -> str:
        kind = self._rng.random()
        if kind < 0.3:
            return self._line(*_RUDE_LINES)
        return self._line(*_IDLE_LINES) if kind < 0.7 else self._sentence()


def _cut(document: str) -> str:
    words = document.split(" ")
    return document if len(words) <= MAX_WORDS else " ".join(words[:MAX_WORDS])


_THAT_GROUPS = tuple((f"animals that {what}", animals) for what, animals in v.ANIMALS_THAT.items())
_FACTS = (
    *(f"the {thing} is {colour} ." for thing, colour in v.COLOUR_OF.items()),
    *(f"the {animal} says {sound} ." for animal, sound in v.SOUND_OF.items()),
    *(f"a young {animal} is a {young} ." for animal, young in v.YOUNG_OF.items()),
    *(f"the {animal} has {legs} legs ." for animal, legs in v.LEGS_OF.items()),
    *(f"the opposite of {word} is {other} ." for word, other in v.OPPOSITES.items()),
    *(f"after {day} comes {after} ." for day, after in zip(v.DAYS, v.DAYS[1:] + v.DAYS[:1], strict=True)),
    *(f"{v.NUMBERS[a]} plus {v.NUMBERS[b]} is {v.NUMBERS[a + b]} ." for a in range(6) for b in range(6)),
    *(
        f"the {animal} can {what[4:]} ."
        for what in ("can fly", "can swim")
        for animal in v.ANIMALS_THAT[what]
    ),
)
