"""One update by Stable-Baselines3 on a given batch with given weights: JSON on stdin, JSON on stdout.

Runs in the environment that ``make peers`` makes; called by tests/benchmarks/test_against_sb3.py. What is
computed here is all the peer's: advantages, losses, gradients, steps.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import torch
from peers_sb3 import make_envs, make_model
from stable_baselines3.common.logger import Logger

_NETWORKS = {
    "actor": ("mlp_extractor.policy_net", "action_net"),
    "critic": ("mlp_extractor.value_net", "value_net"),
}


def update(job: dict[str, Any]) -> dict[str, Any]:
    """Train once; return advantages, returns, the last gradients, the new weights and what was logged."""
    model: Any = make_model(job, make_envs(job, job["num_envs"], job["seed"]))
    names = _names(job["weights"])
    state = {peer: torch.tensor(job["weights"][ours]) for ours, peer in names.items()}
    model.policy.load_state_dict(state, strict=True)
    model.set_logger(Logger(folder=None, output_formats=[]))
    model._current_progress_remaining = 1.0
    buffer = _filled(model, job["batch"])
    advantages, returns = buffer.advantages.tolist(), buffer.returns.tolist()
    model.train()
    parameters = dict(model.policy.named_parameters())
    gradients = {ours: parameters[peer].grad for ours, peer in names.items()}
    return {
        "advantages": advantages,
        "returns": returns,
        "gradients": {name: grad.tolist() for name, grad in gradients.items() if grad is not None},
        "weights": {ours: parameters[peer].tolist() for ours, peer in names.items()},
        "logged": {name: float(value) for name, value in model.logger.name_to_value.items()},
    }


def _filled(model: Any, batch: dict[str, Any]) -> Any:
    """Return the model's rollout buffer with a batch ``[T, N]`` in it."""
    buffer = model.rollout_buffer
    buffer.reset()
    arrays = {name: np.array(batch[name]) for name in ("observations", "actions", "rewards", "starts")}
    for t in range(len(arrays["rewards"])):
        step = [array[t] for array in arrays.values()]
        step[1] = step[1].reshape(buffer.n_envs, -1)
        buffer.add(*step, torch.tensor(batch["values"][t]), torch.tensor(batch["logprobs"][t]))
    last, dones = torch.tensor(batch["last_values"]), np.array(batch["dones"])
    buffer.compute_returns_and_advantage(last_values=last, dones=dones)
    return buffer


def _names(weights: dict[str, Any]) -> dict[str, str]:
    """Return the peer's name of each of rltk's weights; the last layer of a network has one of its own."""
    names = {}
    for network, (hidden, output) in _NETWORKS.items():
        layers = sorted({int(name.split(".")[1]) for name in weights if name.startswith(network)})
        for layer in layers:
            peer = output if layer == layers[-1] else f"{hidden}.{layer}"
            names |= {f"{network}.{layer}.{kind}": f"{peer}.{kind}" for kind in ("weight", "bias")}
    return names | ({"log_std": "log_std"} if "log_std" in weights else {})


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump(update(json.load(sys.stdin)), sys.stdout)
