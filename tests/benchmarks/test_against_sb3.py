"""One update of rltk and of Stable-Baselines3 on the same batch from the same weights: everything agrees."""

import json
import subprocess
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import rltk
from rltk.fragments import Layout
from rltk.rng import numpy_generator, torch_generator
from rltk.types import Rollout
from rltk_policies.mlp import MLPPolicy
from tests.benchmarks.control import HERE, PEERS
from tests.benchmarks.sb3_translation import sb3_job
from tests.mlp_layers import named_layers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PEERS.is_file(), reason="make peers"),
]

STEPS, ENVS = 48, 3
SPACES = {"CartPole-v1": "discrete", "Pendulum-v1": "continuous", "Hopper-v5": "three components"}


def make_policy(environment: str) -> MLPPolicy:
    env = gym.make(environment)
    spaces = (env.observation_space, env.action_space)
    config = MLPPolicy.Config(hidden_sizes=(16, 8), initial_log_std=-0.4)
    policy = MLPPolicy(config, spaces=spaces, generator=torch_generator("weights"))
    with torch.no_grad():
        policy.actor.layers()[-1][0].mul_(50.0)  # so that actions matter
    return policy


def make_batch(policy: MLPPolicy, environment: str) -> dict[str, np.ndarray]:
    """Return ``[T, N]`` arrays of an actor that was a little different, as in a later epoch."""
    random = numpy_generator("batch", environment)
    env = gym.make(environment)
    observations = random.normal(size=(STEPS, ENVS, *env.observation_space.shape)).astype(np.float32)
    ended = random.random((STEPS, ENVS)) < 0.08
    everything = np.ones((STEPS, ENVS), dtype=bool)
    if environment == "CartPole-v1":
        actions = random.integers(2, size=(STEPS, ENVS))
    else:
        actions = random.normal(size=(STEPS, ENVS, *env.action_space.shape)).astype(np.float32)
    batch = {"observations": observations, "actions": actions, "rewards": random.normal(size=ended.shape)}
    with torch.no_grad():
        rows = {name: torch.from_numpy(array) for name, array in batch.items()}
        now = policy.evaluate(rollout_of({**rows, "mask": torch.from_numpy(everything)}))
    batch["rewards"] = batch["rewards"].astype(np.float32)
    batch["values"] = now.values.numpy() + 0.1
    batch["logprobs"] = now.logprobs.numpy() + random.normal(0, 0.15, ended.shape).astype(np.float32)
    batch["ended"] = ended
    batch["last_values"] = random.normal(size=ENVS).astype(np.float32)
    return batch


def rollout_of(fields: dict[str, torch.Tensor]) -> Rollout:
    rows = len(fields["mask"])
    zeros = torch.zeros(fields["mask"].shape)
    empty = dict.fromkeys(("logprobs", "values"), zeros)
    ids = {"episode_ids": torch.arange(rows), "scores": torch.zeros(rows), "bootstrap": torch.zeros(rows)}
    return Rollout(**{**empty, **ids, **fields})


def as_rollout(batch: dict[str, np.ndarray]) -> Rollout:
    """Return fragments: one closed by an episode's end has nothing to bootstrap from, others a last value."""
    layout = Layout(batch["ended"])
    names = ("observations", "actions", "rewards", "values", "logprobs")
    placed = {name: layout.place(torch.from_numpy(batch[name])) for name in names}
    placed["mask"] = layout.place(torch.ones(STEPS, ENVS, dtype=torch.bool))
    cut = ~torch.from_numpy(batch["ended"])[layout.last_t, layout.last_slot]
    last = torch.from_numpy(batch["last_values"])[layout.last_slot]
    return rollout_of({**placed, "bootstrap": torch.where(cut, last, 0.0)})


def peers_update(job: dict[str, Any], policy: MLPPolicy, batch: dict[str, np.ndarray]) -> dict[str, Any]:
    starts = np.concatenate([np.ones((1, ENVS), dtype=bool), batch["ended"][:-1]])
    arrays = {**batch, "starts": starts, "dones": batch["ended"][-1]}
    job |= {"batch": {name: array.tolist() for name, array in arrays.items()}}
    job |= {"weights": {name: weight.tolist() for name, weight in named_layers(policy).items()}}
    command = [str(PEERS), str(HERE / "peers_update.py")]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def both(environment: str, name: str, **options: Any) -> tuple[MLPPolicy, dict[str, float], dict[str, Any]]:
    """Update by both; return rltk's policy and metrics, and what the peer answered."""
    policy = make_policy(environment)
    batch = make_batch(policy, environment)
    algorithm = rltk.create(
        "algorithm", name, policy=policy, generator=torch_generator("algorithm"), **options
    )
    job = job_of(environment, algorithm.config.model_dump(mode="json") | {"name": name}, policy)
    answer = peers_update(job, policy, batch)
    metrics = algorithm.update(as_rollout(batch))
    return policy, metrics, answer


def job_of(environment: str, algorithm: dict[str, Any], policy: MLPPolicy) -> dict[str, Any]:
    from rltk.config import validate_recipe

    stage = {
        "stage": "rl",
        "policy": {"name": "mlp", "hidden_sizes": [16, 8], "initial_log_std": -0.4},
        "algorithm": algorithm,
        "iterations": 1,
        "steps": STEPS * ENVS,
        "num_envs": ENVS,
    }
    evaluate = {"stage": "evaluate", "policies": {"rl": {"policy": {"name": "mlp"}}}}
    tree = {
        "environment": {"name": "gymnasium", "id": environment},
        "stages": {"rl": stage, "evaluate": evaluate},
    }
    return sb3_job(validate_recipe(tree, "recipe"))


def assert_alike(ours: dict[str, torch.Tensor], theirs: dict[str, Any], **tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(
            tensor, torch.tensor(theirs[name]), **tolerance, msg=lambda m, n=name: n + m
        )


@pytest.mark.parametrize("environment", SPACES, ids=SPACES.values())
def test_advantages_and_returns(environment: str) -> None:
    from rltk.advantages import with_gae

    policy = make_policy(environment)
    batch = make_batch(policy, environment)
    _, _, answer = both(environment, "a2c", gamma=0.97, gae_lambda=0.9)
    rollout = with_gae(as_rollout(batch), gamma=0.97, gae_lambda=0.9, normalize=False)
    layout = Layout(batch["ended"])
    for name in ("advantages", "returns"):
        theirs = layout.place(torch.tensor(answer[name]))
        torch.testing.assert_close(getattr(rollout, name), theirs, rtol=1e-5, atol=1e-5)


PPO = {"value_clip_range": None, "normalize_over": "minibatch", "entropy_coef": 0.02, "gamma": 0.97}
WHOLE = {"minibatch_size": STEPS * ENVS}


@pytest.mark.parametrize("environment", SPACES, ids=SPACES.values())
def test_ppos_loss_and_gradient(environment: str) -> None:
    options = {**PPO, **WHOLE, "epochs": 1, "normalize_advantages": False, "max_grad_norm": 1000.0}
    policy, metrics, answer = both(environment, "ppo", **options)
    gradients = named_layers(policy, lambda parameter: parameter.grad)
    assert_alike(gradients, answer["gradients"], rtol=1e-4, atol=1e-6)
    logged = answer["logged"]
    pairs = {
        "policy_loss": "policy_gradient_loss",
        "approx_kl": "approx_kl",
        "clip_fraction": "clip_fraction",
    }
    for ours, theirs in pairs.items():
        assert metrics[ours] == pytest.approx(logged[f"train/{theirs}"], rel=1e-4, abs=1e-6)
    assert metrics["entropy"] == pytest.approx(-logged["train/entropy_loss"], rel=1e-5)
    assert metrics["value_loss"] == pytest.approx(logged["train/value_loss"] / 2, rel=1e-5)
    assert metrics["clip_fraction"] > 0.05  # the clipping was at work
    assert metrics["explained_variance"] == pytest.approx(logged["train/explained_variance"], abs=1e-4)


@pytest.mark.parametrize("environment", SPACES, ids=SPACES.values())
def test_ppos_weights_after_some_epochs(environment: str) -> None:
    options = {**PPO, **WHOLE, "epochs": 5, "normalize_advantages": False, "max_grad_norm": 0.3}
    policy, _, answer = both(environment, "ppo", **options, learning_rate=1e-3)
    assert_alike(named_layers(policy), answer["weights"], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("environment", SPACES, ids=SPACES.values())
def test_normalised_advantages_differ_by_the_unbiased_deviation_alone(environment: str) -> None:
    options = {**PPO, **WHOLE, "epochs": 1, "entropy_coef": 0.0, "max_grad_norm": 1000.0}
    policy, _, answer = both(environment, "ppo", **options)
    n = STEPS * ENVS
    gradients = named_layers(policy, lambda parameter: parameter.grad)
    actor = {
        name: gradient * ((n - 1) / n) ** 0.5
        for name, gradient in gradients.items()
        if name.startswith("actor")
    }
    theirs = {name: answer["gradients"][name] for name in actor}
    assert_alike(actor, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("environment", SPACES, ids=SPACES.values())
@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_a2cs_weights(environment: str, optimizer: str) -> None:
    options = {"optimizer": optimizer, "entropy_coef": 0.02, "epsilon": 1e-5}
    policy, _, answer = both(environment, "a2c", **options)
    assert_alike(named_layers(policy), answer["weights"], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("environment", SPACES, ids=SPACES.values())
def test_trpos_weights(environment: str) -> None:
    options = {"damping": 0.1, "cg_iterations": 15, "critic_epochs": 3, "max_grad_norm": 1e6}
    policy, metrics, answer = both(environment, "trpo", **WHOLE, **options, normalize_advantages=False)
    assert metrics["step_fraction"] == 1.0
    # The peer's is the mean over components of KL(new || old), rltk's and the paper's KL(old || new) the sum.
    rollout, old = as_rollout(make_batch(policy, environment)), make_policy(environment)
    before, after = (p.distribution_parameters(rollout).detach() for p in (old, policy))
    components = policy.distribution.log_stds or 1
    reverse = policy.kl_divergence(after, before)[rollout.mask].mean() / components
    assert float(reverse) == pytest.approx(answer["logged"]["train/kl_divergence_loss"], rel=1e-2)
    assert_alike(named_layers(policy), answer["weights"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("environment", ["CartPole-v1", "Pendulum-v1"])
def test_trpos_step_where_the_line_search_shortens_it(environment: str) -> None:
    """With little damping, conjugate gradient leaves more of rounding in the direction."""
    options = {"damping": 1e-3, "cg_iterations": 15, "critic_epochs": 1}
    policy, metrics, answer = both(environment, "trpo", **WHOLE, **options)
    assert metrics["step_fraction"] == pytest.approx(0.8**3)
    before = named_layers(make_policy(environment))
    actor = [name for name in before if not name.startswith("critic")]
    ours = torch.cat([(named_layers(policy)[name] - before[name]).flatten() for name in actor])
    theirs = torch.cat([(torch.tensor(answer["weights"][name]) - before[name]).flatten() for name in actor])
    assert float(ours @ theirs / (ours.norm() * theirs.norm())) > 0.9999
    assert float(ours.norm()) == pytest.approx(float(theirs.norm()), rel=0.01)
