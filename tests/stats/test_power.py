import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats

from rltk.stats import Comparison, Further, MeanVariance, compare, detectable_difference, further, verdict

SEEDS_AND_PROMPTS = MeanVariance(seed=0.0004, prompt=0.0009, residual=0.0003, degrees=1000.0)


def comparison(difference, half, variance=SEEDS_AND_PROMPTS, **options):
    known = {"level": 0.95, "p_value": 0.01, "seeds": 5, "prompts": 40} | options
    return Comparison(difference, difference - half, difference + half, variance=variance, **known)


@pytest.mark.parametrize(
    ("difference", "half", "margin", "expected"),
    [
        (0.3, 0.2, 0.0, "better"),
        (-0.3, 0.2, 0.0, "worse"),
        (0.1, 0.2, 0.0, "underpowered"),
        (0.0, 0.0, 0.0, "underpowered"),
        (0.1, 0.2, 0.31, "tied"),
        (0.1, 0.2, 0.29, "underpowered"),
        (0.1, 0.05, 0.2, "tied"),  # better than 0, but by less than is of interest
        (0.3, 0.2, 0.2, "better"),
    ],
)
def test_verdicts_follow_the_interval(difference, half, margin, expected):
    assert verdict(comparison(difference, half), margin=margin) == expected


def test_a_corrected_p_value_can_take_a_verdict_back():
    found = comparison(0.3, 0.2)
    assert verdict(found, p_value=0.05) == "better"
    assert verdict(found, p_value=0.0501) == "underpowered"
    assert verdict(replace(found, level=0.9), p_value=0.0999) == "better"


def test_the_detectable_difference_is_found_as_often_as_it_says():
    rng, trials = np.random.default_rng(0), 4000
    twelve_prompts = MeanVariance(prompt=1 / 12, degrees=11.0)
    detectable = detectable_difference(comparison(0.0, 0.0, twelve_prompts))
    found = scipy_stats.ttest_1samp(rng.normal(detectable, 1, size=(trials, 12)), 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.03)


def test_the_detectable_difference_of_many_clusters_is_2_8_standard_errors():
    assert detectable_difference(comparison(0.1, 0.1)) == pytest.approx(0.04 * 2.8016, rel=0.002)
    assert detectable_difference(comparison(0.1, 0.1), power=0.5) == pytest.approx(0.04 * 1.96, rel=0.002)


def test_further_prompts_are_those_of_the_sample_size_formula():
    """Of one level with many clusters, ``n = (2.8 s / d)^2``."""
    prompts_only = MeanVariance(prompt=1.0 / 400, degrees=399.0)
    more = further(comparison(0.1, 0.098, prompts_only, prompts=400, seeds=1))
    assert more.prompts == pytest.approx((2.8016 / 0.1) ** 2 - 400, abs=4)
    assert more.seeds is None


def test_prompts_do_not_shrink_what_seeds_contribute():
    more = further(comparison(0.09, 0.1))
    quantiles = scipy_stats.t.ppf(0.975, 1000) + scipy_stats.t.ppf(0.8, 1000)
    wanted = (0.09 / quantiles) ** 2
    assert more.prompts == math.ceil(40 * (0.0012 / (wanted - 0.0004) - 1))
    assert more.seeds == math.ceil(5 * (0.0007 / (wanted - 0.0009) - 1))
    assert further(comparison(0.04, 0.1)).prompts is None, "seeds alone vary too much"


def test_a_margin_makes_the_cheaper_of_two_ends_do():
    small = comparison(0.01, 0.1)
    assert further(small).prompts is None
    assert further(small, margin=0.1).prompts == further(comparison(0.09, 0.1)).prompts
    assert further(comparison(0.2, 0.1), margin=0.1) == further(comparison(0.2, 0.1))


def test_few_clusters_need_more_than_normal_quantiles_say():
    three = MeanVariance(seed=0.01, degrees=2.0)
    more = further(comparison(0.3, 0.43, three, seeds=3, prompts=9))
    assert more.seeds is not None and more.seeds > 0 and more.prompts is None
    after = 3 + more.seeds
    error = math.sqrt(0.03 / after)
    degrees = after - 1
    needed = scipy_stats.t.ppf(0.975, degrees) + scipy_stats.t.ppf(0.8, degrees)
    assert needed * error <= 0.3


def test_further_seeds_add_degrees_of_freedom_beside_many_prompts():
    """Three seeds leave two degrees of freedom; the prompts' small part does not keep it so."""
    variance = MeanVariance(seed=0.01, prompt=0.0001, degrees=2.04)
    more = further(comparison(0.3, 0.43, variance, seeds=3, prompts=401))
    assert more.seeds is not None
    after = 3 + more.seeds
    seed = 0.03 / after
    degrees = (seed + 0.0001) ** 2 / (seed**2 / (after - 1) + 0.0001**2 / 400)
    needed = scipy_stats.t.ppf(0.975, degrees) + scipy_stats.t.ppf(0.8, degrees)
    assert needed * math.sqrt(seed + 0.0001) == pytest.approx(0.3, rel=0.15)
    assert needed * math.sqrt(seed + 0.0001) <= 0.3


def test_no_number_settles_that_there_is_no_difference_at_all():
    for variance in (MeanVariance(prompt=0.01), MeanVariance()):
        assert further(comparison(0.0, 0.0, variance)) == Further(None, None)
    same = compare([np.ones((1, 9))], [np.ones((1, 9))], over=["prompt"], generator=np.random.default_rng(0))
    assert (same.difference, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert verdict(same, margin=0.01) == "tied" and verdict(same) == "underpowered"
