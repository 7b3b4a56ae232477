"""The K-way loss, accuracy and agreement, against hand-computed values and NumPy."""

import itertools
import math

import numpy as np
import pytest
import torch

from rltk.ranking import (
    agreement,
    join_pairs,
    length_scores,
    pair_accuracy,
    preference_pairs,
    rank_distinct,
    ranking_loss,
    ratio_with_interval,
)


def pairs_of(*rankings):
    return join_pairs([(len(ranks), *preference_pairs(ranks)) for ranks in rankings])


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


def expected_loss(scores, ranks):
    """Equation 1 for one prompt, pair by pair."""
    K = len(ranks)
    total = 0.0
    for i, j in itertools.combinations(range(K), 2):
        if ranks[i] != ranks[j]:
            winner, loser = (i, j) if ranks[i] < ranks[j] else (j, i)
            total -= math.log(sigmoid(scores[winner] - scores[loser]))
    return total / math.comb(K, 2)


def test_all_pairs_with_a_preference_and_no_other():
    winners, losers = preference_pairs([2, 1, 2, 4])
    assert sorted(zip(winners.tolist(), losers.tolist(), strict=True)) == [
        (0, 3),
        (1, 0),
        (1, 2),
        (1, 3),
        (2, 3),
    ]


def test_identical_texts_give_no_pair_even_where_they_are_ranked_apart():
    winners, losers = preference_pairs([1, 2, 3], ["yes", "no", "yes"])
    assert list(zip(winners.tolist(), losers.tolist(), strict=True)) == [(0, 1), (1, 2)]


def test_two_responses_give_the_loss_of_one_comparison():
    loss = ranking_loss(torch.tensor([0.3, 1.5]), pairs_of([1, 2]))
    assert loss.item() == pytest.approx(-math.log(sigmoid(0.3 - 1.5)), rel=1e-6)


def test_three_responses_by_hand():
    # margins 1, 3 and 2 over C(3, 2) = 3 pairs: (0.313262 + 0.048587 + 0.126928) / 3
    loss = ranking_loss(torch.tensor([3.0, 2.0, 0.0]), pairs_of([1, 2, 3]))
    assert loss.item() == pytest.approx(0.488777 / 3, abs=1e-6)


def test_equal_scores_lose_log_2_whatever_k_is():
    for K in (2, 4, 9):
        assert ranking_loss(torch.zeros(K), pairs_of(list(range(K)))).item() == pytest.approx(math.log(2))


def test_a_tie_keeps_its_share_of_the_weight_and_adds_nothing():
    # one of the three pairs is tied: the other two still weigh 1/3 each
    loss = ranking_loss(torch.zeros(3), pairs_of([1, 2, 2]))
    assert loss.item() == pytest.approx(2 / 3 * math.log(2))
    assert ranking_loss(torch.zeros(4), pairs_of([1, 1, 1, 1])).item() == 0.0


def test_every_prompt_counts_once_however_many_responses_it_has():
    generator = np.random.default_rng(0)
    rankings = [generator.integers(1, K, size=K).tolist() for K in (4, 9, 2, 6)]
    rankings[2] = [2, 1]
    scores = [generator.normal(size=len(ranks)) for ranks in rankings]
    expected = sum(expected_loss(s, r) for s, r in zip(scores, rankings, strict=True))
    loss = ranking_loss(torch.tensor(np.concatenate(scores)), pairs_of(*rankings))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert pairs_of(*rankings).weights.unique().tolist() == pytest.approx([1 / 36, 1 / 15, 1 / 6, 1.0])


def test_the_gradient_is_minus_the_probability_of_the_other_order():
    # d/ds_w of -log sigmoid(s_w - s_l) is -sigmoid(s_l - s_w), and the opposite for s_l
    values, ranks = [0.4, -1.2, 2.0, 0.4], [3, 1, 2, 3]
    scores = torch.tensor(values, requires_grad=True)
    ranking_loss(scores, pairs_of(ranks)).backward()
    expected = np.zeros(4)
    for w, lost in itertools.permutations(range(4), 2):
        if ranks[w] < ranks[lost]:
            expected[w] -= sigmoid(values[lost] - values[w]) / 6
            expected[lost] += sigmoid(values[lost] - values[w]) / 6
    assert scores.grad.numpy() == pytest.approx(expected, abs=1e-6)


def test_the_loss_is_float32_and_finite_far_from_zero():
    loss = ranking_loss(torch.tensor([-300.0, 300.0], dtype=torch.bfloat16), pairs_of([1, 2]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(600.0, rel=1e-2)


def test_accuracy_counts_pairs_of_each_prompt_and_half_for_equal_scores():
    scores = torch.tensor([3.0, 2.0, 2.0, 0.0, 1.0, 5.0])
    correct, counts = pair_accuracy(scores, pairs_of([1, 2, 3], [1, 2], [1]))
    assert correct.tolist() == [2.5, 0.0, 0.0]
    assert counts.tolist() == [3.0, 1.0, 0.0]


def test_the_length_baseline_takes_the_direction_that_is_right_in_training():
    pairs = pairs_of([1, 2, 3])
    assert length_scores([4, 9], [5, 6, 7], pairs).tolist() == [-4.0, -9.0]
    assert length_scores([4, 9], [7, 6, 5], pairs).tolist() == [4.0, 9.0]


def test_agreement_counts_pairs_on_which_both_have_a_preference():
    # pairs: (0,1) both prefer 0; (0,2) the second is tied; (1,2) they disagree
    assert agreement([1, 2, 3], [2, 3, 2]) == (1, 2)
    assert agreement([1, 1, 1], [1, 2, 3]) == (0, 0)
    assert agreement([1, 2, 3, 4], [4, 3, 2, 1]) == (0, 6)


def test_only_distinct_responses_are_ranked_and_copies_tie():
    asked = []

    def rank(indices):
        asked.extend(indices)
        return [2, 1, 3]

    assert rank_distinct(["b", "a", "b", "c", "a"], rank) == [3, 1, 3, 5, 1]
    assert asked == [0, 1, 3]


def test_the_interval_is_around_the_ratio_of_sums():
    generator = np.random.default_rng(0)
    counts = generator.integers(1, 20, size=300)
    correct = generator.binomial(counts, 0.7)
    ratio, (low, high) = ratio_with_interval(correct, counts, generator)
    assert ratio == correct.sum() / counts.sum()
    assert low < ratio < high
    # independent pairs: the clustered interval is that of the binomial, 3.92 standard errors wide
    assert high - low == pytest.approx(3.92 * math.sqrt(0.7 * 0.3 / counts.sum()), rel=0.2)
    assert math.isnan(ratio_with_interval([0, 0], [0, 0], generator)[0])
