"""Countdown: reach a number with the numbers at hand."""

from __future__ import annotations

import ast
import operator
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from random import Random

from rltk.interfaces import Row
from rltk_envs.suite.base import Level, SuiteEnvironment

#: How many numbers there are, and which operations a solution may need.
_SIZES: dict[Level, tuple[int, str]] = {"easy": (2, "+-"), "medium": (3, "+-*"), "hard": (4, "+-*/")}
_LARGEST_NUMBER, _LARGEST_TARGET = 20, 99
_OPERATIONS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_SYMBOLS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
#: More words than any expression of the numbers at hand has, and fewer than would tire the parser.
_MOST_WORDS = 40
#: What an expression is worth that keeps the rules and misses the target.
_MISSED = 0.1


class Countdown(SuiteEnvironment):
    """Reach the target by adding, subtracting, multiplying and dividing numbers, each used at most once.

    Any expression that gives the target is worth 1, one that keeps the rules and misses it 0.1, anything else
    nothing. Most targets can be reached in several ways, so that pass@k and diversity mean something here.
    """

    name = "countdown"
    words = (*(str(number) for number in range(_LARGEST_TARGET + 1)), *"+-*/()", "make", "from", ":")
    random_scores = {"easy": 0.0, "medium": 0.0, "hard": 0.0}

    def draw(self, rng: Random, level: Level) -> Row:
        """Return a row with the ``numbers``, the ``target`` and a ``solution``."""
        count, operations = _SIZES[level]
        while True:
            numbers = rng.sample(range(1, _LARGEST_NUMBER + 1), count)
            target, solution = _combine(rng, numbers, operations)
            if target.denominator == 1 and 1 <= target <= _LARGEST_TARGET and target not in numbers:
                break
        prompt = f"make {target} from {' '.join(map(str, numbers))}"
        return {"prompt": prompt, "numbers": numbers, "target": int(target), "solution": solution}

    def longest(self, level: Level) -> int:
        """Return the number of words of all numbers, the operations between them and two brackets for each
        but the last."""
        count, _ = _SIZES[level]
        return count + (count - 1) + 2 * max(count - 2, 0)

    def score(self, row: Row, response: str) -> float:
        """Return what an expression is worth."""
        said = response.split()
        value = _value(said)
        used = Counter(word for word in said if word.isdecimal())
        if value is None or used - Counter(map(str, row["numbers"])):
            return 0.0
        return 1.0 if value == row["target"] else _MISSED

    def oracle(self, row: Row, turns: Sequence[tuple[str, str]] = ()) -> str:
        """Return the solution that the target was made from."""
        return str(row["solution"])


def _combine(rng: Random, numbers: Sequence[int], operations: str) -> tuple[Fraction, str]:
    """Return the value and the text of a random expression that uses every number."""
    parts = [(Fraction(number), str(number)) for number in numbers]
    while len(parts) > 1:
        (a, first), (b, second) = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
        symbol = rng.choice(operations)
        if symbol == "/" and not b:
            symbol = "+"
        text = f"{first} {symbol} {second}"
        parts.append((_OPERATIONS[symbol](a, b), f"( {text} )" if parts else text))
    return parts[0]


def _value(said: Sequence[str]) -> Fraction | None:
    """Return the value of an expression of numbers, operations and brackets; None where it has none."""
    if len(said) > _MOST_WORDS or not all(word.isdecimal() or word in "+-*/()" for word in said):
        return None
    try:
        return _evaluate(ast.parse(" ".join(said), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None


def _evaluate(node: ast.expr) -> Fraction:
    """Return the value of a syntax tree.

    :raises ValueError: it holds anything but whole numbers and the four operations, such as a sign.
    """
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _SYMBOLS:
        return _OPERATIONS[_SYMBOLS[type(node.op)]](_evaluate(node.left), _evaluate(node.right))
    raise ValueError(f"no number: {ast.dump(node)}")
