"""GPT-2's shorter pass: hidden states and gradients of transformers' own, and None for any other model."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2Model, LlamaConfig, LlamaModel

from rltk import feed_forward, gpt2_pass
from rltk.gpt2_pass import gpt2_hidden_states
from rltk.models import fuse_activations
from rltk.rng import seeded_initialisation, torch_generator

WIDTH, START = 24, 9


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    """Make groups of seven positions, so that there are several and the last is smaller."""
    monkeypatch.setattr(feed_forward, "_POSITIONS", 7)


def trunk(dtype=torch.float64, **options):
    ids = {"vocab_size": 50, "bos_token_id": None, "eos_token_id": 1}
    config = GPT2Config(n_embd=16, n_layer=3, n_head=4, n_positions=WIDTH, **ids, **options)
    with seeded_initialisation("gpt2"):
        model = GPT2Model(config)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
    return fuse_activations(model).eval().to(dtype)


def texts(prompts):
    """Return eight ragged rows with ``prompts`` different beginnings, and the places before their actions."""
    generator = torch_generator("texts")
    tokens = torch.randint(3, 50, (8, WIDTH), generator=generator)
    tokens[:, :START] = tokens[:prompts, :START].repeat(8 // prompts, 1)
    lengths = torch.randint(START + 2, WIDTH + 1, (8,), generator=generator)
    columns = torch.arange(WIDTH)
    read = (columns >= START - 1) & (columns < lengths[:, None] - 1)
    return tokens * (columns < lengths[:, None]), read.flatten().nonzero()[:, 0]


def plainly(model, tokens, places):
    return model(input_ids=tokens, use_cache=False).last_hidden_state.flatten(0, 1)[places]


@pytest.mark.parametrize("prompts", [1, 2, 8])
def test_hidden_states_and_gradients_are_those_of_the_model(prompts):
    model, (tokens, places) = trunk(), texts(prompts)
    ours, plain = gpt2_hidden_states(model, tokens, places), plainly(model, tokens, places)
    torch.testing.assert_close(ours, plain)
    weights = torch.randn(plain.shape, generator=torch_generator("weights"), dtype=plain.dtype)
    parameters = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad((weights * ours).sum(), parameters),
        torch.autograd.grad((weights * plain).sum(), parameters),
    )


def test_without_gradients_and_in_single_precision_they_are_the_same():
    model, (tokens, places) = trunk(torch.float32), texts(2)
    with torch.no_grad():
        ours, plain = gpt2_hidden_states(model, tokens, places), plainly(model, tokens, places)
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours, gpt2_hidden_states(model, tokens, places).detach(), atol=0, rtol=0)


@pytest.mark.parametrize(
    "options", [{"scale_attn_weights": False}, {"scale_attn_by_inverse_layer_idx": True}]
)
def test_attention_is_scaled_as_the_config_says(options):
    model, (tokens, places) = trunk(**options), texts(2)
    torch.testing.assert_close(gpt2_hidden_states(model, tokens, places), plainly(model, tokens, places))


def test_a_common_start_is_read_once_where_that_saves_tokens():
    tokens, places = texts(2)
    shared = gpt2_pass._Texts.sharing(tokens, places)
    # the last token of a prompt has an answer to give in every row
    assert shared.starts.shape == (2, START - 1) and shared.ends.shape == (8, WIDTH - START + 1)
    torch.testing.assert_close(torch.cat([shared.starts[shared.owner], shared.ends], 1), tokens)
    assert gpt2_pass._Texts.sharing(*texts(8)).shared == 0
    assert gpt2_pass._Texts.sharing(tokens, torch.tensor([0, 30])).shared == 0


def test_gradients_of_the_feed_forward_layers_equal_finite_differences():
    generator = torch_generator("layers")
    shapes = [(10, 3), (3, 5), (5,), (5, 3), (3,)]
    inputs = [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes
    ]

    def ours(x, inner, inner_bias, outer, outer_bias):
        return feed_forward.feed_forward(x, (inner, inner_bias), (outer, outer_bias))

    x, inner, inner_bias, outer, outer_bias = inputs
    plain = F.gelu(x @ inner + inner_bias, approximate="tanh") @ outer + outer_bias
    torch.testing.assert_close(ours(*inputs), plain)
    assert torch.autograd.gradcheck(ours, inputs)


def hooked(model):
    model.h[1].mlp.c_fc.register_forward_hook(lambda module, inputs, output: 2 * output)


def replaced(model):
    class Adapted(type(model.h[0].attn.c_attn)):
        pass

    model.h[0].attn.c_attn.__class__ = Adapted


def wrapped(model):
    model.h[2].forward = model.h[2].forward


@pytest.mark.parametrize(
    "change",
    [
        hooked,
        replaced,
        wrapped,
        nn.Module.train,
        nn.Module.bfloat16,
        lambda model: model.wpe.requires_grad_(False),
        lambda model: model.set_attn_implementation("eager"),
        lambda model: setattr(model.h[0].mlp, "act", nn.ReLU()),
    ],
)
def test_a_model_that_differs_in_anything_is_left_to_its_own_pass(change):
    model, (tokens, places) = copy.deepcopy(trunk()), texts(2)
    assert gpt2_hidden_states(model, tokens, places) is not None
    change(model)
    assert gpt2_hidden_states(model, tokens, places) is None


def test_other_models_and_autocast_are_left_to_their_own_pass():
    tokens, places = texts(2)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    assert gpt2_hidden_states(LlamaModel(LlamaConfig(vocab_size=50, **sizes)), tokens, places) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert gpt2_hidden_states(trunk(torch.float32), tokens, places) is None
