"""The preference_model reward: the score of a model that the reward_model stage trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field

from rltk.episode import Episode
from rltk.errors import UserError
from rltk.hookspecs import hookimpl
from rltk.interfaces import ComponentConfig, RewardModel
from rltk.language_modeling import tokenize
from rltk.models import check_tokenizer, load_reward_model, load_tokenizer, tokenizer_fingerprint
from rltk.preference import score_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class PreferenceModel(RewardModel):
    """Scores prompt and response at the last token, EOS where the response ended by itself.

    :param device: where the model runs.
    :param tokenizer: the policy's. Where it is the reward model's own, or not given, the episodes' token ids
        are scored as they are; otherwise they are decoded and read by the reward model's tokenizer.
    """

    name = "preference_model"
    paper = (
        "Ouyang et al. 2022, Training language models to follow instructions with human feedback, "
        "arXiv:2203.02155"
    )

    class Config(ComponentConfig):
        """Options of the preference_model reward."""

        path: str = Field("$RUN/stages/reward_model/model", description="folder of the trained reward model")
        micro_batch_tokens: int = Field(16384, ge=1, description="padded tokens per forward pass")

    def __init__(
        self,
        config: Config,
        *,
        device: torch.device | str = "cpu",
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        super().__init__(config)
        where = f"reward {self.name}"
        self.tokenizer = load_tokenizer(config.path, where)
        check_tokenizer(self.tokenizer, where)
        self.model = load_reward_model(config.path, where).to(device).eval().requires_grad_(False)
        same = tokenizer is None or tokenizer_fingerprint(tokenizer) == tokenizer_fingerprint(self.tokenizer)
        self.policy_tokenizer = None if same else tokenizer

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Return the path of a tiny reward model; see :class:`rltk.interfaces.Component`."""
        from rltk.testing.worlds import save_reward_model

        return {"path": save_reward_model(directory)}

    @torch.no_grad()
    def score(self, episodes: Sequence[Episode]) -> list[float | None]:
        """Return one number per episode, whatever the others are; None for an episode with no token at all.

        :raises UserError: when an episode is longer than the model's context.
        """
        rows = self._rows(episodes)
        scorable = [index for index, row in enumerate(rows) if row]
        scores = score_rows(
            self.model,
            [rows[index] for index in scorable],
            micro_batch_tokens=self.config.micro_batch_tokens,
            where=f"reward {self.name}",
        )
        results: list[float | None] = [None] * len(rows)
        for index, score in zip(scorable, scores.tolist(), strict=True):
            results[index] = score
        return results

    def _rows(self, episodes: Sequence[Episode]) -> list[list[int]]:
        if self.policy_tokenizer is None:
            rows = [[*episode.prompt_tokens, *episode.response_tokens] for episode in episodes]
            largest, size = max((max(row, default=0) for row in rows), default=0), len(self.tokenizer)
            if largest >= size:
                fix = "pass the policy's tokenizer, so that its ids can be translated"
                raise UserError(
                    f"reward {self.name}", f"its vocabulary has {size} tokens", got=largest, fix=fix
                )
            return rows
        prompts = self.policy_tokenizer.batch_decode([list(episode.prompt_tokens) for episode in episodes])
        read = tokenize(self.tokenizer, [*prompts, *(episode.response for episode in episodes)])
        ends = [[self.tokenizer.eos_token_id] if episode.terminated else [] for episode in episodes]
        return [
            [*prompt, *response, *end]
            for prompt, response, end in zip(read[: len(ends)], read[len(ends) :], ends, strict=True)
        ]


@hookimpl
def rltk_reward_models() -> list[type[RewardModel]]:
    """Provide the reward model."""
    return [PreferenceModel]
