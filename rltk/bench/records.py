"""What is kept of an episode: one JSON line with everything that statistics need."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rltk.checkpoint import write_text
from rltk.errors import UserError


@dataclass(frozen=True)
class Record:
    """One episode of one policy.

    :param policy: the policy's name in the bench.
    :param train_seed: number of the training run, where the policy has several.
    :param environment: the environment's name in the bench.
    :param seed: evaluation seed.
    :param prompt: index of the prompt in its split; without text, of the initial state.
    :param prompt_key: 16 hex digits that only the same prompts share; what pairs and clusters episodes.
    :param sample: number of the episode among those of the same prompt.
    :param score: what the truth says; without text, the return.
    :param reward: what the proxy says, where there is one.
    :param kl: estimate of the KL to the reference in nats, where there is one that reads the same tokens.
    :param prompt_text: the prompt; empty without text.
    :param response: what was said, and answered in between; empty without text.
    :param length: actions taken.
    :param terminated: whether the episode ended by itself.
    :param truncated: whether it was cut off.
    :param metrics: the environment's other measures.
    """

    policy: str
    train_seed: int | None
    environment: str
    seed: int
    prompt: int
    prompt_key: str
    sample: int
    score: float
    reward: float | None
    kl: float | None
    prompt_text: str
    response: str
    length: int
    terminated: bool
    truncated: bool
    metrics: Mapping[str, float] = field(default_factory=dict)

    def to_line(self) -> str:
        """Return the record as one line of JSON, keys sorted, without the line's end."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_line(cls, line: str) -> Record:
        """Return the record that a line holds.

        :raises ValueError: it holds none.
        """
        values = json.loads(line)
        if not isinstance(values, dict) or values.keys() != _TYPES.keys():
            raise ValueError("other keys than those of a record")
        for key, types in _TYPES.items():
            if type(values[key]) not in types:
                raise ValueError(f"{key} is {type(values[key]).__name__}")
        if not math.isfinite(values["score"]):
            raise ValueError("the score is not finite")
        return cls(**values)


_NUMBER = (int, float)
_TYPES: dict[str, tuple[type, ...]] = {
    "policy": (str,),
    "train_seed": (int, type(None)),
    "environment": (str,),
    "seed": (int,),
    "prompt": (int,),
    "prompt_key": (str,),
    "sample": (int,),
    "score": _NUMBER,
    "reward": (*_NUMBER, type(None)),
    "kl": (*_NUMBER, type(None)),
    "prompt_text": (str,),
    "response": (str,),
    "length": (int,),
    "terminated": (bool,),
    "truncated": (bool,),
    "metrics": (dict,),
}


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write the records of a cell, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(f"{record.to_line()}\n" for record in records))


def read_records(path: Path, count: int | None = None) -> list[Record]:
    """Return the records of a cell.

    :param count: how many there have to be; None does not check.
    :raises UserError: the file is torn or no file of records.
    """
    fix = "go on with rltk bench --run DIR --resume, which makes it again"
    lines = _lines(path, fix)
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(Record.from_line(line))
        except ValueError as error:
            where = f"{path}:{number}"
            raise UserError(where, f"no record of an episode ({error})", fix=fix) from error
    if count is not None and len(records) != count:
        raise UserError(str(path), f"it should hold {count} records", got=len(records), fix=fix)
    return records


def _lines(path: Path, fix: str) -> Sequence[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UserError(str(path), f"cannot be read: {reason}", fix=fix) from error
    if not text.endswith("\n"):
        raise UserError(str(path), "the file breaks off" if text else "the file is empty", fix=fix)
    return text.removesuffix("\n").split("\n")
