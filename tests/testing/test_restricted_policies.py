"""The contract of policies whose sessions take action masks, and of those that need the observation alone."""

import numpy as np
import pytest
import torch

import rltk
from rltk.distributions import categorical_kl, categorical_logprobs_and_entropy, restrict
from rltk.testing import check_policy
from rltk.types import Action
from tests.testing.test_policies import Linear


class MaskedSession(rltk.MaskableSession):
    """Acts on what is allowed of the policy's distribution."""

    def __init__(self, policy):
        self.policy = policy

    @torch.no_grad()
    def act(self, observations, *, stream, active, deterministic=False, allowed=None):
        features = torch.from_numpy(observations)
        logits = self.policy.actor(features)
        if allowed is not None:
            logits = restrict(logits, torch.from_numpy(allowed))
        actions = logits.argmax(-1) if deterministic else self.sample(logits, stream)
        logprobs, _ = self.policy.logprobs_and_entropy(logits, actions)
        return Action(actions, logprobs, self.policy.critic(features)[..., 0])

    def sample(self, logits, stream):
        cumulative = torch.softmax(logits.double(), -1).cumsum(-1)
        return (torch.from_numpy(stream.uniform()) >= cumulative[:, :-1]).sum(-1)


class Masked(Linear):
    """A linear policy that keeps to what is allowed."""

    memoryless = True

    def session(self, num_envs):
        return MaskedSession(self)

    def distribution_parameters(self, batch):
        allowed = batch.allowed
        if allowed is not None:  # padding allows nothing, of which there is no distribution
            allowed = allowed | ~batch.mask[..., None]
        return restrict(super().distribution_parameters(batch), allowed)

    def logprobs_and_entropy(self, parameters, actions):
        return categorical_logprobs_and_entropy(parameters, actions)

    def kl_divergence(self, p, q):
        return categorical_kl(p, q)


def test_a_policy_that_keeps_to_what_is_allowed_passes():
    told = []
    check_policy(Masked, progress=lambda title, error: told.append(title))
    assert "on restricted Discrete actions: It takes only actions that the environment allows" in told
    assert "on Discrete actions: An action taken out of its episode is evaluated as inside it" in told


class ForgetsTheMask(Masked):
    """Takes masks and does nothing with them."""

    def session(self, num_envs):
        class Careless(MaskedSession):
            def act(self, observations, *, allowed=None, **options):
                return super().act(observations, **options)

        return Careless(self)


class ModeForgetsTheMask(Masked):
    """Keeps to the mask in sampling, and takes the mode of everything."""

    def session(self, num_envs):
        class Greedy(MaskedSession):
            def act(self, observations, *, deterministic=False, allowed=None, **options):
                given = None if deterministic else allowed
                return super().act(observations, deterministic=deterministic, allowed=given, **options)

        return Greedy(self)


class EvaluatesEverything(Masked):
    """Acts with the mask and evaluates without."""

    def distribution_parameters(self, batch):
        return self.actor(batch.observations)


class Remembering(Linear):
    """Adds up what it saw, and says that it does not."""

    memoryless = True

    def session(self, num_envs):
        class Sum(MaskedSession):
            def act(self, observations, *, stream, **options):
                seen = np.where((stream.positions == 0)[:, None], 0.0, getattr(self, "seen", 0.0))
                self.seen = (seen + observations).astype(np.float32)
                return super().act(self.seen, stream=stream, **options)

        return Sum(self)

    def features(self, batch):
        return torch.where(batch.mask[..., None], batch.observations, 0.0).cumsum(1)


@pytest.mark.parametrize(
    ("mutant", "reason"),
    [
        (ForgetsTheMask, r"on restricted Discrete actions: .*: \d+ of \d+ actions were not allowed"),
        (ModeForgetsTheMask, r"on restricted Discrete actions: .*: \d+ of \d+ actions were not allowed"),
        (EvaluatesEverything, "on restricted Discrete actions: .*the first ratio is 1: log-probability"),
        (Remembering, "An action taken out of its episode is evaluated as inside it"),
    ],
)
def test_what_is_wrong_is_named(mutant, reason):
    with pytest.raises(AssertionError, match=reason):
        check_policy(mutant)
