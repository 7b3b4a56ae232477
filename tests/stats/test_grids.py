import numpy as np
import pytest

from rltk.stats.grids import (
    as_grids,
    cell_shares,
    cell_values,
    check_levels,
    cluster_numbers,
    estimable_levels,
    score_grid,
)


def test_rows_become_a_grid_by_seed_and_prompt():
    grid = score_grid(["s1", "s0", "s1", "s0", "s1"], ["p", "p", "q", "q", "p"], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(grid, [[[1, 5], [3, np.nan]], [[2, np.nan], [4, np.nan]]])


def test_two_policies_are_laid_out_alike_by_shared_labels():
    prompts = ["p", "q", "r"]
    grid = score_grid([7, 7], ["r", "p"], [1, 2], all_seeds=[7], all_prompts=prompts)
    np.testing.assert_array_equal(grid, [[[2], [np.nan], [1]]])
    with pytest.raises(KeyError):
        score_grid([7], ["s"], [1], all_prompts=prompts)
    with pytest.raises(ValueError, match="zip"):
        score_grid([7], ["p", "q"], [1, 2])


def test_arrays_may_be_labels():
    grid = score_grid(np.array([0, 0]), np.array([3, 3]), [1, 2], all_seeds=np.array([0]))
    assert grid.shape == (1, 1, 2)
    assert cluster_numbers(np.array([5, 5, 2])).tolist() == [0, 0, 1]


def test_missing_axes_are_added():
    assert [grid.shape for grid in as_grids([[1, 2], np.ones((2, 3)), np.ones((2, 3, 4))])] == [
        (2, 1, 1),
        (2, 3, 1),
        (2, 3, 4),
    ]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], "no environment"),
        ([[]], "environment 0"),
        ([[1.0], 3.0], "environment 1"),
        ([[[1.0], [np.nan]]], "a seed has none"),
        ([[np.inf]], "infinite"),
    ],
)
def test_what_is_no_grid_is_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        as_grids(scores)


def test_cell_values_average_to_the_mean_of_the_seeds_means():
    grid = score_grid([0, 0, 0, 1, 1], ["a", "a", "b", "a", "b"], [1.0, 3.0, 8.0, 2.0, 3.0])
    cells = cell_values(grid)
    np.testing.assert_allclose(cells.mean(axis=1), [4.0, 2.5])  # (1 + 3 + 8) / 3 and (2 + 3) / 2
    full = np.random.default_rng(0).normal(size=(2, 3, 4))
    np.testing.assert_allclose(cell_values(full), full.mean(axis=2))


def test_cell_shares_are_the_terms_of_the_mean_of_the_seeds_means():
    grid = score_grid([0, 0, 0, 1, 1], ["a", "a", "b", "a", "b"], [1.0, 3.0, 8.0, 2.0, 3.0])
    np.testing.assert_allclose(cell_shares(grid), [[4 / 6, 8 / 6], [2 / 4, 3 / 4]])


def test_levels_of_one_unit_are_not_estimable():
    one_seed, two = np.ones((1, 5)), np.ones((2, 5))
    assert estimable_levels([two, two]) == ["seed", "prompt"]
    assert estimable_levels([one_seed, two]) == ["prompt"]
    assert estimable_levels([two], ["environment", "sample"]) == []
    with pytest.raises(ValueError, match="one seed says nothing of how seeds differ"):
        check_levels(as_grids([one_seed]), ["seed"])
    with pytest.raises(ValueError, match=r"levels \['seeds'\] are not"):
        check_levels(as_grids([two]), ["seeds"])
    with pytest.raises(ValueError, match="one prompt says nothing"):
        cluster_numbers(["a", "a"])
