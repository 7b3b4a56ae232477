"""Policies that answer in whole texts: the oracle, an endpoint. Their words are played token by token."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from rltk.bench.players import Player, play_text, text_attempts
from rltk.bench.tasks import Attempt, Task
from rltk.errors import UserError
from rltk.interfaces import Environment, Row
from rltk.policy import MaskableSession
from rltk.rng import EpisodeStream, derive_seed
from rltk.types import Action

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Question:
    """One turn that somebody has to take.

    :param row: the prompt's row.
    :param text: what there is to read before the first turn: the formatted prompt, after any demonstrations.
    :param turns: what was said and what the environment answered so far.
    :param stop: texts that end the turn.
    :param seed: of the sampling, another for every episode and turn.
    """

    row: Row
    text: str
    turns: tuple[tuple[str, str], ...]
    stop: tuple[str, ...]
    seed: int


class Answerer(ABC):
    """Answers questions, many at a time."""

    @abstractmethod
    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Return one text a question."""


class Oracle(Answerer):
    """Says what the environment's oracle says.

    :param tokenizer: which has to have tokens for all of it.
    """

    def __init__(self, environment: Environment, tokenizer: PreTrainedTokenizerBase) -> None:
        self.environment, self.tokenizer = environment, tokenizer

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Return the oracle's texts.

        :raises UserError: the environment has no oracle, or its tokenizer no tokens for what it says.
        """
        texts = [self.environment.oracle(question.row, question.turns) for question in questions]
        unknown = self.tokenizer.unk_token_id
        for text in texts:
            if unknown is not None and unknown in _encode(self.tokenizer, text):
                fix = "let the oracle say what the tokenizer can express"
                raise UserError("oracle", "the environment has no tokens for it", got=text, fix=fix)
        return texts


class AnsweringPlayer(Player):
    """Plays the texts of an answerer, each ended by EOS.

    Words without a token of their own become unknown tokens, which the environment does not decode; where
    there were any, the response that is judged is the text itself.

    :param tokenizer: the environment's.
    """

    tokenizer: PreTrainedTokenizerBase

    def __init__(self, answerer: Answerer, tokenizer: PreTrainedTokenizerBase) -> None:
        self.answerer, self.tokenizer = answerer, tokenizer

    def play(self, task: Task) -> list[Attempt]:
        """Answer all prompts; see :meth:`rltk.bench.players.Player.play`."""
        stage = _Stage(self.answerer, self.tokenizer, task)
        # All episodes side by side, so that the first questions are asked at once.
        rollout = play_text(task, stage, self.tokenizer, slots=task.episodes)
        return [
            self._as_said(attempt, stage.said[episode])
            for episode, attempt in enumerate(text_attempts(rollout))
        ]

    def _as_said(self, attempt: Attempt, texts: Sequence[str]) -> Attempt:
        """Return the attempt with the text itself where tokens could not express it."""
        episode, unknown = attempt.said, self.tokenizer.unk_token_id
        if len(texts) > 1 or episode.truncated or unknown not in episode.response_tokens:
            return attempt
        return attempt.replace(episode=dataclasses.replace(episode, response=texts[0].strip()))


@dataclass
class _Stage:
    """What :func:`rltk.rollout.collect` asks for a session, in place of a policy.

    :ivar said: the texts of each episode, turn by turn.
    """

    answerer: Answerer
    tokenizer: PreTrainedTokenizerBase
    task: Task
    said: dict[int, list[str]] = field(default_factory=dict)

    def session(self, num_envs: int) -> _SpeakingSession:
        """Return fresh acting state."""
        return _SpeakingSession(self, num_envs)


@dataclass
class _Speech:
    """One slot: what is left to say, what was said and heard, where the text ended after the last word."""

    left: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    end: int = 0


class _SpeakingSession(MaskableSession):
    """Says texts token by token; whoever has nothing left to say is asked for the next turn."""

    def __init__(self, stage: _Stage, num_envs: int) -> None:
        self._stage = stage
        self._speeches = [_Speech() for _ in range(num_envs)]

    def act(
        self,
        observations: Any,
        *,
        stream: EpisodeStream,
        active: NDArray[np.bool_],
        deterministic: bool = False,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Action:
        """Say the next token in every active slot; see :meth:`rltk.policy.MaskableSession.act`.

        A token that is not allowed becomes EOS, or the first that is allowed where EOS is not.
        """
        slots = np.flatnonzero(active).tolist()
        for slot in slots:
            if stream.positions[slot] == 0:
                self._speeches[slot] = _Speech()
        self._ask([slot for slot in slots if not self._speeches[slot].left], observations, stream)
        actions = np.zeros(len(active), dtype=np.int64)
        for slot in slots:
            speech = self._speeches[slot]
            token = speech.left.pop(0)
            actions[slot] = token if allowed is None else self._permitted(token, allowed[slot])
            speech.end = int(observations["length"][slot, 0]) + 1
        zeros = torch.zeros(len(active))
        return Action(torch.from_numpy(actions), zeros, zeros.clone())

    def _ask(self, slots: list[int], observations: Any, stream: EpisodeStream) -> None:
        if not slots:
            return
        tokenizer = self._stage.tokenizer
        for slot in slots:
            speech = self._speeches[slot]
            if speech.said:
                length = int(observations["length"][slot, 0])
                answer = observations["tokens"][slot, speech.end : length]
                speech.heard.append(str(tokenizer.decode(answer, skip_special_tokens=True)))
        episodes = [int(stream.episodes[slot]) for slot in slots]
        questions = [self._question(slot, episode) for slot, episode in zip(slots, episodes, strict=True)]
        texts = self._stage.answerer.answer(questions)
        for slot, episode, text in zip(slots, episodes, texts, strict=True):
            speech = self._speeches[slot]
            speech.said.append(text)
            speech.left = [*_encode(tokenizer, text), int(tokenizer.eos_token_id)]
            self._stage.said[episode] = speech.said

    def _question(self, slot: int, episode: int) -> Question:
        task, speech = self._stage.task, self._speeches[slot]
        row = task.row(episode)
        return Question(
            row=row,
            text=task.prefix + task.environment.format_prompt(row["prompt"]),
            turns=tuple(zip(speech.said, speech.heard, strict=True)),
            stop=task.stop,
            seed=derive_seed(task.seed, episode, len(speech.said)),
        )

    def _permitted(self, token: int, allowed: NDArray[np.bool_]) -> int:
        eos = int(self._stage.tokenizer.eos_token_id)
        if allowed[token]:
            return token
        return eos if allowed[eos] else int(np.flatnonzero(allowed)[0])


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    tokens: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return tokens
