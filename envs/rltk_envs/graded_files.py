"""What environments have in common whose prompts are in a file and whose truth can be computed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from rltk.data import assigned_split
from rltk.episode import Episode
from rltk.errors import UserError
from rltk.interfaces import Labeler, Row, Split
from rltk_envs.files import Files, Sources, check_source
from rltk_envs.suite.labelers import HELDOUT, TRAIN, GoldLabeler

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv


class GradedFile(Files):
    """Prompts and demonstrations from one file, and a gold score that is also the default reward.

    The tokenizer, unless one is named, is trained on the training rows. Where every row is marked train, the
    hash of the prompt sets some aside. Everything else is as in :class:`~rltk_envs.files.Files`.
    """

    class Config(Files.Config):
        """Where the rows are, and the options of ``files``."""

        path: Sources = Field(description="The file of rows, gzipped or not; or several of them.")
        vocab_size: int = Field(1024, ge=258, description="Tokens of the trained BPE.")

    config: Config
    #: What such files call the columns ``prompt`` and ``response``; ``columns`` may say otherwise.
    own_columns: ClassVar[Mapping[str, str]]

    def __init__(self, config: Config, *, seed: int) -> None:
        super().__init__(config, seed=seed)
        if not all(self._sources("path")):
            fix = f"set environment.path=FILE (JSONL with {' and '.join(self.own_columns.values())})"
            raise UserError("environment.path", "no file is given", fix=fix)
        for source in self._sources("path"):
            check_source(source, "environment.path")

    @abstractmethod
    def read(self, source: str, columns: Mapping[str, str]) -> Iterator[Row]:
        """Yield the rows of a file as demonstrations, with ``prompt``, ``response`` and what grading needs.

        :param columns: what the file calls a column.
        :raises UserError: a row cannot be graded.
        """

    @abstractmethod
    def gold(self, episode: Episode) -> float:
        """Return what a response is worth, in [0, 1]."""

    def make_vec(self, num_envs: int, *, split: Split = "train", **options: Any) -> VectorEnv:
        """Return the text environment over the prompts of ``split``; its own reward is the gold score."""
        options.setdefault("reward", lambda episodes: [self.gold(episode) for episode in episodes])
        return super().make_vec(num_envs, split=split, **options)

    def metrics(self, episode: Episode) -> dict[str, float]:
        """Return ``utility``, the gold score."""
        return {"utility": self.gold(episode)}

    def labelers(self, group: Literal["train", "heldout"]) -> Sequence[Labeler]:
        """Return four labelers to learn from, or two others to evaluate with; they see the gold score."""
        return [GoldLabeler(name, self.gold) for name in (TRAIN if group == "train" else HELDOUT)]

    def corpus(self, split: Split) -> Iterator[str]:
        """Yield the configured corpus or, where there is none, the demonstrations as they are read."""
        if self.config.corpus is not None:
            yield from super().corpus(split)
            return
        for row in self.split_rows("train" if split == "train" else "validation"):
            yield self.format_prompt(row["prompt"]) + row["response"]

    def split_rows(self, split: str) -> Iterator[Row]:
        """Yield the rows of the file that are in a split."""
        for row in self._graded:
            if assigned_split(row, self.config.validation_share) == split:
                yield row

    def _read_rows(self, kind: str) -> list[Row]:
        elsewhere = kind == "comparisons" or getattr(self.config, kind) is not None
        return super()._read_rows(kind) if elsewhere else self._graded

    @cached_property
    def _graded(self) -> list[Row]:
        columns = {**self.own_columns, **self.config.columns}
        rows = [row for source in self._sources("path") for row in self.read(source, columns)]
        if all(row.get("split") == "train" for row in rows):  # half of a data set: some is set aside here
            rows = [{**row, "split": ""} for row in rows]
        return rows
