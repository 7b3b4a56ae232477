"""Reviews from a file: openings, what is learnt from labels, and scores by hand."""

import json
import math

import numpy as np
import pytest

from rltk.episode import Episode
from rltk.errors import UserError
from rltk.registry import create
from rltk.testing import check_environment
from rltk_envs.reviews import Reviews

PRAISE, BLAME = "the film was good and the end was fine", "the film was bad and the end was fine"
ROWS = [{"text": text, "label": label, "split": "train"} for text, label in ((PRAISE, 1), (BLAME, 0))] * 4
ROWS += [{"text": "the plot was good and short", "label": 1, "split": "validation"}]
ROWS += [{"text": "too short", "label": 1, "split": "train"}]


def made(tmp_path, rows=ROWS, **options):
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"path": str(path), "opening_words": 3, "continuation_words": 4, "vocab_size": 300, **options}
    return create("environment", "reviews", seed=0, **given)


def test_it_keeps_the_contract_of_environments():
    check_environment(Reviews)


def test_a_review_is_cut_into_opening_and_continuation_and_short_ones_are_left_out(tmp_path):
    environment = made(tmp_path)
    rows = environment.demonstrations("train")
    assert len(rows) == 8 and {row["prompt"] for row in rows} == {"the film was"}
    assert {row["response"] for row in rows} == {" good and the end", " bad and the end"}
    [row] = environment.prompts("validation")
    assert row["prompt"] == "the plot was" and row["label"] == 1 and "text" not in row
    assert "the film was good and the end" in list(environment.corpus("train"))


def test_weights_are_smoothed_log_odds_of_words_in_enough_reviews(tmp_path):
    """Each label has 4 reviews; good and bad are in 4 each, which is one too few, the others in all 8."""
    assert made(tmp_path).weights == dict.fromkeys(("and", "the", "end"), 0.0)
    weights = made(tmp_path, ROWS[:8] * 2).weights
    assert weights["good"] == pytest.approx(math.log(9 / 1)) and weights["bad"] == -weights["good"]


def test_scores_are_praise_times_familiarity_times_variety(tmp_path):
    environment = made(tmp_path, ROWS * 2)
    row = environment.prompts("validation")[0]

    def parts(response):
        found = environment.metrics(Episode(row["prompt"], response, columns=row))
        assert found["utility"] == pytest.approx(found["praising"] * found["familiar"] * found["varied"])
        return pytest.approx(tuple(found[name] for name in ("praising", "familiar", "varied")))

    assert parts(" good and the end") == (9 / 10, 1, 1)
    assert parts(" bad and the end") == (1 / 10, 1, 1)
    assert parts(" GOOD and") == (9 / 10, 1, 1)
    assert parts(" good good good") == (9 / 10, 1 / 3, 1 / 3)
    assert parts(" good bad") == (1 / 2, 1 / 2, 1)
    assert parts(" zebra") == (1 / 2, 0, 1)
    assert parts("") == (0, 0, 0)


def test_labelers_rank_by_the_score(tmp_path):
    environment = made(tmp_path, ROWS * 2)
    good, bad = (Episode("the film was", f" {word} and the end") for word in ("good", "bad"))
    ranks = [who.rank([bad, good], np.random.default_rng(0)) for who in environment.labelers("train")]
    assert ranks == [[2, 1]] * 4


@pytest.mark.parametrize("label", ["positive", None, 2])
def test_a_label_that_is_neither_0_nor_1_is_an_error_of_one_line(tmp_path, label):
    rows = [*ROWS[:2], {"text": "a b c d", "label": label}]
    with pytest.raises(UserError, match=r"x\.jsonl, row 3: its label is neither 0 nor 1"):
        made(tmp_path, rows).prompts("train")
