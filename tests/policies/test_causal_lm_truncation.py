"""Sampling from part of the distribution: which tokens are left, and what log-probabilities say of it."""

import pytest
import torch
from transformers.generation.logits_process import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from rltk.errors import UserError
from rltk.rng import torch_generator
from rltk.rollout import collect
from rltk_policies.causal_lm.sampling import Truncation, choose_tokens
from tests.policies.test_causal_lm import make_envs, make_policy

WARPERS = {"top_k": TopKLogitsWarper, "top_p": TopPLogitsWarper, "min_p": MinPLogitsWarper}


def some_logits(rows=200, tokens=50):
    return 3 * torch.randn(rows, tokens, generator=torch_generator("truncation"))


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 5},
        {"top_k": 80},
        {"top_p": 0.9},
        {"top_p": 0.05},
        {"min_p": 0.1},
        {"min_p": 1.0},
        {"top_k": 20, "top_p": 0.7},
        {"top_k": 20, "top_p": 0.95, "min_p": 0.02},
    ],
)
def test_what_is_left_is_what_transformers_leaves(options):
    logits = some_logits()
    expected = logits
    for name, value in options.items():
        expected = WARPERS[name](value)(None, expected)
    assert torch.equal(Truncation(**options).apply(logits), expected)


def test_without_options_nothing_is_left_out():
    logits = some_logits()
    assert not Truncation()
    assert Truncation().apply(logits) is logits


def test_tokens_come_from_what_is_left_with_its_log_probabilities():
    logits = Truncation(top_k=3).apply(some_logits(rows=1)).expand(3000, -1)
    uniforms = torch.rand(3000, dtype=torch.float64, generator=torch_generator("uniforms"))
    tokens, logprobs = choose_tokens(logits, uniforms, deterministic=False)
    left = logits[0] > -torch.inf
    assert set(tokens.tolist()) == set(left.nonzero()[:, 0].tolist())
    kept = logits[0][left].double().exp()
    for token, probability in zip(left.nonzero()[:, 0], kept / kept.sum(), strict=True):
        assert (tokens == token).double().mean().item() == pytest.approx(probability.item(), abs=0.05)
        assert logprobs[tokens == token][0].exp().item() == pytest.approx(probability.item(), abs=1e-6)


@pytest.mark.parametrize("vocabulary", [2, 7, 1024, 5003])
def test_the_first_token_beyond_a_uniform_is_taken(vocabulary):
    generator = torch_generator("beyond", vocabulary)
    logits = 3 * torch.randn(200, vocabulary, generator=generator)
    logits[:, torch.rand(vocabulary, generator=generator) < 0.3] = -torch.inf
    logits[:, vocabulary // 2] = 0.0
    uniforms = torch.rand(200, dtype=torch.float64, generator=generator)
    tokens, logprobs = choose_tokens(logits, uniforms, deterministic=False)
    exact = logits.double().log_softmax(-1)
    sums = exact.exp().cumsum(-1)
    at = tokens[:, None]
    assert (sums.gather(1, at)[:, 0] > uniforms - 1e-6).all()
    assert ((sums - exact.exp()).gather(1, at)[:, 0] <= uniforms + 1e-6).all()
    torch.testing.assert_close(logprobs.double(), exact.gather(1, at)[:, 0], atol=1e-5, rtol=0)


def test_a_uniform_next_to_one_takes_no_forbidden_token():
    logits = torch.tensor([[0.0, 1.0, -torch.inf, -torch.inf]])
    last = torch.tensor([1 - 2.0**-53], dtype=torch.float64)
    assert choose_tokens(logits, last, deterministic=False)[0].tolist() == [1]
    assert choose_tokens(logits.flip(1), last * 0, deterministic=False)[0].tolist() == [2]


@pytest.mark.parametrize("options", [{"top_k": 4}, {"top_p": 0.8}, {"min_p": 0.2, "temperature": 1.5}])
def test_evaluating_agrees_with_acting(options):
    policy = make_policy(**options)
    rollout = collect(make_envs(4), policy, episodes=12, seed=3)
    with torch.no_grad():
        evaluation = policy.evaluate(rollout)
        whole = make_policy(temperature=options.get("temperature", 1.0)).evaluate(rollout)
        logits = policy.distribution_parameters(rollout)
    torch.testing.assert_close(rollout.logprobs, evaluation.logprobs, atol=1e-5, rtol=0)
    logprobs, entropy = policy.logprobs_and_entropy(logits, rollout.actions)
    mask = rollout.mask
    torch.testing.assert_close(logprobs[mask], evaluation.logprobs[mask])
    torch.testing.assert_close(entropy[mask], evaluation.entropy[mask], atol=1e-5, rtol=1e-5)
    # the same tokens are likelier where others are left out
    assert (evaluation.logprobs >= whole.logprobs - 1e-5).all()
    assert (evaluation.logprobs - whole.logprobs).max() > 0.1


def test_learning_from_what_is_left_is_refused():
    policy = make_policy(top_p=0.8)
    rollout = collect(make_envs(2), policy, episodes=3, seed=0)
    with pytest.raises(UserError, match=r"cannot learn with top_k, top_p or min_p.*only evaluated"):
        policy.evaluate(rollout)
