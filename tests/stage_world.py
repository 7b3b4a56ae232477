"""A tiny text environment and a stage context without a run around them, for tests of stages."""

import contextlib
from pathlib import Path

import torch

from rltk.checkpoint import load_state, save_state
from rltk.config import build_config
from rltk.errors import Interrupted
from rltk.interfaces import Environment
from rltk.registry import get_registry
from rltk.rng import numpy_generator
from rltk.runs import expand
from rltk_envs.text_generation import TextGenerationVectorEnv
from tests.text_world import word_tokenizer

TINY_LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
}


class LikesLowNumbers:
    """Ranks responses by the number of their first word, w3 before w4; the empty response comes last."""

    def __init__(self, name):
        self.name = name

    def rank(self, episodes, generator):
        firsts = [
            int((episode.response.split() or ["w99"])[0].lstrip("w<unkpad>") or 99) for episode in episodes
        ]
        return [1 + sum(other < first for other in firsts) for first in firsts]


class WordWorld(Environment):
    """Prompts of two words; the demonstrated response is the second and then the first."""

    name = "word_world"

    def make_vec(self, num_envs, *, split="train", **options):
        return TextGenerationVectorEnv(num_envs, max_new_tokens=4, template="{prompt} w28", **options)

    def build_tokenizer(self):
        return word_tokenizer()

    def format_prompt(self, prompt):
        return f"{prompt} w28"

    def corpus(self, split):
        for row in self.demonstrations(split):
            yield f"{row['prompt']} w28 {row['response']}"

    def demonstrations(self, split):
        return [{**row, "response": " ".join(row["prompt"].split()[::-1])} for row in self.prompts(split)]

    def prompts(self, split):
        generator = numpy_generator("word world", split)
        pairs = generator.integers(0, 28, size=(120 if split == "train" else 30, 2)).tolist()
        return [{"prompt": f"w{a} w{b}", "number": a} for a, b in pairs]

    def labelers(self, group):
        return [LikesLowNumbers("ann"), LikesLowNumbers("bob")]


class FakeContext:
    """What a stage sees of a run; stops after ``stop_after`` steps as a signal would."""

    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, run_directory: Path, name: str, *, seed=7, stop_after=None, environment=None):
        self.run_directory, self.name, self.seed, self.stop_after = run_directory, name, seed, stop_after
        self.directory = run_directory / "stages" / name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.environment = environment or WordWorld(WordWorld.Config(), seed=0)
        self.metrics: list[dict[str, float]] = []

    def resolve(self, path):
        return Path(expand(path, self.run_directory))

    def create(self, kind, spec, **collaborators):
        options = expand(spec.options, self.run_directory)
        config = build_config(kind, spec.name, options, where=self.name)
        return get_registry().get(kind, spec.name)(config, **collaborators)

    def log(self, step, total, metrics):
        assert 1 <= step <= total
        self.metrics.append(dict(metrics))

    def load_checkpoint(self):
        saved = self.directory / "checkpoints"
        return tuple(load_state(saved)) if saved.exists() else None

    def checkpoint(self, step, state):
        if step == self.stop_after:
            save_state(self.directory / "checkpoints", [step, state()])
            raise Interrupted(2)

    def autocast(self):
        return contextlib.nullcontext()
