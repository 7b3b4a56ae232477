"""Measure a run of instructgpt-files more closely than its summary does.

    python docs/examples/measure_files_run.py RUN [KEY.PATH=VALUE ...]

Prints the loss of each policy on validation demonstrations, and the reward model's accuracy on validation
rankings of each size K beside the length-only baseline on the same pairs. Overrides change what is read, for
instance ``environment.limits={}``.
"""

import sys
from pathlib import Path

import torch

from rltk.config import load_recipe
from rltk.language_modeling import encode_demonstrations, example_parts, mean_nll
from rltk.models import context_length, load_causal_lm, load_reward_model, load_tokenizer
from rltk.preference import score_rows
from rltk.ranking import length_scores, pair_accuracy, ratio_with_interval
from rltk.ranking_data import Ranking, encode_rankings, join
from rltk.rng import numpy_generator
from rltk.runs import create_environment

MOST_ROWS = 300
MICRO_BATCH_TOKENS = 4096


def main(run: Path, overrides: list[str]) -> None:
    """Print the measures of one run."""
    environment = create_environment(load_recipe(run / "config.yaml", overrides), run)
    tokenizer = load_tokenizer(run / "stages/sft/policy", "tokenizer")
    model = load_reward_model(run / "stages/reward_model/model", "reward model")
    options = {"max_length": context_length(model), "on_long": "drop"}

    def rankings(split: str) -> list[Ranking]:
        return encode_rankings(
            environment.comparisons(split), tokenizer, environment.format_prompt, **options
        )[0]

    demonstrations = environment.demonstrations("validation")[:MOST_ROWS]
    examples, _ = encode_demonstrations(demonstrations, tokenizer, environment.format_prompt, **options)
    parts = example_parts(examples, tokenizer.pad_token_id, MICRO_BATCH_TOKENS)
    for stage in ("pretrain", "sft", "rl"):
        loss = mean_nll(load_causal_lm(run / f"stages/{stage}/policy", stage).eval(), parts)
        print(f"{stage}: {loss:.3f} nats per token on {len(examples)} validation demonstrations")
    train, held_out = rankings("train"), rankings("validation")
    for size in sorted({len(ranking.rows) for ranking in held_out}):
        chosen = [ranking for ranking in held_out if len(ranking.rows) == size][:MOST_ROWS]
        compare(model, chosen, train, f"K = {size}")


@torch.no_grad()
def compare(model: torch.nn.Module, chosen: list[Ranking], train: list[Ranking], title: str) -> None:
    """Print accuracy by reward and by length, and their difference, each with its 95 % interval by prompt."""
    rows, pairs = join(chosen)
    correct, counts = pair_accuracy(score_rows(model, rows, micro_batch_tokens=MICRO_BATCH_TOKENS), pairs)
    _, train_pairs = join(train)
    by_length, _ = pair_accuracy(length_scores(lengths(chosen), lengths(train), train_pairs), pairs)
    print(f"{title}: {len(chosen)} prompts, {int(counts.sum())} pairs")
    measures = {"reward model": correct, "length only": by_length, "difference": correct - by_length}
    for name, values in measures.items():
        share, (low, high) = ratio_with_interval(values, counts, numpy_generator(0, "bootstrap"))
        print(f"  {name:13s} {share:6.1%} [{low:.1%}, {high:.1%}]")


def lengths(rankings: list[Ranking]) -> list[int]:
    """Return the lengths of all responses in tokens."""
    return [length for ranking in rankings for length in ranking.response_lengths]


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
