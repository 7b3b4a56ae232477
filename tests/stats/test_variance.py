import numpy as np
import pytest

from rltk.stats.variance import mean_variance


def test_one_level_is_the_textbook_variance_of_a_mean():
    cells = np.random.default_rng(0).normal(size=(4, 7, 2))
    seeds, prompts = cells.mean(axis=(1, 2)), cells.mean(axis=(0, 2))
    over_seeds, over_prompts = mean_variance([cells], ["seed"]), mean_variance([cells], ["prompt"])
    assert (over_seeds.seed, over_seeds.degrees) == pytest.approx((seeds.var(ddof=1) / 4, 3))
    assert (over_prompts.prompt, over_prompts.degrees) == pytest.approx((prompts.var(ddof=1) / 7, 6))
    assert mean_variance([cells], ["sample"]).total == pytest.approx(
        cells.var(axis=2, ddof=1).sum() / 2 / 28**2
    )


def test_crossed_parts_are_those_of_a_two_way_analysis_of_variance():
    # Rows 2, 6, columns 3, 4, 5: sums of squares 24, 4, and 4 of 32 are left, over 1, 2 and 2 freedoms.
    parts = mean_variance([np.array([[2.0, 1.0, 3.0], [4.0, 7.0, 7.0]])], ["seed", "prompt"])
    assert (parts.seed, parts.prompt, parts.residual) == pytest.approx(((24 - 2) / 6, 0, 2 / 6))
    assert parts.degrees == pytest.approx(24**2 / (24**2 + 2**2 / 2 + 2**2 / 2), abs=0.01)


def test_parts_are_unbiased():
    rng, trials = np.random.default_rng(1), 2000
    parts = []
    for _ in range(trials):
        cells = 2 * rng.normal(size=(6, 1)) + rng.normal(size=(1, 9)) + 3 * rng.normal(size=(6, 9))
        found = mean_variance([cells], ["seed", "prompt"])
        parts.append((found.total, found.residual))
    # The cut at 0 makes the total a little too large where the residual hides the prompts.
    assert np.mean(parts, axis=0) == pytest.approx((4 / 6 + 1 / 9 + 9 / 54, 9 / 54), rel=0.06)


def test_environments_add_up_or_vary_themselves():
    rng = np.random.default_rng(2)
    one, other = rng.normal(size=(5, 8)), 4 * rng.normal(size=(9, 8))
    parts = [mean_variance([scores], ["seed"]) for scores in (one, other)]
    both = mean_variance([one, other], ["seed"])
    assert both.total == pytest.approx((parts[0].total + parts[1].total) / 4)
    welch = (parts[0].total + parts[1].total) ** 2 / (parts[0].total ** 2 / 4 + parts[1].total ** 2 / 8)
    assert both.degrees == pytest.approx(welch)
    across = mean_variance([one, other], ["environment", "seed"])
    assert across.total == pytest.approx(np.var([one.mean(), other.mean()], ddof=1) / 2)


def test_cells_with_more_scores_weigh_more():
    """Of one seed, the variance is that of a ratio of sums over prompts."""
    sums, counts = np.array([3.0, 8.0, 1.0, 6.0]), np.array([2, 4, 1, 3])
    grid = np.full((1, 4, 4), np.nan)
    for prompt, (total, count) in enumerate(zip(sums, counts, strict=True)):
        grid[0, prompt, :count] = total / count
    residuals = sums - counts * sums.sum() / counts.sum()
    expected = (residuals**2).sum() / 3 * 4 / counts.sum() ** 2
    assert mean_variance([grid], ["prompt"]).total == pytest.approx(expected)


def test_a_constant_has_no_variance():
    assert mean_variance([np.ones((3, 4))], ["seed", "prompt"]).total == 0
    assert mean_variance([np.ones((3, 4)), np.ones((2, 2))], ["seed"]).total == 0
