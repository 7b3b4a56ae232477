"""Two environments that keep their contract, for tests to break: words to say again, and a walk on a line."""

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import rltk
from rltk.testing.tiny_text import TinyText


class Echo(TinyText):
    """Words to say again."""

    name = "echo"


class Walk(gym.Env):
    """A walk on a line from a random place; over at either end."""

    observation_space = gym.spaces.Box(-1.0, 11.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(3, 8))
        return self.observe(), {}

    def observe(self):
        return np.array([self.place, 10 - self.place], dtype=np.float32)

    def step(self, action):
        self.place += 2 * int(action) - 1
        return self.observe(), float(self.place), self.place in (0, 10), False, {}


class Line(rltk.Environment):
    """Walks on a line."""

    name = "line"
    mode = AutoresetMode.SAME_STEP
    walk = Walk

    def make_vec(self, num_envs, *, split="train", **options):
        return SyncVectorEnv([self.walk] * num_envs, autoreset_mode=self.mode)

    def spaces(self):
        return self.walk.observation_space, self.walk.action_space


def fresh_noise():
    """Return a generator that nobody seeded."""
    return np.random.default_rng()
