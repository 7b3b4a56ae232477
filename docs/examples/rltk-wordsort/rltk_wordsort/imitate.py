"""The stage: supervised learning of any text policy, through nothing but the policy's contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import rltk
import torch
from pydantic import Field
from rltk.batching import EpochSampler
from rltk.config import ComponentSpec, PolicySpec
from rltk.interfaces import Split
from rltk.language_modeling import Example, encode_demonstrations
from rltk.losses import masked_sum
from rltk.rng import torch_generator
from rltk.rollout import pad_episodes
from rltk.training import Batch, TrainingConfig, Validation, train
from torch import Tensor

RLTK_API = 1


class Imitate(rltk.Stage):
    """Makes the demonstrations' responses likelier, in any policy that has a tokenizer.

    Where the built-in ``sft`` trains transformers models, this reads demonstrations as episodes and asks the
    policy itself for their log-probabilities.
    """

    name = "wordsort-imitate"

    class Config(TrainingConfig):
        """Options: ``imitate: {stage: wordsort-imitate, policy: {name: causal_lm, path: FOLDER}}``."""

        policy: PolicySpec = Field(ComponentSpec(name="wordsort-gru"), description="The policy to train.")
        epochs: int = Field(5, ge=1, description="Passes over the demonstrations.")

    config: Config

    def run(self) -> Mapping[str, Any]:
        """Train, save the policy with the best validation loss as ``policy`` and report.

        :raises UserError: the environment has no demonstrations.
        """
        policy = self._create_policy()
        examples, held_out = (self._examples(policy, split) for split in ("train", "validation"))
        lengths = [len(example.tokens) for example in examples]
        sampler = EpochSampler(lengths, self.config.batch_size, seed=self.context.seed)
        epoch_ends = [sampler.steps_per_epoch * epoch for epoch in range(1, self.config.epochs + 1)]
        progress = train(
            policy,
            self.config,
            context=self.context,
            prefix="imitate",
            total_steps=epoch_ends[-1],
            batch=lambda step: self._batch([examples[row] for row in sampler.rows(step)], policy),
            loss=lambda rollout: _loss(policy, rollout),
            validation=Validation(
                frozenset(epoch_ends), lambda: self._measure(policy, held_out), minimise="validation_loss"
            ),
        )
        policy.save(self.context.directory / "policy")
        return {self.context.name: {"examples": len(examples), **progress.best_metrics}}

    def _create_policy(self) -> Any:
        """Return the policy; a new one, which has no path, gets the environment's tokenizer."""
        context, spec = self.context, self.config.policy
        new = spec.options.get("path") is None
        return context.create(
            "policy",
            spec,
            device=context.device,
            autocast=context.autocast,
            spaces=context.environment.spaces(),
            generator=torch_generator(context.seed, "policy"),
            **({"tokenizer": context.environment.build_tokenizer()} if new else {}),
        )

    def _examples(self, policy: Any, split: Split) -> list[Example]:
        environment = self.context.environment
        rows = environment.demonstrations(split)
        examples, _ = encode_demonstrations(
            rows, policy.tokenizer, environment.format_prompt, max_length=None
        )
        if not examples:
            fix = "give the environment some"
            raise rltk.UserError("environment", "there are no demonstrations", got=split, fix=fix)
        return examples

    def _batch(self, examples: Sequence[Example], policy: Any) -> Batch:
        """Return demonstrations as rollouts of at most ``micro_batch_tokens`` tokens each."""
        rollout = _as_rollout(examples, policy.tokenizer.pad_token_id, self.context.device)
        parts = [rollout.select(rows) for rows in rollout.micro_batches(self.config.micro_batch_tokens)]
        return Batch(parts, rollout.num_actions)

    def _measure(self, policy: Any, held_out: Sequence[Example]) -> dict[str, float]:
        batch = self._batch(held_out, policy)
        return {"validation_loss": sum(float(_loss(policy, part)) for part in batch.parts) / batch.count}


def _as_rollout(examples: Sequence[Example], pad_id: int, device: torch.device) -> rltk.Rollout:
    """Return demonstrations as if somebody had acted them out, without rewards."""
    episodes = [
        rltk.Episode(
            "",
            "",
            prompt_tokens=tuple(example.tokens[: example.prompt_length]),
            response_tokens=tuple(example.tokens[example.prompt_length :]),
        )
        for example in examples
    ]
    text = pad_episodes(episodes, pad_id=pad_id, device=device)
    tokens, action_mask = text["tokens"], text["action_mask"]
    counts = action_mask.sum(1)
    mask = torch.arange(int(counts.max()), device=device) < counts[:, None]
    actions = torch.zeros_like(mask, dtype=torch.int64)
    actions[mask] = tokens[action_mask]
    nothing = torch.zeros(mask.shape, device=device)
    return rltk.Rollout(
        mask=mask,
        actions=actions,
        logprobs=nothing,
        rewards=nothing,
        values=nothing,
        bootstrap=nothing[:, 0],
        scores=nothing[:, 0],
        episode_ids=torch.arange(len(examples), device=device),
        lengths=text["lengths"],
        tokens=tokens,
        action_mask=action_mask,
    )


def _loss(policy: rltk.Policy, rollout: rltk.Rollout) -> Tensor:
    """Return the summed negative log-likelihood of the demonstrated responses in nats."""
    return -masked_sum(policy.evaluate(rollout).logprobs, rollout.mask)


@rltk.hookimpl
def rltk_stages() -> list[type[rltk.Stage]]:
    """Provide ``wordsort-imitate``."""
    return [Imitate]
