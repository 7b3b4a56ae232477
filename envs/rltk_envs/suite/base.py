"""What the environments of the suite have in common; an environment adds its task.

A task is a vocabulary (``words``), how a prompt is drawn (:meth:`SuiteEnvironment.draw`), what a response is
worth (:meth:`SuiteEnvironment.score`) and what a perfect policy says (``oracle``). The base makes of it
prompts in three splits, demonstrations, a corpus, a tokenizer, and the token environment.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from rltk.interfaces import ComponentConfig, Environment, Labeler, Row, Split
from rltk_envs.instruct.tasks import split_of
from rltk_envs.suite.mistakes import spoiled

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv
    from transformers import PreTrainedTokenizerBase

    from rltk.episode import Episode

Level = Literal["easy", "medium", "hard"]
#: Draws in a row that bring no new prompt, after which a split is taken to have no more.
_PATIENCE = 1000
#: Stands after each demonstration in front of a prompt; a word of every vocabulary.
SEPARATOR = ";"


class SuiteEnvironment(Environment):
    """A small task with a known truth.

    The split of a prompt follows from its text (70 % train, 15 % validation, 15 % test), so no prompt is in
    two. Within a split no prompt is drawn twice; a level that has fewer prompts than asked for gives all that
    are found. Which prompts are drawn depends on the seed; the task itself does not.
    """

    class Config(ComponentConfig):
        """How hard it is, and how much of everything there is."""

        level: Level = Field("easy", description="How hard the task is: easy, medium or hard.")
        num_prompts: int = Field(2000, gt=0, description="Most prompts of the train split.")
        heldout_prompts: int = Field(
            200, gt=0, description="Most prompts of the validation and of the test split."
        )
        num_demonstrations: int = Field(2000, gt=0, description="Most demonstrations to train on.")
        heldout_demonstrations: int = Field(
            200, gt=0, description="Most demonstrations for validation and for test."
        )
        mistaken_share: float = Field(
            0.0,
            ge=0,
            le=1,
            description="Share of demonstrations with a mistake, which leave something to learn.",
        )
        max_new_tokens: int | None = Field(
            None,
            gt=0,
            description="Tokens after which a response is cut off; null: as many as the level needs.",
        )

    config: Config
    #: The vocabulary of prompts and responses.
    words: ClassVar[Sequence[str]]
    #: What stands between two words of a text: a space, or nothing where words are characters.
    space: ClassVar[str] = " "
    #: What the policy reads; ``{prompt}`` is the prompt.
    template: ClassVar[str] = "{prompt} :"
    #: Mean score of uniformly random tokens with the level's own budget, as measured once.
    random_scores: ClassVar[Mapping[Level, float]]

    @abstractmethod
    def draw(self, rng: Random, level: Level) -> Row:
        """Return a row: ``prompt``, and what :meth:`score` and ``oracle`` need to know beside it."""

    @abstractmethod
    def score(self, row: Row, response: str) -> float:
        """Return what a response is worth, in [0, 1]; 1 for what is right and for nothing else."""

    @abstractmethod
    def longest(self, level: Level) -> int:
        """Return how many tokens the longest right response of a level may need, without EOS."""

    def gold(self, episode: Episode) -> float:
        """Return what an episode is worth; an environment of several turns looks at ``episode.turns``."""
        return self.score({**episode.columns, "prompt": episode.prompt}, episode.response)

    def task_options(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Return further options of ``rltk/TextGeneration-v0``, such as ``partner`` or ``allowed_tokens``."""
        return {}

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Return sizes that are made in no time."""
        prompts = {"num_prompts": 40, "heldout_prompts": 20}
        return {**prompts, "num_demonstrations": 40, "heldout_demonstrations": 20}

    def make_vec(self, num_envs: int, *, split: Split = "train", **options: Any) -> VectorEnv:
        """Return ``rltk/TextGeneration-v0`` over this task's prompts; its own reward is the gold score."""
        from rltk_envs.text_generation import TextGenerationVectorEnv

        return TextGenerationVectorEnv(num_envs, **self.text_options(split, **options))

    def text_options(self, split: Split, **options: Any) -> dict[str, Any]:
        """Return the options of ``rltk/TextGeneration-v0`` that make it this task, ``options`` first."""
        if options.get("prompts") is None:
            options["prompts"] = self.prompts(split)
        if options.get("tokenizer") is None:
            options["tokenizer"] = self.build_tokenizer()
        given = {"template": self.template, "reward": self._rewards, "max_new_tokens": self.max_new_tokens}
        return {**self.task_options(options["tokenizer"]), **given, **options}

    @property
    def max_new_tokens(self) -> int:
        """The length budget of a response: what the level's longest right response and EOS need."""
        own = self.longest(self.config.level) + 1
        return own if self.config.max_new_tokens is None else self.config.max_new_tokens

    def build_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return a tokenizer with one token per word."""
        return self._tokenizer

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        from rltk_envs.suite.tokenizer import build_tokenizer

        return build_tokenizer([*self.words, SEPARATOR], self.space)

    def format_prompt(self, prompt: str) -> str:
        """Return the prompt in the template."""
        return self.template.replace("{prompt}", prompt)

    def few_shot_prefix(self, demonstrations: Sequence[Row]) -> str:
        """Return the demonstrations, a separator after each."""
        return "".join(f"{self._line(row)}{self.space}{SEPARATOR}{self.space}" for row in demonstrations)

    def prompts(self, split: Split) -> list[Row]:
        """Return rows with ``prompt`` and what the task knows about it, no prompt twice."""
        count = self.config.num_prompts if split == "train" else self.config.heldout_prompts
        return self.rows("prompts", split, count)

    def demonstrations(self, split: Split) -> list[Row]:
        """Return rows with a ``response``: the oracle's, or one with a mistake, as often as configured."""
        config = self.config
        count = config.num_demonstrations if split == "train" else config.heldout_demonstrations
        rows = self.rows("demonstrations", split, count)
        right = [self.oracle(row) for row in rows]
        rng = self._random("mistakes", split)
        return [
            {**row, "response": self._mistaken(row, said, rng.choice(right), rng)}
            if rng.random() < config.mistaken_share
            else {**row, "response": said}
            for row, said in zip(rows, right, strict=True)
        ]

    def labelers(self, group: Literal["train", "heldout"]) -> Sequence[Labeler]:
        """Return four labelers to learn from, or two others to evaluate with; they see the gold score."""
        from rltk_envs.suite.labelers import HELDOUT, TRAIN, GoldLabeler

        return [GoldLabeler(name, self.gold) for name in (TRAIN if group == "train" else HELDOUT)]

    def corpus(self, split: Split) -> Iterator[str]:
        """Yield the demonstrations, each as one line."""
        return map(self._line, self.demonstrations(split))

    def metrics(self, episode: Episode) -> dict[str, float]:
        """Return ``utility``, the gold score, and ``exact``, whether it is 1."""
        gold = self.gold(episode)
        return {"utility": gold, "exact": float(gold == 1.0)}

    def score_bounds(self) -> tuple[float, float] | None:
        """Return the scores of random tokens and of the oracle; None with a length budget of one's own."""
        if self.config.max_new_tokens is not None:
            return None
        return self.random_scores[self.config.level], 1.0

    def split_words(self, text: str) -> list[str]:
        """Return the words of a text, its characters where words are characters."""
        return text.split() if self.space else list(text)

    def _rewards(self, episodes: Sequence[Episode]) -> list[float]:
        return [self.gold(episode) for episode in episodes]

    def _line(self, row: Row) -> str:
        return f"{self.format_prompt(row['prompt'])}{self.space}{row['response']}"

    def _mistaken(self, row: Row, right: str, other: str, rng: Random) -> str:
        words, others = self.split_words(right), self.split_words(other)
        candidates = (self.space.join(said) for said in spoiled(words, others, rng))
        return next(said for said in candidates if said and self.score(row, said) < 1.0)

    def rows(self, what: str, split: Split, count: int) -> list[Row]:
        """Return at most ``count`` rows of a split, no prompt twice; a task on stored rows reads them here.

        :param what: what they are for: ``prompts`` or ``demonstrations``, which are drawn apart.
        """
        rng = self._random(what, split)
        rows: dict[str, Row] = {}
        in_vain = 0
        while len(rows) < count and in_vain < _PATIENCE:
            row = self.draw(rng, self.config.level)
            new = self.identity(row) not in rows and split_of(row["prompt"]) == split
            in_vain = 0 if new else in_vain + 1
            if new:
                rows[self.identity(row)] = row
        return list(rows.values())

    def identity(self, row: Row) -> str:
        """Return what no two rows of a split have in common: the prompt."""
        return str(row["prompt"])

    def _random(self, *parts: str) -> Random:
        from rltk.rng import derive_seed  # loads torch, which a list of environments does not wait for

        return Random(derive_seed(self.seed, self.name, *parts))
