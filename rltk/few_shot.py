"""Demonstrations before a prompt: how a model that was never fine-tuned is shown what is wanted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from rltk.episode import Episode
from rltk.interfaces import Environment, Row
from rltk.language_modeling import tokenize
from rltk.rng import numpy_generator

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def few_shot_prefix(environment: Environment, shots: int, seed: int) -> str:
    """Return demonstrations to read before a prompt, drawn at random out of those that are right."""
    demonstrations = environment.demonstrations("train")
    order = numpy_generator(seed, "shots").permutation(len(demonstrations))
    right = (demonstrations[i] for i in order.tolist() if _is_right(environment, demonstrations[i]))
    return environment.few_shot_prefix(list(islice(right, shots)))


def as_plain(
    episodes: Sequence[Episode],
    prompts: Sequence[str],
    environment: Environment,
    tokenizer: PreTrainedTokenizerBase,
) -> list[Episode]:
    """Return episodes as if the policy had read the plain prompts, and ended with EOS where it ended.

    That is what a reward model was trained to read. The ids are for judging alone; log-probabilities are
    always those of the ids that were sampled.

    :param prompts: the prompt of each episode.
    """
    read = tokenize(tokenizer, [environment.format_prompt(prompt) for prompt in prompts])
    plain = []
    for episode, prompt in zip(episodes, read, strict=True):
        response = episode.response_tokens
        if episode.terminated and not episode.turns and response[-1] != tokenizer.eos_token_id:
            response = (*tokenize(tokenizer, [episode.response])[0], int(tokenizer.eos_token_id))
        plain.append(dataclasses.replace(episode, prompt_tokens=tuple(prompt), response_tokens=response))
    return plain


def _is_right(environment: Environment, row: Row) -> bool:
    """Whether a demonstration is worth showing in a prompt; every one is where there is no truth."""
    episode = Episode(row["prompt"], row["response"], columns=row)
    return environment.metrics(episode).get("utility", 1.0) == 1.0
