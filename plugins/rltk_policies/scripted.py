"""The scripted policy: a function of yours says what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.spaces import Space
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from rltk.config_errors import propagate
from rltk.errors import UserError
from rltk.functions import load_function
from rltk.hookspecs import hookimpl
from rltk.interfaces import ComponentConfig
from rltk.policy import Policy, Session
from rltk.rng import EpisodeStream
from rltk.types import Action, Rollout
from rltk_policies.baseline import Baseline

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SIGNATURE = "f(observation) that returns an action, or for text f(prompt) that returns a text"


class ScriptedPolicy(Baseline):
    """Takes the action ``function(observation)``, or answers ``function(prompt)``; nothing can be learned.

    The prompt is the text as the policy reads it, template included, and the answer is ended by EOS. The
    function has to answer the same whenever it is asked the same.
    """

    name = "scripted"
    trainable = False

    class Config(ComponentConfig):
        """Options of ``scripted``."""

        function: str = Field(
            min_length=1,
            examples=["baselines.py:act"],
            description="The function: MODULE.FUNCTION, or FILE.py:FUNCTION for a file.",
        )
        tokenizer_path: str | None = Field(
            None,
            examples=["$RUN/stages/sft/policy"],
            description="Folder or hub id of the tokenizer of prompts and answers (text only); null: the "
            "environment's own.",
        )

        @model_validator(mode="after")
        def _loadable(self) -> ScriptedPolicy.Config:
            propagate(_load, self.function)
            return self

    def __init__(
        self,
        config: Config,
        *,
        spaces: tuple[Space[Any], Space[Any]] | None = None,
        device: torch.device | str = "cpu",
        build_tokenizer: Callable[[], PreTrainedTokenizerBase] | None = None,
    ) -> None:
        super().__init__(config, spaces=spaces, device=device, build_tokenizer=build_tokenizer)
        self._function = _load(config.function)

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Return a function that answers with the prompt, and the tokenizer of a tiny model."""
        from rltk.testing.worlds import word_tokenizer

        script = directory / "echo.py"
        script.write_text("def echo(prompt):\n    return prompt\n")
        word_tokenizer().save_pretrained(directory)
        return {"function": f"{script}:echo", "tokenizer_path": str(directory)}

    def session(self, num_envs: int) -> Session:
        """Return acting state: for text, the rest of what each slot is going to say."""
        return ScriptedSession(self) if self.spaces is not None else SpeechSession(self, num_envs)

    def action(self, observation: NDArray[Any]) -> NDArray[Any]:
        """Return the function's action.

        :raises UserError: it fails, or returns no action of the environment.
        """
        assert self.spaces is not None
        space, given = self.spaces[1], self._ask(observation)
        try:
            action = np.asarray(given).astype(space.dtype)
            kept = action.dtype.kind == "f" or np.array_equal(action, given)
        except (TypeError, ValueError):
            kept = False
        if not kept or not space.contains(action):
            fix = f"return an element of {space}"
            raise UserError("policy.function", "it returned no action", got=given, fix=fix)
        return action

    def answer(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens of the function's answer to a text, EOS included.

        :raises UserError: it fails, or returns no text.
        """
        text = self._ask(self.tokenizer.decode(list(tokens), skip_special_tokens=True))
        if not isinstance(text, str):
            what = f"it returned a {type(text).__name__} in place of a text"
            raise UserError("policy.function", what, fix="return a str")
        return [*self.tokenizer.encode(text, add_special_tokens=False), int(self.tokenizer.eos_token_id)]

    def distribution_parameters(self, batch: Rollout) -> Tensor:
        """Return the actions that the function takes, ``[B, T, P]``."""
        parameters = torch.zeros(
            *batch.mask.shape, *(batch.actions.shape[2:] or (1,)), dtype=batch.actions.dtype
        )
        if self.spaces is None:
            for row in range(len(batch)):
                said = self._said(batch, row)
                parameters[row, : len(said), 0] = torch.tensor(said)
        else:
            assert batch.observations is not None
            for row, column in batch.mask.nonzero().tolist():
                action = self.action(batch.observations[row, column].cpu().numpy())
                parameters[row, column] = torch.from_numpy(np.atleast_1d(action))
        return parameters.to(batch.mask.device)

    def logprobs_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities ``[B, T]``, 0 for the function's actions and else minus infinity, and
        entropies of 0."""
        same = (parameters == actions.reshape(parameters.shape)).all(-1)
        zeros = torch.zeros(same.shape, device=same.device)
        return torch.where(same, zeros, -torch.inf), zeros

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the exact KL(p || q) ``[B, T]``: 0 where both take one action, else infinite."""
        return torch.where((p == q).all(-1), 0.0, torch.inf)

    def _said(self, batch: Rollout, row: int) -> list[int]:
        """Return the token that the function would say at each action of a row."""
        assert batch.tokens is not None and batch.action_mask is not None
        tokens, speech = batch.tokens[row].tolist(), Speech(self)
        return [speech.token(tokens[:place]) for place in batch.action_mask[row].nonzero()[:, 0].tolist()]

    def _ask(self, seen: Any) -> Any:
        try:
            return self._function(seen)
        except Exception as error:
            what = f"{self.config.function} raised {type(error).__name__}: {str(error).partition(chr(10))[0]}"
            raise UserError("policy.function", what, fix="repair the function") from error


class Speech:
    """An answer as it is said token by token; a new one is asked for when it is used up."""

    def __init__(self, policy: ScriptedPolicy) -> None:
        self._policy = policy
        self._begin, self._answer = 0, list[int]()

    def token(self, text: Sequence[int]) -> int:
        """Return what to say after ``text``."""
        if not self._begin <= len(text) < self._begin + len(self._answer):
            self._begin, self._answer = len(text), self._policy.answer(text)
        return self._answer[len(text) - self._begin]


class SpeechSession(Session):
    """Acting on text: each slot says what the function answered to its prompt."""

    def __init__(self, policy: ScriptedPolicy, num_envs: int) -> None:
        self._policy = policy
        self._speeches = [Speech(policy) for _ in range(num_envs)]

    def act(
        self,
        observations: Any,
        *,
        stream: EpisodeStream,
        active: np.ndarray,
        deterministic: bool = False,
    ) -> Action:
        """Say the next token of every active slot; see :meth:`rltk.policy.Session.act`."""
        tokens, length = observations["tokens"], observations["length"][:, 0]
        actions = np.zeros(len(active), dtype=np.int64)
        for slot in np.flatnonzero(active):
            if stream.positions[slot] == 0:
                self._speeches[slot] = Speech(self._policy)
            actions[slot] = self._speeches[slot].token(tokens[slot, : length[slot]].tolist())
        return _certain(actions, self._policy.device)


class ScriptedSession(Session):
    """Acting on arrays."""

    def __init__(self, policy: ScriptedPolicy) -> None:
        self._policy = policy

    def act(
        self,
        observations: Any,
        *,
        stream: EpisodeStream,
        active: np.ndarray,
        deterministic: bool = False,
    ) -> Action:
        """Take the function's action in every slot; see :meth:`rltk.policy.Session.act`."""
        actions = [self._policy.action(observation) for observation in observations]
        return _certain(np.stack(actions), self._policy.device)


def _certain(actions: NDArray[Any], device: torch.device) -> Action:
    zeros = torch.zeros(len(actions), device=device)
    return Action(torch.from_numpy(actions).to(device), zeros, zeros.clone())


def _load(path: str) -> Any:
    return load_function(path, "function", signature=_SIGNATURE)


@hookimpl
def rltk_policies() -> list[type[Policy]]:
    """Provide ``scripted``."""
    return [ScriptedPolicy]
