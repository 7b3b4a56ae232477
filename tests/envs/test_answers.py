"""Problems from a file: numbers in texts, whether a response is right, and files that are no good."""

import gzip
import json
from fractions import Fraction

import gymnasium as gym
import pytest

from rltk.config import load_recipe
from rltk.episode import Episode
from rltk.errors import UserError
from rltk.registry import create
from rltk.runs import train
from rltk.testing import check_environment
from rltk_envs.answers import Answers, final_number

ROWS = [
    {
        "question": "2 apples and 3?",
        "answer": "It is 2+3=<<2+3=5>>5.\n#### 5",
        "final": "5",
        "split": "train",
    },
    {"question": "A coat for $1,000 and one for $234?", "answer": "#### 1,234", "split": "train"},
    {"question": "Half of 5?", "answer": "2.5", "final": 2.5, "split": "validation"},
    {"question": "3 less 7?", "answer": "3 - 7 is -4", "split": "test"},
]


def write(path, rows=ROWS):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def made(tmp_path, **options):
    return create(
        "environment", "answers", path=write(tmp_path / "x.jsonl"), vocab_size=300, seed=0, **options
    )


def test_it_keeps_the_contract_of_environments():
    check_environment(Answers)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("72", 72),
        ("so 3 and 4 make 7.", 7),
        ("#### 72 clips, not 71", 72),
        ("7 #### 8 #### 9", 9),
        ("#### none of the 5", 5),
        ("####", None),
        ("it is $1,234.50!", Fraction("1234.5")),
        ("1,23", 23),
        ("12.0", 12),
        ("12.", 12),
        ("-12", -12),
        ("-$12", -12),
        ("$-12", -12),
        ("\u22123", -3),
        ("5-3", 3),
        ("5 - 3", 3),
        ("48/2=24", 24),
        ("it is 3/4", Fraction(3, 4)),
        ("3/0", 0),
        (".5", Fraction(1, 2)),
        ("50%", 50),
        ("007", 7),
        ("none", None),
        ("", None),
    ],
)
def test_the_final_number_of_a_text(text, number):
    assert final_number(text) == number


@pytest.mark.parametrize(
    ("response", "metrics"),
    [
        ("1000 and 234 are 1234", {"utility": 1, "answered": 1, "marked": 0}),
        ("#### $1,234.00", {"utility": 1, "answered": 1, "marked": 1}),
        ("1234 or 1235", {"utility": 0, "answered": 1, "marked": 0}),
        ("#### ", {"utility": 0, "answered": 0, "marked": 1}),
        ("", {"utility": 0, "answered": 0, "marked": 0}),
    ],
)
def test_a_response_is_right_if_its_final_number_is(tmp_path, response, metrics):
    environment = made(tmp_path)
    row = environment.prompts("train")[1]
    assert environment.metrics(Episode(row["prompt"], response, columns=row)) == metrics


def test_rows_keep_their_splits_and_demonstrations_lose_the_calculators_notes(tmp_path):
    environment = made(tmp_path)
    rows = {split: environment.demonstrations(split) for split in ("train", "validation", "test")}
    assert [row["final"] for row in rows["train"]] == ["5", "1234"]
    assert rows["train"][0]["response"] == "It is 2+3=5.\n#### 5"
    assert [(row["prompt"], row["final"]) for row in rows["validation"]] == [("Half of 5?", "5/2")]
    assert environment.gold(Episode("", environment.oracle(rows["test"][0]), columns=rows["test"][0])) == 1.0
    assert list(environment.corpus("train"))[1] == "A coat for $1,000 and one for $234?\n#### 1,234"


def test_a_file_of_training_rows_alone_has_some_set_aside(tmp_path):
    rows = [{"question": f"{n}?", "answer": str(n), "split": "train"} for n in range(200)]
    path = write(tmp_path / "x.jsonl", rows)
    environment = create("environment", "answers", path=path, validation_share=0.3, vocab_size=300, seed=0)
    train, held_out, test = (
        {row["prompt"] for row in environment.prompts(split)} for split in ("train", "validation", "test")
    )
    assert len(train) + len(held_out) == 200 and not train & held_out and held_out == test
    assert 40 < len(held_out) < 80


def test_columns_may_have_other_names_and_files_may_be_gzipped(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write('{"problem": "1+1?", "solution": "2"}\n')
    columns = {"prompt": "problem", "response": "solution"}
    [row] = create("environment", "answers", path=str(path), columns=columns, seed=0).demonstrations("train")
    assert (row["prompt"], row["response"], row["final"]) == ("1+1?", "2", "2")


def test_the_environment_pays_the_gold_score(tmp_path):
    envs = made(tmp_path).make_vec(1, shuffle=False, max_new_tokens=1)
    assert isinstance(envs, gym.vector.VectorEnv)
    envs.reset(seed=0)
    five = envs.tokenizer.convert_tokens_to_ids("5")
    assert envs.step([five])[1].tolist() == [1.0] and envs.step([five])[1].tolist() == [0.0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"question": "1+1?", "answer": "two"}],
            "row 1: there is no number in the answer, got 'two'",
        ),
        ([{"question": "1+1?"}], "x.jsonl:1: column 'response' is missing"),
        ([{"answer": "2"}], "x.jsonl:1: column 'prompt' is missing"),
        ([], "x.jsonl: there are no rows in it"),
    ],
)
def test_a_file_that_is_no_good_gets_one_line(tmp_path, rows, message):
    environment = create("environment", "answers", path=write(tmp_path / "x.jsonl", rows), seed=0)
    with pytest.raises(UserError) as caught:
        environment.demonstrations("train")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("path", "message"), [("nowhere.jsonl", "no such file"), ("", "no file is given")])
def test_a_missing_file_is_missed_at_once(path, message):
    with pytest.raises(UserError, match=message):
        create("environment", "answers", path=path, seed=0)


def test_the_suites_recipe_takes_a_file(tmp_path):
    rows = [{"question": f"{n} and 1?", "answer": f"#### {n + 1}"} for n in range(60)]
    overrides = ["environment.name=answers", f"environment.path={write(tmp_path / 'sums.jsonl', rows)}"]
    tiny = ["sft.epochs=1", "rl.iterations=1", "rl.episodes=8", "rl.num_envs=8", "evaluate.num_prompts=2"]
    sizes = ["environment.vocab_size=300", "environment.max_new_tokens=8", "environment.validation_share=0.3"]
    summary = train(load_recipe("suite", [*overrides, *tiny, *sizes]), tmp_path / "run")
    assert 0 <= summary["policies"]["rl"]["utility"] <= 1
