"""Bradley-Terry strengths of a bench."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from rltk import stats
from rltk.bench.grids import Interval
from rltk.bench.summary import Summary, summarise
from tests.bench.made_up import cell, made_up


def strength(summary: Summary, policy: str) -> Interval:
    return next(item.strength for item in summary.overall if item.policy == policy)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_strengths_fit_the_win_rates_of_all_pairs(rng: np.random.Generator) -> None:
    """However many training seeds a policy has: averages of theirs are not what plays."""
    wins = {"ppo": 0.25, "base": 0.0, "best": 0.4}
    played = {
        (f"{policy}@{seed}" if policy == "ppo" else policy, "echo"): [cell(rng.uniform(size=40) + more)]
        for policy, more in wins.items()
        for seed in range(5 if policy == "ppo" else 1)
    }
    summary = summarise(made_up(played))
    index = {policy: number for number, policy in enumerate(wins)}
    expected = stats.bradley_terry(
        [index[pair.policy] for pair in summary.pairs for _ in range(40)],
        [index[pair.other] for pair in summary.pairs for _ in range(40)],
        [pair.win_rate.value for pair in summary.pairs for _ in range(40)],
        policies=3,
    )
    assert [strength(summary, policy).value for policy in wins] == pytest.approx(stats.elo(expected).tolist())


def test_intervals_of_strengths_are_over_training_seeds_too(rng: np.random.Generator) -> None:
    base, noise = rng.uniform(size=200), rng.uniform(size=(5, 200))
    luck = np.array([-0.4, -0.2, 0.0, 0.2, 0.4])
    runs = noise + luck[:, None]
    played = {("base", "echo"): [cell(base)]}
    played |= {(f"ppo@{seed}", "echo"): [cell(scores)] for seed, scores in enumerate(runs)}
    found = strength(summarise(made_up(played)), "ppo")
    rates = (runs > base).mean(axis=1)
    # Of two policies the strength is half the log-odds, and prompts add little to what seeds do.
    odds = rates.mean() * (1 - rates.mean())
    error = 400 / np.log(10) / (2 * odds) * rates.std(ddof=1) / np.sqrt(5)
    assert found.high - found.low == pytest.approx(2 * scipy.stats.t.ppf(0.975, 4) * error, rel=0.3)
    single = {("base", "echo"): [cell(base)] * 5, ("ppo", "echo"): list(map(cell, runs))}
    alone = strength(summarise(made_up(single, shared_prompts=True)), "ppo")
    assert alone.value == pytest.approx(found.value)
    assert alone.high - alone.low < 0.5 * (found.high - found.low)


def test_of_unlike_numbers_of_training_seeds_strengths_are_of_those_that_all_have(
    rng: np.random.Generator,
) -> None:
    scores = {
        f"{policy}@{seed}": rng.uniform(size=20) for policy, n in (("a", 4), ("b", 2)) for seed in range(n)
    }
    scores["base"] = rng.uniform(size=20)
    summary = summarise(made_up({(name, "echo"): [cell(values)] for name, values in scores.items()}))
    fewer = {name: values for name, values in scores.items() if name not in ("a@2", "a@3")}
    less = summarise(made_up({(name, "echo"): [cell(values)] for name, values in fewer.items()}))
    assert [strength(summary, policy) for policy in ("a", "b", "base")] == [
        strength(less, policy) for policy in ("a", "b", "base")
    ]
