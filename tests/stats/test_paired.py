import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from rltk.stats import clustered_mean, compare, holm, mcnemar, sign_flip_p_value


def draw(seed=0):
    return np.random.default_rng(seed)


def test_a_comparison_is_of_the_differences_on_the_same_prompts():
    rng = draw()
    hard = rng.normal(size=(1, 30, 1))
    ours, theirs = hard + rng.normal(0.3, 0.2, size=(1, 30, 4)), hard + rng.normal(0, 0.2, size=(1, 30, 4))
    found = compare([ours], [theirs], over=["prompt"], generator=draw(1), resamples=20_000)
    differences = (ours - theirs).mean(axis=(0, 2))
    expected = clustered_mean(differences, generator=draw(2), resamples=20_000)
    assert (found.difference, found.low, found.high) == pytest.approx(expected, abs=0.003)
    assert (found.seeds, found.prompts) == (1, 30)
    assert found.variance.total == pytest.approx(differences.var(ddof=1) / 30)
    reverse = compare([theirs], [ours], over=["prompt"], generator=draw(1), resamples=20_000)
    assert (-reverse.difference, -reverse.high, -reverse.low) == pytest.approx(expected, abs=0.003)


def test_an_untrained_policy_is_compared_with_every_seed_of_a_trained_one():
    rng = draw(3)
    trained, reference = rng.normal(1, 1, size=(3, 12)), rng.normal(size=(1, 12))
    found = compare([trained], [reference], over=["seed", "prompt"], generator=draw(4))
    repeated = compare(
        [trained], [np.repeat(reference, 3, axis=0)], over=["seed", "prompt"], generator=draw(4)
    )
    assert found == repeated
    half = found.variance.total**0.5 * scipy_stats.t.ppf(0.975, found.variance.degrees)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    t = abs(found.difference) / found.variance.total**0.5
    assert found.p_value == pytest.approx(2 * scipy_stats.t.sf(t, found.variance.degrees))


def test_prompts_that_one_policy_lacks_are_left_out():
    """A cell weighs as many pairs of scores as it has: two of the first, one of the second."""
    ours = np.array([[[1.0, 3.0], [5.0, np.nan], [9.0, 9.0]]])
    theirs = np.array([[[1.0, 1.0], [2.0, 4.0], [np.nan, np.nan]]])
    found = compare([ours], [theirs], over=["prompt"], generator=draw())
    assert (found.difference, found.prompts) == ((2 * 1.0 + 2.0) / 3, 2)


def test_the_difference_is_that_of_the_means_where_some_prompts_have_more_answers():
    rng = draw(7)
    missing = np.arange(4) >= rng.integers(1, 5, size=(2, 20, 1))
    ours, theirs = (np.where(missing, np.nan, rng.normal(size=(2, 20, 4))) for _ in range(2))
    means = [np.nanmean(grid, axis=(1, 2)).mean() for grid in (ours, theirs)]
    for over in (["prompt"], ["seed"], ["seed", "prompt"]):
        found = compare([ours], [theirs], over=over, generator=draw(), resamples=50)
        assert found.difference == pytest.approx(means[0] - means[1])


def all_signs(clusters):
    """Return the share of all assignments of signs with a sum as far from 0 as the observed one."""
    signs = np.array(list(itertools.product([-1, 1], repeat=len(clusters))))
    return np.mean(np.abs(signs @ clusters) >= abs(np.sum(clusters)) - 1e-12)


def test_prompts_are_flipped_with_all_that_they_add_to_the_difference():
    """Rows with prompts of their own are not centred first, nor prompts with more answers than others."""
    values = draw(8).normal(0.4, 1, size=(3, 4))
    apart = np.full((3, 12), np.nan)
    for row, own in enumerate(values):
        apart[row, 4 * row : 4 * row + 4] = own
    found = compare([apart], [0 * apart], over=["prompt"], generator=draw())
    assert found.p_value == pytest.approx(all_signs(values.ravel()))
    often = np.where(
        np.arange(3) < np.array([1, 3, 2, 1, 2, 3])[:, None], draw(9).normal(0.5, 1, (6, 3)), np.nan
    )
    found = compare([often[None]], [0 * often[None]], over=["prompt"], generator=draw())
    assert found.p_value == pytest.approx(all_signs(np.nansum(often, axis=1)))


@pytest.mark.parametrize(
    ("ours", "theirs", "over", "message"),
    [
        ([np.ones((2, 3))], [np.ones((3, 3))], ["seed"], "not pairs"),
        ([np.ones((2, 3))], [np.ones((2, 4))], ["seed"], "not pairs"),
        ([np.ones((2, 3))], [np.ones((2, 3))] * 2, ["seed"], "1 and 2 environments"),
        ([np.ones((1, 3))], [np.ones((1, 3))], ["seed"], "one seed says nothing"),
        ([np.ones((2, 3))], [np.ones((2, 3))], ["sample"], "vary over seeds and prompts"),
    ],
)
def test_what_cannot_be_compared_is_refused(ours, theirs, over, message):
    with pytest.raises(ValueError, match=message):
        compare(ours, theirs, over=over, generator=draw())


def test_sign_flips_are_exact_for_few_clusters():
    values = [0.3, 0.1, 0.4, 0.2, -0.05]
    signs = np.array(np.meshgrid(*[[-1, 1]] * 5)).reshape(5, -1).T
    expected = np.mean(np.abs(signs @ values) >= sum(values) - 1e-12)
    assert sign_flip_p_value(values, generator=draw()) == pytest.approx(expected) == 4 / 32
    assert sign_flip_p_value([0.5] * 5, generator=draw()) == 2 / 32
    assert sign_flip_p_value([0.5], generator=draw()) == 1.0
    with pytest.raises(ValueError, match="no differences"):
        sign_flip_p_value([], generator=draw())


def test_random_sign_flips_agree_with_the_exact_ones_and_with_students_t():
    values = draw(5).normal(0.35, 1, size=14)
    exact = sign_flip_p_value(values, generator=draw(), resamples=20_000)
    drawn = sign_flip_p_value(values, generator=draw(), resamples=15_000)
    assert drawn == pytest.approx(exact, abs=0.01)
    assert exact == pytest.approx(scipy_stats.ttest_1samp(values, 0).pvalue, abs=0.03)


def test_the_clusters_of_several_environments_are_flipped_together():
    """Each environment counts once, whatever its number of prompts."""
    few, many = np.array([[0.9, 0.8]]), np.array([[0.1, 0.2, -0.1, 0.3]])
    found = compare([few, many], [0 * few, 0 * many], over=["prompt"], generator=draw(), resamples=500)
    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1).T
    shares = np.concatenate([few[0] / 2, many[0] / 4])
    assert found.difference == pytest.approx(shares.sum() / 2)
    assert found.p_value == pytest.approx(np.mean(np.abs(signs @ shares) >= shares.sum() - 1e-12))


def test_mcnemar_by_hand():
    # 1 success of ours alone, 5 of theirs alone: 2 (1 + 6) / 2^6; what both or neither solve says nothing.
    ours = [1] + [0] * 5 + [1] * 9 + [0] * 4
    theirs = [0] + [1] * 5 + [1] * 9 + [0] * 4
    assert mcnemar(ours, theirs) == pytest.approx(14 / 64)
    assert mcnemar([1, 0], [1, 0]) == 1.0
    with pytest.raises(ValueError, match="successes are not pairs"):
        mcnemar([1], [1, 0])


def test_mcnemar_is_the_exact_tail_of_the_discordant_pairs():
    """The survey of R's ``mcnemar.test`` (Agresti 1990, page 350): of 1600 people, 150 and 86 changed."""
    first = np.repeat([1, 1, 0, 0], [794, 150, 86, 570])
    second = np.repeat([1, 0, 1, 0], [794, 150, 86, 570])
    tail = sum(math.comb(236, changed) for changed in range(87)) / 2**236
    assert mcnemar(first, second) == pytest.approx(2 * tail) == mcnemar(second, first)


def test_holm_by_hand_and_in_its_textbook_order():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1; each at least the one before.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.6]), [1.0, 1.0])
    assert holm([0.02]).tolist() == [0.02] and holm([]).tolist() == []


def test_holm_rejects_what_its_step_down_procedure_rejects():
    rng = draw(6)
    for _ in range(50):
        values = rng.random(7) ** 3
        adjusted, alive = holm(values), True
        for rank, place in enumerate(np.argsort(values)):
            alive = alive and values[place] <= 0.05 / (7 - rank)
            assert (adjusted[place] <= 0.05) == alive
