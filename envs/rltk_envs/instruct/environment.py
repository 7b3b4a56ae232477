"""The component: the instruct world as a recipe's environment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rltk.episode import Episode
from rltk.interfaces import ComponentConfig, Environment, Labeler, Row, Split
from rltk.rng import derive_seed
from rltk_envs.instruct.corpus import EXAMPLE, TEMPLATE, Corpus
from rltk_envs.instruct.judge import judge
from rltk_envs.instruct.labelers import labelers
from rltk_envs.instruct.oracle import demonstrate
from rltk_envs.instruct.tasks import Task, TaskSampler
from rltk_envs.instruct.writers import write_demonstration

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv
    from transformers import PreTrainedTokenizerBase

#: How often a prompt that was already drawn is drawn again before a repetition is accepted.
_REDRAWS = 50


class Instruct(Environment):
    """A small world with a known truth: prompts in ten use cases, and a judge of every response.

    Facts, words and kinds of task are the same for every seed; which prompts, demonstrations and documents
    are drawn depends on it.
    """

    name = "instruct"
    config: Config

    class Config(ComponentConfig):
        """How much of everything there is."""

        corpus_documents: int = Field(
            22_000, gt=0, description="documents to pretrain on; about 54 words each"
        )
        heldout_documents: int = Field(
            400, gt=0, description="documents of the validation and of the test corpus"
        )
        num_demonstrations: int = Field(3_000, gt=0, description="demonstrations to train on")
        careless_share: float = Field(
            0.6, ge=0, le=1, description="share of demonstrations by writers who are rude, ramble or hurry"
        )
        heldout_demonstrations: int = Field(
            300, gt=0, description="demonstrations for validation and for test"
        )
        num_prompts: int = Field(4_000, gt=0, description="prompts of the train split")
        heldout_prompts: int = Field(500, gt=0, description="prompts of the validation and of the test split")
        max_new_tokens: int = Field(24, gt=0, description="tokens after which a response is cut off")

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Return a world that is made in no time."""
        sizes = {"corpus_documents": 60, "num_demonstrations": 60, "num_prompts": 60}
        heldout = {"heldout_documents": 20, "heldout_demonstrations": 20, "heldout_prompts": 20}
        return {**sizes, **heldout, "max_new_tokens": 12}

    def make_vec(self, num_envs: int, *, split: Split = "train", **options: Any) -> VectorEnv:
        """Return ``rltk/TextGeneration-v0`` over this world's prompts; the default reward is the utility."""
        from rltk_envs.text_generation import TextGenerationVectorEnv

        return TextGenerationVectorEnv(num_envs, **self.text_options(split, **options))

    def text_options(self, split: Split, **options: Any) -> dict[str, Any]:
        """Return the options of ``rltk/TextGeneration-v0`` that make it this world's, ``options`` first."""
        if options.get("prompts") is None:
            options["prompts"] = self.prompts(split)
        if options.get("tokenizer") is None:
            options["tokenizer"] = self.build_tokenizer()
        defaults = {"template": TEMPLATE, "reward": utilities, "max_new_tokens": self.config.max_new_tokens}
        return {**defaults, **options}

    def build_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the word-level tokenizer."""
        from rltk_envs.instruct.tokenizer import build_tokenizer

        return build_tokenizer()

    def format_prompt(self, prompt: str) -> str:
        """Return the prompt and a newline."""
        return TEMPLATE.format(prompt=prompt)

    def few_shot_prefix(self, demonstrations: Sequence[Row]) -> str:
        """Return the demonstrations as a question-and-answer page of the corpus has them."""
        return "".join(
            EXAMPLE.format(prompt=row["prompt"], response=row["response"]) for row in demonstrations
        )

    def corpus(self, split: Split) -> Iterator[str]:
        """Yield documents of words separated by single spaces."""
        count = self.config.corpus_documents if split == "train" else self.config.heldout_documents
        return Corpus(self.seed, split).documents(count)

    def demonstrations(self, split: Split) -> list[Row]:
        """Return task rows with a ``response``, most of them correct.

        Short prompt spaces repeat with other responses.
        """
        count = self.config.num_demonstrations if split == "train" else self.config.heldout_demonstrations
        rng = self._random("demonstrations", split)
        sampler = TaskSampler(rng, split)
        tasks = [sampler() for _ in range(count)]
        share = self.config.careless_share
        return [
            {**task.to_row(), "response": write_demonstration(task, rng, careless_share=share)}
            for task in tasks
        ]

    def prompts(self, split: Split) -> list[Row]:
        """Return task rows, without repetition as far as the use case has enough prompts."""
        count = self.config.num_prompts if split == "train" else self.config.heldout_prompts
        sampler = TaskSampler(self._random("prompts", split), split)
        tasks: list[Task] = []
        seen: set[str] = set()
        for _ in range(count):
            task = sampler()
            for _ in range(_REDRAWS):
                if task.prompt not in seen:
                    break
                task = sampler(task.use_case)
            seen.add(task.prompt)
            tasks.append(task)
        return [task.to_row() for task in tasks]

    def labelers(self, group: Literal["train", "heldout"]) -> Sequence[Labeler]:
        """Return eight labelers to learn from, or four to evaluate with."""
        return labelers(group)

    def metrics(self, episode: Episode) -> dict[str, float]:
        """Return ``utility`` and the flags that apply: 1 where true.

        Flags are follows_instruction, satisfies_constraint, hallucinates, rude and ends_properly.
        """
        return judge(Task.from_row(episode.columns), episode.response, episode.terminated).metrics()

    def oracle(self, row: Row, turns: Sequence[tuple[str, str]] = ()) -> str:
        """Return a response that the judge gives full marks, the same for the same prompt."""
        return demonstrate(Task.from_row(row), Random(derive_seed("oracle", row["prompt"])))

    def score_bounds(self) -> tuple[float, float]:
        """Return the utility of random words, none in 20 000 test prompts, and that of the oracle."""
        return 0.0, 1.0

    def _random(self, *parts: str) -> Random:
        return Random(derive_seed(self.seed, "instruct", *parts))


def utilities(episodes: Sequence[Episode]) -> list[float]:
    """Return the judge's utility of each episode of this world."""
    return [judge(Task.from_row(e.columns), e.response, e.terminated).utility for e in episodes]
