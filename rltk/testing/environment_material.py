"""The contract of an environment's material, as checks: rows, documents, labelers, metrics, the tokenizer.

Whatever an environment has no use for, it leaves out: the base class then raises a UserError saying so, which
is a right answer everywhere here.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from rltk.episode import Episode
from rltk.errors import UserError
from rltk.interfaces import Environment, Labeler, Row, Split
from rltk.models import check_tokenizer, tokenizer_fingerprint
from rltk.rng import numpy_generator
from rltk.testing.acting import SLOTS, World, random_tokens, respond
from rltk.testing.guards import difference, unchanged, untouched_rng
from rltk.testing.running import fail, require

Answer = TypeVar("Answer")
_SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_GROUPS = ("train", "heldout")
#: The methods that return rows, and the columns of text in theirs.
_ROWS = {
    "prompts": ("prompt",),
    "demonstrations": ("prompt", "response"),
    "comparisons": ("prompt",),
}
#: How much of a corpus and how many prompts are looked at.
_DOCUMENTS, _PROMPTS = 20, 5


def answers_or_says_what_it_lacks(world: World) -> None:
    """Each method answers, or raises a UserError that says what is lacking."""
    environment = world.environment
    for name, splits in (*((name, _SPLITS) for name in (*_ROWS, "corpus")), ("labelers", _GROUPS)):
        for split in splits:
            with untouched_rng(f"{name}()"):
                _material(environment, name, split)
    _have(environment.build_tokenizer)
    _have(lambda: environment.format_prompt("a prompt"))
    _have(lambda: environment.few_shot_prefix([]))


def has_rows_of_text(world: World) -> None:
    """Rows are dicts with their columns of text, and hold nothing that JSON cannot."""
    for name, columns in _ROWS.items():
        for split in _SPLITS:
            rows = _material(world.environment, name, split) or []
            where = f"{name}({split!r})"
            problem = f"{where} returned {type(rows).__name__}"
            require(isinstance(rows, list), problem, fix="return a list of dicts")
            for index, row in enumerate(rows):
                _require_row(f"{where}[{index}]", row, columns)


def has_responses_to_learn(world: World) -> None:
    """No demonstrated response is empty."""
    for split in _SPLITS:
        for index, row in enumerate(_material(world.environment, "demonstrations", split) or []):
            problem = f"demonstrations({split!r})[{index}] has an empty response to {row['prompt']!r}"
            require(row["response"].strip(), problem, fix="leave the row out")


def ranks_stored_responses(world: World) -> None:
    """Stored comparisons rank two or more responses, 1 the best, ties equal."""
    for split in _SPLITS:
        for index, row in enumerate(_material(world.environment, "comparisons", split) or []):
            where, responses = f"comparisons({split!r})[{index}]", row.get("responses")
            fix = "give it `responses`, a list of two or more texts, and `ranks`, one a response"
            texts = isinstance(responses, list) and all(isinstance(text, str) for text in responses)
            require(texts and len(responses) > 1, f"{where} has the responses {responses!r}", fix=fix)
            _require_ranks(f"{where} has", row.get("ranks"), len(responses))


def writes_documents(world: World) -> None:
    """The corpus yields texts that are not empty."""
    for split in _SPLITS:
        for index, document in enumerate(_material(world.environment, "corpus", split) or []):
            text = isinstance(document, str) and document.strip()
            problem = f"document {index} of corpus({split!r}) is {document!r}"
            require(text, problem, fix="yield texts, and leave empty ones out")


def has_the_same_material_every_time(world: World) -> None:
    """Material is the same on a second call, and in a new environment with the same options and seed."""
    again = world.make()
    for name in (*_ROWS, "corpus"):
        for split in _SPLITS:
            first = _material(world.environment, name, split)
            fix = (
                "draw with a generator made of self.seed inside the method: an interrupted run reads it anew"
            )
            second = _material(world.environment, name, split)
            problem = f"{name}({split!r}) gives something else on a second call"
            require(difference(first, second) is None, problem, fix=fix)
            problem = f"{name}({split!r}) gives something else in a new environment"
            require(difference(first, _material(again, name, split)) is None, problem, fix=fix)


def keeps_splits_apart(world: World) -> None:
    """No prompt is in two splits; the whole of one may stand in for another that has no rows of its own.

    That is, validation for test: nobody trains on either.
    """
    for name in _ROWS:
        rows = {split: _material(world.environment, name, split) or [] for split in _SPLITS}
        for one, other in itertools.combinations(_SPLITS, 2):
            if (one, other) == ("validation", "test") and rows[one] == rows[other]:
                continue
            common = {row["prompt"] for row in rows[one]} & {row["prompt"] for row in rows[other]}
            problem = (
                f"{name}({one!r}) and {name}({other!r}) share {len(common)} prompts: {sorted(common)[:1]}"
            )
            fix = "choose a prompt's split by a hash of its text, as rltk.data.assigned_split does"
            require(not common, problem, fix=fix)


def has_a_tokenizer_that_can_stop(world: World) -> None:
    """The tokenizer has an EOS token and a pad token of its own, and is the same every time."""
    tokenizer = _have(world.environment.build_tokenizer)
    if tokenizer is None:
        return
    check_tokenizer(tokenizer, "build_tokenizer()")
    same = tokenizer_fingerprint(tokenizer) == tokenizer_fingerprint(world.make().build_tokenizer())
    fix = "build it from the options and the seed alone"
    require(same, "build_tokenizer() gives another vocabulary in a new environment", fix=fix)


def knows_the_words_of_its_texts(world: World) -> None:
    """Its tokenizer can write its prompts and demonstrated responses."""
    environment, tokenizer = world.environment, _have(world.environment.build_tokenizer)
    if tokenizer is None:
        return
    for split in _SPLITS:
        texts = [environment.format_prompt(r["prompt"]) for r in _some(environment, "prompts", split)]
        texts += [row["response"] for row in _some(environment, "demonstrations", split)]
        for text in texts:
            ids = tokenizer.encode(text, add_special_tokens=False)
            require(ids, f"{text!r} has no tokens", fix="leave it out")
            unknown = tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids
            fix = "put its words into the vocabulary"
            require(not unknown, f"{text!r} holds words that build_tokenizer() does not know", fix=fix)


def shows_examples(world: World) -> None:
    """few_shot_prefix() writes the demonstrations it is given, and nothing of none."""
    environment = world.environment
    rows = _some(environment, "demonstrations", "train")[:2]
    prefix = _have(lambda: environment.few_shot_prefix(rows))
    if prefix is None:
        return
    require(isinstance(prefix, str), f"few_shot_prefix() returned {prefix!r}", fix="return a text")
    missing = [row["response"] for row in rows if row["response"] not in prefix]
    require(not missing, f"few_shot_prefix() leaves out the response {missing[:1]}", fix="write all of them")


def has_labelers_who_rank(world: World) -> None:
    """A labeler gives one rank a response, 1 the best, and draws from the generator it is given."""
    groups = {group: _material(world.environment, "labelers", group) or [] for group in _GROUPS}
    for group, labelers in groups.items():
        for labeler in labelers:
            name = getattr(labeler, "name", None)
            known = isinstance(name, str) and name
            require(known, f"a labeler of {group!r} has the name {name!r}", fix="give it a name, a text")
            _check_labeler(labeler, _answers(world))
    names = [labeler.name for labelers in groups.values() for labeler in labelers]
    twice = sorted({name for name in names if names.count(name) > 1})
    problem = f"more than one labeler is {' and '.join(twice)}"
    require(not twice, problem, fix="nobody may both train the reward model and evaluate; name them apart")


def measures_with_finite_numbers(world: World) -> None:
    """metrics() are finite numbers by name, the same every time, and leave the episode alone."""
    for episode in itertools.chain.from_iterable(_answers(world)):
        with unchanged("the columns and texts of the episode", episode), untouched_rng("metrics()"):
            metrics = world.environment.metrics(episode)
        fix = 'return a dict such as {"utility": 0.5}, {} where nothing is known'
        require(isinstance(metrics, Mapping), f"metrics() returned {metrics!r}", fix=fix)
        for name, value in metrics.items():
            number = isinstance(name, str) and isinstance(value, int | float) and math.isfinite(value)
            problem = f"metrics() of the response {episode.response!r} holds {name!r}: {value!r}"
            require(number, problem, fix=fix)
        again = world.environment.metrics(episode)
        same = difference(dict(metrics), dict(again)) is None
        problem = f"metrics() of the same episode are {metrics} and then {again}"
        require(same, problem, fix="make them a function of the episode alone")


MATERIAL_CHECKS = (
    answers_or_says_what_it_lacks,
    has_rows_of_text,
    has_responses_to_learn,
    ranks_stored_responses,
    writes_documents,
    has_the_same_material_every_time,
    keeps_splits_apart,
    has_a_tokenizer_that_can_stop,
    knows_the_words_of_its_texts,
    shows_examples,
    has_labelers_who_rank,
    measures_with_finite_numbers,
)


def _have(method: Callable[[], Answer]) -> Answer | None:
    """Return what a method answers, or None where it says that there is nothing."""
    try:
        return method()
    except UserError:
        return None
    except NotImplementedError:
        fail("it raises NotImplementedError", fix="leave the method out: the base class says what is lacking")


def _material(environment: Environment, name: str, split: str) -> Any:
    """Return what a method gives for a split, of a corpus the beginning; None where it has nothing."""

    def method() -> Any:
        answer = getattr(environment, name)(split)
        return list(itertools.islice(answer, _DOCUMENTS)) if name == "corpus" else answer

    return _have(method)


def _some(environment: Environment, name: str, split: Split) -> list[Row]:
    return list(_material(environment, name, split) or [])[:_DOCUMENTS]


def _require_row(where: str, row: Any, columns: Iterable[str]) -> None:
    require(isinstance(row, dict), f"{where} is {row!r}", fix="make it a dict")
    for column in columns:
        text = row.get(column)
        require(isinstance(text, str), f"{where}[{column!r}] is {text!r}", fix="make it a text")
    require(row["prompt"].strip(), f"{where} has an empty prompt", fix="leave the row out")
    fix = "keep to what JSON has: texts, numbers, booleans, None, lists, dicts keyed by texts"
    try:
        plain = json.loads(json.dumps(row, allow_nan=False))
    except (TypeError, ValueError) as error:
        fail(f"{where} cannot be written as JSON: {error}", fix=fix)
    for key in row:
        same = difference(plain.get(key), row[key]) is None
        require(same, f"{where}[{key!r}] comes back from JSON as {plain.get(key)!r}", fix=fix)


def _require_ranks(whose: str, ranks: Any, count: int) -> None:
    fix = "give each response a whole number, the best 1, equal ones where neither is better"
    listed = isinstance(ranks, Sequence) and not isinstance(ranks, str)
    require(listed and len(ranks) == count, f"{whose} the ranks {ranks!r} for {count} responses", fix=fix)
    whole = all(isinstance(rank, int) and not isinstance(rank, bool) for rank in ranks)
    require(whole and min(ranks) == 1 and max(ranks) <= count, f"{whose} the ranks {ranks!r}", fix=fix)


def _check_labeler(labeler: Labeler, groups: Sequence[Sequence[Episode]]) -> None:
    for index, episodes in enumerate(groups):

        def rank(index: int = index, episodes: Sequence[Episode] = episodes) -> list[int]:
            return labeler.rank(episodes, numpy_generator("labeler", index))

        who = f"labeler {labeler.name!r}"
        with unchanged("the episodes", episodes), untouched_rng(f"rank() of {who}"):
            ranks = rank()
        _require_ranks(f"{who} gave", ranks, len(episodes))
        again = rank()
        problem = f"{who} ranked the same responses {ranks} and then {again} with equal generators"
        require(list(ranks) == list(again), problem, fix="draw from the generator that rank() is given")


def _answers(world: World) -> list[list[Episode]]:
    """Return responses to some prompts: demonstrated where there are some, sampled, and an empty one."""
    rows = world.rows[:_PROMPTS]
    if not (world.text and rows):
        return []
    shown = {row["prompt"]: row["response"] for row in _some(world.environment, "demonstrations", "train")}
    dealt = [row for row in rows for _ in range(SLOTS)]
    envs = world.vec(prompts=dealt, shuffle=False, reward=None)
    sampled, _ = respond(envs, random_tokens(world.tokenizer), episodes=len(dealt))
    groups = [sampled[index : index + SLOTS] for index in range(0, len(sampled), SLOTS)]
    for group in groups:
        first = group[0]
        known = shown.get(first.prompt)
        texts = ("", known) if known else ("",)
        group += [Episode(first.prompt, text, columns=first.columns) for text in texts]
    return groups
