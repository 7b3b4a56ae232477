"""Responses of a policy to the held-out prompts, and what they cost in KL and corpus loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rltk.episode import Episode
from rltk.errors import UserError
from rltk.evaluation import rollout_logprobs
from rltk.few_shot import as_plain, few_shot_prefix
from rltk.interfaces import Row
from rltk.language_modeling import corpus_loss, document_rows
from rltk.losses import kl_k1
from rltk.models import context_length, tokenizer_fingerprint
from rltk.policy import Policy
from rltk.rng import derive_seed
from rltk.rollout import collect
from rltk.types import Rollout

if TYPE_CHECKING:
    from rltk.runs import StageContext

_CORPUS_LENGTH = 256
_MAX_TOKENS = 8192


@dataclass
class Act:
    """What a policy did.

    :param tokenizer: the policy's.
    :param rollout: the sampled responses as they were sampled, few-shot prefix included.
    :param episodes: the same responses to the plain prompts, one a prompt: what is judged.
    :param greedy: responses of greedy decoding to the plain prompts; empty where there is no utility.
    :param prompted: whether the policy read more than the plain prompt.
    :param corpus_loss: nats per token on held-out corpus, None without a corpus.
    :param kl: one estimate a response of the KL to the reference, in nats; empty where not comparable.
    """

    tokenizer: Any
    rollout: Rollout
    episodes: list[Episode]
    greedy: list[Episode]
    prompted: bool
    corpus_loss: float | None = None
    kl: list[float] = dataclasses.field(default_factory=list)

    def kl_of(self, index: int) -> float | None:
        """Return the KL estimate of one response, or None."""
        return self.kl[index] if self.kl else None


@dataclass(frozen=True)
class TextTask:
    """The prompts, the seed and the corpus that every policy gets alike.

    :param config: the stage's Config.
    :param rows: the prompts.
    """

    context: StageContext
    config: Any
    rows: list[Row]

    def act(self, policy: Policy, *, shots: int, stop: Sequence[str]) -> Act:
        """Let a policy answer every prompt."""
        tokenizer: Any = policy.tokenizer
        prefix = self._prefix(shots)
        rollout = self._collect(policy, prefix, stop, deterministic=False)
        has_truth = "utility" in self.context.environment.metrics(rollout.episodes[0])
        wants_greedy = self.config.greedy and has_truth
        greedy = self._collect(policy, prefix, stop, deterministic=True) if wants_greedy else None
        return Act(
            tokenizer=tokenizer,
            rollout=rollout,
            episodes=self._plain(rollout.episodes, tokenizer),
            greedy=self._plain(greedy.episodes, tokenizer) if greedy else [],
            prompted=bool(prefix),
        )

    def _collect(self, policy: Policy, prefix: str, stop: Sequence[str], *, deterministic: bool) -> Rollout:
        rows = [{**row, "prefix": prefix} for row in self.rows]
        envs = self.context.environment.make_vec(
            min(self.config.num_envs, len(rows)),
            split=self.config.split,
            prompts=rows,
            tokenizer=policy.tokenizer,
            stop=tuple(stop),
            shuffle=False,
            reward=None,  # all episodes are judged together, later
        )
        seed = derive_seed(self.context.seed, "sampling")
        return collect(envs, policy, episodes=len(rows), seed=seed, deterministic=deterministic, values=False)

    def _prefix(self, shots: int) -> str:
        return few_shot_prefix(self.context.environment, shots, self.context.seed) if shots else ""

    def _plain(self, episodes: Sequence[Episode], tokenizer: Any) -> list[Episode]:
        prompts = [row["prompt"] for row in self.rows]
        return as_plain(episodes, prompts, self.context.environment, tokenizer)

    def corpus_loss(self, policy: Any) -> float | None:
        """Return the mean loss in nats per token on held-out corpus; None without a corpus or a model."""
        if not self.config.corpus_tokens or not hasattr(policy, "model"):
            return None
        length = min(_CORPUS_LENGTH, context_length(policy.model) or _CORPUS_LENGTH)
        try:
            documents = self.context.environment.corpus(self.config.split)
            rows = document_rows(
                documents,
                policy.tokenizer,
                length,
                self.config.corpus_tokens,
                pack=self.config.corpus_pack,
            )
        except UserError:
            return None  # an environment without a corpus has no alignment tax to measure
        with self.context.autocast():
            return corpus_loss(policy.model, rows, pad_token_id=policy.tokenizer.pad_token_id)


def add_kl(acts: Mapping[str, Act], reference: Policy) -> None:
    """Fill in the KL to the reference of every policy that read the plain prompts in the same tokens.

    The estimate of a response is the sum over its tokens of log p - log p_ref, unbiased for KL(p || p_ref);
    k1 in J. Schulman, Approximating KL Divergence (2020).
    """
    tokens: Any = reference
    vocabulary = tokenizer_fingerprint(tokens.tokenizer)
    for act in acts.values():
        if act.prompted or tokenizer_fingerprint(act.tokenizer) != vocabulary:
            continue
        ref_logprobs = rollout_logprobs(reference, act.rollout, max_tokens=_MAX_TOKENS)
        act.kl = kl_k1(act.rollout.logprobs, ref_logprobs).mul(act.rollout.mask).sum(1).tolist()
