"""The least time that a piece of work can take: operations and bytes by what a machine does of each.

Counts multiplications and additions of matrix products, and every byte of weights and caches that has to be
read or written at least once where weights do not stay close to the arithmetic between two passes. Layer
norms, softmax and activations are left out, so a floor cannot be reached.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.speed_work import Shape, Work

#: Adam reads weight, gradient and both averages, and writes all but the gradient, in float32.
_ADAM_BYTES = 7 * 4


@dataclass(frozen=True)
class Cost:
    """Operations and bytes."""

    operations: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.operations + other.operations, self.bytes + other.bytes)

    def __mul__(self, times: float) -> Cost:
        return Cost(times * self.operations, times * self.bytes)

    def seconds(self, *, operations_per_second: float, bytes_per_second: float) -> float:
        """Return operations and bytes by their rates, one after the other."""
        return self.operations / operations_per_second + self.bytes / bytes_per_second


def floor(work: Work, itemsize: int = 4) -> Cost:
    """Return what a piece of work costs at least.

    :param itemsize: bytes a weight.
    """
    if work.kind in ("decode", "overhead"):
        return decoding(work, itemsize)
    if work.kind == "update":
        return learning(work)
    # The reference reads all tokens and gives log-probabilities, the reward model reads them.
    judging = forward(work, head=True, itemsize=itemsize) + forward(work, head=False, itemsize=itemsize)
    total = decoding(work, itemsize) + judging + learning(work)
    if work.critic == "separate":
        total += forward(work, head=False, itemsize=itemsize)
    return total


def decoding(work: Work, itemsize: int = 4) -> Cost:
    """Return the cost of sampling every response, with a full batch at every step while there is one."""
    shape, lengths = work.shape, work.lengths()
    contexts = [work.prompt_tokens + t for length in lengths for t in range(length)]
    # the last token of a response is never read
    operations = sum(passed(shape, work.prompt_tokens + length - 1) for length in lengths)
    operations += 2 * shape.head_parameters * sum(lengths)
    passes = math.ceil(sum(lengths) / work.slots)
    weights = (shape.trunk_parameters + shape.head_parameters) * itemsize
    cached = 2 * shape.layers * shape.hidden * shape.kv_heads // shape.heads * itemsize
    return Cost(operations, passes * weights + cached * sum(contexts))


def forward(work: Work, *, head: bool, itemsize: int = 4) -> Cost:
    """Return the cost of one pass over all episodes, with logits at the responses or without."""
    shape, lengths = work.shape, work.lengths()
    operations = sum(passed(shape, work.prompt_tokens + length) for length in lengths)
    weights = shape.trunk_parameters
    if head:
        operations += 2 * shape.head_parameters * sum(lengths)
        weights += shape.head_parameters
    return Cost(operations, weights * itemsize)


def learning(work: Work) -> Cost:
    """Return the cost of all gradient steps: a backward pass is two forward passes, and Adam has its own."""
    shape = work.shape
    passed_once, trained = forward(work, head=True), shape.trunk_parameters + embeddings(shape)
    if work.critic == "separate":
        passed_once += forward(work, head=False)
        trained += shape.trunk_parameters + shape.head_parameters
    steps = work.epochs * math.ceil(work.episodes / work.minibatch)
    return passed_once * (3 * work.epochs) + Cost(bytes=steps * trained * _ADAM_BYTES)


def passed(shape: Shape, tokens: int) -> int:
    """Return the operations of a causal pass of the trunk over a row of so many tokens."""
    # every token attends to itself and all before it: query by key, and weight by value
    attended = tokens * (tokens + 1) // 2
    return 2 * shape.trunk_parameters * tokens + 4 * shape.layers * shape.hidden * attended


def embeddings(shape: Shape) -> int:
    """Return the entries of the embedding of tokens, and of the LM head where it is another matrix."""
    return shape.head_parameters * (1 if shape.tied else 2)


def working_set(shape: Shape, itemsize: int = 4) -> int:
    """Return the bytes of the weights, which say what memory a pass reads from."""
    return (shape.trunk_parameters + shape.head_parameters) * itemsize


def floor_seconds(work: Work, machine: dict[str, Any], itemsize: int = 4) -> float:
    """Return the floor by what :mod:`tests.benchmarks.speed_machine` measured."""
    rate = machine["copy"][str(working_set(work.shape, itemsize))]
    return floor(work, itemsize).seconds(operations_per_second=machine["matrix"], bytes_per_second=rate)
