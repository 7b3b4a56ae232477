"""PPO and A2C against Stable-Baselines3 on the same batch, where it is installed."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rltk.advantages import with_gae
from rltk.rng import torch_generator
from rltk.types import Rollout
from rltk_algorithms.a2c import A2C
from rltk_algorithms.ppo import PPO
from rltk_policies.mlp import MLPPolicy
from tests.mlp_layers import named_layers

sb3 = pytest.importorskip("stable_baselines3")

STEPS, ENVS = 64, 4
#: Plain descent: the first step of Adam or RMSprop is the sign of the gradient and magnifies rounding.
SGD = {"optimizer_class": torch.optim.SGD, "ortho_init": True}


def make_peer(kind, **options):
    """An SB3 model with a full buffer, and a policy of ours with its weights."""
    peer = getattr(sb3, kind)(
        "MlpPolicy",
        sb3.common.env_util.make_vec_env("CartPole-v1", ENVS, seed=0),
        n_steps=STEPS,
        learning_rate=1.0,
        max_grad_norm=1e9,
        gamma=0.98,
        gae_lambda=0.8,
        ent_coef=0.01,
        vf_coef=0.6,
        policy_kwargs=SGD,
        seed=0,
        device="cpu",
        **options,
    )
    steps = STEPS * ENVS
    _, callback = peer._setup_learn(steps)
    peer.collect_rollouts(peer.env, callback, peer.rollout_buffer, STEPS)
    env = gym.make("CartPole-v1")
    spaces = (env.observation_space, env.action_space)
    policy = MLPPolicy(MLPPolicy.Config(), spaces=spaces, generator=torch_generator("policy"))
    theirs = {
        "actor": [*peer.policy.mlp_extractor.policy_net, peer.policy.action_net],
        "critic": [*peer.policy.mlp_extractor.value_net, peer.policy.value_net],
    }
    layers = {k: [m for m in v if isinstance(m, torch.nn.Linear)] for k, v in theirs.items()}
    ours = named_layers(policy)
    with torch.no_grad():
        for network, linears in layers.items():
            for i, layer in enumerate(linears):
                for kind in ("weight", "bias"):
                    ours[f"{network}.{2 * i}.{kind}"].copy_(getattr(layer, kind))
    return peer, policy, layers


def rollout_of(peer):
    """The buffer's arrays ``[T, N]`` as rows without an episode boundary inside."""
    buffer = peer.rollout_buffer
    with torch.no_grad():
        last = peer.policy.predict_values(torch.as_tensor(peer._last_obs))[:, 0].numpy()
    pieces = []
    for env in range(ENVS):
        starts = sorted({0, *np.flatnonzero(buffer.episode_starts[:, env]).tolist()})
        for start, stop in zip(starts, [*starts[1:], STEPS], strict=True):
            alive = stop == STEPS and not peer._last_episode_starts[env]
            pieces.append((env, start, stop, last[env] if alive else 0.0))
    B, T = len(pieces), max(stop - start for _, start, stop, _ in pieces)

    def lay_out(array, *shape):
        laid_out = np.zeros((B, T, *shape), array.dtype)
        for row, (env, start, stop, _) in enumerate(pieces):
            laid_out[row, : stop - start] = array[start:stop, env].reshape(stop - start, *shape)
        return torch.from_numpy(laid_out)

    return Rollout(
        mask=lay_out(np.ones((STEPS, ENVS), bool)),
        actions=lay_out(buffer.actions).long(),
        logprobs=lay_out(buffer.log_probs),
        rewards=lay_out(buffer.rewards),
        values=lay_out(buffer.values),
        observations=lay_out(buffer.observations, 4),
        bootstrap=torch.tensor([value for *_, value in pieces], dtype=torch.float32),
        episode_ids=torch.arange(B),
        scores=torch.zeros(B),
    ), lay_out(buffer.advantages)


def assert_same_weights(policy, layers):
    ours = named_layers(policy)
    for network, linears in layers.items():
        for i, other in enumerate(linears):
            for kind in ("weight", "bias"):
                mine = ours[f"{network}.{2 * i}.{kind}"]
                torch.testing.assert_close(mine, getattr(other, kind).detach(), rtol=1e-5, atol=1e-6)


def descend(algorithm, rollout, rate=1.0):
    algorithm.optimizer = torch.optim.SGD(list(algorithm.policy.parameters()), lr=rate)
    algorithm._rates = [rate]
    return algorithm.update(rollout)


# SB3's value loss is the squared error, ours half of it.
SHARED = {"gamma": 0.98, "gae_lambda": 0.8, "entropy_coef": 0.01, "value_coef": 1.2, "max_grad_norm": 1e9}


def test_the_advantages_are_sb3s():
    peer, _, _ = make_peer("PPO", batch_size=STEPS * ENVS)
    rollout, expected = rollout_of(peer)
    assert len(rollout) > ENVS
    advantages = with_gae(rollout, gamma=0.98, gae_lambda=0.8, normalize=False).advantages
    torch.testing.assert_close(advantages, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value_clip_range", [None, 0.1])
def test_three_epochs_of_ppo_are_sb3s(value_clip_range):
    peer, policy, layers = make_peer(
        "PPO",
        batch_size=STEPS * ENVS,
        n_epochs=3,
        clip_range=0.2,
        clip_range_vf=value_clip_range,
        # It divides by the unbiased deviation; ours is biased.
        normalize_advantage=False,
    )
    rollout, _ = rollout_of(peer)
    peer.policy.optimizer = torch.optim.SGD(peer.policy.parameters(), lr=0.02)
    peer.lr_schedule = lambda progress: 0.02
    peer.train()
    config = PPO.Config(
        epochs=3,
        minibatch_size=STEPS * ENVS,
        normalize_advantages=False,
        value_clip_range=value_clip_range,
        learning_rate=0.02,
        **SHARED,
    )
    metrics = descend(PPO(config, policy=policy, generator=torch_generator("ppo")), rollout, rate=0.02)
    assert_same_weights(policy, layers)
    theirs = peer.logger.name_to_value
    assert metrics["clip_fraction"] == pytest.approx(theirs["train/clip_fraction"], abs=1e-6)
    assert metrics["explained_variance"] == pytest.approx(theirs["train/explained_variance"], abs=1e-4)


def test_a_step_of_a2c_is_sb3s():
    peer, policy, layers = make_peer("A2C", normalize_advantage=False, use_rms_prop=False)
    rollout, _ = rollout_of(peer)
    peer.lr_schedule = lambda progress: 0.02
    peer.train()
    config = A2C.Config(learning_rate=0.02, **SHARED)
    descend(A2C(config, policy=policy, generator=torch_generator("a2c")), rollout, rate=0.02)
    assert_same_weights(policy, layers)
