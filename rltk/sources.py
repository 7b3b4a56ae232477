"""Where rows and documents come from: JSONL, plain text, either gzipped, or a Hugging Face dataset.

Every mistake in a file becomes one line that names the file and the line, and where a character is at
fault the column. Lines and columns count from 1; columns count characters, not bytes.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rltk.errors import UserError

if TYPE_CHECKING:
    from rltk.interfaces import Row

#: What a source that is a Hugging Face dataset id begins with: ``hf:ID`` or ``hf:ID#SPLIT``.
HUB_PREFIX = "hf:"
_GZIP_MAGIC = b"\x1f\x8b"
_STRING_OR_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|(-?(?:NaN|Infinity))')
_SHOWN_CHARACTERS = 40


def read_jsonl(path: str | Path) -> list[Row]:
    """Return the objects of a JSONL file, plain or gzipped; blank lines are passed over.

    :raises UserError: the file is missing, unreadable or empty, or a line is not UTF-8, no JSON or no object.
    """
    return [row for _, row in located_rows(str(path))]


def located_rows(source: str) -> Iterator[tuple[str, Row]]:
    """Yield every row of a JSONL file or of a dataset (``hf:ID``) with where it stands, as ``file:line``.

    :raises UserError: as :func:`read_jsonl`; the optional package ``datasets`` is missing; no such dataset.
    """
    empty = True
    for located in _hub_rows(source) if source.startswith(HUB_PREFIX) else _file_rows(Path(source)):
        empty = False
        yield located
    if empty:
        raise UserError(source, "there are no rows in it", fix="give a file with one JSON object a line")


def read_documents(path: str | Path, separator: str) -> Iterator[str]:
    """Yield the documents of a text file, plain or gzipped, reading no further than it is asked to.

    :param separator: what stands between two documents, on a line of its own or inside one.
    :raises UserError: the file is missing, unreadable or not UTF-8, or holds no document.
    """
    empty = True
    for document in _split_documents(Path(path), separator):
        if document.strip():
            empty = False
            yield document.strip("\r\n")
    if empty:
        raise UserError(str(path), "there is no text in it", fix="give a file with at least one document")


def _split_documents(path: Path, separator: str) -> Iterator[str]:
    parts: list[str] = []
    for _, line in _text_lines(path):
        first, *rest = line.split(separator)
        parts.append(first)
        for part in rest:
            yield "".join(parts)
            parts = [part]
    yield "".join(parts)


def _file_rows(path: Path) -> Iterator[tuple[str, Row]]:
    for number, line in _text_lines(path):
        if line.strip():
            yield f"{path}:{number}", _parse_row(line.rstrip("\r\n"), path, number)


def _text_lines(path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with path.open("rb") as file:
            # The magic number decides, not the suffix, for files that were renamed or compressed in transit.
            gzipped = file.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
            for number, line in enumerate(gzip.GzipFile(fileobj=file) if gzipped else file, start=1):
                yield number, _decode(line, path, number)
    except FileNotFoundError:
        raise UserError(str(path), "there is no such file", fix="check the path") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = f"the gzip data are damaged after line {number} ({error})"
        raise UserError(str(path), what, fix="copy or compress the file again") from None
    except OSError as error:
        what = f"the file cannot be read ({error.strerror})"
        raise UserError(str(path), what, fix="give the path of a readable file") from None


def _decode(line: bytes, path: Path, number: int) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        column = len(line[: error.start].decode("utf-8")) + 1
        bad = line[error.start : error.start + 1]
        where = f"{path}:{number}:{column}"
        raise UserError(where, "this byte is not UTF-8", got=bad, fix="save the file as UTF-8") from None
    return text.removeprefix("\ufeff") if number == 1 else text


def _parse_row(line: str, path: Path, number: int) -> Row:
    def refuse_constant(constant: str) -> None:
        raise _not_json(path, number, _constant_position(line), f"{constant} is not a JSON value", line)

    try:
        row = json.loads(line, parse_constant=refuse_constant)
    except json.JSONDecodeError as error:
        raise _not_json(path, number, error.pos, error.msg, line) from None
    except (RecursionError, ValueError) as error:  # nested too deeply; an integer of thousands of digits
        raise _not_json(path, number, 0, str(error), line) from None
    if not isinstance(row, dict):
        where = f"{path}:{number}"
        raise UserError(where, "this line is no JSON object", got=shorten(row), fix="write one object a line")
    return row


def _not_json(path: Path, number: int, position: int, problem: str, line: str) -> UserError:
    where = f"{path}:{number}:{position + 1}"
    rest = shorten(line[position:]) or "the end of the line"
    return UserError(where, f"not JSON: {problem}", got=rest, fix="write one JSON object a line")


def _constant_position(line: str) -> int:
    return next(found.start() for found in _STRING_OR_CONSTANT.finditer(line) if found[1])


def shorten(value: Any) -> Any:
    """Return ``value`` as an error message shows it: None as null, long values cut short."""
    if value is None:
        return "null"
    text = value if isinstance(value, str) else repr(value)
    return value if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _hub_rows(source: str) -> Iterator[tuple[str, Row]]:
    name, _, split = source.removeprefix(HUB_PREFIX).partition("#")
    try:
        import datasets
    except ImportError:
        what = "the optional package `datasets` is not installed"
        raise UserError(source, what, fix="pip install 'rltk[datasets]'") from None
    try:
        loaded = datasets.load_dataset(name, split=split or None)
    except Exception as error:  # the loaders of many formats, each with errors of its own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        what = f"the dataset cannot be loaded ({reason})"
        raise UserError(source, what, fix="check the id, the split and the connection") from error
    if split:
        for number, row in enumerate(loaded, start=1):
            yield f"{source}:{number}", dict(row)
        return
    for split_name, table in loaded.items():
        for number, row in enumerate(table, start=1):
            yield f"{source}#{split_name}:{number}", {**row, "split": split_name}
