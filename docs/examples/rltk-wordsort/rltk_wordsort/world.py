"""The environment: a few words to put into alphabetical order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
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
WORDS = tuple("ape bat cow dog eel fox gnu hen ibis jay koi lynx mole newt owl pig".split())


class WordSort(rltk.Environment):
    """Shows words and expects the same words in alphabetical order.

    The splits draw from the same words with seeds of their own; a combination that one split shows is in no
    other.
    """

    name = "wordsort"

    class Config(rltk.ComponentConfig):
        """Options: ``environment: {name: wordsort, length: 4}``."""

        words: int = Field(10, ge=4, le=len(WORDS), description="Words there are.")
        length: int = Field(3, ge=2, le=6, description="Words to sort in one prompt.")
        prompts: dict[Split, int] = Field(
            {"train": 400, "validation": 50, "test": 50}, description="How many prompts each split draws."
        )

    config: Config

    def make_vec(self, num_envs: int, *, split: Split = "train", **options: Any) -> VectorEnv:
        """Return the text environment over the prompts of ``split``."""
        options.setdefault("max_new_tokens", self.config.length + 2)
        options.setdefault("template", self.format_prompt("{prompt}"))
        if options.get("prompts") is None:
            options["prompts"] = self.prompts(split)
        if options.get("tokenizer") is None:
            options["tokenizer"] = self.build_tokenizer()
        return gym.make_vec("rltk_envs:rltk/TextGeneration-v0", num_envs=num_envs, **options)

    def build_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return a tokenizer with one token per word."""
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        vocabulary = ["<pad>", "<eos>", "<unk>", "sort", ":", *WORDS]
        model = models.WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token="<unk>")
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
        )

    def format_prompt(self, prompt: str) -> str:
        """Return what the policy reads for a prompt."""
        return f"sort {prompt} :"

    def corpus(self, split: Split) -> Iterator[str]:
        """Yield a document a demonstration."""
        for row in self.demonstrations(split):
            yield f"{self.format_prompt(row['prompt'])} {row['response']}"

    def demonstrations(self, split: Split) -> list[Row]:
        """Return rows with ``prompt`` and the right ``response``."""
        return [{**row, "response": _sorted(row["prompt"])} for row in self.prompts(split)]

    def prompts(self, split: Split) -> list[Row]:
        """Return rows with ``prompt``, drawn from the combinations that belong to the split."""
        generator = numpy_generator(self.seed, self.name, split)
        words, length = WORDS[: self.config.words], self.config.length
        rows: list[Row] = []
        while len(rows) < self.config.prompts.get(split, 0):
            chosen = [words[i] for i in generator.integers(len(words), size=length)]
            if _split_of(chosen) == split:
                rows.append({"prompt": " ".join(chosen)})
        return rows

    def metrics(self, episode: rltk.Episode) -> dict[str, float]:
        """Return the utility, 1 for the right answer, and whether all words were kept, in any order."""
        given, answered = episode.prompt.split(), episode.response.split()
        kept = Counter(given) == Counter(answered)
        return {"utility": float(answered == sorted(given)), "kept_words": float(kept)}


def _sorted(prompt: str) -> str:
    return " ".join(sorted(prompt.split()))


def _split_of(words: list[str]) -> Split:
    """Return the split that a combination belongs to, whatever the order of its words."""
    place = sum(WORDS.index(word) ** 2 for word in words) % 10
    return "train" if place < 8 else "validation" if place == 8 else "test"


@rltk.hookimpl
def rltk_environments() -> list[type[rltk.Environment]]:
    """Provide ``wordsort``."""
    return [WordSort]
