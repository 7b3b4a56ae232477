"""Others' training loops run on the token environment as it is: those of CleanRL, SB3 and sb3-contrib."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import rltk_envs  # noqa: F401 - registers the ids
from rltk.rng import seeded_initialisation
from tests.text_world import word_tokenizer

ROOT = Path(__file__).parents[2]
#: What `make peers` installs.
PEERS = next((ROOT / ".venv-peers").glob("lib/python*/site-packages"), None)


@pytest.mark.slow
def test_stable_baselines3_and_sb3_contrib_train_on_it():
    path = [str(ROOT)]
    if importlib.util.find_spec("sb3_contrib") is None:
        if PEERS is None or not (PEERS / "sb3_contrib").exists():
            pytest.skip("sb3-contrib is not installed")
        path.append(str(PEERS))
    job = [sys.executable, "-m", "tests.envs.sb3_job"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path), "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(job, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    results = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert [result["algorithm"] for result in results] == ["PPO", "MaskablePPO"]
    for result in results:
        assert result["last"] > max(0.5, 2 * result["first"]), result


class Agent(nn.Module):
    """An embedding of the last token, a linear actor and a linear critic."""

    def __init__(self, size):
        super().__init__()
        self.embed = nn.Embedding(size, 32)
        self.actor, self.critic = nn.Linear(32, size), nn.Linear(32, 1)

    def forward(self, tokens, length):
        last = tokens.gather(-1, length - 1)[..., 0]
        hidden = torch.tanh(self.embed(last))
        return torch.distributions.Categorical(logits=self.actor(hidden)), self.critic(hidden)[..., 0]


def tensors(observation):
    return {key: torch.as_tensor(value) for key, value in observation.items()}


def act(agent, observation, generator):
    with torch.no_grad():
        distribution, value = agent(**observation)
        action = torch.multinomial(distribution.probs, 1, generator=generator)[:, 0]
    return action, distribution.log_prob(action), value


def advantages(rewards, values, dones, last_value, gamma=1.0, lam=0.95):
    """Return GAE over ``[T, N]``; ``dones[t]`` says that step ``t`` ended an episode."""
    estimates, running = torch.zeros_like(rewards), torch.zeros_like(last_value)
    following = torch.cat([values[1:], last_value[None]])
    for t in reversed(range(len(rewards))):
        goes_on = 1.0 - dones[t]
        delta = rewards[t] + gamma * following[t] * goes_on - values[t]
        running = estimates[t] = delta + gamma * lam * goes_on * running
    return estimates


def test_a_ppo_loop_over_vector_steps_learns():
    """As CleanRL writes it: fixed numbers of steps, flat batches, Gymnasium's statistics."""
    tokenizer, generator = word_tokenizer(), torch.Generator().manual_seed(0)
    envs = gym.make_vec(
        "rltk/TextGeneration-v0",
        num_envs=8,
        tokenizer=tokenizer,
        prompts=["w1", "w2", "w3"],
        max_new_tokens=4,
        reward=lambda episodes: [e.response_tokens.count(3) / 4 for e in episodes],
    )
    envs = gym.wrappers.vector.RecordEpisodeStatistics(envs)
    with seeded_initialisation("agent"):
        agent = Agent(len(tokenizer))
    optimizer = torch.optim.Adam(agent.parameters(), lr=0.01)
    observation, _ = envs.reset(seed=1)
    observation, returns = tensors(observation), []
    for _ in range(25):
        steps = []
        for _ in range(16):
            action, logprob, value = act(agent, observation, generator)
            following, reward, terminated, truncated, infos = envs.step(action.numpy())
            done = torch.as_tensor(terminated | truncated).float()
            steps.append((observation, action, logprob, value, torch.as_tensor(reward).float(), done))
            observation = tensors(following)
            if "episode" in infos:
                returns += infos["episode"]["r"][infos["_episode"]].tolist()
        seen, actions, old, values, rewards, dones = zip(*steps, strict=True)
        last = act(agent, observation, generator)[2]
        advantage = advantages(*map(torch.stack, (rewards, values, dones)), last).flatten()
        target = advantage + torch.cat(values)
        batch = {key: torch.cat([one[key] for one in seen]) for key in observation}
        actions, old = torch.cat(actions), torch.cat(old)
        for _ in range(4):
            distribution, value = agent(**batch)
            ratio = (distribution.log_prob(actions) - old).exp()
            normal = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            gain = torch.minimum(ratio * normal, ratio.clamp(0.8, 1.2) * normal).mean()
            loss = -gain + 0.5 * (value - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert np.mean(returns[:100]) < 0.1 and np.mean(returns[-100:]) > 0.4
