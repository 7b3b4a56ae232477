"""The comparisons stage: sample K responses to each prompt and have labelers rank them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from rltk.checkpoint import write_text
from rltk.config import ComponentSpec, PolicySpec
from rltk.episode import Episode
from rltk.errors import UserError
from rltk.hookspecs import hookimpl
from rltk.interfaces import ComponentConfig, Labeler, Row, Split, Stage
from rltk.models import tokenizer_fingerprint
from rltk.policy import Policy
from rltk.ranking import agreement, preference_pairs, rank_distinct
from rltk.rng import derive_seed, numpy_generator
from rltk.rollout import collect

_PROMPTS_AT_ONCE = 256
_SFT_POLICY = {"name": "causal_lm", "path": "$RUN/stages/sft/policy"}


@dataclass(frozen=True)
class Question:
    """A prompt to be answered and ranked.

    :param index: its place among all prompts of the stage; what its randomness is keyed by.
    :param K: how many responses to sample.
    """

    index: int
    split: Split
    row: Row
    K: int


class Comparisons(Stage):
    """Leaves ``rankings.jsonl``: K responses a prompt, ranked by one labeler each.

    Validation prompts are ranked by a second labeler too, which says how far labelers agree among themselves.

    Source: Ouyang et al. 2022, arXiv 2203.02155, sections 3.4 and 3.5: K from 4 to 9.
    """

    name = "comparisons"
    paper = (
        "Ouyang et al. 2022, Training language models to follow instructions with human feedback, "
        "arXiv:2203.02155"
    )
    check_recipe = "instructgpt-tiny"

    class Config(ComponentConfig):
        """Options of the comparisons stage."""

        policy: PolicySpec = Field(
            ComponentSpec.model_validate(_SFT_POLICY),
            description="what answers the prompts",
        )
        prompts: int = Field(
            1000, ge=1, description="training prompts to rank responses to, or all there are"
        )
        validation_prompts: int = Field(200, ge=1, description="validation prompts, or all there are")
        k_min: int = Field(4, ge=2, description="fewest responses to a prompt")
        k_max: int = Field(9, ge=2, description="most responses to a prompt; K is uniform between the two")
        num_envs: int = Field(128, ge=1, description="responses sampled side by side")

        @model_validator(mode="after")
        def _ordered(self) -> Comparisons.Config:
            if self.k_max < self.k_min:
                raise ValueError(f"k_max must be at least k_min ({self.k_min})")
            return self

    def run(self) -> Mapping[str, Any]:
        """Sample, rank, save and report.

        :raises UserError: when the environment lacks prompts or labelers, or a labeler ranks wrongly.
        """
        context = self.context
        labelers = list(context.environment.labelers("train"))
        if not labelers:
            raise UserError("environment", "there are no labelers", fix="choose an environment that has some")
        policy = context.create(
            "policy", self.config.policy, device=context.device, autocast=context.autocast
        )
        questions = self._questions("train", self.config.prompts, 0)
        questions += self._questions("validation", self.config.validation_prompts, len(questions))
        start, state = context.load_checkpoint() or (0, {"rows": []})
        rows: list[dict[str, Any]] = state["rows"]
        chunks = [questions[i : i + _PROMPTS_AT_ONCE] for i in range(0, len(questions), _PROMPTS_AT_ONCE)]
        for step, chunk in enumerate(chunks[start:], start=start + 1):
            ranked = self._rank(chunk, self._sample(policy, chunk), labelers)
            rows += [{**row, "tokenizer": tokenizer_fingerprint(policy.tokenizer)} for row in ranked]
            metrics = {
                f"{self.name}/{key}": value for key, value in summarise(ranked).items() if value is not None
            }
            context.log(step, len(chunks), metrics)
            context.checkpoint(step, lambda: state)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        write_text(context.directory / "rankings.jsonl", "".join(lines))
        return {self.context.name: summarise(rows)}

    def _questions(self, split: Split, count: int, first_index: int) -> list[Question]:
        """Return ``count`` prompts of a split, or all it has, each with its own K."""
        rows = self.context.environment.prompts(split)
        generator = numpy_generator(self.context.seed, "prompts", split)
        chosen = generator.permutation(len(rows))[:count]
        sizes = generator.integers(self.config.k_min, self.config.k_max + 1, size=len(chosen))
        drawn = enumerate(zip(chosen.tolist(), sizes.tolist(), strict=True), start=first_index)
        return [Question(index, split, rows[row], K) for index, (row, K) in drawn]

    def _sample(self, policy: Policy, chunk: Sequence[Question]) -> list[list[Episode]]:
        """Return K episodes a question; each prompt is dealt K times in a row, so no sample is wasted."""
        dealt = [question.row for question in chunk for _ in range(question.K)]
        envs = self.context.environment.make_vec(
            min(self.config.num_envs, len(dealt)),
            tokenizer=policy.tokenizer,
            prompts=dealt,
            shuffle=False,
            reward=None,
        )
        seed = derive_seed(self.context.seed, "samples", chunk[0].index)
        rollout = collect(envs, policy, episodes=len(dealt), seed=seed, values=False)
        episodes = iter(rollout.episodes)
        return [[next(episodes) for _ in range(question.K)] for question in chunk]

    def _rank(
        self, chunk: Sequence[Question], answers: Sequence[list[Episode]], labelers: Sequence[Labeler]
    ) -> list[dict[str, Any]]:
        rows = []
        for question, episodes in zip(chunk, answers, strict=True):
            generator = numpy_generator(self.context.seed, "labelers", question.index)
            first, *others = generator.permutation(len(labelers)).tolist()
            row = ranking_row(question, episodes) | {
                "ranks": ranks_by(labelers[first], episodes, generator),
                "labeler": labelers[first].name,
            }
            if question.split == "validation" and others:
                row["second_ranks"] = ranks_by(labelers[others[0]], episodes, generator)
                row["second_labeler"] = labelers[others[0]].name
            rows.append(row)
        return rows


def ranking_row(question: Question, episodes: Sequence[Episode]) -> dict[str, Any]:
    """Return what ``rankings.jsonl`` keeps of the responses to one prompt, its ranks aside."""
    columns = {name: value for name, value in question.row.items() if name != "prompt"}
    return {
        "split": question.split,
        "prompt": question.row["prompt"],
        "columns": columns,
        "prompt_tokens": list(episodes[0].prompt_tokens),
        "responses": [episode.response for episode in episodes],
        "response_tokens": [list(episode.response_tokens) for episode in episodes],
        "terminated": [episode.terminated for episode in episodes],
    }


def ranks_by(labeler: Labeler, episodes: Sequence[Episode], generator: np.random.Generator) -> list[int]:
    """Return a labeler's ranks of the responses to one prompt; identical texts tie.

    :raises UserError: when the labeler returns another number of ranks than it was given responses.
    """

    def rank(distinct: list[int]) -> list[int]:
        ranks = labeler.rank([episodes[index] for index in distinct], generator)
        if len(ranks) != len(distinct):
            fix = "return one rank a response, 1 the best"
            raise UserError(
                f"labeler {labeler.name!r}", f"ranked {len(distinct)} responses", got=ranks, fix=fix
            )
        return list(ranks)

    return rank_distinct([episode.response for episode in episodes], rank)


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return counts over ranked prompts, and the labelers' agreement where two of them ranked."""
    pairs = sum(len(preference_pairs(row["ranks"])[0]) for row in rows)
    possible = sum(len(row["ranks"]) * (len(row["ranks"]) - 1) // 2 for row in rows)
    agreed = [agreement(row["ranks"], row["second_ranks"]) for row in rows if "second_ranks" in row]
    both = sum(total for _, total in agreed)
    terminated = [ended for row in rows for ended in row["terminated"]]
    tokens = [len(response) for row in rows for response in row["response_tokens"]]
    return {
        "prompts": len(rows),
        "responses": len(tokens),
        "pairs": pairs,
        "tied_share": 1.0 - pairs / possible,
        "terminated": float(np.mean(terminated)),
        "response_tokens": float(np.mean(tokens)),
        "agreement": sum(same for same, _ in agreed) / both if both else None,
        "agreement_pairs": both,
    }


@hookimpl
def rltk_stages() -> list[type[Stage]]:
    """Provide the stage."""
    return [Comparisons]
