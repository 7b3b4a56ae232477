"""What checks need and no plugin provides: a tiny language model with its tokenizer, awkward episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rltk.episode import Episode
from rltk.models import build_causal_lm, reward_model_from_policy, save_model

#: The vocabulary of :func:`word_tokenizer`; ids 0, 1 and 2 are pad, EOS and unknown.
WORDS = ("<pad>", "<eos>", "<unk>", *(f"w{i}" for i in range(29)))
_MODELS: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 48,
    },
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 48},
}


def word_tokenizer() -> PreTrainedTokenizerBase:
    """Return a tokenizer of 32 words between spaces."""
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )


def tiny_causal_lm(model_type: str = "llama", *, scale: float = 3.0) -> PreTrainedModel:
    """Return a language model of two layers for :func:`word_tokenizer`, which reads 48 tokens.

    :param model_type: ``llama`` or ``gpt2``.
    :param scale: multiplies its matrices, so that its distributions are far from uniform and mistakes show.
    """
    options = {"model_type": model_type, **_MODELS[model_type]}
    model = build_causal_lm(options, word_tokenizer(), where="model", seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(scale)
    return model.eval()


def save_causal_lm(directory: Path, model_type: str = "llama") -> str:
    """Write :func:`tiny_causal_lm` with its tokenizer into a folder and return its path."""
    save_model(tiny_causal_lm(model_type), word_tokenizer(), directory)
    return str(directory)


def save_reward_model(directory: Path) -> str:
    """Write a reward model of the same kind into a folder and return its path."""
    policy = save_causal_lm(directory / "policy")
    save_model(reward_model_from_policy(policy, "model", seed=0), word_tokenizer(), directory)
    return str(directory)


def awkward_episodes() -> list[Episode]:
    """Return episodes as rewards meet them: empty, cut off, only EOS, unknown words, columns, repeated."""
    responses = [
        ("w3 w4", "w5 w6 w7", True),
        ("w3 w4", "", True),
        ("w8", "w9 w9 w9 w9 w9 w9 w9 w9 w9 w9 w9 w9", False),
        ("w10 w11 w12 w13 w14 w15", "w2", True),
        ("naïve café 水", "żółć 🦊\nw3", True),
        ("", "w4 w5", True),
        ("w3 w4", "w5 w6 w7", True),
        ("w16", "", False),
    ]
    columns: list[dict[str, Any]] = [
        {},
        {"answer": "w3", "gold": ["w3", "w4"]},
        {"number": 7},
        {"answer": None},
    ]
    return [
        make_episode(*response, columns=columns[index % len(columns)])
        for index, response in enumerate(responses)
    ]


def make_episode(
    prompt: str, response: str, terminated: bool = True, *, columns: dict[str, Any] | None = None
) -> Episode:
    """Return an episode with the ids of :func:`word_tokenizer`; EOS is the last where it ended by itself."""
    tokenizer = word_tokenizer()
    ids = tokenizer.encode(response, add_special_tokens=False)
    return Episode(
        prompt=prompt,
        response=response,
        prompt_tokens=tuple(tokenizer.encode(prompt, add_special_tokens=False)),
        response_tokens=(*ids, *([tokenizer.eos_token_id] if terminated else [])),
        columns=columns or {},
        terminated=terminated,
        truncated=not terminated,
    )
