import json
import math
from html.parser import HTMLParser

import pytest
import yaml

from rltk.errors import UserError
from rltk.report import flag_table, headline, markdown_table, next_steps, policy_table, write_report
from rltk.reporting.charts import Series, line_chart, ticks
from rltk.reporting.record import RunRecord
from rltk.reporting.responses import choose_prompts

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


def test_no_negative_zero_is_shown():
    policies = {"rl": {"reward": -0.001, "rude": -0.001}}
    assert policy_table({"policies": policies})[1] == [["rl", "0.00"]]
    assert flag_table({"policies": policies})[1] == [["rl", "0.00"]]


def test_markdown_table():
    text = markdown_table((["policy", "utility"], [["sft", "0.50"]]))
    assert text == "| policy | utility |\n| --- | ---: |\n| sft | 0.50 |"


def test_headline_compares_the_last_policy_with_the_baseline():
    assert headline(SUMMARY) == (
        "rl is preferred to sft 71 % of the time (95 % interval 66 to 75 %); utility 0.50 → 0.70"
    )
    unclear = {"sft": {}, "rl": {"win_rate": 0.52, "win_rate_ci": [0.47, 0.56]}}
    assert headline({**SUMMARY, "policies": unclear}) == (
        "rl is preferred to sft 52 % of the time (95 % interval 47 to 56 %): too close to call"
    )
    assert headline({"policies": {"rl": {"return": 3.0}}}) == ""


STAGES = {"sft": {"stage": "sft"}, "rl": {"stage": "rl", "algorithm": {"name": "ppo"}}, "evaluate": {}}


def write_run(directory, *, summary=None, metrics=(), samples=()):
    folder = directory / "stages" / "evaluate"
    folder.mkdir(parents=True)
    config = {"name": "mini", "seed": 3, "environment": {"name": "instruct"}, "stages": STAGES}
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    if summary is not None:
        (directory / "summary.json").write_text(json.dumps(summary))
    return directory


def logged(stage, step, **metrics):
    return {"stage": stage, "step": step, "metrics": {f"{stage}/{key}": v for key, v in metrics.items()}}


class Page(HTMLParser):
    """Collects what a browser would see: tags, text, and every tag that is not closed in its turn."""

    VOID = {"meta", "br", "line", "circle", "path", "polyline"}

    def __init__(self, source):
        super().__init__()
        self.tags, self.text, self.attributes, self.open, self.crossed = [], [], [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def report_of(directory):
    source = write_report(directory).read_text(encoding="utf-8")
    page = Page(source)
    assert not page.open and not page.crossed, "the page is not well-formed"
    return source, page


def sample(policy, prompt_id, **columns):
    return {
        "policy": policy,
        "prompt_id": prompt_id,
        "prompt": f"prompt {prompt_id}",
        "response": "a b",
    } | columns


def test_report_of_a_whole_run_has_every_part_and_needs_nothing_else(tmp_path):
    metrics = [logged("sft", s, loss=2 / s) for s in range(1, 9)]
    metrics += [logged("rl", s, score=0.1 * s, utility=0.5, kl=0.2 * s, value_loss=1.0) for s in range(1, 5)]
    summary = SUMMARY | {
        "recipe": "mini",
        "seconds": {"sft": 75.0, "rl": 5.0},
        "reward_model": {"accuracy": 0.71, "agreement": 0.726, "length_baseline": 0.52},
    }
    samples = [sample(policy, i) for policy in ("sft", "rl") for i in range(20)]
    source, page = report_of(write_run(tmp_path / "run", summary=summary, metrics=metrics, samples=samples))
    text = "\n".join(page.text)
    for expected in ("rl is preferred to sft 71 %", "1 min 15 s", "71.0 %", "72.6 %", "52.0 %"):
        assert expected in text
    for title in ("Loss", "Learned reward against KL (rl)", "True utility against KL (rl)", "value loss"):
        assert title in page.text
    assert page.text.count("prompt 0") == 1
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not [value for name, value in page.attributes if name in ("src", "href")]
    assert "url(" not in source and "@import" not in source
    assert source == write_report(tmp_path / "run").read_text(encoding="utf-8")


def test_responses_are_shown_as_text_and_never_run(tmp_path):
    evil = '</q><script>alert(1)</script><img src=x onerror="alert(2)">&amp;'
    rows = [sample(evil, 0, response=evil, prompt=evil, use_case=evil) | {evil: 1.0}]
    summary = {"recipe": evil, "policies": {evil: {"utility": 0.5}}, "seconds": {evil: 1.0}}
    _, page = report_of(
        write_run(tmp_path / "run", summary=summary, samples=rows, metrics=[logged("sft", 1)])
    )
    assert "script" not in page.tags and "img" not in page.tags
    assert page.text.count(evil) >= 5


def test_report_of_a_run_that_has_hardly_begun(tmp_path):
    _, page = report_of(write_run(tmp_path / "run", metrics=[logged("sft", 1, loss=3.0)]))
    assert "No policy has been evaluated yet." in page.text and "Loss" in page.text


def test_report_leaves_gaps_where_values_are_not_finite(tmp_path):
    values = [1.0, None, math.nan, math.inf, 2.0, 3.0]
    metrics = [logged("rl", s, score=v, kl=0.0, entropy=math.nan) for s, v in enumerate(values, 1)]
    source, page = report_of(write_run(tmp_path / "run", metrics=metrics))
    assert "Reward" in page.text and "Entropy" not in page.text
    assert "nan" not in source.lower().replace("nanum", "") and page.tags.count("circle") == 3 + 1


def test_report_of_a_control_run_shows_returns(tmp_path):
    summary = {"recipe": "cartpole", "policies": {"rl": {"return": 487.25, "return_ci": [470.0, 500.0]}}}
    metrics = [logged("rl", s, **{"return": 20.0 * s}) for s in range(1, 9)]
    _, page = report_of(write_run(tmp_path / "run", summary=summary, metrics=metrics))
    assert "487.2 [470.0, 500.0]" in page.text and "Return" in page.text


def test_a_directory_without_a_run_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="it holds no run"):
        write_report(tmp_path)


def test_torn_last_line_is_left_out(tmp_path):
    run = write_run(tmp_path / "run", metrics=[logged("sft", 1, loss=3.0)])
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "sft", "st')
    assert RunRecord.read(run).series("sft") == {"sft/loss": ([1.0], [3.0])}


def test_prompts_are_taken_from_the_use_cases_in_turn():
    rows = [sample("rl", i, use_case=use) for i, use in enumerate(["a", "a", "a", "b", "b", "c"])]
    assert choose_prompts(rows, 5) == [0, 3, 5, 1, 4]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.5, 1.0]),
        (0.03, 0.97, [0.0, 0.5, 1.0]),
        (-3.0, 4.0, [-4.0, -2.0, 0.0, 2.0, 4.0]),
        (100.0, 1900.0, [0.0, 500.0, 1000.0, 1500.0, 2000.0]),
        (-1e-8, 0.8, [0.0, 0.2, 0.4, 0.6, 0.8]),
        (2.0, 2.0, [1.8, 1.9, 2.0, 2.1, 2.2]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_points_stand_where_their_values_say():
    chart = line_chart("t", [Series("s", [0, 10], [0.0, 4.0])], x_label="x", y_label="y")
    assert 'points="44.0,204.0 348.0,24.0"' in chart


def test_smoothing_is_a_centred_mean_that_skips_gaps():
    values = [0.0, 3.0, None, 6.0] + [6.0] * 36
    smoothed = Series("s", range(40), values).smoothed().y
    assert smoothed[:4] == pytest.approx([1.5, 1.5, 4.5, 6.0])


def test_next_steps_follow_from_the_recipe():
    steps = dict(next_steps({"seed": 3, "stages": STAGES}, "runs/x"))
    assert "rltk train runs/x/config.yaml seed=4" in steps
    assert 'rltk generate runs/x "a prompt of yours"' in steps
    variants = {"rl.algorithm": {"a2c": {}, "ppo": {}}}
    swapped = {"algorithm": {"name": "ppo"}, "stage": "rl"}
    assert not any(
        "algorithm.name" in command
        for command, _ in next_steps({"stages": {"rl": swapped}, "variants": variants}, "runs/x")
    )
    own = {"algorithm": {"name": "trpo"}, "stage": "rl"}
    steps = dict(next_steps({"stages": {"rl": own}, "variants": variants}, "runs/x"))
    assert "rltk train runs/x/config.yaml rl.algorithm.name=a2c" in steps
    with_plugin = dict(next_steps({"seed": 3, "stages": STAGES}, "runs/x", ["mine.py"]))
    assert "rltk train runs/x/config.yaml -p mine.py seed=4" in with_plugin
