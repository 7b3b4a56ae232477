"""The state of a text environment: in every slot a prompt and what followed it, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rltk.episode import Episode
from rltk.errors import UserError
from rltk.interfaces import Row
from rltk_envs.prompts import Prompt
from rltk_envs.stop_texts import StopTexts
from rltk_envs.turns import Conversation, MakePartner

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Observation = dict[str, NDArray[np.int64]]


class TextSlots:
    """Tokens in ``count`` slots, appended one at a time.

    :param width: columns of a slot.
    :param max_new_tokens: tokens that the policy may write in an episode.
    :param stop: texts that end a turn.
    :param partner: makes whoever answers a turn; None: the first turn is the last.
    :param max_turns: turns that the policy may take in an episode.
    :param max_reply_tokens: longest answer.
    """

    def __init__(
        self,
        count: int,
        width: int,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_new_tokens: int,
        stop: Sequence[str],
        partner: MakePartner | None,
        max_turns: int,
        max_reply_tokens: int,
    ) -> None:
        self.tokenizer = tokenizer
        self.max_new_tokens, self.max_turns, self.max_reply_tokens = (
            max_new_tokens,
            max_turns,
            max_reply_tokens,
        )
        self.stop, self.partner = StopTexts(stop, tokenizer), partner
        self._pad, self._eos = int(tokenizer.pad_token_id), int(tokenizer.eos_token_id)
        self.tokens = np.full((count, width), self._pad, dtype=np.int64)
        self.length = np.zeros(count, dtype=np.int64)
        #: ``[count]`` tokens of each slot that the policy did not write: the prompt and all answers.
        self._given = np.zeros(count, dtype=np.int64)
        self._prompts: list[Prompt | None] = [None] * count
        self._conversations: dict[int, Conversation] = {}

    def begin(self, slot: int, prompt: Prompt | None) -> None:
        """Put a prompt into a slot; None leaves it empty."""
        tokens = () if prompt is None else prompt.tokens
        self.tokens[slot] = self._pad
        self.tokens[slot, : len(tokens)] = tokens
        self.length[slot] = self._given[slot] = len(tokens)
        self._prompts[slot] = prompt
        if self.partner is not None and prompt is not None:
            self._conversations[slot] = Conversation(self.partner(prompt.row), len(tokens))

    def append(
        self, slots: NDArray[np.int64], actions: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Append ``actions[i]`` to slot ``slots[i]``, and what a partner answers to a turn that it ends.

        :returns: ``[n]`` whether each episode terminated, and whether it was cut off.
        """
        self.tokens[slots, self.length[slots]] = actions
        self.length[slots] += 1
        terminated = actions == self._eos
        if self.stop:
            terminated |= [self.stop.end(self._turn(slot)) for slot in slots.tolist()]
        spent = self.length[slots] - self._given[slots] >= self.max_new_tokens
        if self.partner is not None:
            for i in np.flatnonzero(terminated).tolist():
                terminated[i], spent[i] = self._converse(int(slots[i]), bool(spent[i]))
        return terminated, spent & ~terminated

    def episode(self, slot: int, *, terminated: bool) -> Episode:
        """Return the episode in a slot as it stands."""
        prompt = self._prompts[slot]
        assert prompt is not None
        begin, end = len(prompt.tokens), int(self.length[slot])
        turn = self._decode(self._turn(slot))
        said = self.stop.cut(turn)
        whole = self._decode(self.tokens[slot, begin:end])
        conversation = self._conversations.get(slot)
        return Episode(
            prompt=prompt.text,
            response=whole[: len(whole) - len(turn) + len(said)].strip(),
            prompt_tokens=prompt.tokens,
            response_tokens=self.read(slot)[1],
            columns=prompt.columns,
            terminated=terminated,
            truncated=not terminated,
            turns=(*conversation.turns, (said.strip(), "")) if conversation else (),
            action_mask=conversation.action_mask(begin, end) if conversation else None,
        )

    def observe(self, slot: int | slice = slice(None)) -> Observation:
        """Return the observation of a slot, or of all."""
        return {"tokens": self.tokens[slot].copy(), "length": self.length[slot, None].copy()}

    def read(self, slot: int) -> tuple[Row, tuple[int, ...]]:
        """Return the prompt's row and the tokens after the prompt."""
        prompt = self._prompts[slot]
        assert prompt is not None
        return prompt.row, tuple(self.tokens[slot, len(prompt.tokens) : self.length[slot]].tolist())

    def _converse(self, slot: int, spent: bool) -> tuple[bool, bool]:
        """Let the partner answer the turn that ended; return whether the episode is over, and cut off."""
        conversation = self._conversations[slot]
        said = self.stop.cut(self._decode(self._turn(slot))).strip()
        reply = conversation.partner.reply(said)
        if reply is None:
            return True, False
        if spent or len(conversation.turns) + 1 >= self.max_turns:
            return False, True
        tokens = self.tokenizer.encode(reply, add_special_tokens=False)
        if len(tokens) > self.max_reply_tokens:
            what = f"the partner answered with more tokens than max_reply_tokens={self.max_reply_tokens}"
            raise UserError("environment.partner", what, got=len(tokens), fix="raise max_reply_tokens")
        begin = int(self.length[slot])
        end = begin + len(tokens)
        self.tokens[slot, begin:end] = tokens
        self.length[slot] = end
        self._given[slot] += len(tokens)
        conversation.answered(said, reply, begin, end)
        return False, False

    def _turn(self, slot: int) -> NDArray[np.int64]:
        """Return the tokens that the policy wrote since the prompt or the last answer."""
        conversation = self._conversations.get(slot)
        start = self._given[slot] if conversation is None else conversation.start
        return self.tokens[slot, start : self.length[slot]]

    def _decode(self, tokens: NDArray[np.int64]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))
