"""A text environment of a few words with material of every sort, for stages that bring no recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym
import numpy as np

from rltk.episode import Episode
from rltk.interfaces import Environment, Row, Split
from rltk.testing.worlds import word_tokenizer

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv
    from transformers import PreTrainedTokenizerBase

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_PROMPTS = 9


class LikesBrevity:
    """Ranks short responses first; may not notice a difference of one letter."""

    def __init__(self, name: str) -> None:
        self.name = name

    def rank(self, episodes: Sequence[Episode], generator: np.random.Generator) -> list[int]:
        """Return 1 for the shortest, the same for those that look as short."""
        step = int(generator.integers(1, 3))
        lengths = [len(episode.response) // step for episode in episodes]
        return [1 + sum(other < length for other in lengths) for length in lengths]


class TinyText(Environment):
    """Words to say again."""

    name = "tiny_text"

    def make_vec(self, num_envs: int, *, split: Split = "train", **options: Any) -> VectorEnv:
        """Return ``rltk/TextGeneration-v0`` over the prompts of ``split``."""
        given = {"prompts": self.prompts(split), "tokenizer": self.build_tokenizer(), "max_new_tokens": 5}
        given |= {"template": self.format_prompt("{prompt}"), **options}
        return gym.make_vec("rltk/TextGeneration-v0", num_envs, **given)

    def build_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return a tokenizer of 32 words."""
        return word_tokenizer()

    def format_prompt(self, prompt: str) -> str:
        """Return the prompt and the word that asks for an answer."""
        return f"{prompt} w28"

    def few_shot_prefix(self, demonstrations: Sequence[Row]) -> str:
        """Return the demonstrations, one after the other."""
        return "".join(f"{self.format_prompt(row['prompt'])} {row['response']} " for row in demonstrations)

    def prompts(self, split: Split) -> list[Row]:
        """Return nine prompts of one or two words, with a column ``number``."""
        first = _PROMPTS * _SPLITS.index(split)
        numbers = range(first, first + _PROMPTS)
        return [{"prompt": f"w{i} w{i}" if i % 2 else f"w{i}", "number": i} for i in numbers]

    def demonstrations(self, split: Split) -> list[Row]:
        """Return the prompts, said again."""
        return [{**row, "response": row["prompt"]} for row in self.prompts(split)]

    def comparisons(self, split: Split) -> list[Row]:
        """Return a good response and two that are as bad as each other, for every prompt."""
        rows = self.prompts(split)
        return [{**row, "responses": [row["prompt"], "w1", "w2"], "ranks": [1, 2, 2]} for row in rows]

    def corpus(self, split: Split) -> Iterator[str]:
        """Yield a document a demonstration."""
        for row in self.demonstrations(split):
            yield f"{self.format_prompt(row['prompt'])} {row['response']}"

    def labelers(self, group: Literal["train", "heldout"]) -> Sequence[LikesBrevity]:
        """Return two labelers to learn from, or one to evaluate with."""
        return [LikesBrevity(name) for name in (("ann", "bob") if group == "train" else ("cho",))]

    def metrics(self, episode: Episode) -> dict[str, float]:
        """Return whether the response is the prompt."""
        return {"utility": float(episode.response == episode.prompt)}
