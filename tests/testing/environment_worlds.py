"""Two environments that keep their contract, for tests to break: words to say, and a walk on a line."""

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import rltk
from rltk.testing.worlds import word_tokenizer
from rltk_envs.text_generation import TextGenerationVectorEnv

SPLITS = ("train", "validation", "test")


class FirstIsBest:
    """Ranks by the first letter, with some noise."""

    def __init__(self, name):
        self.name = name

    def rank(self, episodes, generator):
        values = [episode.response[:2] for episode in episodes]
        if generator.uniform() < 0.5:
            values = values[::-1]
        return [1 + sum(other < value for other in values) for value in values]


class Echo(rltk.Environment):
    """Prompts of one or two words, to be said again."""

    name = "echo"

    def make_vec(self, num_envs, *, split="train", **options):
        given = {"prompts": self.prompts(split), "tokenizer": self.build_tokenizer(), "max_new_tokens": 5}
        return TextGenerationVectorEnv(num_envs, template="{prompt} w28", **{**given, **options})

    def build_tokenizer(self):
        return word_tokenizer()

    def format_prompt(self, prompt):
        return f"{prompt} w28"

    def few_shot_prefix(self, demonstrations):
        return "".join(f"{row['prompt']} w28 {row['response']} w28 " for row in demonstrations)

    def prompts(self, split):
        first = 9 * SPLITS.index(split)
        return [{"prompt": f"w{i} w{i}" if i % 2 else f"w{i}", "number": i} for i in range(first, first + 9)]

    def demonstrations(self, split):
        return [{**row, "response": row["prompt"]} for row in self.prompts(split)]

    def comparisons(self, split):
        rows = self.prompts(split)
        return [{**row, "responses": [row["prompt"], "w1", "w2"], "ranks": [1, 2, 2]} for row in rows]

    def corpus(self, split):
        for row in self.demonstrations(split):
            yield f"{row['prompt']} w28 {row['response']}"

    def labelers(self, group):
        return [FirstIsBest("ann"), FirstIsBest("bob")] if group == "train" else [FirstIsBest("cho")]

    def metrics(self, episode):
        return {"utility": float(episode.response == episode.prompt)}


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
