"""Log-probabilities, entropies and KLs against torch.distributions and SciPy; restricted actions."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import distributions as reference

from rltk.distributions import (
    categorical_kl,
    categorical_logprobs_and_entropy,
    gaussian_kl,
    gaussian_logprobs_and_entropy,
    restrict,
)
from rltk.rng import torch_generator


def normal(*shape, name="x"):
    return torch.randn(*shape, dtype=torch.float64, generator=torch_generator(name))


def test_categoricals_are_those_of_torch_and_scipy():
    p, q = normal(4, 3, 5, name="p"), normal(4, 3, 5, name="q")
    actions = torch.randint(5, (4, 3), generator=torch_generator("actions"))
    logprobs, entropy = categorical_logprobs_and_entropy(p, actions)
    expected = reference.Categorical(logits=p)
    torch.testing.assert_close(logprobs, expected.log_prob(actions))
    np.testing.assert_allclose(entropy, scipy.stats.entropy(p.softmax(-1).numpy(), axis=-1))
    np.testing.assert_allclose(
        categorical_kl(p, q), scipy.stats.entropy(p.softmax(-1).numpy(), q.softmax(-1).numpy(), axis=-1)
    )


def test_gaussians_are_those_of_scipy_and_torch():
    mean, log_std, actions = (normal(6, 2, name=name) for name in ("mean", "log_std", "actions"))
    other, other_log_std = normal(6, 2, name="other"), normal(6, 2, name="other_log_std")
    logprobs, entropy = gaussian_logprobs_and_entropy(mean, log_std, actions)
    scipy_normal = scipy.stats.norm(mean.numpy(), log_std.exp().numpy())
    np.testing.assert_allclose(logprobs, scipy_normal.logpdf(actions.numpy()).sum(-1))
    np.testing.assert_allclose(entropy, scipy_normal.entropy().sum(-1))
    expected = reference.kl_divergence(
        reference.Normal(mean, log_std.exp()), reference.Normal(other, other_log_std.exp())
    ).sum(-1)
    torch.testing.assert_close(gaussian_kl(mean, log_std, other, other_log_std), expected)


ALLOWED = torch.tensor([[True, False, True, True], [False, False, True, False], [True, True, True, True]])


def test_what_is_not_allowed_is_as_if_it_were_not_there():
    logits, other = normal(3, 4), normal(3, 4, name="other")
    p, q = restrict(logits, ALLOWED), restrict(other, ALLOWED)
    _, entropy = categorical_logprobs_and_entropy(p, torch.tensor([0, 2, 0]))
    kl = categorical_kl(p, q)
    for row, allowed in enumerate(ALLOWED):
        few, few_others = logits[row, allowed].softmax(-1).numpy(), other[row, allowed].softmax(-1).numpy()
        assert entropy[row].item() == pytest.approx(scipy.stats.entropy(few))
        assert kl[row].item() == pytest.approx(scipy.stats.entropy(few, few_others))
        for place, action in enumerate(allowed.nonzero()[:, 0]):
            logprob, _ = categorical_logprobs_and_entropy(p[row], action)
            assert logprob.exp().item() == pytest.approx(few[place])
    forbidden, _ = categorical_logprobs_and_entropy(p[0], torch.tensor(1))
    assert forbidden == -math.inf
    assert categorical_kl(logits[0], q[0]) == math.inf, "p takes what q cannot"


def test_nothing_changes_where_nothing_is_restricted():
    logits = normal(3, 4)
    assert restrict(logits, None) is logits
    assert torch.equal(restrict(logits, torch.ones(3, 4, dtype=torch.bool)), logits)


def test_gradients_of_restricted_categoricals_to_the_second_order():
    """Those of allowed logits agree with finite differences, the others are 0; never NaN."""
    actions = torch.tensor([0, 2, 3])
    other = restrict(normal(3, 4, name="other"), ALLOWED)

    def total(logits):
        p = restrict(logits, ALLOWED)
        logprobs, entropy = categorical_logprobs_and_entropy(p, actions)
        return logprobs + entropy + categorical_kl(p, other) + categorical_kl(other, p)

    logits = normal(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(total, logits)
    assert torch.autograd.gradgradcheck(total, logits)
    (gradient,) = torch.autograd.grad(total(logits).sum(), logits)
    assert torch.equal(gradient[~ALLOWED], torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize("used", [(0,), (1,), (0, 1)], ids=["logprobs", "entropy", "both"])
def test_gradients_of_categoricals_to_the_second_order(used):
    actions = torch.tensor([0, 2, 3])

    def chosen(logits):
        both = categorical_logprobs_and_entropy(logits, actions, restricted=False)
        return [both[i] for i in used]

    logits = normal(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(chosen, logits)
    assert torch.autograd.gradgradcheck(chosen, logits)
