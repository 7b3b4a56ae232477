"""A plugin with small text worlds, for tests of benches: words to repeat, and a lock to open by asking."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import torch
from pydantic import Field

import rltk
from rltk.episode import Episode
from rltk.interfaces import Row, Split
from rltk.rng import EpisodeStream
from rltk.testing.tiny_text import TinyText
from rltk.types import Action


class Echo(TinyText):
    """Words to say again; utility 1 where they are, a half where only the first is."""

    name = "echo"

    class Config(rltk.ComponentConfig):
        level: int = Field(1, ge=1, description="How hard.")

    def oracle(self, row: Row, turns: Sequence[tuple[str, str]] = ()) -> str:
        return str(row["prompt"])

    def score_bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def metrics(self, episode: Episode) -> dict[str, float]:
        right = episode.response == episode.prompt
        first = episode.response.split(" ")[0] == episode.prompt.split(" ")[0]
        return {"utility": 1.0 if right else 0.5 * first, "words": float(len(episode.response.split()))}


class NoTruth(TinyText):
    """Nobody knows what is good."""

    name = "no_truth"

    def metrics(self, episode: Episode) -> dict[str, float]:
        return {}


class Keeper:
    """Tells the word that opens the lock to whoever asks."""

    def __init__(self, row: Row) -> None:
        self.word = f"w{int(row['number']) % 20 + 3}"

    def reply(self, turn: str) -> str | None:
        return None if turn == self.word else f"w1 {self.word}"


class Lock(Echo):
    """Two turns: ask, then say the word that was told."""

    name = "lock"

    def make_vec(self, num_envs: int, *, split: Split = "train", **options: Any) -> Any:
        given = {"prompts": self.prompts(split), "tokenizer": self.build_tokenizer(), "max_new_tokens": 8}
        given |= {"partner": Keeper, "max_turns": 2, **options}
        return gym.make_vec("rltk/TextGeneration-v0", num_envs, **given)

    def oracle(self, row: Row, turns: Sequence[tuple[str, str]] = ()) -> str:
        return turns[-1][1].split(" ")[1] if turns else "w0 w0"

    def metrics(self, episode: Episode) -> dict[str, float]:
        opened = bool(episode.turns) and episode.turns[-1][0] == Keeper(dict(episode.columns)).word
        return {"utility": float(opened), "turns": float(len(episode.turns))}


class Restricted(Echo):
    """Only w5 may be said, and the end."""

    name = "restricted"

    def make_vec(self, num_envs: int, *, split: Split = "train", **options: Any) -> Any:
        return super().make_vec(num_envs, split=split, allowed_tokens=self._allowed, **options)

    def _allowed(self, row: Row, tokens: tuple[int, ...]) -> Any:
        tokenizer = self.build_tokenizer()
        allowed = torch.zeros(len(tokenizer), dtype=torch.bool)
        allowed[[tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("w5")]] = True
        return allowed.numpy()


class Fails(rltk.Policy):
    """Raises in the environment that it is told, or ends the process."""

    name = "fails"

    class Config(rltk.ComponentConfig):
        dies: bool = Field(False, description="Whether to end the process.")
        unless: str | None = Field(None, description="A file: while it exists, nothing fails.")

    def __init__(self, config: Config, *, build_tokenizer: Any) -> None:
        super().__init__()
        self.config, self.tokenizer = config, build_tokenizer()

    def session(self, num_envs: int) -> Any:
        return FailingSession(self.config)

    def evaluate(self, batch: Any) -> Any: ...
    def value(self, batch: Any) -> Any: ...
    def distribution_parameters(self, batch: Any) -> Any: ...
    def logprobs_and_entropy(self, parameters: Any, actions: Any) -> Any: ...
    def kl_divergence(self, p: Any, q: Any) -> Any: ...
    def actor_parameters(self) -> list[Any]:
        return []

    def critic_parameters(self) -> list[Any]:
        return []

    def save(self, directory: Any) -> None: ...


class FailingSession(rltk.policy.Session):
    def __init__(self, config: Any) -> None:
        self.config = config

    def act(
        self, observations: Any, *, stream: EpisodeStream, active: Any, deterministic: bool = False
    ) -> Action:
        if self.config.unless is not None and os.path.exists(self.config.unless):  # noqa: PTH110
            zeros = torch.zeros(len(active))
            return Action(torch.ones(len(active), dtype=torch.int64), zeros, zeros)
        if self.config.dies:
            os._exit(9)
        raise ZeroDivisionError("a bug\nin two lines")


@rltk.hookimpl
def rltk_environments() -> list[type[rltk.Environment]]:
    return [Echo, NoTruth, Lock, Restricted]


@rltk.hookimpl
def rltk_policies() -> list[type[rltk.Policy]]:
    return [Fails]
