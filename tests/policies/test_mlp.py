"""The mlp policy: acting in NumPy agrees with evaluating in torch, and both with SciPy."""

import gymnasium as gym
import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch.distributions import Categorical, kl_divergence

from rltk.errors import UserError
from rltk.rng import EpisodeStream, numpy_generator, torch_generator
from rltk.rollout import collect
from rltk.types import Rollout
from rltk_policies.action_distributions import Categoricals
from rltk_policies.mlp import MLPPolicy

SEEN = gym.spaces.Box(-10, 10, (3,), np.float32)
ACTIONS = {
    "discrete": gym.spaces.Discrete(4),
    "continuous": gym.spaces.Box(-1, 1, (2,), np.float32),
    "several": gym.spaces.MultiDiscrete([2, 4, 3]),
    "binary": gym.spaces.MultiBinary(3),
}


def make_policy(actions: gym.Space, **options) -> MLPPolicy:
    config = MLPPolicy.Config(hidden_sizes=(8,), initial_log_std=-0.3, **options)
    policy = MLPPolicy(config, spaces=(SEEN, actions), generator=torch_generator("mlp"))
    with torch.no_grad():
        for parameter in policy.actor.parameters():
            parameter.mul_(30.0)
    return policy


def act(policy: MLPPolicy, observations: np.ndarray, **options):
    n = len(observations)
    stream = EpisodeStream(5, np.arange(n), np.zeros(n, dtype=np.int64))
    return policy.session(n).act(observations, stream=stream, active=np.ones(n, dtype=bool), **options)


def rollout_of(observations: np.ndarray, actions: torch.Tensor) -> Rollout:
    n = len(observations)
    zeros = torch.zeros(n, 1)
    return Rollout(
        mask=torch.ones(n, 1, dtype=torch.bool),
        actions=actions[:, None],
        logprobs=zeros,
        rewards=zeros,
        values=zeros,
        bootstrap=torch.zeros(n),
        episode_ids=torch.arange(n),
        scores=torch.zeros(n),
        observations=torch.from_numpy(observations)[:, None],
    )


@pytest.fixture
def observations() -> np.ndarray:
    return numpy_generator("observations").normal(size=(50, 3)).astype(np.float32)


@pytest.mark.parametrize("options", [{}, {"normalize_observations": True}, {"activation": "relu"}], ids=str)
@pytest.mark.parametrize("actions", ACTIONS.values(), ids=ACTIONS)
@pytest.mark.parametrize("deterministic", [False, True])
def test_acting_and_evaluating_agree(observations, actions, options, deterministic):
    policy = make_policy(actions, **options)
    batch = rollout_of(observations * 3 + 1, torch.zeros(50, *actions.shape, dtype=torch.int64))
    policy.observe(batch)
    action = act(policy, observations, deterministic=deterministic)
    evaluation = policy.evaluate(rollout_of(observations, action.actions))
    torch.testing.assert_close(action.logprobs, evaluation.logprobs[:, 0].detach(), rtol=1e-5, atol=1e-5)


def test_discrete_actions_follow_the_inverse_distribution_function(observations):
    policy = make_policy(ACTIONS["discrete"])
    with torch.no_grad():
        probabilities = torch.softmax(policy.actor(torch.from_numpy(observations)), -1).numpy()
    uniforms = EpisodeStream(5, np.arange(50), np.zeros(50, dtype=np.int64)).uniform()[:, 0]
    expected = [
        np.searchsorted(p.cumsum(), u, side="right") for p, u in zip(probabilities, uniforms, strict=True)
    ]
    assert act(policy, observations).actions.tolist() == expected
    modes = act(policy, observations, deterministic=True).actions
    assert modes.tolist() == probabilities.argmax(-1).tolist()


def test_several_components_are_independent_categoricals(observations):
    """Each draws a uniform of its own; log-probability, entropy and KL are the sums of torch's."""
    policy, other = (make_policy(ACTIONS["several"]) for _ in range(2))
    with torch.no_grad():
        other.actor.layers()[-1][1].add_(torch.arange(9.0))
    action = act(policy, observations)
    assert action.actions.shape == (50, 3) and ACTIONS["several"].contains(action.actions[0].numpy())
    batch = rollout_of(observations, action.actions)
    p, q = (each.distribution_parameters(batch).detach()[:, 0] for each in (policy, other))
    parts, others = ([Categorical(logits=part) for part in x.split([2, 4, 3], -1)] for x in (p, q))
    uniforms = EpisodeStream(5, np.arange(50), np.zeros(50, dtype=np.int64)).uniform(3)
    for i, part in enumerate(parts):
        expected = [
            np.searchsorted(row.cumsum(0), u) for row, u in zip(part.probs, uniforms[:, i], strict=True)
        ]
        assert action.actions[:, i].tolist() == expected
    evaluation = policy.evaluate(batch)
    torch.testing.assert_close(
        evaluation.logprobs[:, 0].detach(), sum(x.log_prob(action.actions[:, i]) for i, x in enumerate(parts))
    )
    torch.testing.assert_close(evaluation.entropy[:, 0].detach(), sum(x.entropy() for x in parts))
    torch.testing.assert_close(
        policy.kl_divergence(p, q), sum(kl_divergence(*pair) for pair in zip(parts, others, strict=True))
    )


def test_the_last_action_is_never_taken_where_it_is_not_allowed():
    """Not even by the largest uniform, whose product with the total may be rounded up to it."""

    class Largest(EpisodeStream):
        def uniform(self, draws=1):
            return np.full((1000, draws), 1.0 - 2.0**-53)

    logits = numpy_generator("logits").normal(size=(1000, 4)).astype(np.float32)
    allowed = np.array([[True, True, True, False]])
    nobody = np.zeros(0, dtype=np.int64)
    chosen, logprobs = Categoricals((4,)).choose(logits, np.zeros(0), Largest(0, nobody, nobody), allowed)
    assert chosen.tolist() == [2] * 1000
    np.testing.assert_allclose(logprobs, scipy.special.log_softmax(logits[:, :3], -1)[:, 2], rtol=1e-5)


def test_continuous_actions_are_normal_with_their_densities(observations):
    policy = make_policy(ACTIONS["continuous"])
    with torch.no_grad():
        means = policy.actor(torch.from_numpy(observations)).numpy()
    uniforms = EpisodeStream(5, np.arange(50), np.zeros(50, dtype=np.int64)).uniform(2)
    normal = scipy.stats.norm(means, np.exp(-0.3))
    action = act(policy, observations)
    np.testing.assert_allclose(action.actions, normal.ppf(uniforms), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(action.logprobs, normal.logpdf(action.actions).sum(-1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(act(policy, observations, deterministic=True).actions, means, rtol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("space", [gym.spaces.Discrete(5), gym.spaces.MultiDiscrete([3, 2])], ids=str)
def test_discrete_observations_are_read_as_gymnasium_flattens_them(space, normalize):
    generator = numpy_generator("discrete")
    seen = generator.integers(0, getattr(space, "nvec", 5), (50, *space.shape))
    policies = [
        MLPPolicy(
            MLPPolicy.Config(hidden_sizes=(8,), normalize_observations=normalize),
            spaces=(each, ACTIONS["discrete"]),
            generator=torch_generator("mlp"),
        )
        for each in (space, gym.spaces.flatten_space(space))
    ]
    flat = np.stack([gym.spaces.flatten(space, row) for row in seen]).astype(np.float32)
    actions = torch.zeros(50, dtype=torch.int64)
    answers = []
    for policy, observations in zip(policies, (seen, flat), strict=True):
        policy.observe(rollout_of(observations, actions))
        action = act(policy, observations)
        evaluation = policy.evaluate(rollout_of(observations, action.actions))
        torch.testing.assert_close(action.logprobs, evaluation.logprobs[:, 0].detach())
        answers.append((action.actions, evaluation.logprobs, evaluation.values))
    for one, other in zip(*answers, strict=True):
        torch.testing.assert_close(one, other)


def test_taxi_is_driven_within_its_masks():
    """500 discrete states; where it is, some of six actions would do nothing, and Gymnasium says which."""
    envs = gym.make_vec(
        "Taxi-v4", 3, "sync", vector_kwargs={"autoreset_mode": "SameStep"}, max_episode_steps=30
    )
    policy = MLPPolicy(MLPPolicy.Config(), spaces=(envs.single_observation_space, envs.single_action_space))
    rollout = collect(envs, policy, episodes=5, seed=0)
    taken = rollout.allowed.gather(-1, rollout.actions[..., None])[..., 0]
    assert bool(taken[rollout.mask].all()) and not rollout.allowed[rollout.mask].all()
    torch.testing.assert_close(rollout.logprobs, policy.evaluate(rollout).logprobs.detach())


def test_a_folder_holds_weights_scales_and_shape(observations, tmp_path):
    policy = make_policy(ACTIONS["discrete"], normalize_observations=True, activation="relu")
    policy.observe(rollout_of(observations * 7, torch.zeros(50, dtype=torch.int64)))
    policy.save(tmp_path)
    restored = MLPPolicy(MLPPolicy.Config(path=str(tmp_path)), spaces=(SEEN, ACTIONS["discrete"]))
    assert torch.equal(act(policy, observations).logprobs, act(restored, observations).logprobs)


def test_uniform_weights_are_those_that_torch_gives_its_layers():
    config = MLPPolicy.Config(hidden_sizes=(8,), initial_weights="uniform")
    policy = MLPPolicy(config, spaces=(SEEN, ACTIONS["discrete"]), generator=torch.Generator().manual_seed(3))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [torch.nn.Linear(3, 8), torch.nn.Linear(8, 4)]
    for (weight, bias), theirs in zip(policy.actor.layers(), layers, strict=True):
        torch.testing.assert_close(weight, theirs.weight, rtol=0, atol=1e-7)
        torch.testing.assert_close(bias, theirs.bias, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("seen", "actions", "words"),
    [
        (gym.spaces.Dict(a=SEEN), ACTIONS["discrete"], "'mlp' reads Box and discrete observations only"),
        (gym.spaces.Discrete(3, start=1), ACTIONS["discrete"], "'mlp' counts observations from 0"),
        (SEEN, gym.spaces.Box(-1, 1, (2, 2), np.float32), "'mlp' cannot take these actions"),
        (SEEN, gym.spaces.Text(5), "'mlp' cannot take these actions"),
        (SEEN, gym.spaces.Discrete(3, start=1), "'mlp' counts actions from 0"),
    ],
)
def test_spaces_it_cannot_take_are_refused(seen, actions, words):
    with pytest.raises(UserError, match=words):
        MLPPolicy(MLPPolicy.Config(), spaces=(seen, actions))


def test_a_folder_without_a_policy_and_one_of_another_shape_are_refused(tmp_path):
    config = MLPPolicy.Config(path=str(tmp_path))
    with pytest.raises(UserError, match=r"policy\.path: no saved mlp policy, got "):
        MLPPolicy(config, spaces=(SEEN, ACTIONS["discrete"]))
    make_policy(ACTIONS["discrete"]).save(tmp_path)
    words = r"policy\.path: saved for an environment with actions Discrete\(4\), not Box\(.*\), got "
    with pytest.raises(UserError, match=words):
        MLPPolicy(config, spaces=(SEEN, ACTIONS["continuous"]))
    make_policy(ACTIONS["continuous"]).save(tmp_path)
    words = r"policy\.path: saved for an environment with actions Box\(.*\), not Discrete\(4\), got "
    with pytest.raises(UserError, match=words):
        MLPPolicy(config, spaces=(SEEN, ACTIONS["discrete"]))
