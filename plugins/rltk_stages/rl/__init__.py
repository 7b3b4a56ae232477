"""The rl stage: reinforcement learning of a policy in the recipe's environment, text or not.

Each iteration collects a rollout, scores it, shapes the rewards with a per-token KL penalty to the reference
policy where there is one, and hands it to the algorithm. Episodes are numbered through the whole stage, and
everything random is keyed by those numbers, so an interrupted run goes on exactly. Only where environments
are stepped in fragments (``steps``) it goes on with the same weights in new episodes, since environments
cannot be saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from rltk.config import AlgorithmSpec, ComponentSpec, PolicySpec, RewardSpec, build_config
from rltk.config_errors import propagate
from rltk.errors import NonFiniteError, UserError
from rltk.evaluation import rollout_logprobs
from rltk.fragments import FragmentCollector
from rltk.hookspecs import hookimpl
from rltk.interfaces import Algorithm, ComponentConfig, RewardModel, Stage
from rltk.losses import adapted_kl_coef, kl_k1, kl_k3, kl_shaped_rewards
from rltk.normalization import RewardScaler
from rltk.policy import Policy
from rltk.rng import derive_seed, torch_generator
from rltk.rollout import collect
from rltk.runs import expand
from rltk.scoring import reward_metrics
from rltk.training import load_weights, require_finite, weights
from rltk.types import Metrics, Rollout
from rltk_stages.rl.pretraining import PretrainingLoss
from rltk_stages.rl.requirements import (
    check_group_size,
    check_kl_target,
    check_requirements,
)

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv


class ReinforcementLearning(Stage):
    """Improves a policy with any algorithm, by any reward (Ouyang et al. 2022, section 3.5)."""

    name = "rl"
    paper = (
        "Ouyang et al. 2022, Training language models to follow instructions with human feedback, "
        "arXiv:2203.02155"
    )
    check_recipe = "instructgpt-tiny"

    class Config(ComponentConfig):
        """Options of the rl stage."""

        policy: PolicySpec = Field(
            examples=[{"name": "causal_lm", "path": "$RUN/stages/sft/policy"}],
            description="The policy to train.",
        )
        algorithm: AlgorithmSpec = Field(
            ComponentSpec(name="ppo"), description="What improves the policy from rollouts."
        )
        reward: RewardSpec | None = Field(None, description="What scores episodes; null: the environment.")
        reference: PolicySpec | None = Field(
            None, description="Policy whose nearness the KL penalty keeps; null: no penalty."
        )
        iterations: int = Field(50, ge=1, description="Rollouts to collect and learn from.")
        episodes: int = Field(256, ge=1, description="Episodes per rollout.")
        steps: int | None = Field(
            None,
            ge=1,
            description="Steps per rollout, all slots together, in place of whole episodes (not for text).",
        )
        num_envs: int = Field(64, ge=1, description="Environment slots stepped side by side.")
        group_size: int = Field(1, ge=1, description="Episodes that share a prompt (text only).")
        normalize_rewards: bool = Field(
            False, description="Divide rewards by the running deviation of the discounted return."
        )
        kl_coef: float = Field(0.02, ge=0, description="Weight of the per-token KL penalty.")
        kl_target: float | None = Field(
            None, gt=0, description="Adapt kl_coef towards this KL per response, in nats; null: fixed."
        )
        kl_horizon: int = Field(10_000, ge=1, description="Episodes over which kl_coef adapts.")
        pretraining_rows: int = Field(
            4, ge=1, description="Corpus rows per gradient step, where the algorithm has a ptx_coef above 0."
        )
        pretraining_length: int = Field(128, ge=2, description="Tokens per corpus row.")
        pretraining_pack: bool = Field(
            True, description="Join documents to full rows; false: one a row, as the model was pretrained."
        )
        pretraining_tokens: int = Field(500_000, ge=2, description="Corpus tokens to draw rows from.")
        max_tokens_per_batch: int = Field(
            8192, ge=1, description="Padded size of the reference's forward passes."
        )
        log_interval: int = Field(
            1, ge=1, description="Iterations from one record of metrics to the next; the last is recorded."
        )

        @model_validator(mode="after")
        def _consistent(self) -> ReinforcementLearning.Config:
            propagate(check_group_size, self.algorithm.name, self.group_size, self.episodes)
            propagate(check_kl_target, self.kl_target, self.reference)
            return self

    config: Config
    #: What is trained.
    policy: Policy
    #: Iterations that are done.
    iteration: int
    kl_coef: float
    metrics: Metrics
    #: What scores the episodes; None where the environment itself does.
    reward: RewardModel | None = None
    #: What collects fragments; None where whole episodes are collected.
    fragments: FragmentCollector | None = None
    #: What brings rewards to a common scale, by the algorithm's discount; None where they stay as they are.
    scaler: RewardScaler | None = None
    #: The loss of PPO-ptx; None where the algorithm has no ptx_coef above 0.
    pretraining: PretrainingLoss | None = None
    #: Returns of the latest episodes before the run was interrupted.
    _returns: list[float]

    def run(self) -> Mapping[str, Any]:
        """Train, save the policy and report the last iteration.

        :raises NonFiniteError: a loss, gradient or reward is not finite; the last checkpoint is untouched.
        """
        config, context = self.config, self.context
        policy = self.policy = self._create_policy(config.policy)
        check_requirements(config, context, policy)
        algorithm = self._create_algorithm(policy)
        if config.normalize_rewards:
            self.scaler = RewardScaler(getattr(algorithm.config, "gamma", 1.0))
        envs = self._create_envs(policy)
        start = self._restore(policy, algorithm)
        collected = self._collector(envs, policy, start, values=algorithm.needs_critic)
        for iteration in range(start, config.iterations):
            self.iteration = iteration
            try:
                self.metrics = self._iterate(iteration, collected(iteration), policy, algorithm)
            except NonFiniteError as error:
                where = f"stages.{context.name}, iteration {iteration + 1}, {error.where}"
                raise NonFiniteError(where, error.what, got=error.got, fix=error.fix) from error
            if (iteration + 1) % config.log_interval == 0 or iteration + 1 == config.iterations:
                context.log(iteration + 1, config.iterations, {f"rl/{k}": v for k, v in self.metrics.items()})
            context.checkpoint(iteration + 1, lambda: self._state(policy, algorithm))
        envs.close()
        policy.save(context.directory / "policy")
        size = {"steps": config.steps} if config.steps else {"episodes": config.episodes}
        total = {name: config.iterations * count for name, count in size.items()}
        return {context.name: {"iterations": config.iterations, **total, **self.metrics}}

    def _collector(
        self, envs: VectorEnv, policy: Policy, start: int, *, values: bool
    ) -> Callable[[int], Rollout]:
        """Return what collects the rollout of an iteration.

        :param start: the first iteration. Environments cannot be saved, so those that are stepped in
            fragments begin new episodes when a run goes on.
        :param values: ask the critic for values.
        """
        config, seed = self.config, self.context.seed
        if config.steps is None:
            count = config.episodes
            return lambda iteration: collect(
                envs, policy, episodes=count, seed=seed, first_episode=iteration * count, values=values
            )
        steps = config.steps
        self.fragments = FragmentCollector(
            envs, policy, seed=derive_seed(seed, "fragments", start), values=values
        )
        fragments = self.fragments
        fragments.returns.extend(self._returns)
        return lambda iteration: fragments.collect(steps)

    def _iterate(self, iteration: int, rollout: Rollout, policy: Policy, algorithm: Algorithm) -> Metrics:
        config, context = self.config, self.context
        if not rollout.episodes:  # of text, a reward may be None, and such an episode is left out
            require_finite(rollout, "rollout")
        if self.reference is not None:
            rollout = rollout.replace(
                ref_logprobs=rollout_logprobs(self.reference, rollout, max_tokens=config.max_tokens_per_batch)
            )
        context.rollout(iteration + 1, rollout)
        scored = {f"reward/{name}": value for name, value in reward_metrics(self.reward).items()}
        metrics = {**self._describe(rollout), **scored, "kl_coef": self.kl_coef}
        learned = algorithm.update(self._shaped(rollout), progress=iteration / config.iterations)
        policy.observe(rollout)
        if config.kl_target is not None and "kl" in metrics:
            self.kl_coef = adapted_kl_coef(
                self.kl_coef,
                metrics["kl"],
                target=config.kl_target,
                horizon=config.kl_horizon,
                episodes=len(rollout),
            )
        return {**metrics, **{("step_kl" if name == "kl" else name): v for name, v in learned.items()}}

    def _shaped(self, rollout: Rollout) -> Rollout:
        """Return the scorable episodes, with the KL penalty in their rewards."""
        if not bool(torch.isfinite(rollout.scores).all()):
            rollout = rollout.select(torch.isfinite(rollout.scores).nonzero()[:, 0])
        if self.scaler is not None:
            scaled = self.scaler.scale(rollout.rewards, rollout.mask, rollout.episode_ids)
            rollout = rollout.replace(rewards=scaled)
        if rollout.ref_logprobs is None:
            return rollout
        rewards = kl_shaped_rewards(
            rollout.rewards, rollout.logprobs, rollout.ref_logprobs, rollout.mask, kl_coef=self.kl_coef
        )
        return rollout.replace(rewards=rewards)

    def _describe(self, rollout: Rollout) -> Metrics:
        """Return what is worth watching about a rollout before it is learned from."""
        kl = {} if rollout.ref_logprobs is None else _kl_metrics(rollout, rollout.ref_logprobs)
        if self.fragments is not None:
            ended = self.fragments.returns
            return {**({"return": sum(ended) / len(ended)} if ended else {}), **kl}
        scores = rollout.scores[torch.isfinite(rollout.scores)]
        if not len(scores):
            fix = "look at what the reward returns None for"
            raise UserError(f"stages.{self.context.name}.reward", "no episode could be scored", fix=fix)
        metrics = {
            "score": float(scores.mean()),
            "score_std": float(scores.std(correction=0)),
            **{f"score_p{q}": float(scores.quantile(q / 100)) for q in (10, 50, 90)},
            "unscorable": 1.0 - len(scores) / len(rollout),
            "length": rollout.num_actions / len(rollout),
        }
        if rollout.episodes:
            metrics["truncated"] = sum(e.truncated for e in rollout.episodes) / len(rollout)
            metrics |= self._true_metrics(rollout)
        return {**metrics, **kl}

    def _true_metrics(self, rollout: Rollout) -> Metrics:
        """Return the mean of each measure of the environment's truth, where it has one."""
        measured = [self.context.environment.metrics(episode) for episode in rollout.episodes]
        names = dict.fromkeys(name for row in measured for name in row)
        values = {name: [row[name] for row in measured if name in row] for name in names}
        return {name: sum(rows) / len(rows) for name, rows in values.items()}

    @cached_property
    def reference(self) -> Policy | None:
        """The frozen policy that the KL penalty is measured to: what the trained one keeps of its beginning,
        where that is asked for and kept, or else a model of its own."""
        spec, context = self.config.reference, self.context
        if spec is None:
            return None
        if spec.name == self.policy.name:
            options = expand(spec.options, context.run_directory)
            wanted = build_config("policy", spec.name, options, where=f"{context.name}.reference")
            if (kept := self.policy.reference(wanted)) is not None:
                return kept
        return self._create_policy(spec).requires_grad_(False)

    def _create_policy(self, spec: ComponentSpec) -> Policy:
        context = self.context
        policy: Policy = context.create(
            "policy",
            spec,
            device=context.device,
            autocast=context.autocast,
            spaces=context.environment.spaces(),
            generator=torch_generator(context.seed, "policy"),
            build_tokenizer=context.environment.build_tokenizer,
        )
        return policy

    def _create_algorithm(self, policy: Policy) -> Algorithm:
        if self.config.algorithm.options.get("ptx_coef", 0) > 0:
            self.pretraining = PretrainingLoss(self.config, self.context, policy)
        algorithm: Algorithm = self.context.create(
            "algorithm",
            self.config.algorithm,
            policy=policy,
            generator=torch_generator(self.context.seed, "algorithm"),
            auxiliary_loss=self.pretraining,
        )
        return algorithm

    def _create_envs(self, policy: Policy) -> VectorEnv:
        environment, config = self.context.environment, self.config
        num_envs = config.num_envs if config.steps else min(config.num_envs, config.episodes)
        if environment.spaces() is not None:
            return environment.make_vec(num_envs)
        options: dict[str, Any] = {"tokenizer": policy.tokenizer, "group_size": config.group_size}
        if config.reward is not None:
            self.reward = options["reward"] = self.context.create(
                "reward_model",
                config.reward,
                device=self.context.device,
                tokenizer=policy.tokenizer,
                progress=lambda: (self.iteration, config.iterations),
            )
        return environment.make_vec(num_envs, **options)

    def _state(self, policy: Policy, algorithm: Algorithm) -> dict[str, Any]:
        return {
            "policy": weights(policy),
            "algorithm": algorithm.state_dict(),
            "kl_coef": self.kl_coef,
            "metrics": self.metrics,
            "pretraining_steps": self.pretraining.steps if self.pretraining else 0,
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "returns": list(self.fragments.returns) if self.fragments else [],
        }

    def _restore(self, policy: Policy, algorithm: Algorithm) -> int:
        """Return the iterations done, with everything as it was then where there is a checkpoint."""
        self.metrics, self._returns = {}, []
        self.kl_coef = self.config.kl_coef
        restored = self.context.load_checkpoint()
        if restored is None:
            return 0
        done, state = restored
        load_weights(policy, state["policy"])
        algorithm.load_state_dict(state["algorithm"])
        self.kl_coef, self.metrics = state["kl_coef"], state["metrics"]
        self._returns = state["returns"]
        if self.pretraining is not None:
            self.pretraining.steps = state["pretraining_steps"]
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
        return done


def _kl_metrics(rollout: Rollout, ref_logprobs: Tensor) -> Metrics:
    """Return the KL to the reference, by two estimators, in nats per row."""
    named = {"kl": kl_k1, "kl_k3": kl_k3}
    each = {name: estimate(rollout.logprobs, ref_logprobs) for name, estimate in named.items()}
    return {name: float(kl[rollout.mask].sum()) / len(rollout) for name, kl in each.items()}


@hookimpl
def rltk_stages() -> list[type[Stage]]:
    """Provide the stage."""
    return [ReinforcementLearning]
