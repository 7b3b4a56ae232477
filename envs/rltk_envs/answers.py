"""Problems from a file whose answers are numbers: whether a response is right can be computed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import Field

from rltk.data import read_demonstrations
from rltk.episode import Episode
from rltk.errors import UserError
from rltk.hookspecs import hookimpl
from rltk.interfaces import Environment, Row
from rltk.sources import shorten
from rltk_envs.graded_files import GradedFile

#: What stands before the final answer of a solution.
MARK = "####"
#: The notes of a calculator in GSM8K's solutions.
_CALCULATOR = re.compile(r"<<[^<>]*>>")
#: A minus belongs to a number that it touches, unless it follows a letter, digit or bracket.
_NUMBER = re.compile(
    r"(?P<minus>(?<![\w)])[-\u2212])?[$€£]?"
    r"(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:/(?P<below>0*[1-9]\d*))?"
)


def final_number(text: str) -> Fraction | None:
    """Return the first number after the last ``####``, or else the last number; None where there is none.

    ``1,234``, ``$12``, ``-12.0`` and ``3/4`` are numbers; units and percent signs are passed over.
    """
    _, mark, end = text.rpartition(MARK)
    numbers = [_value(match) for match in _NUMBER.finditer(end)]
    return numbers[0 if mark else -1] if numbers else None


class Answers(GradedFile):
    """Solve a problem of a file, such as GSM8K's: a response is right if its final number is.

    Rows have ``question``, ``answer`` (a worked solution that ends ``#### n``, or the bare answer) and, if
    they like, ``final`` (the number) and ``split``. The score is 1 or 0. ``metrics`` adds ``answered``,
    whether there was a number at all, and ``marked``, whether there was a ``####``.
    """

    name = "answers"
    own_columns = {"prompt": "question", "response": "answer"}

    class Config(GradedFile.Config):
        """Options of answers."""

        template: str = Field("{prompt}\n", description="What the model reads; {prompt} is the question.")
        max_new_tokens: int = Field(128, gt=0, description="Longest response in tokens.")

    config: Config

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Write a file of sums into a folder and return the option that names it."""
        splits = ("train", "validation", "test")
        sums = [
            {"question": f"{n} + 9?", "answer": f"#### {n + 9}", "split": splits[n % 3]} for n in range(30)
        ]
        path = directory / "sums.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in sums), encoding="utf-8")
        return {"path": str(path), "max_new_tokens": 8, "vocab_size": 300}

    def read(self, source: str, columns: Mapping[str, str]) -> Iterator[Row]:
        """Yield the problems without the notes of a calculator, with ``final`` as text.

        :raises UserError: there is no number in an answer.
        """
        for number, row in enumerate(read_demonstrations(source, columns), start=1):
            final = final_number(str(row.get("final") or row["response"]))
            if final is None:
                where, answer = f"{source}, row {number}", shorten(row.get("final") or row["response"])
                fix = f"end it with {MARK} and the number"
                raise UserError(where, "there is no number in the answer", got=answer, fix=fix)
            yield {**row, "response": _CALCULATOR.sub("", row["response"]), "final": str(final)}

    def gold(self, episode: Episode) -> float:
        """Return 1 if the final number is right."""
        return float(final_number(episode.response) == Fraction(episode.columns["final"]))

    def metrics(self, episode: Episode) -> dict[str, float]:
        """Return ``utility``, ``answered`` and ``marked``."""
        answered = final_number(episode.response) is not None
        return {
            **super().metrics(episode),
            "answered": float(answered),
            "marked": float(MARK in episode.response),
        }

    def oracle(self, row: Row, turns: Sequence[tuple[str, str]] = ()) -> str:
        """Return the final number after a ``####``."""
        return f"{MARK} {row['final']}"


def _value(match: re.Match[str]) -> Fraction:
    value = Fraction(match["number"].replace(",", "")) / Fraction(match["below"] or 1)
    return -value if match["minus"] else value


@hookimpl
def rltk_environments() -> list[type[Environment]]:
    """Provide the environment."""
    return [Answers]
