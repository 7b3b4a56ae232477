"""Masks from infos and from a method; what is recorded; the errors of environments that say them badly."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import rltk
from rltk.action_masks import ActionMasks
from rltk.errors import UserError
from rltk.fragments import FragmentCollector
from rltk.rng import torch_generator
from rltk.rollout import collect
from rltk.testing.reference_policy import LinearPolicy
from rltk_policies.mlp import MLPPolicy

#: What may be done after a number of steps; the last row closes every third step.
ALLOWED = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0]], dtype=np.int8)


class Restricted(gym.Env):
    """Three actions, of which the number of steps forbids some; ends after 4 or 5 steps, in turn."""

    observation_space = gym.spaces.Box(0, 10, (1,), np.float32)
    action_space: gym.Space = gym.spaces.Discrete(3)
    says = "infos"
    episodes = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.episodes = 0, self.episodes + 1
        return self.observe(), self.infos() if self.says != "step" else {}

    def step(self, action):
        assert self.mask()[action], "a forbidden action was taken"
        self.count += 1
        return self.observe(), 1.0, self.count == 4 + self.episodes % 2, False, self.infos()

    def observe(self):
        return np.full(1, self.count, np.float32)

    def mask(self):
        return ALLOWED[self.count % 3].copy()

    def infos(self):
        return {} if self.says == "method" else {"action_mask": self.mask()}


class Asked(Restricted):
    """Says what is allowed when it is asked."""

    says = "method"

    def action_masks(self):
        return self.mask().astype(bool)


class TooLate(Restricted):
    """Says nothing in reset()."""

    says = "step"


class TooShort(Restricted):
    """Forgets an action."""

    def mask(self):
        return np.ones(2, np.int8)


class Stuck(Restricted):
    """Allows nothing after the second step."""

    def mask(self):
        return ALLOWED[self.count % 3] * np.int8(self.count < 2)


class Knobs(gym.Env):
    """Two components of 2 and 3 values; the first value chosen is forbidden the next time."""

    observation_space = gym.spaces.Box(0, 10, (1,), np.float32)
    action_space = gym.spaces.MultiDiscrete([2, 3])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.last = 0, None
        return np.zeros(1, np.float32), {"action_mask": self.mask()}

    def step(self, action):
        assert self.action_space.contains(action) and (self.last is None or action[0] != self.last)
        self.count, self.last = self.count + 1, int(action[0])
        return np.full(1, self.count, np.float32), 1.0, self.count == 6, False, {"action_mask": self.mask()}

    def mask(self):
        allowed = np.ones(5, np.int8)
        if self.last is not None:
            allowed[self.last] = 0
        return allowed


def vec(env, count=3):
    return SyncVectorEnv([env] * count, autoreset_mode=AutoresetMode.SAME_STEP)


def make_mlp(env):
    spaces = (env.observation_space, env.action_space)
    config = MLPPolicy.Config(hidden_sizes=(8,))
    policy = MLPPolicy(config, spaces=spaces, generator=torch_generator("masks"))
    with torch.no_grad():
        for parameter in policy.actor.parameters():
            parameter.mul_(50.0)
    return policy


@pytest.mark.parametrize("env", [Restricted, Asked])
def test_masks_are_recorded_with_the_actions_they_restricted(env):
    rollout = collect(vec(env), make_mlp(env), episodes=7, seed=0)
    for row in range(7):
        length = int(rollout.mask[row].sum())
        expected = ALLOWED[np.arange(length) % 3].astype(bool)
        assert np.array_equal(rollout.allowed[row, :length], expected)
        assert not rollout.allowed[row, length:].any()


@pytest.mark.parametrize("env", [Restricted, Knobs])
def test_log_probabilities_are_those_of_the_restricted_distribution(env):
    """Recomputed from the raw logits, the softmax taken over what is allowed alone."""
    policy = make_mlp(env)
    rollout = collect(vec(env), policy, episodes=6, seed=1)
    evaluation = policy.evaluate(rollout)
    torch.testing.assert_close(rollout.logprobs, evaluation.logprobs, atol=1e-5, rtol=0)
    sizes = [3] if env is Restricted else [2, 3]
    for row, column in rollout.mask.nonzero().tolist():
        with torch.no_grad():
            logits = policy.actor(rollout.observations[row, column]).split(sizes)
        allowed = rollout.allowed[row, column].split(sizes)
        taken = rollout.actions[row, column].reshape(-1)
        logprob = entropy = 0.0
        for part, may, action in zip(logits, allowed, taken, strict=True):
            probabilities = torch.where(may, part.exp(), 0.0)
            probabilities = probabilities / probabilities.sum()
            logprob += probabilities[action].log().item()
            entropy -= sum((p * p.log()).item() for p in probabilities if p > 0)
        assert rollout.logprobs[row, column].item() == pytest.approx(logprob, abs=1e-5)
        assert evaluation.entropy[row, column].item() == pytest.approx(entropy, abs=1e-5)


def test_gradients_through_a_restricted_rollout_are_finite():
    policy = make_mlp(Restricted)
    rollout = collect(vec(Restricted), policy, episodes=6, seed=1)
    parameters = policy.distribution_parameters(rollout)
    evaluation = policy.evaluate(rollout)
    kl = policy.kl_divergence(parameters.detach(), parameters)[rollout.mask].sum()
    (evaluation.logprobs.sum() + evaluation.entropy.sum() + kl).backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in policy.actor_parameters())
    assert any(bool(p.grad.any()) for p in policy.actor_parameters())


@pytest.mark.parametrize("env", [Restricted, Knobs])
@pytest.mark.parametrize("name", ["ppo", "trpo", "a2c", "reinforce"])
def test_algorithms_learn_within_masks(env, name):
    """Rewards are for the number of the action: the restricted choices move towards the larger ones."""
    policy = make_mlp(env)
    rollout = collect(vec(env), policy, episodes=40, seed=1)
    first = rollout.actions.reshape(*rollout.mask.shape, -1)[..., -1].float()
    rollout = rollout.replace(rewards=torch.where(rollout.mask, first, 0.0))
    before = {id(p): p.detach().clone() for p in policy.actor_parameters()}
    metrics = rltk.create("algorithm", name, policy=policy, gamma=0.0).update(rollout)
    assert all(np.isfinite(value) for value in metrics.values())
    after = policy.evaluate(rollout).logprobs
    assert bool(torch.isfinite(after).all())
    assert any(not torch.equal(before[id(p)], p) for p in policy.actor_parameters())
    centred = first - first[rollout.mask].mean()
    assert (centred * (after - rollout.logprobs))[rollout.mask].sum() > 0


def test_fragments_record_the_same_as_episodes():
    whole = collect(vec(Restricted, 1), make_mlp(Restricted), episodes=3, seed=3).steps()
    fragments = FragmentCollector(vec(Restricted, 1), make_mlp(Restricted), seed=3)
    cut = fragments.collect(len(whole)).steps()
    for name in ("actions", "allowed", "observations"):
        assert torch.equal(getattr(whole, name), getattr(cut, name)), name
    torch.testing.assert_close(whole.logprobs, cut.logprobs)


def test_where_nothing_is_said_nothing_is_restricted():
    assert collect(vec(Free), make_mlp(Free), episodes=2, seed=0).allowed is None
    every = np.ones(2, bool)
    masks = ActionMasks(vec(Restricted, 2), {"action_mask": ALLOWED[[0, 1]]})
    assert masks.read({}, every).all(), "no copy said anything in this step"
    partly = {"action_mask": np.array([[1, 0, 0], [0, 0, 0]]), "_action_mask": np.array([True, False])}
    assert masks.read(partly, every).tolist() == [[True, False, False], [True, True, True]]


class Free(Restricted):
    """Restricts nothing."""

    says = "method"

    def mask(self):
        return np.ones(3, np.int8)


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (
            TooLate,
            r"environment: its infos have an action_mask in step\(\) alone\. Fix: return it",
        ),
        (TooShort, r"environment: its action masks must have the shape \(3, 3\), got \(3, 2\)\. Fix: "),
        (Stuck, r"environment: one of its action masks allows nothing at all\. Fix: "),
    ],
)
def test_an_environment_that_says_it_badly_is_told_so_in_one_line(env, words):
    with pytest.raises(UserError, match=words) as raised:
        collect(vec(env), make_mlp(env), episodes=3, seed=0)
    assert "\n" not in str(raised.value)


def test_a_policy_that_takes_no_masks_is_refused():
    with pytest.raises(UserError, match=r"LinearSession takes no action masks, and this"):
        collect(vec(Restricted), LinearPolicy(1, 3), episodes=3, seed=0)
