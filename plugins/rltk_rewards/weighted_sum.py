"""The weighted_sum reward: several rewards added up, each logged apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from rltk.config import ComponentSpec, Kind
from rltk.episode import Episode
from rltk.hookspecs import hookimpl
from rltk.interfaces import ComponentConfig, RewardModel
from rltk.registry import construct
from rltk.scoring import Score, describe_reward, in_use, reward_metrics, score_episodes

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]


class WeightedSpec(ComponentSpec):
    """A reward by name, its options, and what it counts."""

    weight: float = Field(1.0, allow_inf_nan=False, description="What its scores are multiplied by.")


class WeightedSum(RewardModel):
    """Adds up rewards; a number and one number per token combine, the number being paid at the last token.

    The other parameters are collaborators of the parts, which get those that they name.
    """

    name = "weighted_sum"

    class Config(ComponentConfig):
        """Options of the weighted_sum reward."""

        rewards: dict[Label, Annotated[WeightedSpec, Kind("reward_model")]] = Field(
            min_length=1,
            examples=[{"help": {"name": "preference_model"}, "length": {"name": "length", "weight": 0.1}}],
            description="The parts by a label each: name, weight and the reward's own options.",
        )
        missing: Literal["unscorable", "skip"] = Field(
            "unscorable",
            description="Where a part gives None: the episode is unscorable, or the part is left out of its "
            "sum. Where all parts give None it is unscorable anyway.",
        )

    def __init__(
        self,
        config: Config,
        *,
        device: torch.device | str = "cpu",
        tokenizer: PreTrainedTokenizerBase | None = None,
        progress: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(config)
        offered = {"device": device, "tokenizer": tokenizer, "progress": progress}
        self.parts: dict[str, RewardModel] = {
            label: construct("reward_model", spec.name, spec.options, where=f"rewards.{label}", **offered)
            for label, spec in config.rewards.items()
        }
        self._in_use = ExitStack()
        self._metrics: dict[str, float] = {}

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Return two parts of different weights."""
        words = {"name": "length", "per": "word", "weight": -0.5}
        return {"rewards": {"tokens": {"name": "length", "target": 8}, "words": words}}

    def setup(self) -> None:
        """Set up the parts; those that are ready are closed when a later one fails."""
        with ExitStack() as stack:
            for part in self.parts.values():
                stack.enter_context(in_use(part))
            self._in_use = stack.pop_all()

    def score(self, episodes: Sequence[Episode]) -> list[Score]:
        """Return the weighted sum for each episode.

        :raises UserError: a part broke its contract; the error names the part.
        """
        scores = {
            label: score_episodes(part, episodes, where=f"{describe_reward(part)}, part {label!r}")
            for label, part in self.parts.items()
        }
        self._metrics = {}
        for label, part in self.parts.items():
            own = {f"{label}/{name}": value for name, value in reward_metrics(part).items()}
            self._metrics |= own | _summary(label, scores[label])
        return [
            self._combine({label: scores[label][i] for label in scores}, episode.num_actions)
            for i, episode in enumerate(episodes)
        ]

    def metrics(self) -> Mapping[str, float]:
        """Return each part's mean before weighting, its share of unscorable episodes, and its own metrics."""
        return self._metrics

    def close(self) -> None:
        """Close all parts, the last first."""
        self._in_use.close()

    def _combine(self, scores: Mapping[str, Score], tokens: int) -> Score:
        known = {label: score for label, score in scores.items() if score is not None}
        if not known or (len(known) < len(scores) and self.config.missing == "unscorable"):
            return None
        weights = {label: self.config.rewards[label].weight for label in known}
        at_the_end = sum(weights[key] * score for key, score in known.items() if not isinstance(score, list))
        rows = [
            [weights[key] * reward for reward in score]
            for key, score in known.items()
            if isinstance(score, list)
        ]
        if not rows or not tokens:
            return at_the_end
        total = [sum(column) for column in zip(*rows, strict=True)]
        total[-1] += at_the_end
        return total


def _summary(label: str, scores: Sequence[Score]) -> dict[str, float]:
    if not scores:
        return {}
    known = [sum(score) if isinstance(score, list) else score for score in scores if score is not None]
    mean = {label: sum(known) / len(known)} if known else {}
    return mean | {f"{label}/unscorable": 1 - len(known) / len(scores)}


@hookimpl
def rltk_reward_models() -> list[type[RewardModel]]:
    """Provide the reward model."""
    return [WeightedSum]
