"""Guards notice what they are there to notice, and nothing else."""

import dataclasses
import random

import numpy as np
import pytest
import torch

from rltk.episode import Episode
from rltk.testing.guards import difference, unchanged, untouched_rng


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (random.random, "random"),
        (np.random.rand, "numpy"),
        (lambda: torch.rand(1), "torch"),
        (lambda: torch.manual_seed(0), "torch"),
        (lambda: np.random.seed(0), "numpy"),
        (lambda: random.seed(0), "random"),
    ],
)
def test_use_and_seeding_of_a_global_generator_show(draw, named):
    expected = rf"^score\(\) used the global generator of {named}\. Fix:"
    with pytest.raises(AssertionError, match=expected), untouched_rng("score()"):
        draw()


def test_own_generators_do_not_show():
    with untouched_rng("score()"):
        np.random.default_rng(0).random()
        random.Random(0).random()
        torch.rand(1, generator=torch.Generator())


def test_the_caller_gets_its_generators_back_also_after_an_error():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with pytest.raises(ZeroDivisionError), untouched_rng("f()"):
        torch.rand(5)
        raise ZeroDivisionError
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(
    ("first", "second", "where"),
    [
        (1.0, 1.0, None),
        (float("nan"), float("nan"), None),
        (1, 1.0, ""),
        ([1, {"a": (2, 3)}], [1, {"a": (2, 4)}], "[1]['a'][1]"),
        ({"a": 1}, {"b": 1}, ""),
        ([1], [1, 2], ""),
        (torch.tensor([1.0, torch.nan]), torch.tensor([1.0, torch.nan]), None),
        (torch.tensor([1.0]), torch.tensor([1.0 + 1e-7]), ""),
        (torch.tensor([1]), torch.tensor([[1]]), ""),
        (np.array([1.0]), np.array([1.0], dtype=np.float32), ""),
        (Episode("a", "b"), Episode("a", "b"), None),
        (
            Episode("a", "b", columns={"gold": [1]}),
            Episode("a", "b", columns={"gold": [2]}),
            ".columns['gold'][0]",
        ),
    ],
)
def test_differences_are_found_however_deep(first, second, where):
    assert difference(first, second) == where


def test_a_change_of_an_input_is_named():
    episodes = [Episode("a", "b"), Episode("a", "b", columns={"gold": "x"})]
    expected = r"^the episodes were changed at \[1\]\.columns\['gold'\]\. Fix: work on a copy\.$"
    with pytest.raises(AssertionError, match=expected), unchanged("the episodes", episodes):
        episodes[1].columns["gold"] = "y"
    with unchanged("the episodes", episodes):
        dataclasses.replace(episodes[0], prompt="c")
