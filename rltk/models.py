"""Transformers models as stages use them: built from a config, opened, checked and saved, without chatter.

Every start imports this module with the plugins, and transformers takes twice as long to import as torch:
functions import what they need of it, so that what needs no language model does without.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import nn

from rltk.errors import UserError, suggestion
from rltk.rng import seeded_initialisation, torch_generator

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_DROPOUT_SUFFIXES = ("dropout", "pdrop", "dropout_prob")


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hold back transformers' progress bars and load reports: a run shows its own progress."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, where: str, pad_token: str | None = None) -> None:
    """Require an EOS token and a pad token that differs from it.

    :param where: what to blame in the error: a key path or a path.
    :param pad_token: added to the tokenizer when it has no pad token of its own.
    :raises UserError: when either is missing or both are the same; a model that never sees EOS as a target
        (because it is masked out as padding) never learns to stop.
    """
    if tokenizer.eos_token_id is None:
        raise UserError(
            where, "the tokenizer has no EOS token", fix="set tokenizer.eos_token and save it again"
        )
    if pad_token is not None and tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        tokenizer.add_special_tokens({"pad_token": pad_token})
    if tokenizer.pad_token_id is None:
        raise UserError(
            where, "the tokenizer has no pad token", fix="set the option pad_token, e.g. '<|pad|>'"
        )
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise UserError(
            where,
            "the tokenizer uses its EOS token for padding",
            got=tokenizer.eos_token,
            fix="give it a pad token of its own with the option pad_token, e.g. '<|pad|>'",
        )


def load_tokenizer(path: str | Path, where: str) -> PreTrainedTokenizerBase:
    """Open a tokenizer from a local folder or a hub id.

    :raises UserError: when there is none.
    """
    from transformers import AutoTokenizer

    with quiet_transformers(), _user_errors(path, where, "no tokenizer can be loaded from it"):
        return AutoTokenizer.from_pretrained(path)


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash that two tokenizers share only if the same ids mean the same tokens."""
    vocabulary = json.dumps([sorted(tokenizer.get_vocab().items()), tokenizer.eos_token_id])
    return hashlib.sha256(vocabulary.encode()).hexdigest()


def build_causal_lm(
    options: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    *,
    where: str,
    seed: int,
    dropout: float | None = None,
) -> PreTrainedModel:
    """Build a causal language model with random weights from the keys of a transformers config.

    :param options: ``model_type`` and any keys of its config class; vocabulary and special ids come from the
        tokenizer.
    :param dropout: what every dropout rate of its config is set to; None leaves them.
    :raises UserError: for an unknown model type or key.
    """
    from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

    options = {**_token_ids(tokenizer), "vocab_size": len(tokenizer), **options}
    model_type = options.pop("model_type", None)
    if model_type not in CONFIG_MAPPING:
        fix = (
            suggestion(str(model_type), CONFIG_MAPPING.keys()) if model_type else "add model_type, e.g. llama"
        )
        raise UserError(f"{where}.model_type", "not a transformers model type", got=model_type, fix=fix)
    # transformers keeps keys it does not know as inert attributes, so a misspelt one would go unnoticed.
    known = AutoConfig.for_model(model_type)
    for key in options:
        if not hasattr(known, key):
            fix = suggestion(key, known.to_dict())
            raise UserError(f"{where}.{key}", f"the {model_type} config has no such key", fix=fix)
    config = AutoConfig.for_model(model_type, **options)
    set_dropout(config, dropout)
    with quiet_transformers(), seeded_initialisation(seed, "model"):
        return fuse_activations(AutoModelForCausalLM.from_config(config))


def load_causal_lm(path: str | Path, where: str, *, dropout: float | None = None) -> PreTrainedModel:
    """Open a causal language model in float32 from a local folder or a hub id.

    :param dropout: what every dropout rate of its config is set to; None leaves them.
    :raises UserError: when there is none.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    with quiet_transformers(), _user_errors(path, where, "no model can be loaded from it"):
        config = AutoConfig.from_pretrained(path)
        set_dropout(config, dropout)
        model = AutoModelForCausalLM.from_pretrained(path, config=config, dtype=torch.float32)
    return fuse_activations(model)


def load_reward_model(path: str | Path, where: str) -> PreTrainedModel:
    """Open a saved scalar-headed model in float32.

    :raises UserError: when there is none, or it does not give one score.
    """
    from transformers import AutoModelForSequenceClassification

    with quiet_transformers(), _user_errors(path, where, "no reward model can be loaded from it"):
        model = AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32)
    if model.config.num_labels != 1:
        fix = "choose a model with one label, such as the reward_model stage leaves"
        raise UserError(
            where, "a reward model gives one score", got=f"{model.config.num_labels} labels", fix=fix
        )
    return fuse_activations(model)


def reward_model_from_policy(
    path: str | Path, where: str, *, seed: int, dropout: float | None = None
) -> PreTrainedModel:
    """Put a fresh scalar head on the trunk of a causal language model.

    The head's weights are N(0, 1/sqrt(d + 1)) for hidden size d, its bias 0 (Ziegler et al. 2019,
    arXiv 1909.08593, in their code).

    :raises UserError: when there is no such model, or transformers has no scalar-headed variant of it.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    problem = "no model with a scalar head can be made from it"
    with quiet_transformers(), _user_errors(path, where, problem), seeded_initialisation(seed, "head"):
        config = AutoConfig.from_pretrained(path, num_labels=1)
        set_dropout(config, dropout)
        model = AutoModelForSequenceClassification.from_pretrained(path, config=config, dtype=torch.float32)
    head = getattr(model, "score", None)
    if not isinstance(head, nn.Linear):
        raise UserError(
            where, problem, got=config.model_type, fix="choose a decoder-only model, e.g. llama or gpt2"
        )
    with torch.no_grad():
        std = (head.in_features + 1) ** -0.5
        head.weight.normal_(0.0, std, generator=torch_generator(seed, "score"))
        if head.bias is not None:
            head.bias.zero_()
    return fuse_activations(model)


def fuse_activations(model: PreTrainedModel) -> PreTrainedModel:
    """Give a model, in place, one kernel for each GELU that transformers writes out in a dozen operations.

    GPT-2's own form keeps five intermediate tensors a layer for the backward pass and takes longer than the
    matrix products around it. Results are equal up to rounding; neither config nor weights change.
    """
    from transformers.activations import FastGELUActivation, GELUTanh, NewGELUActivation

    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, NewGELUActivation | FastGELUActivation):
                setattr(parent, name, GELUTanh())
    return model


def grow_vocabulary(model: PreTrainedModel, size: int, seed: int) -> None:
    """Give a model embeddings for at least ``size`` tokens; what it has stays."""
    if size > model.get_input_embeddings().num_embeddings:
        with quiet_transformers(), seeded_initialisation(seed, "embeddings"):
            model.resize_token_embeddings(size)


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Write model and tokenizer as a Hugging Face folder (safetensors) whose ids agree with each other."""
    from transformers import GenerationConfig

    ids = _token_ids(tokenizer)
    for key, value in ids.items():
        setattr(model.config, key, value)
    if getattr(model, "generation_config", None) is not None:
        model.generation_config = GenerationConfig(**ids)
    with quiet_transformers():
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)


def set_dropout(config: PretrainedConfig, rate: float | None) -> None:
    """Set every dropout rate in a model config; None leaves it as it is."""
    for key, value in list(config.to_dict().items()) if rate is not None else ():
        if key.endswith(_DROPOUT_SUFFIXES) and isinstance(value, int | float):
            setattr(config, key, rate)


def context_length(model: PreTrainedModel) -> int | None:
    """Return the longest sequence in tokens that a model can read, or None where it has no limit."""
    return getattr(model.config, "max_position_embeddings", None)


def _token_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
    return {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}


@contextlib.contextmanager
def _user_errors(path: str | Path, where: str, problem: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        fix = "give a Hugging Face folder or hub id that can be reached"
        raise UserError(where, f"{problem} ({str(error).splitlines()[0]})", got=str(path), fix=fix) from error
