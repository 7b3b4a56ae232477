"""Files as the ``files`` environment reads them, as small as they can be: for checks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_ANIMALS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen")
_SPLITS = ("train", "train", "train", "train", "validation", "validation", "test", "test")


def write_tiny_files(directory: Path) -> dict[str, Any]:
    """Write a corpus, demonstrations and comparisons into a folder; return the options that name them."""
    rows = [
        {
            "prompt": f"What does the {animal} say?",
            "split": split,
            "response": f"The {animal} says nothing today.",
            "chosen": f"The {animal} says good morning.",
            "rejected": f"Ask the {animal}.",
        }
        for animal, split in zip(_ANIMALS, _SPLITS, strict=True)
    ]
    documents = ({"text": f"{row['prompt']}\n\n{row['response']} {row['chosen']}"} for row in rows * 10)
    return {
        "corpus": _write(directory / "corpus.jsonl", documents),
        "corpus_validation": _write(directory / "corpus-validation.jsonl", [{"text": "The owl says hoo."}]),
        "demonstrations": _write(directory / "demonstrations.jsonl", _columns(rows, "response")),
        "comparisons": _write(directory / "comparisons.jsonl", _columns(rows, "chosen", "rejected")),
        "prompts": _write(directory / "prompts.jsonl", _columns(rows)),
        "vocab_size": 300,
        "max_new_tokens": 8,
    }


def _columns(rows: Iterable[Mapping[str, str]], *names: str) -> list[dict[str, str]]:
    return [{name: row[name] for name in ("prompt", "split", *names)} for row in rows]


def _write(path: Path, rows: Iterable[Mapping[str, str]]) -> str:
    lines = (json.dumps(row) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)
