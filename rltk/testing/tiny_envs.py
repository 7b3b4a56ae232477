"""Two vector environments whose episodes depend on nothing but their number: one of arrays, one of text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rltk.episode import Episode
from rltk.rng import numpy_generator
from rltk.scoring import Score

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Numbers an array observation has.
FEATURES = 6


def ragged_length(episode: int, longest: int) -> int:
    """Return how many actions an episode lasts: 1 to ``longest``, in a mixed order."""
    return 1 + (episode * 5 + episode // 3) % longest


class ArrayWorld(VectorEnv):
    """Observations drawn from (episode, position); every third episode is cut off, the others terminate.

    :param action_space: Discrete, whose action 1 pays 1, or a one-dimensional Box, which pays for small ones.
    :param longest: actions in the longest episode.
    :param group_size: consecutive episodes that see the same.
    :param constant: the same observation always, a bandit.
    :param restricted: allow some of the discrete actions at a time, and say so in the infos.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        num_envs: int,
        action_space: spaces.Space[Any],
        *,
        longest: int = 7,
        group_size: int = 1,
        constant: bool = False,
        restricted: bool = False,
    ) -> None:
        self.num_envs = num_envs
        self.longest, self.group_size = longest, group_size
        self.constant, self.restricted = constant, restricted
        self.single_action_space = action_space
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (FEATURES,), np.float32)
        self.action_space = batch_space(action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin the episodes 0 to N - 1."""
        self._episode = np.arange(self.num_envs)
        self._position = np.zeros(self.num_envs, dtype=np.int64)
        self._next = self.num_envs
        return self._observe(), self._restrictions()

    def step(self, actions: NDArray[Any]) -> tuple[NDArray[np.float32], Any, Any, Any, dict[str, Any]]:
        """Pay for the actions; a slot whose episode is over takes the next one."""
        self._position += 1
        lengths = [ragged_length(int(episode), self.longest) for episode in self._episode]
        done = self._position >= lengths
        truncated = done & (self._episode % 3 == 0)
        observations = self._observe()
        final = np.full(self.num_envs, None, dtype=object)
        for slot in np.flatnonzero(done):
            final[slot] = observations[slot]
            self._episode[slot], self._position[slot] = self._next, 0
            self._next += 1
        infos = {"final_obs": final, **self._restrictions()}
        return self._observe(), self._pay(actions), done & ~truncated, truncated, infos

    def _restrictions(self) -> dict[str, NDArray[np.bool_]]:
        """Return which actions are allowed now, at least one in each slot; nothing where all are."""
        if not self.restricted:
            return {}
        n = int(self.single_action_space.n)  # type: ignore[attr-defined]
        draws = [numpy_generator("allowed", *key) for key in self._keys()]
        allowed = np.array([draw.random(n) < 0.6 for draw in draws])
        allowed[np.arange(self.num_envs), [int(draw.integers(n)) for draw in draws]] = True
        return {"action_mask": allowed}

    def _keys(self) -> list[tuple[int, int]]:
        return list(zip((self._episode // self.group_size).tolist(), self._position.tolist(), strict=True))

    def _pay(self, actions: NDArray[Any]) -> NDArray[np.float64]:
        if isinstance(self.single_action_space, spaces.Discrete):
            return (actions == 1).astype(np.float64)
        return -np.abs(actions).sum(-1).astype(np.float64)

    def _observe(self) -> NDArray[np.float32]:
        if self.constant:
            return np.full((self.num_envs, FEATURES), 4.0, dtype=np.float32)
        rows = [numpy_generator("observation", *key).normal(size=FEATURES) for key in self._keys()]
        return np.array(rows, dtype=np.float32)


@dataclass(frozen=True)
class _Finished:
    episode: Episode


class TextWorld(VectorEnv):
    """Prompts of 1 to 9 tokens drawn from the episode's number; EOS or a budget of its own ends a response.

    :param longest: actions in the longest response.
    :param speaks: append a token of its own after every second action, the third of every three.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        num_envs: int,
        tokenizer: PreTrainedTokenizerBase,
        *,
        longest: int = 7,
        speaks: bool = False,
    ) -> None:
        self.num_envs, self.tokenizer = num_envs, tokenizer
        self.longest, self.speaks = longest, speaks
        self.pad_id, self.eos_id = int(tokenizer.pad_token_id), int(tokenizer.eos_token_id)
        self.defer_scoring, self.group_size = False, 1
        self.single_action_space = spaces.Discrete(len(tokenizer))
        self._words = sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids))
        self._width = 9 + 2 * longest

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Deal the episodes that ``options`` ask for, as text environments do."""
        self._next = int(options["first_episode"])
        self._end = self._next + int(options["episodes"])
        self._rows: list[list[int]] = [[] for _ in range(self.num_envs)]
        self._prompts: list[tuple[int, ...]] = [()] * self.num_envs
        self._episode, self._taken = [-1] * self.num_envs, [0] * self.num_envs
        self._count = 0
        for slot in range(self.num_envs):
            self._deal(slot)
        return self._observe(), {}

    def step(self, actions: NDArray[Any]) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]:
        """Append a token to every text; a slot whose response is over takes the next prompt."""
        finished = np.full(self.num_envs, None, dtype=object)
        terminated, truncated = np.zeros((2, self.num_envs), dtype=bool)
        for slot in range(self.num_envs):
            if self._episode[slot] < 0:
                continue
            self._rows[slot].append(int(actions[slot]))
            self._taken[slot] += 1
            terminated[slot] = actions[slot] == self.eos_id
            truncated[slot] = self._taken[slot] >= ragged_length(self._episode[slot], self.longest)
            truncated[slot] &= not terminated[slot]
            if terminated[slot] or truncated[slot]:
                finished[slot] = _Finished(self._build(slot, bool(terminated[slot])))
                self._count += 1
                self._deal(slot)
            elif self.speaks and self._taken[slot] % 2 == 0:
                self._rows[slot].append(self._words[0])
        info = {"final_info": {"finished": finished}} if (terminated | truncated).any() else {}
        return self._observe(), np.zeros(self.num_envs), terminated, truncated, info

    def score_deferred(self) -> dict[int, Score]:
        """Pay every episode nothing."""
        return dict.fromkeys(range(self._end - self._count, self._end), 0.0)

    def _deal(self, slot: int) -> None:
        if self._next >= self._end:
            self._episode[slot], self._rows[slot], self._prompts[slot] = -1, [], ()
            return
        generator = numpy_generator("prompt", self._next)
        prompt = generator.choice(self._words, size=int(generator.integers(1, 10))).tolist()
        self._episode[slot], self._rows[slot], self._prompts[slot] = self._next, prompt, tuple(prompt)
        self._taken[slot] = 0
        self._next += 1

    def _build(self, slot: int, terminated: bool) -> Episode:
        prompt = self._prompts[slot]
        response = self._rows[slot][len(prompt) :]
        return Episode(
            prompt=self.tokenizer.decode(prompt),
            response=self.tokenizer.decode(response, skip_special_tokens=True),
            prompt_tokens=prompt,
            response_tokens=tuple(response),
            terminated=terminated,
            truncated=not terminated,
            action_mask=tuple(place % 3 != 2 for place in range(len(response))) if self.speaks else None,
        )

    def _observe(self) -> dict[str, Any]:
        tokens = np.full((self.num_envs, self._width), self.pad_id, dtype=np.int64)
        for slot, row in enumerate(self._rows):
            tokens[slot, : len(row)] = row
        return {"tokens": tokens, "length": np.array([[len(row)] for row in self._rows])}
