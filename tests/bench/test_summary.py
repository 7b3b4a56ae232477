from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from rltk.bench.grids import Interval
from rltk.bench.reporting.rows import render_csv
from rltk.bench.reporting.tables import interval, overall_table, score_table, share
from rltk.bench.summary import Summary, summarise
from rltk.bench.verdicts import covers, headlines, to_settle
from rltk.errors import UserError
from tests.bench.made_up import cell, made_up

RNG = np.random.default_rng(7)
HARD = RNG.uniform(0.2, 0.6, 40)


@pytest.fixture(autouse=True)
def _the_same_draws_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(0))


def found(summary: Summary, policy: str, environment: str = "echo"):
    return next(v for v in summary.versus if (v.policy, v.environments) == (policy, (environment,)))


def test_means_are_of_all_episodes_and_intervals_over_prompts() -> None:
    scores = [RNG.uniform(size=40), RNG.uniform(size=40)]
    summary = summarise(made_up({("a", "lock"): [cell(one) for one in scores]}))
    standing = summary.standing("a", "lock")
    flat = np.concatenate(scores)
    assert standing.score.value == pytest.approx(flat.mean())
    low, high = scipy.stats.t.interval(0.95, 79, flat.mean(), flat.std(ddof=1) / np.sqrt(80))
    assert (standing.score.low, standing.score.high) == pytest.approx((low, high), abs=0.15 * (high - low))
    assert standing.normalised.value == pytest.approx((flat.mean() - 0.2) / 0.5)
    assert standing.normalised.low == pytest.approx((standing.score.low - 0.2) / 0.5)
    assert (standing.episodes, standing.prompts, standing.seeds, standing.train_seeds) == (80, 80, 2, 1)
    assert standing.measures["length"].value == np.arange(1, 41).mean()
    assert standing.measures["truncated"].value == 0.0
    assert "kl" not in standing.measures


def test_the_same_prompt_in_two_seeds_is_one_cluster() -> None:
    twice = [cell(HARD), cell(HARD)]
    once = summarise(made_up({("a", "echo"): twice[:1]})).standing("a", "echo")
    both = summarise(made_up({("a", "echo"): twice}, shared_prompts=True)).standing("a", "echo")
    apart = summarise(made_up({("a", "echo"): twice})).standing("a", "echo")
    widths = [one.score.high - one.score.low for one in (once, both, apart)]
    assert both.prompts == 40
    assert widths[1] == pytest.approx(widths[0], rel=0.1)
    assert widths[2] == pytest.approx(widths[0] / np.sqrt(2), rel=0.15)


def test_tries_of_a_prompt_are_counted() -> None:
    tries = [[1.0, 0.0], [0.0, 0.5], [1.0, 1.0]]
    measures = summarise(made_up({("a", "echo"): [tries]})).standing("a", "echo").measures
    assert measures["pass@1"].value == pytest.approx(3 / 6)
    assert measures["pass@2"].value == pytest.approx(2 / 3)
    assert measures["max@1"].value == pytest.approx(3.5 / 6)
    assert measures["max@2"].value == pytest.approx(2.5 / 3)
    assert measures["truncated"].value == 0.5
    unknown = summarise(made_up({("a", "restricted"): [tries]})).standing("a", "restricted")
    assert "pass@1" not in unknown.measures
    assert unknown.normalised is None


def test_one_prompt_has_no_interval() -> None:
    summary = summarise(made_up({("a", "echo"): [[[0.5]]], ("b", "echo"): [[[0.7]]]}))
    assert summary.standing("a", "echo").score == Interval(0.5, None, None)
    assert summary.versus == ()
    assert score_table(summary)[1] == [["a", "0.500"], ["b", "0.700"]]


def test_verdicts_in_words() -> None:
    noise = RNG.normal(size=40)
    summary = summarise(
        made_up(
            {
                ("base", "echo"): [cell(HARD)],
                ("up", "echo"): [cell(HARD + 0.1 + 0.05 * noise)],
                ("down", "echo"): [cell(HARD - 0.1 + 0.05 * noise)],
                ("same", "echo"): [cell(HARD + 0.01 * (noise - noise.mean()))],
                ("noisy", "echo"): [cell(HARD + 0.06 + 0.3 * (noise - noise.mean()))],
            }
        )
    )
    assert {item.policy: item.verdict for item in summary.versus} == {
        "up": "better",
        "down": "worse",
        "same": "tied",
        "noisy": "underpowered",
    }
    assert headlines(summary) == [
        "up is better than base in echo.",
        "down is worse than base in echo.",
        "same is tied with base in echo.",
        "noisy is too close to base to tell by what was played in echo.",
    ]
    assert to_settle(found(summary, "up"), summary) == ""
    noisy = found(summary, "noisy")
    assert noisy.difference.value == pytest.approx(0.06)
    # (t(1 - alpha/2) + t(80 %)) s / sqrt(n) = difference, at Bonferroni's alpha for four tests.
    deviation = 0.3 * noise.std(ddof=1)
    wanted = ((scipy.stats.norm.ppf(1 - 0.05 / 8) + scipy.stats.norm.ppf(0.8)) * deviation / 0.06) ** 2
    assert noisy.more_prompts + 40 == pytest.approx(wanted, rel=0.05)
    assert to_settle(noisy, summary).startswith("about ")
    assert to_settle(noisy, summary).endswith(" more prompts")


@pytest.mark.parametrize(
    ("prompts", "seeds", "words"),
    [
        (3, None, "3 more prompts"),
        (1234, 2, "about 1,200 more prompts or 2 more training seeds"),
        (None, 4, "4 more training seeds"),
        (None, None, "no number of prompts"),
    ],
)
def test_what_would_settle_it_in_words(prompts: int | None, seeds: int | None, words: str) -> None:
    summary = summarise(made_up({("a", "echo"): [cell(HARD)], ("b", "echo"): [cell(HARD)]}, margin=0))
    (versus,) = summary.versus
    assert versus.verdict == "underpowered"
    assert to_settle(replace(versus, more_prompts=prompts, more_seeds=seeds), summary) == words


def test_differences_are_of_the_means_and_p_values_holms() -> None:
    """Evaluation seeds of a policy with one training run are further prompts and nothing else."""
    one, other = RNG.uniform(size=(2, 12))
    first, second = ([cell(scores[:6]), cell(scores[6:])] for scores in (one, other))
    played = {("a", "echo"): first, ("b", "echo"): second, ("a", "lock"): second, ("b", "lock"): first}
    summary = summarise(made_up(played))
    for name, difference in (("echo", other - one), ("lock", one - other)):
        versus = found(summary, "b", name)
        flips = scipy.stats.permutation_test(
            (difference,), lambda x, axis: x.sum(axis=axis), permutation_type="samples", vectorized=True
        )
        assert versus.difference.value == pytest.approx(difference.mean())
        assert versus.p_value == pytest.approx(flips.pvalue)
        assert versus.corrected == pytest.approx(min(2 * versus.p_value, 1.0))
        quantiles = scipy.stats.t.ppf([1 - 0.05 / 4, 0.8], 11).sum()
        assert versus.detectable == pytest.approx(quantiles * difference.std(ddof=1) / np.sqrt(12))
    assert found(summary, "b", "lock").margin == pytest.approx(0.02 * 0.5)


def test_a_policy_with_one_training_run_has_one_run_however_many_evaluation_seeds() -> None:
    scores = {(policy, name): RNG.uniform(0.2, 0.7, (3, 10)) for policy in "ab" for name in ("echo", "lock")}
    summary = summarise(made_up({key: [cell(seed) for seed in seeds] for key, seeds in scores.items()}))
    run = np.sort([scores["a", "echo"].mean(), (scores["a", "lock"].mean() - 0.2) / 0.5])
    first = summary.overall[0]
    for statistic in ("mean", "iqm", "median"):
        assert first.aggregates[statistic].value == pytest.approx(run.mean())
    assert [point.value for point in first.profile] == [
        np.mean(run > threshold) for threshold in summary.thresholds
    ]
    won = [scores["a", name].mean() > scores["b", name].mean() for name in ("echo", "lock")]
    assert summary.pairs[0].improvement == Interval(np.mean(won), None, None)


def test_differences_are_of_the_means_where_seeds_share_some_prompts() -> None:
    first, second = RNG.uniform(size=(2, 3, 8))
    results = made_up({("a", "echo"): list(map(cell, first)), ("b", "echo"): list(map(cell, second))})
    keys = [f"{number:016x}" for number in (*range(8), *range(4), *range(8, 12), *range(2, 10))] * 2
    shared = [replace(one, prompt_key=key) for one, key in zip(results.records, keys, strict=True)]
    summary = summarise(replace(results, records=shared))
    (versus,) = summary.versus
    assert summary.standing("a", "echo").prompts == 12
    means = [summary.standing(policy, "echo").score.value for policy in "ab"]
    assert means == pytest.approx([first.mean(), second.mean()])
    assert versus.difference.value == pytest.approx(means[1] - means[0])
    totals: dict[str, float] = {}
    for key, gain in zip(keys, (second - first).ravel(), strict=False):
        totals[key] = totals.get(key, 0.0) + gain
    flips = scipy.stats.permutation_test(
        (list(totals.values()),), np.sum, permutation_type="samples", vectorized=True
    )
    assert versus.p_value == pytest.approx(flips.pvalue)


def test_policies_are_compared_where_both_played() -> None:
    """The seed that one of them failed is left out, also of prompts that another seed has as well."""
    scores = RNG.uniform(size=(2, 6))
    played = {("a", "echo"): list(map(cell, scores)), ("b", "echo"): [cell(HARD[:6]), "out of memory"]}
    for shared in (True, False):
        (versus,) = summarise(made_up(played, shared_prompts=shared)).versus
        assert versus.difference.value == pytest.approx(HARD[:6].mean() - scores[0].mean())
        assert versus.win_rate.value == pytest.approx(np.mean(HARD[:6] > scores[0]))


def test_equal_rows_of_a_split_are_all_compared() -> None:
    played = {("a", "echo"): [cell([0, 0, 0, 1])], ("b", "echo"): [cell([1, 0, 1, 1])]}
    results = made_up(played)
    same = [replace(one, prompt_key=f"{one.prompt // 2:016x}") for one in results.records]
    (versus,) = summarise(replace(results, records=same)).versus
    assert versus.win_rate.value == (1 + 0.5 + 1 + 0.5) / 4
    assert versus.difference.value == pytest.approx(0.5)


def test_win_rates_count_ties_half() -> None:
    summary = summarise(made_up({("a", "echo"): [cell([0, 0, 0, 1])], ("b", "echo"): [cell([1, 1, 0, 0])]}))
    (versus,) = summary.versus
    assert versus.win_rate.value == (1 + 1 + 0.5) / 4
    # All answers are equally long.
    assert versus.controlled.value == pytest.approx(2.5 / 4, abs=0.02)
    assert 0.0 <= versus.win_rate.low <= versus.win_rate.high <= 1.0


def test_aggregates_over_environments_and_training_seeds() -> None:
    runs = {(seed, name): RNG.uniform(0.2, 0.7, 10) for name in ("echo", "lock") for seed in range(4)}
    played = {(f"ppo@{seed}", name): [cell(scores)] for (seed, name), scores in runs.items()}
    played |= {("base", name): [cell(np.full(10, 0.2))] for name in ("echo", "lock")}
    summary = summarise(made_up(played, baseline="base"))
    means = {key: scores.mean() for key, scores in runs.items()}
    normalised = [mean if name == "echo" else (mean - 0.2) / 0.5 for (_, name), mean in means.items()]
    ppo = next(item for item in summary.overall if item.policy == "ppo")
    assert ppo.aggregates["mean"].value == pytest.approx(np.mean(normalised))
    assert ppo.aggregates["iqm"].value == pytest.approx(scipy.stats.trim_mean(normalised, 0.25))
    assert ppo.aggregates["optimality_gap"].value == pytest.approx(1 - np.mean(np.minimum(normalised, 1)))
    assert [ppo.profile[i].value for i in (0, 20, 50)] == [
        np.mean(np.array(normalised) > threshold) for threshold in (0.0, 0.4, 1.0)
    ]
    assert summary.standing("ppo", "echo").train_seeds == 4
    assert found(summary, "ppo").more_seeds is not None
    (pair,) = summary.pairs
    assert (pair.policy, pair.other, pair.environments) == ("ppo", "base", ("echo", "lock"))
    assert pair.difference.value == pytest.approx(np.mean(normalised) - (0.2 + 0.0) / 2)
    assert pair.improvement.value == 1.0
    assert ppo.strength.value > next(item for item in summary.overall if item.policy == "base").strength.value
    assert covers(summary) == "Intervals are over prompts, those of ppo over training seeds too."


def test_a_failed_cell_is_an_error_and_never_a_0() -> None:
    played = {
        ("a", "echo"): [cell(HARD), cell(HARD)],
        ("b", "echo"): [cell(HARD + 0.1), "out of memory"],
        ("c", "echo"): ["no weights", "no weights"],
        ("a", "lock"): [cell(HARD), cell(HARD)],
        ("b", "lock"): [cell(HARD), cell(HARD)],
        ("c", "lock"): [cell(HARD), cell(HARD)],
    }
    summary = summarise(made_up(played, shared_prompts=True))
    assert [summary.standing(policy, "echo").status for policy in "abc"] == ["complete", "partial", "error"]
    assert summary.standing("c", "echo").reasons == ("no weights",)
    _, rows = score_table(summary)
    assert rows[1][1].endswith("], ERROR 1/2")
    assert rows[2][1] == "ERROR 2/2"
    assert {row[0]: row[1] for row in overall_table(summary)[1]} | {"a": ""} == {
        "a": "",
        "b": "ERROR 1/2",
        "c": "ERROR 2/2",
    }
    assert found(summary, "b").difference.value == pytest.approx(0.1)
    assert [item.policy for item in summary.versus if item.environments == ("echo",)] == ["b"]
    assert summary.pairs == ()
    assert "echo,c,,score,ERROR,,,error; no weights" in render_csv(summary).splitlines()
    assert json.loads(summary.to_json())["standings"][2]["score"] is None


def test_environments_that_a_policy_is_left_out_of_are_not_shared() -> None:
    played = {(policy, "echo"): [cell(HARD)] for policy in "ab"} | {("a", "lock"): [cell(HARD)]}
    summary = summarise(made_up(played))
    assert summary.shared == ("echo",)
    assert summary.standing("b", "lock").status == "left out"
    assert score_table(summary)[1][1][2] == "–"  # noqa: RUF001


def test_one_environment_without_bounds_is_compared_in_its_own_scores() -> None:
    played = {(policy, "restricted"): [cell(100 * HARD + gain)] for policy, gain in (("a", 0), ("b", 30))}
    summary = summarise(made_up(played))
    assert summary.shared == ("restricted",)
    assert all(item.aggregates is None for item in summary.overall)
    assert summary.pairs[0].difference.value == pytest.approx(-30)
    assert summary.pairs[0].margin == 0.0
    assert overall_table(summary)[0] == ["policy", "Elo"]


def test_the_baseline_is_chosen() -> None:
    results = made_up({(policy, "echo"): [cell(HARD)] for policy in "abc"}, reference="b")
    assert summarise(results).baseline == "b"
    assert summarise(results, baseline="c").baseline == "c"
    assert summarise(made_up({("a", "echo"): [cell(HARD)]})).baseline == "a"
    with pytest.raises(UserError, match="baseline: it names none of the policies, got 'd'"):
        summarise(results, baseline="d")
    with pytest.raises(UserError, match="baseline: it names none of the policies"):
        made_up({("a", "echo"): [cell(HARD)]}, baseline="x")


def test_numbers_in_tables() -> None:
    assert interval(Interval(0.12345, -0.0001, 0.2), 3, signed=True) == "+0.123 [0.000, +0.200]"
    assert interval(Interval(-0.5, None, None), 2) == "-0.50"
    assert share(Interval(0.5, 0.25, 0.75)) == "50 % [25, 75]"
    assert share(Interval(0.5, None, None)) == "50 %"
