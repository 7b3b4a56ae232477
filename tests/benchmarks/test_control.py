"""The benchmark of control tasks: published settings, alike on both sides, and what becomes of the runs."""

import json
import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from rltk.config import load_recipe
from tests.benchmarks import control
from tests.benchmarks.control_report import return_table, summarise, write_report
from tests.benchmarks.sb3_translation import COMPONENTS, sb3_job

# What hyperparams/{ppo,trpo,a2c}.yml of RL Baselines3 Zoo say, without gSDE: n_timesteps, n_envs, whether
# observations and rewards are normalised, and every other keyword that is given there.
ZOO: dict[tuple[str, str], dict[str, Any]] = {
    ("cartpole", "ppo"): {
        "n_timesteps": 1e5,
        "n_envs": 8,
        "n_steps": 32,
        "batch_size": 256,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "n_epochs": 20,
        "learning_rate": "lin_0.001",
        "clip_range": "lin_0.2",
    },
    ("cartpole", "a2c"): {"n_timesteps": 5e5, "n_envs": 8},
    ("cartpole", "trpo"): {
        "n_timesteps": 1e5,
        "n_envs": 2,
        "n_steps": 512,
        "batch_size": 512,
        "cg_damping": 1e-3,
        "gae_lambda": 0.98,
        "gamma": 0.99,
        "learning_rate": 1e-3,
        "n_critic_updates": 20,
    },
    ("acrobot", "ppo"): {
        "normalize": True,
        "n_timesteps": 1e6,
        "n_envs": 16,
        "n_steps": 256,
        "gae_lambda": 0.94,
        "gamma": 0.99,
        "n_epochs": 4,
    },
    ("acrobot", "a2c"): {"normalize": True, "n_timesteps": 5e5, "n_envs": 16},
    ("acrobot", "trpo"): {"normalize": True, "n_timesteps": 1e5, "n_envs": 2, "n_steps": 1024},
    ("lunarlander", "ppo"): {
        "n_timesteps": 1e6,
        "n_envs": 16,
        "n_steps": 1024,
        "batch_size": 64,
        "gae_lambda": 0.98,
        "gamma": 0.999,
        "n_epochs": 4,
        "ent_coef": 0.01,
    },
    ("lunarlander", "a2c"): {
        "n_timesteps": 2e5,
        "n_envs": 8,
        "gamma": 0.995,
        "n_steps": 5,
        "learning_rate": "lin_0.00083",
        "ent_coef": 1e-5,
    },
    ("lunarlander", "trpo"): {
        "n_timesteps": 2e5,
        "n_envs": 2,
        "n_steps": 512,
        "cg_damping": 0.01,
        "gae_lambda": 0.98,
        "gamma": 0.99,
        "learning_rate": 1e-3,
        "n_critic_updates": 15,
    },
    ("pendulum", "ppo"): {
        "n_timesteps": 1e5,
        "n_envs": 4,
        "n_steps": 1024,
        "gae_lambda": 0.95,
        "gamma": 0.9,
        "n_epochs": 10,
        "learning_rate": 1e-3,
        "clip_range": 0.2,
    },
    ("pendulum", "a2c"): {
        "normalize": True,
        "n_timesteps": 1e6,
        "n_envs": 8,
        "max_grad_norm": 0.5,
        "n_steps": 8,
        "gae_lambda": 0.9,
        "vf_coef": 0.4,
        "gamma": 0.9,
        "use_rms_prop": True,
        "normalize_advantage": False,
        "learning_rate": "lin_7e-4",
        "policy": {"log_std_init": -2, "ortho_init": False},
    },
    ("pendulum", "trpo"): {
        "n_timesteps": 1e5,
        "n_envs": 2,
        "n_steps": 1024,
        "gamma": 0.9,
        "n_critic_updates": 15,
    },
    ("halfcheetah", "ppo"): {
        "normalize": True,
        "n_timesteps": 1e6,
        "n_envs": 1,
        "batch_size": 64,
        "n_steps": 512,
        "gamma": 0.98,
        "learning_rate": 2.0633e-05,
        "ent_coef": 0.000401762,
        "clip_range": 0.1,
        "n_epochs": 20,
        "gae_lambda": 0.92,
        "max_grad_norm": 0.8,
        "vf_coef": 0.58096,
        "policy": {"log_std_init": -2, "ortho_init": False, "activation": "relu", "net_arch": [256, 256]},
    },
    ("halfcheetah", "a2c"): {"normalize": True, "n_timesteps": 1e6, "n_envs": 1},
    ("halfcheetah", "trpo"): {
        "normalize": True,
        "n_timesteps": 1e6,
        "n_envs": 2,
        "batch_size": 128,
        "n_steps": 1024,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "cg_max_steps": 25,
        "cg_damping": 0.1,
        "n_critic_updates": 20,
        "learning_rate": 1e-3,
        "target_kl": 0.04,
    },
    ("hopper", "ppo"): {
        "normalize": True,
        "n_timesteps": 1e6,
        "n_envs": 1,
        "batch_size": 32,
        "n_steps": 512,
        "gamma": 0.999,
        "learning_rate": 9.80828e-05,
        "ent_coef": 0.00229519,
        "clip_range": 0.2,
        "n_epochs": 5,
        "gae_lambda": 0.99,
        "max_grad_norm": 0.7,
        "vf_coef": 0.835671,
        "policy": {"log_std_init": -2, "ortho_init": False, "activation": "relu", "net_arch": [256, 256]},
    },
    ("hopper", "a2c"): {"normalize": True, "n_timesteps": 1e6, "n_envs": 1},
    ("hopper", "trpo"): {
        "normalize": True,
        "n_timesteps": 1e6,
        "n_envs": 2,
        "batch_size": 128,
        "n_steps": 1024,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "cg_max_steps": 25,
        "cg_damping": 0.1,
        "n_critic_updates": 20,
        "learning_rate": 1e-3,
    },
}
# What the constructors of SB3 and sb3-contrib 2.9 take where the zoo says nothing.
_ACTOR_CRITIC = {"gamma": 0.99, "normalize_advantage": True}
_LOSSES = {"ent_coef": 0.0, "vf_coef": 0.5, "max_grad_norm": 0.5}
DEFAULTS: dict[str, dict[str, Any]] = {
    "ppo": {
        **_ACTOR_CRITIC,
        **_LOSSES,
        "learning_rate": 3e-4,
        "n_steps": 2048,
        "batch_size": 64,
        "n_epochs": 10,
        "gae_lambda": 0.95,
        "clip_range": 0.2,
        "target_kl": None,
    },
    "a2c": {
        **_ACTOR_CRITIC,
        **_LOSSES,
        "learning_rate": 7e-4,
        "n_steps": 5,
        "gae_lambda": 1.0,
        "rms_prop_eps": 1e-5,
        "use_rms_prop": True,
        "normalize_advantage": False,
    },
    "trpo": {
        **_ACTOR_CRITIC,
        "learning_rate": 1e-3,
        "n_steps": 2048,
        "batch_size": 128,
        "cg_max_steps": 15,
        "cg_damping": 0.1,
        "line_search_shrinking_factor": 0.8,
        "line_search_max_iter": 10,
        "n_critic_updates": 10,
        "gae_lambda": 0.95,
        "target_kl": 0.01,
    },
}
POLICY = {"net_arch": [64, 64], "activation": "tanh", "ortho_init": True, "log_std_init": 0.0}


def _scheduled(value: Any) -> Any:
    """Return a number, or the zoo's ``lin_NUMBER``, as jobs write it."""
    if isinstance(value, str):
        return {"initial": float(value.removeprefix("lin_")), "schedule": "linear"}
    return {"initial": value, "schedule": "constant"}


@pytest.mark.parametrize(("environment", "algorithm"), ZOO, ids=lambda name: name)
def test_the_recipes_are_what_the_zoo_publishes(environment: str, algorithm: str) -> None:
    job = sb3_job(load_recipe(environment, [f"rl.algorithm.name={algorithm}", "seed=3"]))
    zoo = dict(ZOO[environment, algorithm])
    steps, envs, normalize = zoo.pop("n_timesteps"), zoo.pop("n_envs"), zoo.pop("normalize", False)
    assert job["policy_keywords"] == {**POLICY, **zoo.pop("policy", {})}
    expected = {**DEFAULTS[algorithm], **zoo}
    for name in {"learning_rate", "clip_range"} & expected.keys() if algorithm != "trpo" else ():
        expected[name] = _scheduled(expected[name])
    if algorithm == "trpo":
        divided = {name: pytest.approx(expected[name]) for name in ("cg_damping", "target_kl")}
        expected |= divided
    assert job["keywords"] == expected
    assert (job["num_envs"], job["seed"], job["episodes"]) == (envs, 3, 100)
    rollout = envs * expected["n_steps"]
    assert steps <= job["total_steps"] < steps + rollout  # whole rollouts, as many as it takes
    norm = {"norm_obs": True, "norm_reward": True, "clip_obs": 10.0, "gamma": expected["gamma"]}
    assert job["normalize"] == (norm if normalize else None)


@pytest.mark.parametrize("environment", COMPONENTS)
def test_actions_have_as_many_components_as_is_written_down(environment: str) -> None:
    try:
        space = gym.make(environment).action_space
    except gym.error.DependencyNotInstalled as error:
        pytest.skip(str(error))
    assert COMPONENTS[environment] == (math.prod(space.shape) if isinstance(space, gym.spaces.Box) else 1)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rl.steps=null", "whole episodes"),
        ("rl.algorithm.value_clip_range=0.2", r"ppo\.value_clip_range: the peer has None only, got 0\.2"),
        ("rl.algorithm.normalize_over=rollout", "normalize_over"),
    ],
)
def test_settings_that_the_peer_does_not_have_are_refused(override: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sb3_job(load_recipe("cartpole", [override]))


def test_a_length_is_rounded_up_to_whole_rollouts() -> None:
    recipe = control.Job("rltk", "cartpole", "trpo", seed=2, steps=1025).recipe()
    assert (recipe.seed, recipe.stages["rl"].options["iterations"]) == (2, 2)


def test_pairs_stand_together_and_take_turns() -> None:
    plan = [
        (job.seed, job.library, job.algorithm)
        for job in control.planned(["cartpole"], ["ppo", "a2c"], 2, None)
    ]
    first = [(0, library, algorithm) for algorithm in ("ppo", "a2c") for library in ("rltk", "sb3")]
    assert plan == first + [
        (1, library, algorithm) for algorithm in ("ppo", "a2c") for library in ("sb3", "rltk")
    ]


def _record(library: str, seed: int, greedy: float, seconds: float) -> dict[str, Any]:
    named = {"library": library, "environment": "cartpole", "algorithm": "ppo", "seed": seed}
    measured = {"return": greedy / 2, "greedy_return": greedy, "seconds": seconds, "cpu_seconds": seconds / 2}
    return {**named, "steps": 1000, "requested": None, "load": 1.0, **measured}


RECORDS = [
    *(_record("rltk", seed, greedy, 10.0) for seed, greedy in enumerate([500.0, 100.0, 460.0, 480.0, 470.0])),
    *(_record("sb3", seed, 450.0, seconds) for seed, seconds in enumerate([20.0, 25.0, 90.0])),
]


def test_pairs_are_summed_up_by_interquartile_means_and_median_ratios() -> None:
    [pair] = summarise(RECORDS)
    assert (pair["environment"], pair["algorithm"], pair["steps"]) == ("cartpole", "ppo", 1000)
    assert pair["rltk"]["greedy_return"]["iqm"] == 470.0  # without the highest and the lowest of five
    low, high = pair["rltk"]["greedy_return"]["interval"]
    assert 100 <= low < 470 < high <= 500
    assert pair["sb3"]["return"] == {"iqm": 225.0, "interval": (225.0, 225.0), "values": [225.0] * 3}
    assert (pair["ratio"], pair["cpu_ratio"]) == (2.5, 2.5)  # median of 2, 2.5 and 9
    assert (pair["rltk"]["steps_per_second"], pair["sb3"]["steps_per_second"]) == (100.0, 40.0)
    [alone] = summarise(RECORDS[:2])
    assert alone["ratio"] is None and "sb3" not in alone
    [_, [row]] = return_table(summarise(RECORDS[:1]))
    assert row == ["cartpole", "ppo", "1,000", "1", "500.0", "-", "250.0", "-"]  # one seed has no interval


def test_the_report_replaces_the_tables_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "control.md"
    page.write_text(
        "# Page\n<!-- returns: begin -->\nold\n<!-- returns: end -->\nbetween\n"
        "<!-- speed: begin -->\n<!-- speed: end -->\nafter\n"
    )
    write_report(RECORDS, tmp_path)
    written = page.read_text()
    assert "old" not in written and written.startswith("# Page\n") and written.endswith("\nafter\n")
    assert "\nbetween\n" in written
    assert "| cartpole | ppo | 1,000 | 5 and 3 | 470.0 [" in written
    assert "| cartpole | ppo | 1,000 | 10.0 | 25.0 | 100 | 40 | 2.50 | 2.50 |" in written
    stored = json.loads((tmp_path / "control.json").read_text())
    assert len(stored["runs"]) == 8
    write_report(stored["runs"], tmp_path)
    assert page.read_text() == written
    page.write_text("no markers")
    with pytest.raises(ValueError, match="marker"):
        write_report(RECORDS, tmp_path)


def test_a_stopped_benchmark_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = tmp_path / "runs.jsonl"
    lines.write_text(json.dumps(RECORDS[0]) + "\n" + '{"library": "sb3", "env')
    ran: list[tuple[str, int]] = []

    def run(job: control.Job, *, jobs: int) -> dict[str, Any]:
        ran.append((job.library, job.seed))
        return _record(job.library, job.seed, 1.0, 1.0)

    monkeypatch.setattr(control, "run", run)
    monkeypatch.setattr(control, "PEERS", Path(__file__))
    chosen = ["--environments", "cartpole", "--algorithms", "ppo", "--seeds", "2"]
    control.main([*chosen, "--resume", str(lines), "--docs", str(tmp_path)])
    assert ran == [("sb3", 0), ("sb3", 1), ("rltk", 1)]
    assert len(control.read_records(lines)) == 4


@pytest.mark.slow
@pytest.mark.skipif(not control.PEERS.is_file(), reason="make peers")
@pytest.mark.parametrize("algorithm", control.ALGORITHMS)
def test_both_libraries_run_a_job(algorithm: str) -> None:
    for library in control.LIBRARIES:
        record = control.run(control.Job(library, "cartpole", algorithm, seed=0, steps=3000))
        assert 3000 <= record["steps"] < 3000 + 1024
        assert 8 <= record["return"] <= 500 and 8 <= record["greedy_return"] <= 500
        assert record["cpu_seconds"] > 0 and 0 < record["seconds"] < record["wall"]
        assert record["curve"]


@pytest.mark.slow
@pytest.mark.skipif(not control.PEERS.is_file(), reason="make peers")
def test_ppo_solves_cartpole_as_the_peer_does() -> None:
    returns = {
        library: control.run(control.Job(library, "cartpole", "ppo", seed=0, steps=None))["greedy_return"]
        for library in control.LIBRARIES
    }
    assert returns["rltk"] >= min(475.0, returns["sb3"])
