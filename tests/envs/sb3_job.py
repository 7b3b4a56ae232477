"""Train Stable-Baselines3's PPO and sb3-contrib's MaskablePPO on text: prints a JSON line for each.

Run by :mod:`tests.envs.test_text_loops` with what it imports on the path.
"""

import json

import gymnasium as gym
import numpy as np
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env

import rltk_envs  # noqa: F401 - registers the ids
from tests.text_world import word_tokenizer

EOS, W0 = 1, 3
SETTINGS = {"n_steps": 64, "batch_size": 64, "n_epochs": 4, "learning_rate": 3e-3, "gamma": 1.0, "seed": 0}
STEPS, ENVS = 6144, 4


def share_of_w0(episodes):
    return [np.mean([token == W0 for token in episode.response_tokens]) for episode in episodes]


def eight_words(row, tokens):
    """Allow eight words and, after two of them, EOS."""
    allowed = np.zeros(len(word_tokenizer()), dtype=bool)
    allowed[W0 : W0 + 8] = True
    allowed[EOS] = len(tokens) >= 2
    return allowed


def make_env(allowed_tokens=None):
    return gym.make(
        "rltk/TextGeneration-v0",
        tokenizer=word_tokenizer(),
        prompts=["w4", "w5 w6", "w7 w8 w9"],
        max_new_tokens=4,
        reward=share_of_w0,
        allowed_tokens=allowed_tokens,
    )


def train(algorithm, **options):
    """Return the mean reward of the first and the last hundred training episodes."""
    envs = make_vec_env(lambda: make_env(**options), n_envs=ENVS, seed=0)
    model = algorithm("MultiInputPolicy", envs, stats_window_size=10_000, **SETTINGS)
    model.learn(STEPS)
    paid = [episode["r"] for episode in model.ep_info_buffer]
    return {"algorithm": algorithm.__name__, "first": np.mean(paid[:100]), "last": np.mean(paid[-100:])}


def main():
    check_env(make_env().unwrapped, warn=False)
    print(json.dumps(train(PPO)), flush=True)
    print(json.dumps(train(MaskablePPO, allowed_tokens=eight_words)), flush=True)


if __name__ == "__main__":
    main()
