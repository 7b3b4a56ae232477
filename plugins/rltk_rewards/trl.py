"""The trl reward: a reward function written for TRL, as it is.

It is called as ``_calculate_rewards`` of TRL's ``GRPOTrainer`` and ``RLOOTrainer`` (TRL 1.x) does: once for
all episodes, with keyword arguments only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from rltk.config_errors import propagate
from rltk.episode import Episode
from rltk.errors import UserError
from rltk.functions import load_function
from rltk.hookspecs import hookimpl
from rltk.interfaces import ComponentConfig, RewardModel
from rltk.scoring import describe_reward

#: Columns that TRL does not hand on, since the function gets them in the plural.
_OWN_COLUMNS = frozenset({"prompt", "completion", "completion_ids"})


class TRLFunction(RewardModel):
    """Scores with ``function(prompts=..., completions=..., **columns)``, which may be ``async def``.

    :param progress: returns how many iterations are done and how many there are; where it is given, a
        function that takes ``trainer_state`` gets one with ``global_step`` and ``max_steps``.
    """

    name = "trl"

    class Config(ComponentConfig):
        """Options of the trl reward."""

        function: str = Field(
            min_length=1,
            examples=["rewards.py:accuracy"],
            description="The function: MODULE.FUNCTION, or FILE.py:FUNCTION for a file.",
        )
        conversational: bool = Field(
            False, description="Give prompts and completions as lists of messages, not as texts."
        )

        @model_validator(mode="after")
        def _loadable(self) -> TRLFunction.Config:
            propagate(_load, self.function)
            return self

    def __init__(self, config: Config, *, progress: Callable[[], tuple[int, int]] | None = None) -> None:
        super().__init__(config)
        self.label = config.function
        self.progress = progress
        self._function = _load(config.function)
        self._logged: dict[str, list[float]] = {}

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Return a function in a file of its own."""
        path = directory / "short_completions.py"
        path.write_text(
            "def short(completions, **kwargs):\n    return [1.0 / (1 + len(text)) for text in completions]\n"
        )
        return {"function": f"{path}:short"}

    def score(self, episodes: Sequence[Episode]) -> Any:
        """Return what the function returns, to be awaited where it is ``async def``.

        :raises UserError: it needs an argument that there is not.
        """
        self._logged = {}
        return self._function(**self._accepted(self._arguments(episodes)))

    def metrics(self) -> Mapping[str, float]:
        """Return what the function logged with ``log_metric``, averaged where it did so more than once."""
        return {name: sum(values) / len(values) for name, values in self._logged.items()}

    def _accepted(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return those of the arguments that the function takes, which may be all."""
        parameters = inspect.signature(self._function).parameters.values()
        named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        fix = "give the prompts such a column, or the argument a default"
        for name, parameter in named.items():
            if parameter.default is parameter.empty and name not in arguments:
                raise UserError(describe_reward(self), _lacking(name), fix=fix)
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return arguments
        return {name: value for name, value in arguments.items() if name in named}

    def _arguments(self, episodes: Sequence[Episode]) -> dict[str, Any]:
        """Return all that TRL passes; a column that an episode lacks is None there."""
        columns = dict.fromkeys(key for episode in episodes for key in episode.columns)
        arguments: dict[str, Any] = {
            key: [episode.columns.get(key) for episode in episodes]
            for key in columns
            if key not in _OWN_COLUMNS
        }
        arguments["prompts"] = self._texts("user", [episode.prompt for episode in episodes])
        arguments["completions"] = self._texts("assistant", [episode.response for episode in episodes])
        arguments["completion_ids"] = [list(episode.response_tokens) for episode in episodes]
        arguments["log_metric"] = self._log_metric
        arguments["log_extra"] = _log_extra
        if self.progress is not None:
            arguments["trainer_state"] = _trainer_state(*self.progress())
        return arguments

    def _texts(self, role: str, texts: list[str]) -> list[Any]:
        """Return each text as it is, or as a conversation of one message."""
        talk = self.config.conversational
        return [[{"role": role, "content": text}] if talk else text for text in texts]

    def _log_metric(self, name: str, value: float) -> None:
        self._logged.setdefault(name, []).append(float(value))


def _load(path: str) -> Callable[..., Any]:
    signature = "f(prompts, completions, **columns) that returns a list of numbers"
    return load_function(path, "function", signature=signature)


def _lacking(name: str) -> str:
    if name == "trainer_state":
        return "its function needs trainer_state, which there is only while a policy is trained"
    return f"its function needs the argument {name!r}, and no prompt has a column of this name"


def _log_extra(column: str, values: Sequence[Any]) -> None:
    """Take a column of TRL's table of completions, which there is none of here."""


def _trainer_state(step: int, total: int) -> Any:
    from transformers import TrainerState

    return TrainerState(global_step=step, max_steps=total)


@hookimpl
def rltk_reward_models() -> list[type[RewardModel]]:
    """Provide the reward model."""
    return [TRLFunction]
