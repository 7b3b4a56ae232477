"""Models from a config and their tokenizer, the same for both sides: JSON on stdin, folders on disk.

    {"models": FOLDER, "shape": ..., "options": ...}

leaves FOLDER/policy and FOLDER/reward. Imported by the measurements too; has no rltk.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

_SPECIAL = ("<pad>", "<eos>", "<unk>")
#: The first id that is a word.
WORD = len(_SPECIAL)


def build_model(job: dict[str, Any]) -> PreTrainedModel:
    """Return a language model with random weights, on the job's device and in its dtype."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(job["shape"]["model_type"], **job["options"])
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, job["dtype"]))
    return model.eval().to(job["device"])


def word_tokenizer(size: int) -> PreTrainedTokenizerBase:
    """Return a tokenizer of words ``w3``, ``w4``, ... between spaces, each named by its id."""
    words = [*_SPECIAL, *(f"w{i}" for i in range(WORD, size))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
    )


def text_of(tokens: list[int]) -> str:
    """Return the text that :func:`word_tokenizer` reads as ``tokens``."""
    return " ".join(f"w{token}" for token in tokens)


def save_models(job: dict[str, Any]) -> None:
    """Write a policy that never says pad, EOS or unknown, and a reward model, both with the tokenizer."""
    folder, size = Path(job["models"]), job["shape"]["vocabulary"]
    policy = build_model({**job, "device": "cpu", "dtype": "float32"})
    forbid_special_tokens(policy)
    config = AutoConfig.for_model(job["shape"]["model_type"], **job["options"], num_labels=1)
    reward = AutoModelForSequenceClassification.from_config(config)
    for name, model in {"policy": policy, "reward": reward}.items():
        model.save_pretrained(folder / name)
        word_tokenizer(size).save_pretrained(folder / name)


@torch.no_grad()
def forbid_special_tokens(model: PreTrainedModel, logit: float = -60.0) -> None:
    """Give the special tokens of a GPT-2 the same low logit after every text.

    The final layer norm's output less its bias sums to 0. With a bias of 1 everywhere it sums to the width,
    and so a row of equal entries in the LM head gives a constant.
    """
    norm, rows = model.transformer.ln_f, model.get_output_embeddings().weight
    norm.bias.fill_(1.0)
    rows[:WORD] = logit / rows.shape[1]


if __name__ == "__main__":
    save_models(json.load(sys.stdin))
