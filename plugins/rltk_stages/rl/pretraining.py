"""The pretraining loss of PPO-ptx (Ouyang et al. 2022, equation 2), on rows of the environment's corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rltk.batching import EpochSampler
from rltk.language_modeling import corpus_parts, count_targets, document_rows, token_nll

if TYPE_CHECKING:
    from torch import Tensor

    from rltk.runs import StageContext


class PretrainingLoss:
    """Every call gives the mean token loss of the next rows of the corpus.

    :param config: the rl stage's.
    :param policy: a policy of text.
    :ivar steps: calls made, those before an interruption included.
    """

    def __init__(self, config: Any, context: StageContext, policy: Any) -> None:
        self.steps = 0
        self._context, self._policy = context, policy
        self._rows = document_rows(
            context.environment.corpus("train"),
            policy.tokenizer,
            config.pretraining_length,
            config.pretraining_tokens,
            pack=config.pretraining_pack,
        )
        ones = [1] * len(self._rows)
        self._sampler = EpochSampler(ones, config.pretraining_rows, seed=context.seed, bucketed=False)

    def __call__(self) -> Tensor:
        """Return the loss, a scalar."""
        self.steps += 1
        chosen = self._rows[self._sampler.rows(self.steps)]
        [(tokens, labels)] = corpus_parts(chosen, self._policy.tokenizer.pad_token_id, chosen.numel())
        with self._context.autocast():
            return token_nll(self._policy.model, tokens, labels) / count_targets(labels)
