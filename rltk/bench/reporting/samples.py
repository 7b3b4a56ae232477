"""What policies said to the same prompts, side by side."""

from __future__ import annotations

from dataclasses import dataclass

from rltk.bench.records import Record
from rltk.bench.results import Results
from rltk.reporting.tables import fixed

#: How many prompts are shown in all, if no environment is to go without.
_PROMPTS = 12
_MOST_EACH = 4
_LONGEST = 600


@dataclass(frozen=True)
class Answer:
    """What one policy said.

    :param notes: score and what else there is to say, in a line.
    """

    policy: str
    text: str
    notes: str
    cut: bool


@dataclass(frozen=True)
class Sample:
    """A prompt and the answers of all policies that have one."""

    environment: str
    prompt: str
    answers: tuple[Answer, ...]


def samples(results: Results) -> list[Sample]:
    """Return the first prompts of the first evaluation seed of every environment with text."""
    first: dict[str, dict[str, dict[str, Record]]] = {}
    for record in results.records:
        if (
            record.seed == 0
            and record.sample == 0
            and results.plan["environments"][record.environment]["text"]
        ):
            prompts = first.setdefault(record.environment, {})
            prompts.setdefault(record.prompt_key, {}).setdefault(record.policy, record)
    each = min(max(_PROMPTS // max(len(first), 1), 1), _MOST_EACH)
    return [
        _sample(answers)
        for environment in results.config.environments
        for answers in list(first.get(environment, {}).values())[:each]
    ]


def _sample(answers: dict[str, Record]) -> Sample:
    record = next(iter(answers.values()))
    said = tuple(_answer(answer) for answer in answers.values())
    return Sample(record.environment, _shortened(record.prompt_text), said)


def _answer(record: Record) -> Answer:
    numbers = {"score": record.score, "proxy": record.reward, "KL": record.kl}
    shown = [f"{name} {fixed(value, 2)}" for name, value in numbers.items() if value is not None]
    return Answer(record.policy, _shortened(record.response), " · ".join(shown), record.truncated)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
