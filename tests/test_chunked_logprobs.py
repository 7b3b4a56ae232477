"""Log-probabilities in chunks: values and gradients of the plain computation, in less memory."""

import pytest
import torch
from torch import nn

from rltk import chunked_logprobs
from rltk.chunked_logprobs import token_logprobs_and_entropy
from rltk.distributions import categorical_logprobs_and_entropy
from rltk.rng import torch_generator
from tests.allocations import Allocations

D, V = 5, 11


@pytest.fixture(autouse=True, params=["nothing kept", "one chunk kept", "all kept"])
def small_chunks(monkeypatch, request):
    """Make chunks of four positions, so that ten make three."""
    kept = {"nothing kept": 0, "one chunk kept": 7 * V, "all kept": 10 * V}[request.param]
    monkeypatch.setattr(chunked_logprobs, "_CPU_KEPT", kept)
    monkeypatch.setattr(chunked_logprobs, "_CPU_CHUNK", 4 * V)
    monkeypatch.setattr(chunked_logprobs, "_FEWEST_POSITIONS", 1)


def made(n=10, dtype=torch.float64, *, bias=False, restricted=False):
    """Return a head, hidden states, tokens and what is allowed (None: everything)."""
    generator = torch_generator("chunks")
    head = nn.Linear(D, V, bias=bias, dtype=dtype)
    for parameter in head.parameters():
        nn.init.normal_(parameter, generator=generator)
    hidden = torch.randn(n, D, generator=generator, dtype=dtype, requires_grad=True)
    tokens = torch.randint(V, (n,), generator=generator)
    if not restricted:
        return head, hidden, tokens, None
    allowed = torch.rand(n, V, generator=generator) < 0.6
    allowed[torch.arange(n), tokens] = True
    allowed[0] = torch.arange(V) == tokens[0]
    return head, hidden, tokens, allowed


def plainly(head, hidden, tokens, temperature=1.0, allowed=None):
    logits = head(hidden).double() / temperature
    if allowed is not None:
        logits = torch.where(allowed, logits, -torch.inf)
    return categorical_logprobs_and_entropy(logits, tokens, restricted=allowed is not None)


def gradients(results, parameters):
    """Return the gradients of a sum that weighs every log-probability and every entropy otherwise."""
    logprobs, entropy = results
    weights = torch.randn(2, len(logprobs), generator=torch_generator("weights"), dtype=torch.float64)
    total = (weights[0] * logprobs.double() + weights[1] * entropy.double()).sum()
    return torch.autograd.grad(total, parameters)


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_values_and_gradients_equal_the_plain_computation(bias, restricted, temperature):
    head, hidden, tokens, allowed = made(bias=bias, restricted=restricted)
    ours = token_logprobs_and_entropy(head, hidden, tokens, temperature=temperature, allowed=allowed)
    plain = plainly(head, hidden, tokens, temperature, allowed)
    torch.testing.assert_close(ours, plain)
    inputs = [hidden, *head.parameters()]
    torch.testing.assert_close(gradients(ours, inputs), gradients(plain, inputs))


@pytest.mark.parametrize("restricted", [False, True])
def test_gradients_equal_finite_differences(restricted):
    head, hidden, tokens, allowed = made(n=6, bias=True, restricted=restricted)

    def function(hidden, weight, bias):
        cast = chunked_logprobs._Cast(torch.float64, 0.7, chunked_logprobs._CPU_KEPT)
        return chunked_logprobs._LinearHead.apply(hidden, weight, bias, tokens, allowed, cast)

    assert torch.autograd.gradcheck(function, (hidden, head.weight, head.bias))


def test_a_uniform_head_gives_what_is_known_by_hand():
    head, hidden, tokens, allowed = made(restricted=True)
    nn.init.zeros_(head.weight)
    logprobs, entropy = token_logprobs_and_entropy(head, hidden, tokens)
    expected = torch.full((10,), float(V), dtype=torch.float64).log()
    torch.testing.assert_close((-logprobs, entropy), (expected, expected))
    logprobs, entropy = token_logprobs_and_entropy(head, hidden, tokens, allowed=allowed)
    expected = allowed.sum(1).double().log()
    torch.testing.assert_close((-logprobs, entropy), (expected, expected))


@pytest.mark.parametrize("which", [0, 1])
def test_one_of_the_two_alone_can_be_differentiated(which):
    head, hidden, tokens, allowed = made(restricted=True)
    inputs = [hidden, head.weight]
    ours = token_logprobs_and_entropy(head, hidden, tokens, allowed=allowed)[which]
    plain = plainly(head, hidden, tokens, allowed=allowed)[which]
    torch.testing.assert_close(
        torch.autograd.grad(ours.sum(), inputs), torch.autograd.grad(plain.sum(), inputs)
    )


def test_frozen_inputs_get_no_gradient():
    head, hidden, tokens, _ = made(bias=True)
    head.requires_grad_(False)
    token_logprobs_and_entropy(head, hidden, tokens)[0].sum().backward()
    assert hidden.grad is not None and head.weight.grad is None and head.bias.grad is None
    head.requires_grad_(True)
    token_logprobs_and_entropy(head, hidden.detach(), tokens)[0].sum().backward()
    assert head.weight.grad is not None


def test_tied_embeddings_get_both_gradients():
    head, _, tokens, _ = made()
    read = torch.randint(V, (10,), generator=torch_generator("read"))
    ours, plain = (
        gradients(function(head, nn.functional.embedding(read, head.weight), tokens), [head.weight])
        for function in (token_logprobs_and_entropy, plainly)
    )
    torch.testing.assert_close(ours, plain)


def test_a_head_with_an_adapter_learns_through_it():
    """A linear layer of a class of its own, as peft makes them, and the frozen layer inside."""

    class Adapted(nn.Linear):
        def __init__(self, base):
            super().__init__(D, V, bias=False, dtype=torch.float64)
            self.weight = nn.Parameter(base.weight.detach(), requires_grad=False)
            self.low = nn.Parameter(torch.full((D, V), 0.1, dtype=torch.float64))

        def forward(self, x):
            return super().forward(x) + x @ self.low

    base, hidden, tokens, allowed = made(restricted=True)
    head = Adapted(base)
    ours = token_logprobs_and_entropy(head, hidden, tokens, temperature=0.6, allowed=allowed)
    plain = plainly(head, hidden, tokens, 0.6, allowed)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(gradients(ours, [hidden, head.low]), gradients(plain, [hidden, head.low]))


@pytest.mark.parametrize("how", ["weights", "autocast"])
def test_in_half_precision_softmax_and_results_are_float32(how):
    dtype = torch.bfloat16 if how == "weights" else torch.float32
    head, hidden, tokens, _ = made(n=40, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        logprobs, entropy = token_logprobs_and_entropy(head, hidden, tokens)
        logits = head(hidden)
    assert logits.dtype == torch.bfloat16 and logprobs.dtype == entropy.dtype == torch.float32
    expected = categorical_logprobs_and_entropy(logits.float(), tokens)
    torch.testing.assert_close((logprobs, entropy), expected, atol=1e-6, rtol=1e-6)
    inputs = [hidden, head.weight]
    ours, plain = gradients((logprobs, entropy), inputs), gradients(expected, inputs)
    for one, other in zip(ours, plain, strict=True):
        assert one.dtype == other.dtype == dtype
        assert (one - other).norm() < 0.01 * other.norm()


def test_no_positions_are_fine():
    head, hidden, tokens, _ = made(n=0)
    logprobs, entropy = token_logprobs_and_entropy(head, hidden, tokens)
    assert logprobs.shape == entropy.shape == (0,)
    torch.autograd.grad(logprobs.sum(), [hidden, head.weight])


@pytest.mark.parametrize("plain_head", [True, False])
def test_memory_does_not_grow_with_the_positions(plain_head, monkeypatch):
    """Beside the inputs, their gradients and three numbers a position there is room for one chunk."""
    monkeypatch.setattr(chunked_logprobs, "_CPU_CHUNK", 64 * 997)
    head = nn.Linear(4, 997, bias=False)
    if not plain_head:
        head.__class__ = type("Another", (nn.Linear,), {})
    peaks, largest = [], []
    for n in (512, 2048):
        hidden, tokens = (
            torch.randn(n, 4, generator=torch_generator(n), requires_grad=True),
            torch.arange(n) % 997,
        )
        with Allocations() as seen:
            logprobs, entropy = token_logprobs_and_entropy(head, hidden, tokens)
            (logprobs - 0.1 * entropy).sum().backward()
        peaks.append(seen.peak)
        largest.append(seen.largest)
    assert largest[0] == largest[1] == 4 * 64 * 997
    # 4 + 3 numbers a position and a few more while they are summed; the plain computation has 3 * 997.
    assert peaks[1] - peaks[0] < 4 * 25 * (2048 - 512)
    assert peaks[1] < 6 * largest[1]
