"""Language modelling: packed documents, prompt-response examples, token losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rltk.batching import micro_batches, pad_rows
from rltk.errors import UserError
from rltk.interfaces import Row

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORED = -100
_DOCUMENTS_AT_ONCE = 512


@dataclass(frozen=True)
class Example:
    """A prompt and a response as one row of token ids.

    :param tokens: prompt, response and, where the response ended by itself, EOS.
    :param prompt_length: how many of them are the prompt's.
    """

    tokens: list[int]
    prompt_length: int


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each text, without special tokens."""
    if not texts:
        return []
    return tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]


def pack_documents(
    documents: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int, max_tokens: int | None = None
) -> Tensor:
    """Join documents, EOS after each, and cut the stream into rows; only the last row may be padded.

    :param length: tokens per row.
    :param max_tokens: stop reading documents once this many tokens are there, and drop what is beyond.
    :returns: ``[N, length]`` int64, ``N`` is 0 where there is no token.
    """
    pieces: list[np.ndarray] = []
    total, remaining = 0, iter(documents)
    while (max_tokens is None or total < max_tokens) and (
        chunk := list(islice(remaining, _DOCUMENTS_AT_ONCE))
    ):
        for ids in tokenize(tokenizer, chunk):
            pieces.append(np.array([*ids, tokenizer.eos_token_id], dtype=np.int64))
            total += len(pieces[-1])
    stream = np.concatenate(pieces)[:max_tokens] if pieces else np.empty(0, dtype=np.int64)
    rows = np.full((-(-len(stream) // length), length), tokenizer.pad_token_id, dtype=np.int64)
    rows.reshape(-1)[: len(stream)] = stream
    return torch.from_numpy(rows)


def document_rows(
    documents: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    max_tokens: int | None = None,
    *,
    pack: bool,
) -> Tensor:
    """Lay documents out as rows: joined by :func:`pack_documents`, or by :func:`separate_documents`."""
    return (pack_documents if pack else separate_documents)(documents, tokenizer, length, max_tokens)


def separate_documents(
    documents: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int, max_tokens: int | None = None
) -> Tensor:
    """Put each document in a row of its own, with EOS after it, cut at ``length`` and padded.

    :param max_tokens: stop reading documents once this many tokens are there.
    :returns: ``[N, length]`` int64, ``N`` is 0 where there is no document.
    """
    kept: list[list[int]] = []
    total, remaining = 0, iter(documents)
    while (max_tokens is None or total < max_tokens) and (
        chunk := list(islice(remaining, _DOCUMENTS_AT_ONCE))
    ):
        for ids in tokenize(tokenizer, chunk):
            kept.append([*ids, tokenizer.eos_token_id][:length])
            total += len(kept[-1])
    rows = torch.full((len(kept), length), tokenizer.pad_token_id, dtype=torch.int64)
    for row, ids in zip(rows, kept, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return rows


def encode_demonstrations(
    rows: Sequence[Row],
    tokenizer: PreTrainedTokenizerBase,
    format_prompt: Callable[[str], str],
    *,
    max_length: int | None,
    on_long: Literal["error", "drop", "truncate"] = "error",
    where: str = "demonstrations",
) -> tuple[list[Example], dict[str, int]]:
    """Turn rows with ``prompt`` and ``response`` into examples, each ending with EOS.

    :param max_length: the model's context in tokens.
    :param on_long: what becomes of a longer row: an error, left out, or cut at the end (its EOS too).
    :returns: the examples, and how many rows were ``empty`` (no prompt or no response), ``dropped`` and
        ``truncated``.
    :raises UserError: naming the row, when one is too long and ``on_long`` is ``error``.
    """
    kept = [index for index, row in enumerate(rows) if row["prompt"].strip() and row["response"].strip()]
    prompts = tokenize(tokenizer, [format_prompt(rows[index]["prompt"]) for index in kept])
    responses = tokenize(tokenizer, [rows[index]["response"] for index in kept])
    counts = {"empty": len(rows) - len(kept), "dropped": 0, "truncated": 0}
    examples: list[Example] = []
    for index, prompt, response in zip(kept, prompts, responses, strict=True):
        tokens = [*prompt, *response, tokenizer.eos_token_id]
        if max_length is not None and len(tokens) > max_length:
            if on_long == "error":
                fix = f"shorten it, or set on_long to drop or truncate (the model reads {max_length} tokens)"
                raise UserError(where, f"row {index} is too long", got=f"{len(tokens)} tokens", fix=fix)
            # A prompt that fills the context leaves nothing to learn from.
            cut = on_long == "truncate" and len(prompt) < max_length
            counts["truncated" if cut else "dropped"] += 1
            if not cut:
                continue
            tokens = tokens[:max_length]
        examples.append(Example(tokens, len(prompt)))
    return examples, counts


def response_batch(examples: Sequence[Example], pad_token_id: int) -> tuple[Tensor, Tensor]:
    """Return padded tokens and labels, both ``[B, L]`` int64; labels are IGNORED outside the response."""
    tokens, lengths = pad_rows([example.tokens for example in examples], pad_token_id)
    starts = torch.tensor([example.prompt_length for example in examples])
    positions = torch.arange(tokens.shape[1])
    learned = (positions >= starts[:, None]) & (positions < lengths[:, None])
    return tokens, tokens.masked_fill(~learned, IGNORED)


def count_targets(labels: Tensor) -> int:
    """Return how many tokens of ``labels [B, L]`` are predicted: the first of a row has nothing before it."""
    return int((labels[:, 1:] != IGNORED).sum())


def token_nll(model: PreTrainedModel, tokens: Tensor, labels: Tensor) -> Tensor:
    """Return the summed negative log-likelihood in nats of the labelled tokens, a float32 scalar.

    Rows are padded on the right, where a causal model's real tokens never look: no attention mask is needed.

    :param tokens: ``[B, L]`` int64, on any device.
    :param labels: ``[B, L]`` int64, the same tokens, or IGNORED where they are not predicted.
    """
    device = model.device
    logits = model(input_ids=tokens.to(device), use_cache=False).logits
    targets = F.pad(labels[:, 1:], (0, 1), value=IGNORED).to(device)
    return F.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )


@torch.no_grad()
def mean_nll(
    model: PreTrainedModel,
    parts: Iterable[tuple[Tensor, Tensor]],
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> float:
    """Return the mean negative log-likelihood in nats over all labelled tokens of (tokens, labels) parts.

    :returns: NaN where no token is labelled.
    """
    total, count = 0.0, 0
    for tokens, labels in parts:
        with autocast():
            total += float(token_nll(model, tokens, labels))
        count += count_targets(labels)
    return total / count if count else float("nan")


def corpus_loss(
    model: PreTrainedModel,
    rows: Tensor,
    *,
    pad_token_id: int,
    micro_batch_tokens: int = 8192,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> float:
    """Return the mean token loss in nats on rows of :func:`pack_documents`, ``[N, L]``."""
    return mean_nll(model, corpus_parts(rows, pad_token_id, micro_batch_tokens), autocast)


def corpus_parts(rows: Tensor, pad_token_id: int, micro_batch_tokens: int) -> list[tuple[Tensor, Tensor]]:
    """Cut rows of documents ``[N, L]`` into (tokens, labels) parts of at most ``micro_batch_tokens`` tokens.

    Columns that are padding in all rows are left out.
    """
    rows = rows[:, : int((rows != pad_token_id).sum(1).max())] if len(rows) else rows
    size = max(1, micro_batch_tokens // rows.shape[1])
    return [(part, part.masked_fill(part == pad_token_id, IGNORED)) for part in rows.split(size) if len(part)]


def example_parts(
    examples: Sequence[Example], pad_token_id: int, micro_batch_tokens: int
) -> list[tuple[Tensor, Tensor]]:
    """Cut examples into padded (tokens, labels) parts of like length and at most so many tokens."""
    groups = micro_batches([len(example.tokens) for example in examples], micro_batch_tokens)
    return [response_batch([examples[index] for index in group], pad_token_id) for group in groups]
