"""Real reviews from a file: go on from the first words of one, and praise."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import Field

from rltk.data import read_prompts
from rltk.episode import Episode
from rltk.errors import UserError
from rltk.hookspecs import hookimpl
from rltk.interfaces import Environment, Row
from rltk.sources import shorten
from rltk_envs.graded_files import GradedFile

#: Training reviews that a word must be in to have a weight.
_FEWEST_REVIEWS = 5


class Reviews(GradedFile):
    """Go on from the opening of a review so that the whole is praise in the language of the reviews.

    Rows have ``text``, ``label`` (1: praise, 0: blame) and, if they like, ``split``. The score is the product
    of three numbers in [0, 1], all learnt from the training rows: how sure naive Bayes is of praise, by the
    words of the response; the share of its steps from word to word that some review takes; and the share of
    its words that are not repeated. What people wrote is the demonstrations, praise and blame alike.
    """

    name = "reviews"
    own_columns = {"prompt": "text"}

    class Config(GradedFile.Config):
        """Options of reviews."""

        opening_words: int = Field(6, gt=0, description="Words of a review that make the prompt.")
        continuation_words: int = Field(20, gt=0, description="Words of it that follow in a demonstration.")
        max_new_tokens: int = Field(32, gt=0, description="Longest response in tokens.")
        template: str = Field("{prompt}", description="What the model reads; {prompt} is the opening.")

    config: Config

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Write a file of reviews into a folder and return the options that name it."""
        path = directory / "reviews.jsonl"
        words = (("good", 1), ("dull", 0), ("great", 1), ("weak", 0))
        splits = ("train", "validation", "test", "train", "train")
        rows = [
            {"text": f"film {number} was {word} and I say so", "label": label, "split": split}
            for number, split in enumerate(splits)
            for word, label in words
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        sizes = {"opening_words": 4, "max_new_tokens": 8, "vocab_size": 300}
        return {"path": str(path), **sizes}

    def read(self, source: str, columns: Mapping[str, str]) -> Iterator[Row]:
        """Yield the reviews that are longer than an opening, cut in two.

        :raises UserError: a label is neither 0 nor 1.
        """
        opening, most = self.config.opening_words, self.config.continuation_words
        for number, row in enumerate(read_prompts(source, columns), start=1):
            if row.get("label") not in (0, 1):
                got = shorten(row.get("label"))
                fix = "write 1 for praise and 0 for blame"
                raise UserError(f"{source}, row {number}", "its label is neither 0 nor 1", got=got, fix=fix)
            words = row["prompt"].split()
            if len(words) > opening:
                said = " ".join(words[opening : opening + most])
                kept = {name: value for name, value in row.items() if name != "text"}
                yield {**kept, "prompt": " ".join(words[:opening]), "response": f" {said}"}

    def gold(self, episode: Episode) -> float:
        """Return praise times familiarity times variety."""
        return math.prod(self._shares(episode))

    def metrics(self, episode: Episode) -> dict[str, float]:
        """Return ``utility`` and what it is made of: ``praising``, ``familiar`` and ``varied``."""
        praising, familiar, varied = self._shares(episode)
        return {**super().metrics(episode), "praising": praising, "familiar": familiar, "varied": varied}

    @cached_property
    def weights(self) -> dict[str, float]:
        """The log odds of praise of each word in enough of the training continuations, add-one smoothed."""
        blame, praise = Counter[str](), Counter[str]()
        sizes = Counter[int]()
        for row in self.split_rows("train"):
            (praise if row["label"] else blame).update(set(row["response"].lower().split()))
            sizes[row["label"]] += 1
        ratio = (sizes[0] + 2) / (sizes[1] + 2)
        return {
            word: math.log(ratio * (praise[word] + 1) / (blame[word] + 1))
            for word, count in (praise + blame).items()
            if count >= _FEWEST_REVIEWS
        }

    @cached_property
    def steps(self) -> frozenset[tuple[str, str]]:
        """The pairs of words that follow each other in training reviews, as far as demonstrations go."""
        return frozenset(
            step
            for row in self.split_rows("train")
            for step in pairwise(f"{row['prompt']}{row['response']}".lower().split())
        )

    def _shares(self, episode: Episode) -> tuple[float, float, float]:
        words = episode.response.lower().split()
        if not words:
            return 0.0, 0.0, 0.0
        odds = sum(self.weights.get(word, 0.0) for word in set(words))
        taken = list(pairwise([*episode.prompt.lower().split()[-1:], *words]))
        familiar = sum(step in self.steps for step in taken) / len(taken)
        return 1 / (1 + math.exp(-odds)), familiar, len(set(words)) / len(words)


@hookimpl
def rltk_environments() -> list[type[Environment]]:
    """Provide the environment."""
    return [Reviews]
