"""The evaluate stage: all policies on the same held-out prompts and the same sampling seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from rltk.checkpoint import write_text
from rltk.config import PolicySpec, RewardSpec
from rltk.errors import UserError
from rltk.hookspecs import hookimpl
from rltk.interfaces import ComponentConfig, Environment, Row, Split, Stage
from rltk.policy import Policy
from rltk.rng import numpy_generator, torch_generator
from rltk_stages.evaluate.control import evaluate_returns
from rltk_stages.evaluate.judging import Judge, Judged
from rltk_stages.evaluate.text import Act, TextTask, add_kl

if TYPE_CHECKING:
    from rltk.runs import StageContext


class EvaluatedPolicy(ComponentConfig):
    """A policy to evaluate and how it is prompted."""

    policy: PolicySpec = Field(description="The policy's name and options.")
    shots: int = Field(0, ge=0, description="Demonstrations put before each prompt.")
    stop: tuple[str, ...] = Field((), description="Texts that end a response, beside EOS.")


class Evaluate(Stage):
    """Measures every policy and leaves ``samples.jsonl``, one line a policy and prompt.

    In an environment with a truth: utility and flags, and the win rate against the baseline as held-out
    labelers see it. Without one: the win rate by the reward model's score. In an environment without text:
    the return.
    """

    name = "evaluate"
    check_recipe = "instructgpt-tiny"

    class Config(ComponentConfig):
        """Options of the evaluate stage."""

        policies: dict[str, EvaluatedPolicy] = Field(
            min_length=1,
            examples=[{"rl": {"policy": {"name": "causal_lm", "path": "$RUN/stages/rl/policy"}}}],
            description="The policies in the order they are shown, the final one last.",
        )
        baseline: str | None = Field(None, description="The policy that win rates compare with.")
        reference: str | None = Field(None, description="The policy that KL is measured to.")
        reward: RewardSpec | None = Field(None, description="Scores responses; null leaves the score out.")
        split: Split = Field("test", description="Which prompts: train, validation or test.")
        num_prompts: int = Field(300, ge=1, description="Prompts, or all there are; episodes without text.")
        num_envs: int = Field(128, ge=1, description="Episodes acted side by side.")
        greedy: bool = Field(
            True, description="Measure each distribution's mode too: its utility, or return."
        )
        corpus_pack: bool = Field(
            True, description="Join documents to full rows; false: one a row, as the model was pretrained."
        )
        corpus_tokens: int = Field(20_000, ge=0, description="Tokens of held-out corpus read; 0 reads none.")

        @model_validator(mode="after")
        def _known(self) -> Evaluate.Config:
            for key in ("baseline", "reference"):
                if (name := getattr(self, key)) is not None and name not in self.policies:
                    raise ValueError(
                        f"{key} must be one of the policies ({', '.join(self.policies)}), got {name!r}"
                    )
            return self

    def __init__(self, config: Config, *, context: StageContext) -> None:
        super().__init__(config, context=context)
        #: The policies that have nothing to train.
        self.baselines: set[str] = set()

    def run(self) -> Mapping[str, Any]:
        """Act with each policy, then judge all responses.

        :raises UserError: a policy, the reward model or the prompts cannot be had.
        """
        if self.context.environment.spaces() is not None:
            return {"policies": self._final_last(self._evaluate_control())}
        return self._evaluate_text()

    def _create(self, name: str) -> Policy:
        context, spec = self.context, self.config.policies[name].policy
        policy: Policy = context.create(
            "policy",
            spec,
            device=context.device,
            autocast=context.autocast,
            spaces=context.environment.spaces(),
            generator=torch_generator(context.seed, "policy"),
            build_tokenizer=context.environment.build_tokenizer,
        )
        if not policy.actor_parameters():
            self.baselines.add(name)
        return policy.eval()

    def _evaluate_text(self) -> Mapping[str, Any]:
        task = TextTask(self.context, self.config, rows=self._choose_prompts(self.context.environment))
        acts: dict[str, Act] = {}
        # By policy: one that is prompted in two ways is read once.
        corpus_losses: dict[str, float | None] = {}
        for step, (name, spec) in enumerate(self.config.policies.items(), start=1):
            policy = self._create(name)
            acts[name] = task.act(policy, shots=spec.shots, stop=spec.stop)
            if (key := spec.policy.model_dump_json()) not in corpus_losses:
                corpus_losses[key] = task.corpus_loss(policy)
            acts[name].corpus_loss = corpus_losses[key]
            self.context.log(step, len(self.config.policies), {})
            # Nothing is worth saving of work this short; the call lets a stop request through.
            self.context.checkpoint(step, dict)
        if self.config.reference is not None:
            add_kl(acts, self._create(self.config.reference))
        judge = Judge(self.context, self.config.baseline, self._reward(acts))
        judged = judge.judge(acts)
        self._write_samples(task.rows, acts, judged)
        summaries = {
            name: {"path": self._folder(name), **judge.summarise(name, acts, judged)} for name in acts
        }
        return {
            "policies": self._final_last(summaries),
            "evaluation": self._facts(len(task.rows), [labeler.name for labeler in judge.labelers]),
        }

    def _final_last(self, summaries: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Return the summaries with those of baselines first, wherever an override put them."""
        return {
            name: summaries[name] for name in sorted(summaries, key=lambda name: name not in self.baselines)
        }

    def _evaluate_control(self) -> dict[str, dict[str, Any]]:
        results = {}
        for step, name in enumerate(self.config.policies, start=1):
            results[name] = evaluate_returns(self.context, self.config, self._create(name))
            self.context.log(step, len(self.config.policies), {})
            self.context.checkpoint(step, dict)
        return results

    def _choose_prompts(self, environment: Environment) -> list[Row]:
        rows = environment.prompts(self.config.split)
        if not rows:
            raise UserError(
                f"{self.context.name}.split", "it has no prompts", got=self.config.split, fix="choose another"
            )
        chosen = numpy_generator(self.context.seed, "prompts").permutation(len(rows))[
            : self.config.num_prompts
        ]
        return [rows[i] for i in sorted(chosen.tolist())]

    def _reward(self, acts: Mapping[str, Act]) -> Any:
        if self.config.reward is None:
            return None
        tokenizer = next(iter(acts.values())).tokenizer
        return self.context.create(
            "reward_model", self.config.reward, device=self.context.device, tokenizer=tokenizer
        )

    def _folder(self, name: str) -> str | None:
        """Return where a policy lies, relative to the run directory where it is inside."""
        path = self.config.policies[name].policy.options.get("path")
        return None if path is None else str(path).removeprefix(f"{self.context.run_directory}/")

    def _facts(self, count: int, labelers: list[str]) -> dict[str, Any]:
        """Return what a reader of the results has to know."""
        return {
            "baseline": self.config.baseline,
            "reference": self.config.reference,
            "split": self.config.split,
            "num_prompts": count,
            "labelers": labelers,
        }

    def _write_samples(
        self, rows: list[Row], acts: Mapping[str, Act], judged: Mapping[str, list[Judged]]
    ) -> None:
        lines = []
        for name, act in acts.items():
            for i, (row, episode) in enumerate(zip(rows, act.episodes, strict=True)):
                known = {"policy": name, "prompt_id": i, "prompt": row["prompt"]}
                known |= {"use_case": row["use_case"]} if "use_case" in row else {}
                said = {"response": episode.response, "terminated": episode.terminated}
                scored = {**judged[name][i].metrics, "reward": judged[name][i].reward, "kl": act.kl_of(i)}
                lines.append(json.dumps(known | said | scored, ensure_ascii=False) + "\n")
        write_text(self.context.directory / "samples.jsonl", "".join(lines))


@hookimpl
def rltk_stages() -> list[type[Stage]]:
    """Provide the evaluate stage."""
    return [Evaluate]
