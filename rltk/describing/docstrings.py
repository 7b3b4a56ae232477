"""Docstrings, written in reStructuredText, as plain text and as Markdown."""

from __future__ import annotations

import inspect
import re
from typing import Any

_ROLE = re.compile(r":\w+(?::\w+)?:`~?([^`]+)`")
_CODE = re.compile(r"``([^`]+)``")
_PARAMETER = re.compile(r"^:param (\w+): ", re.MULTILINE)
_RAISES = re.compile(r"^:raises (\w+): ", re.MULTILINE)


def docstring(described: Any) -> str:
    """Return the docstring of a class or function itself, not one it inherits, its indentation removed."""
    own = described.__doc__
    return inspect.cleandoc(own) if own else ""


def summary(described: Any) -> str:
    """Return the first paragraph of a docstring in plain text, on one line; empty where there is none."""
    return plain(docstring(described)).partition("\n")[0]


def plain(text: str) -> str:
    """Return a docstring without its markup, a line a paragraph, code and lists aside."""
    text = "\n\n".join(map(_joined, text.split("\n\n")))
    text = _CODE.sub(r"\1", _ROLE.sub(r"\1", text))
    return _RAISES.sub(r"raises \1: ", _PARAMETER.sub(r"\1: ", text)).replace("::\n", ":\n")


def markdown(text: str) -> str:
    """Return a docstring as Markdown: code in backticks, parameters as a list."""
    text = _CODE.sub(r"`\1`", _ROLE.sub(r"`\1`", text))
    return _RAISES.sub(r"- raises `\1`: ", _PARAMETER.sub(r"- `\1`: ", text))


def _joined(paragraph: str) -> str:
    """Return a paragraph without line breaks but those before entries of a list; an indented one as it is."""
    if paragraph.startswith(" "):
        return paragraph
    return re.sub(r"\n\s*(?![\s:*-])", " ", paragraph)
