"""Do 95 % intervals cover the truth 95 times of 100, and do tests raise 5 false alarms of 100?

Each case draws data whose truth is known, many times. The ordinary suite draws few and allows for chance; the
slow tests draw many. What is wrong on purpose (answers taken as independent, seeds ignored) is shown to fail.
"""

import itertools

import numpy as np
import pytest
from scipy.special import expit

from rltk.stats import (
    aggregate,
    bradley_terry_intervals,
    bradley_terry_of_grids,
    clustered_mean,
    compare,
    comparisons_from_scores,
    frontier_point,
    iqm_bootstrap_interval,
    length_controlled_win_rate,
    max_at_k,
    pass_at_k,
    probability_of_improvement,
    verdict,
    win_points,
)

FEW, MANY = 300, 3000
BOTH = ["seed", "prompt"]


def covered(case, trials, seed=0):
    """Return how often an interval ``(value, low, high)`` holds the truth; a case returns both."""
    rng = np.random.default_rng(seed)
    found = [case(rng) for _ in range(trials)]
    return np.mean([low <= truth <= high for (_, low, high), truth in found])


def crossed(rng, seeds, prompts, seed_sd, prompt_sd, samples=2):
    """Return scores with mean 0: effects of seeds and of prompts, and noise of standard deviation 1."""
    effects = seed_sd * rng.normal(size=(seeds, 1, 1)) + prompt_sd * rng.normal(size=(1, prompts, 1))
    return effects + rng.normal(size=(seeds, prompts, samples))


def few_clusters(rng):
    return clustered_mean(rng.normal(size=5), generator=rng, resamples=200), 0.0


def answers_in_unequal_clusters(rng):
    """Success rates differ between prompts, which were sampled unequally often."""
    clusters = np.repeat(np.arange(40), rng.integers(1, 9, size=40))
    wins = rng.random(len(clusters)) < rng.beta(1, 1, size=40)[clusters]
    return clustered_mean(wins, clusters, generator=rng, resamples=200), 0.5


def skewed_scores(rng):
    return clustered_mean(rng.exponential(size=60), generator=rng, resamples=200), 1.0


def seeds_and_prompts(rng):
    grid = crossed(rng, 5, 20, 0.5, 0.7)
    return aggregate("mean", [grid], over=BOTH, generator=rng, resamples=200), 0.0


def three_seeds(rng):
    grid = crossed(rng, 3, 25, 0.3, 0.7)
    return aggregate("mean", [grid], over=BOTH, generator=rng, resamples=200), 0.0


def two_environments(rng):
    grids = [crossed(rng, 4, 20, 0.5, 0.5), 1.0 + crossed(rng, 6, 12, 1.0, 0.2)]
    return aggregate("mean", grids, over=BOTH, generator=rng, resamples=200), 0.5


def interquartile_means(rng):
    """Four environments of unlike difficulty, five runs each; of the mixture the middle half has mean 0.5."""
    runs = [centre + 0.1 * rng.normal(size=5) for centre in (0.2, 0.4, 0.6, 0.8)]
    return aggregate("iqm", runs, over=["seed"], generator=rng, resamples=200), 0.5


def improvement(rng):
    """Of runs whose difference has mean 1 and variance 2: Phi(1 / sqrt 2) = 0.7602."""
    ours, theirs = (list(mean + rng.normal(size=(3, 8))) for mean in (1.0, 0.0))
    return probability_of_improvement(ours, theirs, generator=rng, resamples=200), 0.7602


def successes_at_4(rng):
    """Of uniform success rates: 1 - E (1 - p)^4 = 0.8."""
    values = pass_at_k(rng.binomial(8, rng.random(size=40)), 8, 4)
    return clustered_mean(values, generator=rng, resamples=200, bounds=(0.0, 1.0)), 0.8


def best_of_4(rng):
    """The best of four standard normal samples averages 1.0294; prompts add a mean of 0."""
    scores = rng.normal(size=(30, 8)) + rng.normal(size=(30, 1))
    return clustered_mean(max_at_k(scores, 4), generator=rng, resamples=200), 1.0294


def differences(rng):
    hard = 3.0 * rng.normal(size=(1, 25, 1))
    found = compare(
        [hard + crossed(rng, 4, 25, 0.4, 0.4)],
        [hard + crossed(rng, 1, 25, 0.0, 0.0)],
        over=BOTH,
        generator=rng,
        resamples=200,
    )
    return (found.difference, found.low, found.high), 0.0


def differences_of_repeated_prompts(rng):
    """Some prompts were drawn by several evaluation seeds: all runs answered them as often."""
    missing = np.arange(3) >= rng.integers(1, 4, size=(25, 1))
    ours, theirs = (crossed(rng, seeds, 25, 0.4 * (seeds > 1), 0.4, samples=3) for seeds in (4, 1))
    grids = [np.where(missing, np.nan, grid) for grid in (ours, theirs)]
    found = compare(grids[:1], grids[1:], over=BOTH, generator=rng, resamples=200)
    return (found.difference, found.low, found.high), 0.0


def length_controlled(rng):
    difference = rng.normal(0.5, 1.0, size=150)
    scaled = np.tanh(difference / difference.std(ddof=1))
    won = rng.random(150) < expit(0.4 + scaled)
    lengths = 10 + difference, np.full(150, 10)
    return length_controlled_win_rate(won, *lengths, generator=rng, resamples=200), expit(0.4)


def strengths(rng):
    """Scores with Gumbel noise follow Bradley-Terry: the difference of two Gumbels is logistic."""
    scores = np.array([0.5, 0.0, -0.5])[:, None] + rng.gumbel(size=(3, 40))
    found = bradley_terry_intervals(
        *comparisons_from_scores(scores), policies=3, prior_sd=20.0, generator=rng, resamples=200
    )
    return (found.values[0], found.low[0], found.high[0]), 0.5


def strengths_of_trained_policies(rng):
    """Of policies that differ by the luck of their seeds alone, every strength is 0."""
    scores = rng.normal(size=(1, 1, 25, 1)) + [crossed(rng, 5, 25, 0.7, 0.3) for _ in range(3)]
    points = [[win_points(-ours, -theirs)] for ours, theirs in itertools.combinations(scores, 2)]
    found = bradley_terry_of_grids(points, policies=3, over=BOTH, generator=rng, resamples=200)
    return (found.values[0], found.low[0], found.high[0]), 0.0


def gold_of_a_frontier(rng):
    prompts = np.repeat(np.arange(12), 4)
    gold = rng.normal(size=12)[prompts] + rng.normal(size=48)
    return frontier_point(gold, gold, gold, prompts, generator=rng, resamples=200).gold, 0.0


CASES = [
    few_clusters,
    answers_in_unequal_clusters,
    skewed_scores,
    seeds_and_prompts,
    three_seeds,
    two_environments,
    interquartile_means,
    improvement,
    successes_at_4,
    best_of_4,
    differences,
    differences_of_repeated_prompts,
    length_controlled,
    strengths,
    strengths_of_trained_policies,
    gold_of_a_frontier,
]


@pytest.mark.parametrize("case", CASES)
def test_intervals_cover_the_truth(case):
    assert 0.91 <= covered(case, FEW) <= 0.985


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_intervals_cover_the_truth_at_length(case):
    assert 0.92 <= covered(case, MANY, seed=1) <= 0.975


def test_what_is_wrong_covers_too_little():
    def answers_as_independent(rng):
        answers = rng.normal(size=(20, 1)) + 0.5 * rng.normal(size=(20, 8))
        return clustered_mean(answers, generator=rng, resamples=200), 0.0

    def seeds_ignored(rng):
        grid = crossed(rng, 4, 30, 0.5, 0.5)
        return aggregate("mean", [grid], over=["prompt"], generator=rng, resamples=200), 0.0

    def percentile_of_three_runs(rng):
        runs = [centre + 0.1 * rng.normal(size=3) for centre in (0.2, 0.8)]
        return (0.5, *iqm_bootstrap_interval(runs, generator=rng, resamples=200)), 0.5

    assert covered(answers_as_independent, FEW) < 0.7
    assert covered(seeds_ignored, FEW) < 0.7
    assert covered(percentile_of_three_runs, FEW) < 0.87


def false_alarms(trials, over, rng):
    """Return how often p is at most 0.05, and the verdict a difference, where there is none."""
    significant = decided = 0
    for _ in range(trials):
        hard = 2.0 * rng.normal(size=(1, 15, 1))
        ours = hard + crossed(rng, 5, 15, 0.3 * ("seed" in over), 0.5)
        found = compare([ours], [hard + crossed(rng, 1, 15, 0, 0)], over=over, generator=rng, resamples=100)
        significant += found.p_value <= 0.05
        decided += verdict(found) in ("better", "worse")
    return significant / trials, decided / trials


@pytest.mark.parametrize("over", [["prompt"], BOTH])
def test_the_paired_test_has_few_false_alarms(over):
    significant, decided = false_alarms(FEW, over, np.random.default_rng(2))
    assert 0.02 <= significant <= 0.09 and 0.02 <= decided <= 0.09


@pytest.mark.slow
@pytest.mark.parametrize("over", [["prompt"], BOTH])
def test_the_paired_test_has_few_false_alarms_at_length(over):
    significant, decided = false_alarms(MANY, over, np.random.default_rng(3))
    assert 0.035 <= significant <= 0.065 and 0.035 <= decided <= 0.075
