"""An environment: the task of copying a word, with everything that training on it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import rltk
from pydantic import Field
from rltk.interfaces import Row, Split
from rltk.rng import numpy_generator

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv
    from transformers import PreTrainedTokenizerBase

RLTK_API = 1
_SHARES = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}


class TemplateNameEnvironment(rltk.Environment):
    """Asks to copy a word of a few letters; no word is in two splits.

    A stage that gives ``make_vec`` no reward trains on the truth: 1 for the right word and 0 otherwise.
    """

    name = "template-name"

    class Config(rltk.ComponentConfig):
        """Options, such as ``environment: {name: template-name, letters: 4}``."""

        alphabet: str = Field("abcdefgh", min_length=2, description="Letters that words are made of.")
        letters: int = Field(3, ge=2, le=6, description="Letters a word.")

    config: Config

    def make_vec(self, num_envs: int, *, split: Split = "train", **options: Any) -> VectorEnv:
        """Return the text environment over the prompts of ``split``."""
        options.setdefault("max_new_tokens", self.config.letters + 1)
        options.setdefault("template", self.format_prompt("{prompt}"))
        options.setdefault("reward", self._truth)
        if options.get("prompts") is None:
            options["prompts"] = self.prompts(split)
        if options.get("tokenizer") is None:
            options["tokenizer"] = self.build_tokenizer()
        return gym.make_vec("rltk_envs:rltk/TextGeneration-v0", num_envs=num_envs, **options)

    def build_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return a tokenizer of single bytes: no merges are worth learning here."""
        from rltk.byte_level_bpe import SMALLEST_VOCABULARY, train_byte_level_bpe

        return train_byte_level_bpe(
            self.corpus("train"), vocab_size=SMALLEST_VOCABULARY, max_characters=10_000
        )

    def format_prompt(self, prompt: str) -> str:
        """Return what the policy reads for a prompt."""
        return f"copy {prompt}:"

    def few_shot_prefix(self, demonstrations: Sequence[Row]) -> str:
        """Return demonstrations to put before a prompt, a line each."""
        return "".join(f"{self._document(row)}\n" for row in demonstrations)

    def corpus(self, split: Split) -> Iterator[str]:
        """Yield a document a demonstration."""
        return (self._document(row) for row in self.demonstrations(split))

    def demonstrations(self, split: Split) -> list[Row]:
        """Return rows with ``prompt`` and the right ``response``."""
        return [{**row, "response": row["answer"]} for row in self.prompts(split)]

    def prompts(self, split: Split) -> list[Row]:
        """Return rows with ``prompt`` and its ``answer``."""
        first, end = (round(share * len(self._words)) for share in _SHARES[split])
        return [{"prompt": word, "answer": word} for word in self._words[first:end]]

    def metrics(self, episode: rltk.Episode) -> dict[str, float]:
        """Return the truth: a utility of 1 for the right word, else 0."""
        return {"utility": float(episode.response == episode.columns["answer"])}

    def _truth(self, episodes: Sequence[rltk.Episode]) -> list[float]:
        return [self.metrics(episode)["utility"] for episode in episodes]

    def _document(self, row: Row) -> str:
        return f"{self.format_prompt(row['prompt'])}{row['response']}"

    @cached_property
    def _words(self) -> list[str]:
        """All words there are, in an order that the seed decides."""
        letters = sorted(set(self.config.alphabet))
        words = ["".join(word) for word in product(letters, repeat=self.config.letters)]
        return [words[i] for i in numpy_generator(self.seed, self.name).permutation(len(words))]


@rltk.hookimpl
def rltk_environments() -> list[type[rltk.Environment]]:
    """Provide ``template-name``."""
    return [TemplateNameEnvironment]
