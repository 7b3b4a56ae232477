"""What a plugin implements, one class a kind.

Every component has a ``name`` to be chosen by, a nested pydantic ``Config`` whose fields are described and
whose unknown keys are errors, and a constructor that takes that config first and its collaborators by
keyword. A plugin hands its classes over through the hook of the kind::

    import rltk

    class Shout(rltk.RewardModel):
        "Pays one point for every exclamation mark."

        name = "shout"

        def score(self, episodes):
            return [float(episode.response.count("!")) for episode in episodes]

    @rltk.hookimpl
    def rltk_reward_models():
        return [Shout]
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from rltk.processes import require_whole

if TYPE_CHECKING:
    # Not imported at run time: a listing of plugins must not wait for torch.
    import numpy as np
    import torch
    from gymnasium.spaces import Space
    from gymnasium.vector import VectorEnv
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from rltk.episode import Episode
    from rltk.policy import Policy
    from rltk.runs import StageContext
    from rltk.types import Metrics, Rollout

Split = Literal["train", "validation", "test"]
Row = dict[str, Any]


class ComponentConfig(BaseModel):
    """Base of every component's ``Config``: keys are known, defaults are validated, numbers are finite."""

    model_config = ConfigDict(extra="forbid", validate_default=True, frozen=True, allow_inf_nan=False)


class Component:
    """A named, configured part that a plugin provides."""

    #: Chosen by in configs; unique within its kind.
    name: ClassVar[str]
    #: One of ``rltk.plugin_checks.KINDS``.
    kind: ClassVar[str]
    #: Where the method comes from, as ``Author et al. YEAR, Title, arXiv:NUMBER``; empty where from nowhere.
    paper: ClassVar[str] = ""

    class Config(ComponentConfig):
        """No options."""

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Return options with which :mod:`rltk.testing` can make the component where defaults do not do.

        :param directory: an empty folder in which to put files that the options name.
        """
        return {}


class Algorithm(Component, ABC):
    """Improves a policy from rollouts.

    :param config: the algorithm's own options.
    :param policy: the policy to improve.
    :param generator: source of randomness of the updates.
    :param auxiliary_loss: returns a loss to be added with the algorithm's own coefficient at every
        gradient step, such as the pretraining loss of PPO-ptx; None where nothing is added.
    :raises UserError: the policy's weights are spread over processes, or it lacks a critic that is needed.
    """

    kind = "algorithm"
    #: Whether it compares episodes that answer one prompt, so that group_size must be at least 2.
    needs_groups: ClassVar[bool] = False
    #: Whether it learns from the values of a critic: a policy without one is refused then, and otherwise no
    #: critic is asked while rollouts are collected. Where an option decides, the constructor sets it first.
    needs_critic: bool = False

    def __init__(
        self,
        config: Any,
        *,
        policy: Policy,
        generator: torch.Generator,
        auxiliary_loss: Callable[[], Tensor] | None = None,
    ) -> None:
        require_whole([*policy.actor_parameters(), *policy.critic_parameters()], f"algorithm {self.name}")
        if self.needs_critic and not policy.critic_parameters():
            raise self._critic_missing()
        self.config = config
        self.policy = policy
        self.generator = generator
        self.auxiliary_loss = auxiliary_loss

    def _critic_missing(self) -> Exception:
        from rltk.errors import UserError

        what = f"{self.name!r} learns from a critic, and this policy has none"
        fix = "choose critic: detached_head, or an algorithm without a critic: rloo, grpo, or reinforce with "
        return UserError("policy.critic", what, fix=f"{fix}baseline: none")

    @abstractmethod
    def update(self, rollout: Rollout, *, progress: float = 0.0) -> Metrics:
        """Improve the policy on one rollout.

        :param progress: share of the training done, in [0, 1); for schedules.
        :raises NonFiniteError: a loss or gradient is not finite; the gradient step that would have used it
            is not taken, those before it in the same update are.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the state beside the policy's weights: optimisers, adaptive coefficients."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""


class RewardModel(Component, ABC):
    """Scores finished episodes, many at a time.

    A method may be ``async def``: all of them run in one event loop, so a client opened in :meth:`setup`
    stays usable until :meth:`close`.
    """

    kind = "reward_model"

    def __init__(self, config: Any) -> None:
        self.config = config

    def setup(self) -> Any:
        """Open what scoring needs, such as a client or a sandbox; called once before the first score."""

    @abstractmethod
    def score(self, episodes: Sequence[Episode]) -> Any:
        """Return for each episode one number, one number per response token, or None where unscorable."""

    def metrics(self) -> Mapping[str, float]:
        """Return what to log of the last :meth:`score` beside the scores themselves."""
        return {}

    def close(self) -> Any:
        """Release what :meth:`setup` opened; called once after the last score, also after an error."""


class Labeler(Protocol):
    """Somebody who ranks responses to one prompt."""

    name: str

    def rank(self, episodes: Sequence[Episode], generator: np.random.Generator) -> list[int]:
        """Return the rank of each response, 1 the best; equal ranks are ties."""


class Environment(Component, ABC):
    """A world to act in, with the material that stages need: the recipe's ``environment`` section.

    Only :meth:`make_vec` is required. The other methods are material for the stages that ask for it; their
    defaults raise a :class:`~rltk.errors.UserError` that says what this environment lacks.
    """

    kind = "environment"
    #: Turns that the policy may take in an episode: more than 1 in a dialogue.
    max_turns: int = 1

    def __init__(self, config: Any, *, seed: int) -> None:
        self.config = config
        self.seed = seed

    @abstractmethod
    def make_vec(self, num_envs: int, *, split: Split = "train", **options: Any) -> VectorEnv:
        """Return the Gymnasium vector environment (SAME_STEP autoreset) over the prompts of ``split``.

        Text environments take the options of ``rltk/TextGeneration-v0``: ``tokenizer``, ``reward``,
        ``prompts`` (rows in place of the split's), ``max_new_tokens``, ``group_size``, ``stop``.
        """

    def spaces(self) -> tuple[Space[Any], Space[Any]] | None:
        """Return the single observation and action space, or None for text, whose tokenizer decides them."""
        return None

    def build_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the tokenizer that models built from scratch for this environment use."""
        raise self._lacks("a tokenizer")

    def format_prompt(self, prompt: str) -> str:
        """Return the text the policy reads for a prompt."""
        raise self._lacks("text prompts")

    def few_shot_prefix(self, demonstrations: Sequence[Row]) -> str:
        """Return what to put before a formatted prompt to show a base model what is wanted."""
        raise self._lacks("text prompts")

    def corpus(self, split: Split) -> Iterator[str]:
        """Yield the documents of the pretraining corpus."""
        raise self._lacks("a corpus")

    def demonstrations(self, split: Split) -> list[Row]:
        """Return rows with ``prompt`` and ``response``."""
        raise self._lacks("demonstrations")

    def prompts(self, split: Split) -> list[Row]:
        """Return rows with ``prompt`` and any further columns that rewards and metrics use."""
        raise self._lacks("prompts")

    def comparisons(self, split: Split) -> list[Row]:
        """Return stored rankings: rows with ``prompt``, ``responses`` and ``ranks`` (1 best, ties equal)."""
        raise self._lacks("stored comparisons")

    def labelers(self, group: Literal["train", "heldout"]) -> Sequence[Labeler]:
        """Return the labelers whose rankings train the reward model, or those kept for evaluation."""
        raise self._lacks("labelers")

    def metrics(self, episode: Episode) -> dict[str, float]:
        """Return the true measures of an episode, ``utility`` among them where there is a truth."""
        return {}

    def oracle(self, row: Row, turns: Sequence[tuple[str, str]] = ()) -> str:
        """Return what a perfect policy says next.

        :param row: the prompt's row, as :meth:`prompts` has it.
        :param turns: what the policy said and what the environment answered, so far; empty at the first turn.
        """
        raise self._lacks("an oracle")

    def score_bounds(self) -> tuple[float, float] | None:
        """Return the mean scores of random actions and of the oracle; None where they are not known.

        The score of an episode is its ``utility``, or its return where there is no text.
        """
        return None

    def _lacks(self, what: str) -> Exception:
        from rltk.errors import UserError

        fix = "choose an environment that does, or drop the stage"
        return UserError("environment", f"{self.name!r} lacks {what}", fix=fix)


class Stage(Component, ABC):
    """One step of a recipe; reads what earlier stages left in the run directory, leaves its own artifacts.

    :param config: the stage's own options.
    :param context: the run around it: directory, environment, device, seeds, logging, checkpoints.
    """

    kind = "stage"
    #: A small recipe that has this stage, for :mod:`rltk.testing`; empty where it can run alone.
    check_recipe: ClassVar[str] = ""

    def __init__(self, config: Any, *, context: StageContext) -> None:
        self.config = config
        self.context = context

    @abstractmethod
    def run(self) -> Mapping[str, Any]:
        """Do the work and return what goes into ``summary.json``; the key ``policies`` is merged by name."""
