"""Stored rankings as token rows with their preference pairs, ready to be scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from rltk.errors import UserError
from rltk.interfaces import Row
from rltk.language_modeling import tokenize
from rltk.models import tokenizer_fingerprint
from rltk.ranking import Pairs, join_pairs, preference_pairs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Ranking:
    """K ranked responses to one prompt.

    :param rows: ``K`` token rows: prompt, response, and EOS where the response ended by itself.
    :param response_lengths: ``K`` lengths of the responses in tokens, EOS included.
    :param ranks: ``K`` ranks, 1 the best, equal for ties.
    :param winners: ``[P]`` the preferred response of each pair.
    :param losers: ``[P]`` the other response of each pair.
    :param second_ranks: another labeler's ranks, where there are some.
    """

    rows: list[list[int]]
    response_lengths: list[int]
    ranks: list[int]
    winners: NDArray[np.int64]
    losers: NDArray[np.int64]
    second_ranks: list[int] | None = None


def encode_rankings(
    rows: Sequence[Row],
    tokenizer: PreTrainedTokenizerBase,
    format_prompt: Callable[[str], str],
    *,
    max_length: int | None,
    on_long: Literal["error", "drop"] = "error",
    where: str = "rankings",
) -> tuple[list[Ranking], dict[str, int]]:
    """Turn rows with ``prompt``, ``responses`` and ``ranks`` into rankings.

    Rows that were sampled with this very tokenizer keep their token ids; other rows are tokenised, and
    their responses end with EOS unless ``terminated`` says otherwise.

    :param max_length: the model's context in tokens.
    :param on_long: what becomes of a ranking of which one row is longer.
    :returns: the rankings, and how many were left out as ``too_long`` and ``without_preference``.
    :raises UserError: naming the ranking, when one is too long and ``on_long`` is ``error``.
    """
    counts = {"too_long": 0, "without_preference": 0}
    rankings: list[Ranking] = []
    for index, (prompt, responses, row) in enumerate(_tokens(rows, tokenizer, format_prompt)):
        token_rows = [[*prompt, *response] for response in responses]
        longest = max(map(len, token_rows))
        if max_length is not None and longest > max_length:
            if on_long == "error":
                fix = f"shorten it, or set on_long to drop (the model reads {max_length} tokens)"
                raise UserError(where, f"row {index} is too long", got=f"{longest} tokens", fix=fix)
            counts["too_long"] += 1
            continue
        winners, losers = preference_pairs(row["ranks"], row["responses"])
        if not len(winners):
            counts["without_preference"] += 1
            continue
        sizes = [len(response) for response in responses]
        rankings.append(Ranking(token_rows, sizes, row["ranks"], winners, losers, row.get("second_ranks")))
    return rankings, counts


def join(rankings: Sequence[Ranking]) -> tuple[list[list[int]], Pairs]:
    """Return the token rows of some rankings end to end, and the pairs among them."""
    rows = [row for ranking in rankings for row in ranking.rows]
    return rows, join_pairs([(len(r.rows), r.winners, r.losers) for r in rankings])


def _tokens(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, format_prompt: Callable[[str], str]
) -> list[tuple[list[int], list[list[int]], Row]]:
    """Return prompt ids, the ids of each response, and the row itself, tokenising all texts at once."""
    fingerprint = tokenizer_fingerprint(tokenizer)
    prompts = iter(tokenize(tokenizer, [format_prompt(row["prompt"]) for row in rows]))
    responses = iter(tokenize(tokenizer, [text for row in rows for text in row["responses"]]))
    encoded: list[tuple[list[int], list[list[int]], Row]] = []
    for row in rows:
        prompt, K = next(prompts), len(row["responses"])
        ended = row.get("terminated", [True] * K)
        answers = [[*next(responses), *([tokenizer.eos_token_id] if end else [])] for end in ended]
        if row.get("tokenizer") == fingerprint:
            prompt, answers = row["prompt_tokens"], row["response_tokens"]
        encoded.append((prompt, answers, row))
    return encoded
