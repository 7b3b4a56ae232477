"""The environment of a user's own text: prompts, demonstrations, comparisons and a corpus from files.

It has no truth to measure and no labelers to ask: rewards come from a reward model trained on stored
comparisons.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt, field_validator

from rltk.data import (
    HUB_PREFIX,
    assigned_split,
    read_demonstrations,
    read_documents,
    read_prompts,
    read_rankings,
    read_texts,
)
from rltk.errors import UserError
from rltk.hookspecs import hookimpl
from rltk.interfaces import ComponentConfig, Environment, Row, Split
from rltk.rng import numpy_generator
from rltk_envs.prompt_limits import OnLongPrompt, limit_prompts
from rltk_envs.tiny_files import write_tiny_files

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv
    from transformers import PreTrainedTokenizerBase

Sources = str | list[str]
logger = logging.getLogger(__name__)

_READERS = {"demonstrations": read_demonstrations, "comparisons": read_rankings, "prompts": read_prompts}
_COLUMNS = {
    "corpus": "plain text, or JSONL with text",
    "demonstrations": "JSONL with prompt and response",
    "comparisons": "JSONL with prompt, chosen and rejected, or prompt, responses and ranks",
    "prompts": "JSONL with prompt; the demonstrations' file will do",
}
_JSONL_NAME = re.compile(r"\.jsonl?(\.gz)?$")


class Files(Environment):
    """Text from JSONL files and plain corpora, gzipped or not, or from Hugging Face datasets.

    Rows are in the split that their column ``split`` names (train, validation, test), or in one drawn by the
    hash of their prompt. Where no row is marked test, the validation rows stand in for the test rows. Rows
    with an empty prompt or response are left out; the log says how many, once.
    """

    name: ClassVar[str] = "files"

    class Config(ComponentConfig):
        """Every source is a path (relative ones from the working directory), ``hf:DATASET_ID``, or a list.

        An empty path asks for a value: it is an error at the start of a run, before any work.
        """

        corpus: Sources | None = Field(
            None, examples=["corpus.txt"], description="Pretraining documents: text, or JSONL with text."
        )
        corpus_validation: Sources | None = Field(
            None, description="Held-out documents; null sets some of the corpus aside."
        )
        corpus_separator: str = Field(
            "<|endoftext|>", min_length=1, description="What stands between two documents of a text file."
        )
        demonstrations: Sources | None = Field(
            None, examples=["demonstrations.jsonl"], description="Rows with prompt and response."
        )
        comparisons: Sources | None = Field(
            None,
            examples=["comparisons.jsonl"],
            description="Rows with prompt, chosen, rejected; or prompt, responses and ranks (1 best) or "
            "ranking (indices, best first).",
        )
        prompts: Sources | None = Field(
            None, examples=["demonstrations.jsonl"], description="Rows with prompt, to train and evaluate on."
        )
        columns: dict[str, str] = Field(
            {}, description="What the sources call a column, as {prompt: question, response: answer}."
        )
        validation_share: float = Field(
            0.05, gt=0, lt=1, description="Share of unmarked rows and documents set aside for validation."
        )
        limits: dict[Split, PositiveInt] = Field(
            {},
            description="Most rows of a split, drawn at random before long prompts are dealt with: "
            "{train: 2000, validation: 200}.",
        )
        template: str = Field("{prompt}\n\n", description="What the model reads; {prompt} is the prompt.")
        max_prompt_tokens: int | None = Field(
            None, gt=0, description="Longest prompt in tokens, template included; null does not check."
        )
        on_long_prompt: OnLongPrompt = Field(
            "error", description="What becomes of a longer prompt; truncate_left keeps its end."
        )
        max_new_tokens: int = Field(64, gt=0, description="Longest response in tokens.")
        tokenizer: str | None = Field(
            None,
            description="Folder or hub id of a tokenizer; null trains a byte-level BPE on the corpus or, "
            "without one, on prompts and demonstrations.",
        )
        vocab_size: int = Field(8192, ge=258, description="Tokens of the trained BPE.")
        tokenizer_characters: int = Field(
            10_000_000, gt=0, description="How much of the corpus the BPE is trained on."
        )

        @field_validator("template")
        @classmethod
        def _has_place(cls, template: str) -> str:
            if "{prompt}" not in template:
                raise ValueError("it must hold {prompt}")
            return template

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Return options for small files of every sort, which are written into ``directory``."""
        return write_tiny_files(directory)

    def __init__(self, config: Config, *, seed: int) -> None:
        super().__init__(config, seed=seed)
        self._read: dict[str, list[Row]] = {}
        self._selected: dict[tuple[str, str], list[Row]] = {}
        self._check_sources()

    def make_vec(self, num_envs: int, *, split: Split = "train", **options: Any) -> VectorEnv:
        """Return the text environment over the prompts of ``split`` (see the base class for the options)."""
        from rltk_envs.text_generation import TextGenerationVectorEnv

        options.setdefault("max_new_tokens", self.config.max_new_tokens)
        options.setdefault("template", self.config.template)
        if options.get("prompts") is None:
            options["prompts"] = self.prompts(split)
        if options.get("tokenizer") is None:
            options["tokenizer"] = self.build_tokenizer()
        return TextGenerationVectorEnv(num_envs, **options)

    def build_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the configured tokenizer, or a byte-level BPE trained on the corpus, the same every time."""
        return self._tokenizer

    def format_prompt(self, prompt: str) -> str:
        """Return the prompt in the configured template."""
        return str(self.config.template).replace("{prompt}", prompt)

    def few_shot_prefix(self, demonstrations: Sequence[Row]) -> str:
        """Return demonstrations in the template, an empty line after each."""
        return "".join(f"{self.format_prompt(row['prompt'])}{row['response']}\n\n" for row in demonstrations)

    def corpus(self, split: Split) -> Iterator[str]:
        """Yield documents in stored order, reading the files no further than it is asked to."""
        if split == "train" or self.config.corpus_validation is None:
            documents, marked = self._documents("corpus"), self.config.corpus_validation is not None
        else:
            documents, marked = self._documents("corpus_validation"), True
        wanted = "train" if split == "train" else "validation"
        empty = True
        for document in documents:
            if marked or assigned_split({"prompt": document}, self.config.validation_share) == wanted:
                empty = False
                yield document
        if empty:
            raise self._no_rows(
                "corpus", split, "set environment.corpus_validation, or raise validation_share"
            )

    def demonstrations(self, split: Split) -> list[Row]:
        """Return rows with ``prompt`` and ``response``."""
        return self._rows("demonstrations", split)

    def prompts(self, split: Split) -> list[Row]:
        """Return rows with ``prompt``."""
        return self._rows("prompts", split)

    def comparisons(self, split: Split) -> list[Row]:
        """Return rows with ``prompt``, ``responses`` and ``ranks``; comparisons are rankings of two."""
        return self._rows("comparisons", split)

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        from rltk.byte_level_bpe import train_byte_level_bpe
        from rltk.models import load_tokenizer

        where = "environment.tokenizer"
        if self.config.tokenizer is None:
            return train_byte_level_bpe(
                self._tokenizer_texts(),
                vocab_size=self.config.vocab_size,
                max_characters=self.config.tokenizer_characters,
                where=where,
            )
        # Whoever trains with it checks its special tokens, and may first add a pad token.
        return load_tokenizer(self.config.tokenizer, where)

    def _tokenizer_texts(self) -> Iterator[str]:
        """Yield the corpus or, where there is none, all prompts and demonstrations."""
        given = [kind for kind in ("demonstrations", "prompts") if getattr(self.config, kind) is not None]
        if self.config.corpus is not None or not given:
            yield from self.corpus("train")
            return
        for row in (row for kind in given for row in self._read_rows(kind)):
            yield self.format_prompt(row["prompt"]) + row.get("response", "")

    def _sources(self, kind: str) -> list[str]:
        sources = getattr(self.config, kind)
        if sources is None:
            fix = f"set environment.{kind}=PATH ({_COLUMNS[kind]})"
            raise UserError(f"environment.{kind}", "no file is given", fix=fix)
        return [sources] if isinstance(sources, str) else list(sources)

    def _check_sources(self) -> None:
        """Find what is missing now and not after hours of an earlier stage."""
        given = [kind for kind in (*_COLUMNS, "corpus_validation") if getattr(self.config, kind) is not None]
        unset = [kind for kind in given if not all(self._sources(kind))]
        if unset:
            fix = "; ".join(f"set environment.{kind}=PATH ({_COLUMNS.get(kind, 'text')})" for kind in unset)
            raise UserError("environment", f"no file is given for {', '.join(unset)}", fix=fix)
        for kind in given:
            for source in self._sources(kind):
                check_source(source, f"environment.{kind}")

    def _documents(self, kind: str) -> Iterator[str]:
        for source in self._sources(kind):
            if source.startswith(HUB_PREFIX) or _JSONL_NAME.search(source):
                yield from read_texts(source, self.config.columns)
            else:
                yield from read_documents(source, self.config.corpus_separator)

    def _rows(self, kind: str, split: Split) -> list[Row]:
        if kind not in self._read:
            self._read[kind] = self._read_rows(kind)
        splits = [assigned_split(row, self.config.validation_share) for row in self._read[kind]]
        wanted: Split = "validation" if split == "test" and "test" not in splits else split
        if (kind, wanted) not in self._selected:
            rows = [row for row, its in zip(self._read[kind], splits, strict=True) if its == wanted]
            self._selected[kind, wanted] = self._select(kind, wanted, rows)
        return list(self._selected[kind, wanted])

    def _select(self, kind: str, wanted: Split, rows: list[Row]) -> list[Row]:
        limit = self.config.limits.get(wanted, len(rows))
        if limit < len(rows):
            chosen = numpy_generator(self.seed, "limits", kind, wanted).choice(
                len(rows), limit, replace=False
            )
            rows = [rows[index] for index in sorted(chosen.tolist())]
        rows = self._limit_prompts(kind, wanted, rows)
        if not rows:
            raise self._no_rows(kind, wanted, f"mark some with split: {wanted}, or change validation_share")
        return rows

    def _read_rows(self, kind: str) -> list[Row]:
        sources = self._sources(kind)
        rows = [row for source in sources for row in _READERS[kind](source, self.config.columns)]
        kept = [row for row in rows if not _has_empty_text(row)]
        if len(kept) < len(rows):
            self._report(kind, "left out", len(rows) - len(kept), len(rows), "an empty prompt or response")
        differing = [row for row in kept if len(set(row.get("responses", "ab"))) > 1]
        if len(differing) < len(kept):
            self._report(
                kind, "left out", len(kept) - len(differing), len(rows), "responses that are all equal"
            )
        return differing

    def _limit_prompts(self, kind: str, split: str, rows: list[Row]) -> list[Row]:
        limit, on_long = self.config.max_prompt_tokens, self.config.on_long_prompt
        if limit is None:
            return rows
        kept, too_long = limit_prompts(
            rows,
            self.build_tokenizer(),
            self.format_prompt,
            max_tokens=limit,
            on_long=on_long,
            where=f"environment.{kind}",
        )
        if too_long:
            done = "left out" if on_long == "drop" else "cut from the left"
            self._report(
                f"{kind} ({split})", done, too_long, len(rows), f"a prompt of more than {limit} tokens"
            )
        return kept

    def _report(self, kind: str, done: str, count: int, total: int, why: str) -> None:
        logger.warning("environment.%s: %s %d of %d rows with %s", kind, done, count, total, why)

    def _no_rows(self, kind: str, split: str, fix: str) -> UserError:
        return UserError(f"environment.{kind}", f"nothing is left for the {split} split", fix=fix)


def check_source(source: str, where: str) -> None:
    """Look whether a source can be read.

    :param where: the key path to blame.
    :raises UserError: the file is not there, or the package ``datasets`` is missing.
    """
    if not source.startswith(HUB_PREFIX):
        if not Path(source).is_file():
            raise UserError(where, "there is no such file", got=source, fix="check the path")
    elif importlib.util.find_spec("datasets") is None:
        what = "the optional package `datasets` is not installed"
        raise UserError(where, what, got=source, fix="pip install 'rltk[datasets]'")


def _has_empty_text(row: Row) -> bool:
    texts = [row["prompt"], *row.get("responses", [row.get("response", row["prompt"])])]
    return not all(text.strip() for text in texts)


@hookimpl
def rltk_environments() -> list[type[Environment]]:
    """Offer the environment of files."""
    return [Files]
