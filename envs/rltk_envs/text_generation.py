"""Text generation as a Gymnasium environment whose actions are vocabulary tokens.

An episode is a prompt and a response; a step appends one token. EOS or a stop text terminates, the length
budget truncates, and where there is a partner to talk to, it answers between the turns. The observation holds
the tokens so far; what a policy remembers of them (a KV cache) is the policy's own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rltk.episode import Episode
from rltk.errors import UserError
from rltk.models import check_tokenizer
from rltk.registry import create
from rltk.scoring import Score, in_use, score_episodes
from rltk_envs.dealing import Dealer, Seed
from rltk_envs.prompts import Deck, Prompts, read_prompts
from rltk_envs.text_infos import FinishedEpisode, ended_infos, final_infos
from rltk_envs.text_slots import Observation, TextSlots
from rltk_envs.token_masks import AllowedTokens, ask_allowed
from rltk_envs.turns import MakePartner

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rltk.interfaces import RewardModel


class TextGenerationVectorEnv(VectorEnv):
    """Many prompts answered side by side.

    :param num_envs: slots.
    :param prompts: texts, lists of token ids, or rows with ``prompt`` (either of them) and further columns;
        in a list, in anything that has a length and gives rows by index, as data sets of the package
        ``datasets`` do, or in a JSONL file, whose path is given.
    :param tokenizer: gives the vocabulary and the EOS and pad ids, which must differ.
    :param max_new_tokens: tokens that the policy may write in an episode.
    :param reward: a reward model, a function of a list of episodes, a registered name, or None (pays 0).
        One that is made from a name is set up here and closed with the environment; whoever hands over a
        reward model sets it up and closes it (:func:`rltk.scoring.in_use`).
    :param template: what the policy reads; ``{prompt}`` stands for the prompt.
    :param stop: texts that end a turn, as EOS does; cut from ``Episode.response`` with what follows them.
    :param partner: makes whoever answers the policy's turns in an episode from the prompt's row; None: the
        first turn is the last.
    :param max_turns: turns that the policy may take; an episode that would go on after them is truncated.
    :param max_reply_tokens: longest answer of the partner.
    :param allowed_tokens: returns ``[V]`` bool, which tokens may come next, given the prompt's row and the
        tokens after the prompt; then infos have an ``action_mask`` and the environment ``action_masks()``.
    :param group_size: consecutive episodes that share a prompt.
    :param shuffle: deal prompts in a random order, new every epoch.
    :param max_prompt_tokens: longest prompt allowed.
    :param autoreset_mode: SAME_STEP or NEXT_STEP of Gymnasium's AutoresetMode, or its value.

    The observation is ``tokens [N, L]`` int64, right-padded with the pad id, and ``length [N, 1]`` int64. The
    infos are laid out as those of Gymnasium's SyncVectorEnv: ``episode_id``, and where an episode ended
    ``response`` and ``finished``, a :class:`FinishedEpisode`.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        prompts: Prompts,
        tokenizer: PreTrainedTokenizerBase,
        max_new_tokens: int,
        reward: str | RewardModel | Callable[[list[Episode]], Sequence[Any]] | None = None,
        template: str = "{prompt}",
        stop: Sequence[str] = (),
        partner: MakePartner | None = None,
        max_turns: int = 1,
        max_reply_tokens: int = 32,
        allowed_tokens: AllowedTokens | None = None,
        group_size: int = 1,
        shuffle: bool = True,
        max_prompt_tokens: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ) -> None:
        self.num_envs, self.tokenizer = num_envs, tokenizer
        self.metadata = {"render_modes": [], "autoreset_mode": _supported(autoreset_mode)}
        self._same_step = self.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
        check_tokenizer(tokenizer, "environment.tokenizer")
        self.pad_id, self.eos_id = int(tokenizer.pad_token_id), int(tokenizer.eos_token_id)
        self.prompts = read_prompts(prompts, tokenizer, template=template, max_tokens=max_prompt_tokens)
        self.group_size, self.shuffle = group_size, shuffle
        self.defer_scoring = False
        self.unscored: dict[int, Episode] = {}
        answers = 0 if partner is None else (max_turns - 1) * max_reply_tokens
        width = max(len(prompt.tokens) for prompt in self.prompts) + max_new_tokens + answers
        self._slots = TextSlots(
            num_envs,
            width,
            tokenizer,
            max_new_tokens=max_new_tokens,
            stop=stop,
            partner=partner,
            max_turns=max_turns,
            max_reply_tokens=max_reply_tokens,
        )
        self.single_action_space = spaces.Discrete(len(tokenizer))
        self.single_observation_space = spaces.Dict(
            tokens=spaces.Box(0, len(tokenizer) - 1, (width,), np.int64),
            length=spaces.Box(0, width, (1,), np.int64),
        )
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._allowed_tokens = allowed_tokens
        if allowed_tokens is not None:  # who finds the method asks for masks in every step
            self.action_masks = self._action_masks
        self._dealer = Dealer(num_envs, self._deck, lambda: int(self.np_random.integers(2**31)))
        self._at_close = ExitStack()
        self.reward: Any = reward
        if isinstance(reward, str):
            self.reward = self._at_close.enter_context(in_use(create("reward_model", reward)))

    def close_extras(self, **kwargs: Any) -> None:
        """Close the reward model that was made from a name."""
        self._at_close.close()

    def reset(
        self, *, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode in every slot.

        Without options every slot deals to itself, as environments side by side do: slot ``i`` begins with
        episode 0 of the order drawn from its seed, which is ``seed + i`` or ``seed[i]``, and counts its own
        episodes; with no seed it goes on where it was. With options all slots take their episodes from one
        deal, whose order is drawn from ``seed`` or ``seed[0]``.

        :param options: ``first_episode`` e and ``episodes`` n: deal the episodes e .. e+n-1 and then leave
            slots idle. An idle slot has length 0 and steps to nothing. Without ``episodes`` there is no end;
            without ``first_episode`` the deal goes on, or begins with 0 where there is a seed.
        """
        if isinstance(seed, int):
            super().reset(seed=seed)
        self._dealer.reset(seed, options or {})
        self.unscored = {}
        self._episode = np.full(self.num_envs, -1, dtype=np.int64)
        self._ended = np.zeros(self.num_envs, dtype=bool)
        for slot in range(self.num_envs):
            self._begin(slot)
        return self._slots.observe(), self._info()

    def step(
        self, actions: NDArray[np.integer[Any]]
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Append one token to every response.

        A slot whose response ends takes its next prompt in the same step, or with NEXT_STEP in the next one,
        which then ignores its action.
        """
        acting, waiting = np.flatnonzero(self._acting()), np.flatnonzero(self._ended)
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), dtype=bool)
        chosen = np.asarray(actions, dtype=np.int64)[acting]
        terminated[acting], truncated[acting] = self._slots.append(acting, chosen)
        self._ended = terminated | truncated
        done = np.flatnonzero(self._ended)
        infos = self._finish(done, terminated, rewards) if len(done) else {}
        if self._same_step and len(done):
            infos = final_infos(self._ended, infos, self._episode, self._slots)
            self._ended = np.zeros(self.num_envs, dtype=bool)
        for slot in (done if self._same_step else waiting).tolist():
            self._begin(slot)
        return self._slots.observe(), rewards, terminated, truncated, {**self._info(), **infos}

    def score_deferred(self) -> dict[int, Score]:
        """Score all episodes whose scoring was deferred; return their scores by episode number."""
        scores = score_episodes(self.reward, list(self.unscored.values()))
        scored = dict(zip(self.unscored, scores, strict=True))
        self.unscored = {}
        return scored

    def _finish(
        self, done: NDArray[np.int64], terminated: NDArray[np.bool_], rewards: NDArray[np.float64]
    ) -> dict[str, Any]:
        """Pay for the episodes that ended, into ``rewards``; return the infos about them."""
        episodes = [self._slots.episode(slot, terminated=bool(terminated[slot])) for slot in done.tolist()]
        scores = self._score(done, episodes)
        rewards[done] = [total_reward(score) for score in scores]
        return ended_infos(self._ended, list(map(FinishedEpisode, episodes, scores)))

    def _score(self, done: NDArray[np.int64], episodes: list[Episode]) -> list[Score]:
        # Slots that deal to themselves give several episodes one number, and none could be found again.
        if self.defer_scoring and self._dealer.shared:
            self.unscored.update(zip(self._episode[done].tolist(), episodes, strict=True))
            return [None] * len(episodes)
        return score_episodes(self.reward, episodes)

    def _begin(self, slot: int) -> None:
        dealt = self._dealer.next(slot)
        self._slots.begin(slot, None if dealt is None else self.prompts[dealt[1]])
        self._episode[slot] = -1 if dealt is None else dealt[0]

    def _acting(self) -> NDArray[np.bool_]:
        return (self._episode >= 0) & ~self._ended

    def _info(self) -> dict[str, Any]:
        info = {"episode_id": self._episode.copy(), "_episode_id": np.ones(self.num_envs, dtype=bool)}
        if self._allowed_tokens is None:
            return info
        acting = self._acting()
        self._allowed = ask_allowed(self._allowed_tokens, self._slots, acting)
        if acting.any():
            info |= {"action_mask": self._allowed.astype(np.int8) * acting[:, None], "_action_mask": acting}
        return info

    def _action_masks(self) -> NDArray[np.bool_]:
        """Return ``[N, V]`` which tokens may come next."""
        return self._allowed.copy()

    def _deck(self, seed: int) -> Deck:
        return Deck(len(self.prompts), group_size=self.group_size, shuffle=self.shuffle, seed=seed)


def total_reward(score: Score) -> float:
    """Return what a score pays in one sum; an unscored episode pays nothing yet."""
    if score is None:
        return 0.0
    return float(sum(score)) if isinstance(score, Sequence) else score


def _supported(mode: AutoresetMode | str) -> AutoresetMode:
    values = [value.value for value in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP)]
    given = mode.value if isinstance(mode, AutoresetMode) else mode
    if given not in values:
        fix = f"choose {' or '.join(map(repr, values))}"
        raise UserError("environment.autoreset_mode", "text has no such mode", got=given, fix=fix)
    return AutoresetMode(given)
