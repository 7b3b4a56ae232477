"""Tiny language models and prompts, made from configs, for tests of text policies."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from rltk.rng import numpy_generator, seeded_initialisation
from rltk.testing.worlds import WORDS
from rltk.testing.worlds import word_tokenizer as word_tokenizer


def tiny_model(kind: str = "llama", context: int = 48, scale: float = 4.0) -> PreTrainedModel:
    """Return a two-layer model; ``scale`` sharpens its distributions so that mistakes show."""
    shared = {"vocab_size": len(WORDS), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    with seeded_initialisation("tiny", kind):
        if kind == "gpt2":
            config = GPT2Config(n_embd=16, n_layer=2, n_head=4, n_positions=context, **shared)
            model: PreTrainedModel = GPT2LMHeadModel(config)
        else:
            model = LlamaForCausalLM(
                LlamaConfig(
                    hidden_size=16,
                    intermediate_size=24,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    num_key_value_heads=2,
                    max_position_embeddings=context,
                    tie_word_embeddings=False,
                    **shared,
                )
            )
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(scale)
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(3.0)
    return model.eval()


def ragged_prompts(count: int = 11, longest: int = 9) -> list[list[int]]:
    """Return prompts of different lengths as token ids."""
    generator = numpy_generator("prompts")
    return [
        generator.integers(3, len(WORDS), generator.integers(1, longest + 1)).tolist() for _ in range(count)
    ]
