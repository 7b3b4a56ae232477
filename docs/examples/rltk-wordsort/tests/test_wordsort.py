"""The contract checks of all five plugins, installed, and the values that are this package's own."""

import pytest
from rltk import Episode, create, testing

COMPONENTS = {
    "algorithm": "wordsort-raft",
    "environment": "wordsort",
    "policy": "wordsort-gru",
    "reward_model": "wordsort-order",
    "stage": "wordsort-imitate",
}


@pytest.mark.parametrize("kind", COMPONENTS)
def test_the_contract_is_kept(kind: str) -> None:
    getattr(testing, f"check_{kind}")(COMPONENTS[kind])


@pytest.mark.parametrize(
    ("response", "worth"),
    [
        ("ape cow owl", 1.0),
        ("ape owl cow", 1 / 2),
        ("owl cow ape", 0.0),
        ("ape", 1 / 3),
        ("ape cow owl owl", 3 / 4),
        ("", 0.0),
    ],
)
def test_what_an_answer_is_worth(response: str, worth: float) -> None:
    reward = create("reward_model", "wordsort-order")
    assert reward.score([Episode("owl ape cow", response)]) == [pytest.approx(worth)]


def test_an_empty_prompt_cannot_be_scored() -> None:
    assert create("reward_model", "wordsort-order").score([Episode("", "ape")]) == [None]


def test_demonstrations_are_sorted_and_splits_apart() -> None:
    environment = create("environment", "wordsort", seed=0)
    rows = {split: environment.demonstrations(split) for split in ("train", "validation", "test")}
    for row in rows["test"]:
        assert row["response"].split() == sorted(row["prompt"].split())
    train, validation, test = ({row["response"] for row in split} for split in rows.values())
    assert not train & validation and not train & test and not validation & test
