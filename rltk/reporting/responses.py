"""Responses of all policies to the same prompts, side by side."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from rltk.reporting.record import Row
from rltk.reporting.tables import finite, fixed

PROMPTS_SHOWN = 12
#: Columns of ``samples.jsonl`` shown as numbers, and those that say what a row is; all others are flags.
_NUMBERS = {"utility": "utility", "reward": "reward", "kl": "KL"}
_DESCRIPTIVE = {"policy", "prompt_id", "prompt", "use_case", "response", "terminated"}


def responses_section(samples: list[Row]) -> str:
    """Return a card a prompt with every policy's response and measures, as HTML."""
    by_prompt: dict[Any, list[Row]] = {}
    for row in samples:
        by_prompt.setdefault(row.get("prompt_id"), []).append(row)
    if not by_prompt:
        return ""
    cards = "".join(_card(by_prompt[prompt]) for prompt in choose_prompts(samples, PROMPTS_SHOWN))
    return (
        "<h2>Responses side by side</h2><p class=muted>The same held-out prompts and the same sampling seed "
        f"for every policy.</p>{cards}"
    )


def choose_prompts(samples: list[Row], count: int) -> list[Any]:
    """Return ids of prompts, taking the use cases in turn, the most frequent first."""
    by_use_case: dict[Any, dict[Any, None]] = {}
    for row in samples:
        by_use_case.setdefault(row.get("use_case"), {})[row.get("prompt_id")] = None
    queues = [iter(ids) for ids in sorted(by_use_case.values(), key=len, reverse=True)]
    return list(_in_turn(queues))[:count]


def _in_turn(queues: list[Iterator[Any]]) -> Iterator[Any]:
    while queues:
        waiting = []
        for queue in queues:
            for item in queue:
                yield item
                waiting.append(queue)
                break
        queues = waiting


def _card(rows: list[Row]) -> str:
    use_case = rows[0].get("use_case")
    note = f"<span>{escape(str(use_case).replace('_', ' '))}</span>" if use_case else ""
    answers = "".join(_answer(row) for row in rows)
    prompt = escape(str(rows[0].get("prompt", "")))
    return f'<div class="prompt"><p>{prompt}{note}</p><div class="answers">{answers}</div></div>'


def _answer(row: Mapping[str, Any]) -> str:
    response = escape(str(row.get("response", ""))) or '<span class="muted">(empty)</span>'
    ended = "" if row.get("terminated", True) else ' <span class="bad">(cut off)</span>'
    return (
        f"<div><h4>{escape(str(row.get('policy', '')))}</h4><q>{response}{ended}</q>"
        f"<small>{'<br>'.join(_measures(row))}</small></div>"
    )


def _measures(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line of numbers, a line of what is true of the response and a line of what is not."""
    numbers = {key: n for key, n in ((key, finite(row.get(key))) for key in _NUMBERS) if n is not None}
    if numbers:
        yield " · ".join(f"{_NUMBERS[key]} <b>{fixed(number, 2)}</b>" for key, number in numbers.items())
    measures = {k: finite(v) for k, v in row.items() if k not in _DESCRIPTIVE and k not in _NUMBERS}
    for answer, level in (("yes", 1.0), ("no", 0.0)):
        flags = [escape(key.replace("_", " ")) for key, value in measures.items() if value == level]
        if flags:
            yield f"{answer}: {', '.join(flags)}"
