"""Rows that stages learn from: demonstrations, prompts and rankings, checked column by column."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rltk.errors import UserError, suggestion
from rltk.sources import HUB_PREFIX, located_rows, read_documents, read_jsonl, shorten

if TYPE_CHECKING:
    from rltk.interfaces import Row

__all__ = [
    "HUB_PREFIX",
    "assigned_split",
    "competition_ranks",
    "read_demonstrations",
    "read_documents",
    "read_jsonl",
    "read_prompts",
    "read_rankings",
    "read_texts",
]

_SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation"}
_SPLITS |= {"dev": "validation", "test": "test"}
_NO_RENAMING: Mapping[str, str] = {}


def read_demonstrations(source: str | Path, columns: Mapping[str, str] = _NO_RENAMING) -> list[Row]:
    """Return rows with ``prompt`` and ``response`` and whatever further columns they have.

    :param source: path of a JSONL file, plain or gzipped, or ``hf:DATASET_ID``.
    :param columns: what the source calls a column, keyed by its name here, as ``{"prompt": "question"}``.
    :raises UserError: naming the file and line of a row that lacks a column or has one of the wrong type.
    """
    return [
        row | {column: _text(row, column, where) for column in ("prompt", "response")}
        for where, row in _rows(source, columns)
    ]


def read_prompts(source: str | Path, columns: Mapping[str, str] = _NO_RENAMING) -> list[Row]:
    """Return rows with ``prompt`` and further columns; else as :func:`read_demonstrations`."""
    return [row | {"prompt": _text(row, "prompt", where)} for where, row in _rows(source, columns)]


def read_texts(source: str | Path, columns: Mapping[str, str] = _NO_RENAMING) -> Iterator[str]:
    """Yield the column ``text`` of every row; else as :func:`read_demonstrations`."""
    for where, row in _rows(source, columns):
        yield _text(row, "text", where)


def read_rankings(source: str | Path, columns: Mapping[str, str] = _NO_RENAMING) -> list[Row]:
    """Return rows with ``prompt``, ``responses`` (K texts) and ``ranks`` (K integers: 1 best, equal = tie).

    Two forms of row are read, also mixed: comparisons with ``prompt``, ``chosen`` and ``rejected``, and
    rankings with ``prompt``, ``responses`` and ``ranks`` (numbers, 1 best) or ``ranking`` (indices from 0,
    best first). Responses of one row with the same text are tied at their mean rank.

    :raises UserError: as :func:`read_demonstrations`; the ranking is shorter or longer than the responses,
        repeats an index, holds something that is no number, or ranks fewer than two responses.
    """
    return [_ranking(row, where) for where, row in _rows(source, columns)]


def competition_ranks(values: Sequence[float]) -> list[int]:
    """Return ranks for values of which the smallest is best: 1 + the number of smaller values ("1224")."""
    return [1 + sum(other < value for other in values) for value in values]


def assigned_split(row: Row, validation_share: float) -> str:
    """Return the split a row is in: its column ``split``, or one drawn by the hash of its prompt.

    The draw depends on the prompt alone, so no prompt stands in two splits, of one file or of several.
    """
    if row.get("split"):
        return str(row["split"])
    digest = hashlib.sha256(str(row["prompt"]).strip().encode()).digest()
    return "validation" if int.from_bytes(digest[:8], "big") < validation_share * 2.0**64 else "train"


def _rows(source: str | Path, columns: Mapping[str, str]) -> Iterator[tuple[str, Row]]:
    for where, row in located_rows(str(source)):
        renamed = {**row, **{name: row[theirs] for name, theirs in columns.items() if theirs in row}}
        if renamed.get("split") is not None:
            renamed["split"] = _split(renamed["split"], where)
        yield where, renamed


def _split(value: Any, where: str) -> str:
    if value in ("", *_SPLITS):
        return _SPLITS.get(value, "")
    known = ", ".join(dict.fromkeys(_SPLITS.values()))
    fix = f"write one of {known}, or choose one split with {HUB_PREFIX}ID#SPLIT"
    raise UserError(where, "column 'split' names no known split", got=shorten(value), fix=fix)


def _text(row: Row, column: str, where: str) -> str:
    return _check_text(_value(row, column, where), f"column {column!r}", where)


def _value(row: Row, column: str, where: str) -> Any:
    if column in row:
        return row[column]
    fix = f"add it, or say in environment.columns which column it is ({suggestion(column, row)})"
    raise UserError(where, f"column {column!r} is missing", fix=fix)


def _check_text(value: Any, what: str, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(where, f"{what} must be text", got=shorten(value), fix="write it as a JSON string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        bad = value[error.start : error.start + 1]
        fix = "remove it: it is half of a character that was cut in two"
        raise UserError(where, f"{what} has an unpaired surrogate", got=bad, fix=fix) from None
    return value


def _ranking(row: Row, where: str) -> Row:
    others = {name: value for name, value in row.items() if name not in _RANKING_COLUMNS}
    prompt = _text(row, "prompt", where)
    if "responses" not in row and ("chosen" in row or "rejected" in row):
        responses, ranks = [_text(row, "chosen", where), _text(row, "rejected", where)], [1.0, 2.0]
    else:
        responses = _responses(row, where)
        ranks = _ranks(row, len(responses), where)
    return others | {"prompt": prompt, "responses": responses, "ranks": _tie_duplicates(responses, ranks)}


_RANKING_COLUMNS = frozenset(["chosen", "rejected", "responses", "ranks", "ranking"])


def _responses(row: Row, where: str) -> list[str]:
    responses = _value(row, "responses", where)
    if not isinstance(responses, list):
        what = "column 'responses' must be a list of texts"
        raise UserError(where, what, got=shorten(responses), fix="correct the row")
    if len(responses) < 2:
        fix = "drop the row or add responses"
        raise UserError(where, "a ranking needs at least 2 responses", got=len(responses), fix=fix)
    return [_check_text(text, f"response {index}", where) for index, text in enumerate(responses)]


def _ranks(row: Row, count: int, where: str) -> list[float]:
    if "ranks" not in row and "ranking" not in row:
        fix = "add 'ranks' (1 = best, equal = tie) or 'ranking' (indices from 0, best first)"
        raise UserError(where, "column 'ranks' or 'ranking' is missing", fix=fix)
    from_ranking = _positions(_numbers(row, "ranking", count, where), where) if "ranking" in row else None
    ranks = _numbers(row, "ranks", count, where) if "ranks" in row else from_ranking
    assert ranks is not None
    if from_ranking and any(a < b for a, b in _by_position(ranks, from_ranking)):
        fix = "correct one of them, or drop 'ranking'"
        raise UserError(where, "columns 'ranks' and 'ranking' contradict each other", fix=fix)
    return ranks


def _by_position(ranks: Sequence[float], positions: Sequence[float]) -> Iterable[tuple[float, float]]:
    """Return (rank of the next, rank of this) for neighbours in the order that ``positions`` gives."""
    ordered = [rank for _, rank in sorted(zip(positions, ranks, strict=True))]
    return zip(ordered[1:], ordered, strict=False)


def _numbers(row: Row, column: str, count: int, where: str) -> list[float]:
    values = row[column]
    if not isinstance(values, list):
        what = f"column {column!r} must be a list of numbers"
        raise UserError(where, what, got=shorten(values), fix="correct the row")
    if len(values) != count:
        what = f"column {column!r} has {len(values)} entries for {count} responses"
        raise UserError(where, what, fix="give every response exactly one")
    for value in values:
        # The bounds refuse NaN, infinities and integers too large for a float in one comparison.
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1e9 < value < 1e9:
            what = f"column {column!r} must hold numbers"
            raise UserError(where, what, got=shorten(value), fix="correct the row")
    return values


def _positions(ranking: list[float], where: str) -> list[float]:
    """Turn indices, best first, into the position (from 1) of each response."""
    if sorted(ranking) != list(range(len(ranking))):
        what = "column 'ranking' must name every response once, by its index from 0"
        raise UserError(where, what, got=shorten(ranking), fix="correct the row")
    return [1.0 + ranking.index(index) for index in range(len(ranking))]


def _tie_duplicates(responses: Sequence[str], ranks: Sequence[float]) -> list[int]:
    """Return competition ranks in which equal texts, having one reward, share their mean rank."""
    shared: dict[str, list[float]] = {}
    for text, rank in zip(responses, ranks, strict=True):
        shared.setdefault(text, []).append(rank)
    return competition_ranks([sum(shared[text]) / len(shared[text]) for text in responses])
