"""Text generation as a Gymnasium environment whose actions are vocabulary tokens.

An episode is a prompt and a response; a step appends one token. EOS or a stop string terminates, the length
budget truncates. The observation holds the tokens so far; what a policy remembers of them (a KV cache) is
the policy's own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rltk.episode import Episode
from rltk.models import check_tokenizer
from rltk.registry import create
from rltk.scoring import Score, in_use, score_episodes
from rltk_envs.prompts import Deck, PromptLike, read_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rltk.interfaces import RewardModel

Observation = dict[str, NDArray[np.int64]]


@dataclass
class FinishedEpisode:
    """An episode that ended in a step, with what the reward model said (None: scored later or unscorable)."""

    episode: Episode
    score: Score = None


class TextGenerationVectorEnv(VectorEnv):
    """Many prompts answered side by side; a slot that finishes takes the next prompt in the same step.

    :param num_envs: slots.
    :param prompts: texts, lists of token ids, or rows with ``prompt`` and further columns.
    :param tokenizer: gives the vocabulary and the EOS and pad ids, which must differ.
    :param max_new_tokens: length budget of a response.
    :param reward: a reward model, a function of a list of episodes, a registered name, or None (pays 0).
        One that is made from a name is set up here and closed with the environment; whoever hands over a
        reward model sets it up and closes it (:func:`rltk.scoring.in_use`).
    :param template: what the policy reads; ``{prompt}`` stands for the prompt.
    :param stop: texts that end a response when it ends with one of them; cut from ``Episode.response``.
    :param group_size: consecutive episodes that share a prompt.
    :param shuffle: deal prompts in a random order, new every epoch.
    :param max_prompt_tokens: longest prompt allowed.

    The observation is ``tokens [N, L]`` int64, right-padded with the pad id, and ``length [N, 1]`` int64.
    ``reset(options={"first_episode": e, "episodes": n})`` deals the episodes e .. e+n-1 and then leaves slots
    idle: an idle slot has length 0 and steps to nothing. ``infos["final_info"]["finished"]`` holds a
    :class:`FinishedEpisode` for every slot that ended.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        num_envs: int = 1,
        *,
        prompts: Sequence[PromptLike],
        tokenizer: PreTrainedTokenizerBase,
        max_new_tokens: int,
        reward: str | RewardModel | Callable[[list[Episode]], Sequence[Any]] | None = None,
        template: str = "{prompt}",
        stop: Sequence[str] = (),
        group_size: int = 1,
        shuffle: bool = True,
        max_prompt_tokens: int | None = None,
    ) -> None:
        self.num_envs = num_envs
        self.tokenizer = tokenizer
        check_tokenizer(tokenizer, "environment.tokenizer")
        self.pad_id, self.eos_id = int(tokenizer.pad_token_id), int(tokenizer.eos_token_id)
        self.max_new_tokens = max_new_tokens
        self.reward: Any = reward
        self.stop = tuple(stop)
        self.prompts = read_prompts(prompts, tokenizer, template=template, max_tokens=max_prompt_tokens)
        self.group_size, self.shuffle = group_size, shuffle
        self.defer_scoring = False
        self.unscored: dict[int, Episode] = {}
        self._width = max(len(prompt.tokens) for prompt in self.prompts) + max_new_tokens
        self._seed = 0
        self.single_action_space = spaces.Discrete(len(tokenizer))
        self.single_observation_space = spaces.Dict(
            tokens=spaces.Box(0, len(tokenizer) - 1, (self._width,), np.int64),
            length=spaces.Box(0, self._width, (1,), np.int64),
        )
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._next_episode = 0
        self._at_close = ExitStack()
        if isinstance(reward, str):
            self.reward = self._at_close.enter_context(in_use(create("reward_model", reward)))

    def close_extras(self, **kwargs: Any) -> None:
        """Close the reward model that was made from a name."""
        self._at_close.close()

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Deal prompts to all slots.

        :param seed: restarts the deal from episode 0 in an order drawn from it; None goes on.
        :param options: ``first_episode`` and ``episodes`` as in the class's description.
        """
        options = options or {}
        if seed is not None:
            self._seed = int(seed if isinstance(seed, int) else (seed[0] or 0))
            self._next_episode = 0
        self._deck = Deck(
            len(self.prompts), group_size=self.group_size, shuffle=self.shuffle, seed=self._seed
        )
        self._next_episode = int(options.get("first_episode", self._next_episode))
        episodes = options.get("episodes")
        self._last_episode = None if episodes is None else self._next_episode + int(episodes)
        self.unscored = {}
        N = self.num_envs
        self._tokens = np.full((N, self._width), self.pad_id, dtype=np.int64)
        self._length = np.zeros(N, dtype=np.int64)
        self._prompt_length = np.zeros(N, dtype=np.int64)
        self._prompt_index = np.zeros(N, dtype=np.int64)
        self._episode = np.full(N, -1, dtype=np.int64)
        for slot in range(N):
            self._deal(slot)
        return self._observation(), self._info()

    def step(
        self, actions: NDArray[np.integer[Any]]
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Append one token to every response; finished slots take the next prompt."""
        live = np.flatnonzero(self._episode >= 0)
        actions = np.asarray(actions)
        self._tokens[live, self._length[live]] = actions[live]
        self._length[live] += 1
        terminated = np.zeros(self.num_envs, dtype=bool)
        terminated[live] = actions[live] == self.eos_id
        if self.stop:
            for slot in live.tolist():
                terminated[slot] |= self._response(slot).endswith(self.stop)
        truncated = np.zeros(self.num_envs, dtype=bool)
        truncated[live] = self._length[live] - self._prompt_length[live] >= self.max_new_tokens
        truncated &= ~terminated
        rewards = np.zeros(self.num_envs)
        done = np.flatnonzero(terminated | truncated)
        if not len(done):
            return self._observation(), rewards, terminated, truncated, self._info()
        finished = self._finish(done, terminated)
        for slot, record in zip(done.tolist(), finished, strict=True):
            rewards[slot] = total_reward(record.score)
        final = self._final_infos(done, finished)
        for slot in done.tolist():
            self._deal(slot)
        return self._observation(), rewards, terminated, truncated, {**self._info(), **final}

    def score_deferred(self) -> dict[int, Score]:
        """Score all episodes whose scoring was deferred; return their scores by episode number."""
        scores = score_episodes(self.reward, list(self.unscored.values()))
        scored = dict(zip(self.unscored, scores, strict=True))
        self.unscored = {}
        return scored

    def _finish(self, done: NDArray[np.int64], terminated: NDArray[np.bool_]) -> list[FinishedEpisode]:
        episodes = [self._build_episode(int(slot), bool(terminated[slot])) for slot in done]
        if self.defer_scoring:
            self.unscored.update(zip(self._episode[done].tolist(), episodes, strict=True))
            return [FinishedEpisode(episode) for episode in episodes]
        scores = score_episodes(self.reward, episodes)
        return [FinishedEpisode(episode, score) for episode, score in zip(episodes, scores, strict=True)]

    def _build_episode(self, slot: int, terminated: bool) -> Episode:
        prompt = self.prompts[self._prompt_index[slot]]
        response = self._response(slot)
        stopped_by = next((text for text in self.stop if response.endswith(text)), "")
        return Episode(
            prompt=prompt.text,
            response=response.removesuffix(stopped_by).strip(),
            prompt_tokens=prompt.tokens,
            response_tokens=tuple(self._tokens[slot, len(prompt.tokens) : self._length[slot]].tolist()),
            columns=prompt.columns,
            terminated=terminated,
            truncated=not terminated,
        )

    def _response(self, slot: int) -> str:
        tokens = self._tokens[slot, self._prompt_length[slot] : self._length[slot]]
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))

    def _deal(self, slot: int) -> None:
        self._tokens[slot] = self.pad_id
        if self._last_episode is not None and self._next_episode >= self._last_episode:
            self._episode[slot], self._length[slot] = -1, 0
            return
        index = self._deck.prompt_index(self._next_episode)
        tokens = self.prompts[index].tokens
        self._tokens[slot, : len(tokens)] = tokens
        self._length[slot] = self._prompt_length[slot] = len(tokens)
        self._prompt_index[slot] = index
        self._episode[slot] = self._next_episode
        self._next_episode += 1

    def _observation(self) -> Observation:
        return {"tokens": self._tokens.copy(), "length": self._length[:, None].copy()}

    def _info(self) -> dict[str, Any]:
        return {"episode_id": self._episode.copy(), "_episode_id": np.ones(self.num_envs, dtype=bool)}

    def _final_infos(self, done: NDArray[np.int64], finished: list[FinishedEpisode]) -> dict[str, Any]:
        final_obs = np.full(self.num_envs, None, dtype=object)
        records = np.full(self.num_envs, None, dtype=object)
        for slot, record in zip(done, finished, strict=True):
            final_obs[slot] = {
                "tokens": self._tokens[slot].copy(),
                "length": self._length[slot : slot + 1].copy(),
            }
            records[slot] = record
        ended = np.zeros(self.num_envs, dtype=bool)
        ended[done] = True
        return {
            "final_obs": final_obs,
            "_final_obs": ended,
            "final_info": {"finished": records, "_finished": ended.copy()},
            "_final_info": ended.copy(),
        }


class TextGenerationEnv(gym.Env[Observation, int]):
    """The same environment for one prompt at a time; see :class:`TextGenerationVectorEnv` for the options."""

    metadata = {"render_modes": []}

    def __init__(self, **options: Any) -> None:
        self._slots = TextGenerationVectorEnv(1, **options)
        self.action_space = self._slots.single_action_space
        self.observation_space = self._slots.single_observation_space
        self._episode = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin the next episode, or episode 0 of the order drawn from ``seed``."""
        super().reset(seed=seed)
        self._episode = 0 if seed is not None else self._episode
        dealt = {"first_episode": self._episode, "episodes": 1, **(options or {})}
        observation, _ = self._slots.reset(seed=seed, options=dealt)
        self._episode = int(dealt["first_episode"]) + 1
        return self._single(observation), {"episode_id": self._episode - 1}

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Append one token to the response."""
        observation, rewards, terminated, truncated, infos = self._slots.step(np.array([action]))
        done = bool(terminated[0] or truncated[0])
        single = infos["final_obs"][0] if done else self._single(observation)
        info: dict[str, Any] = {"episode_id": self._episode - 1}
        if done:
            info["response"] = infos["final_info"]["finished"][0].episode.response
        return single, float(rewards[0]), bool(terminated[0]), bool(truncated[0]), info

    def close(self) -> None:
        """Close the reward model that was made from a name."""
        self._slots.close()

    @staticmethod
    def _single(observation: Observation) -> Observation:
        return {key: value[0] for key, value in observation.items()}


def total_reward(score: Score) -> float:
    """Return what a score pays in one sum; an unscored episode pays nothing yet."""
    if score is None:
        return 0.0
    return float(sum(score)) if isinstance(score, Sequence) else score
