import math

from rltk.report import flag_table, headline, markdown_table, policy_table

SUMMARY = {
    "policies": {
        "base": {"utility": 0.1, "win_rate": 0.2, "kl": None, "rude": 0.1, "length": 20.0},
        "sft": {"utility": 0.5, "win_rate": 0.5, "kl": 0.0, "rude": math.nan, "length": 9.0},
        "rl": {"utility": 0.7, "win_rate": 0.71, "win_rate_ci": [0.66, 0.75], "kl": 4.123, "rude": 0.02},
    },
    "evaluation": {"baseline": "sft", "reference": "sft"},
}


def test_policy_table_shows_what_was_measured_with_its_interval():
    header, rows = policy_table(SUMMARY)
    assert header == ["policy", "utility", "win rate vs sft", "KL to sft", "length"]
    assert rows == [
        ["base", "0.10", "20 %", "–", "20.0"],  # noqa: RUF001
        ["sft", "0.50", "50 %", "0.0", "9.0"],
        ["rl", "0.70", "71 % [66, 75]", "4.1", "–"],  # noqa: RUF001
    ]


def test_flag_table_takes_every_other_measure():
    header, rows = flag_table(SUMMARY)
    assert header == ["policy", "rude"]
    assert [row[1] for row in rows] == ["10 %", "–", "2 %"]  # noqa: RUF001


def test_tables_of_a_run_without_policies_are_empty():
    assert policy_table({}) == (["policy"], [])
    assert flag_table({"policies": {}}) == (["policy"], [])


def test_markdown_table():
    text = markdown_table((["policy", "utility"], [["sft", "0.50"]]))
    assert text == "| policy | utility |\n| --- | ---: |\n| sft | 0.50 |"


def test_headline_compares_the_last_policy_with_the_baseline():
    assert headline(SUMMARY) == (
        "rl is preferred to sft 71% of the time (95 % interval 66% to 75%); utility 0.50 → 0.70"
    )
    assert headline({"policies": {"rl": {"return": 3.0}}}) == ""
