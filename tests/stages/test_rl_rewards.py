"""Rewards in the rl stage: what is logged, what a failure leaves behind, what resuming gives."""

import json
import sys

import pytest

import rltk
from rltk import cli
from rltk.config import load_recipe
from rltk.errors import NonFiniteError, UserError
from rltk.functions import load_function
from rltk.models import save_model
from rltk.normalization import RewardScaler
from rltk.registry import Registry, get_registry
from rltk.runs import train
from tests.text_world import tiny_model, word_tokenizer

RECIPE = """
seed: 3
checkpoint_seconds: 0
environment: {{name: files, prompts: {prompts}, template: "{{prompt}} w28", max_new_tokens: 4}}
stages:
  rl:
    stage: rl
    policy: {{name: causal_lm, path: {policy}}}
    algorithm: {{name: ppo, epochs: 1, minibatch_size: 8}}
    iterations: 4
    episodes: 12
    num_envs: 5
"""

FUNCTIONS = """
def echoes(prompts, completions, number, log_metric, **kwargs):
    log_metric("words", sum(len(text.split()) for text in completions))
    return [float(f"w{n}" in text.split()) for n, text in zip(number, completions)]

def later_more(completions, trainer_state):
    SEEN.append((trainer_state.global_step, trainer_state.max_steps))
    if SEEN == [(0, 4), (1, 4)]:
        raise ConnectionError("no route")
    return [trainer_state.global_step + 0.1 * len(text) for text in completions]

SEEN = []
"""


class Remote(rltk.RewardModel):
    """Pays for words; fails in the iteration that ``TROUBLE`` names, and notes its life in ``CALLS``."""

    name = "remote"

    def __init__(self, config, *, progress=None):
        super().__init__(config)
        self.progress = progress

    async def setup(self):
        CALLS.append("setup")

    async def score(self, episodes):
        CALLS.append("score")
        if self.progress()[0] == TROUBLE.get("at"):
            if TROUBLE["how"] == "raise":
                raise ConnectionError("no route")
            return TROUBLE["how"](len(episodes))
        return [float(len(episode.response.split())) for episode in episodes]

    def metrics(self):
        return {"cost": 0.5}

    async def close(self):
        CALLS.append("close")


class Plugin:
    @rltk.hookimpl
    def rltk_reward_models(self):
        return [Remote]


CALLS: list[str] = []
TROUBLE: dict = {}


@pytest.fixture(autouse=True)
def plugin(monkeypatch):
    monkeypatch.setattr("rltk.registry._current", Registry(get_registry().sources))
    get_registry().register(Plugin(), "remote_judge")
    CALLS.clear()
    TROUBLE.clear()
    yield
    get_registry().unregister("remote_judge")


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    save_model(tiny_model(scale=1.0), word_tokenizer(), folder)
    return folder


@pytest.fixture
def recipe_file(tmp_path, policy):
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    rows = [{"prompt": f"w{i} w{2 * i}", "number": i, "split": "train"} for i in range(14)]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(policy=policy, prompts=prompts))
    return path


def logged(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["metrics"] for row in rows if row["metrics"]]


def test_parts_are_logged_apart_and_the_columns_of_the_row_reach_them(recipe_file, tmp_path):
    function = f"{tmp_path}/functions.py:echoes"
    parts = (
        f"{{echo: {{name: trl, function: '{function}', weight: 2}}, brief: {{name: remote, weight: -0.5}}}}"
    )
    recipe = load_recipe(recipe_file, ["rl.reward.name=weighted_sum", f"rl.reward.rewards={parts}"])
    train(recipe, tmp_path / "run")
    for metrics in logged(tmp_path / "run"):
        whole = 2 * metrics["rl/reward/echo"] - 0.5 * metrics["rl/reward/brief"]
        assert metrics["rl/score"] == pytest.approx(whole, abs=1e-5)
        assert metrics["rl/reward/echo/words"] == pytest.approx(12 * metrics["rl/reward/brief"])
        assert metrics["rl/reward/brief/cost"] == 0.5
        assert metrics["rl/reward/brief/unscorable"] == metrics["rl/unscorable"] == 0.0
    assert max(metrics["rl/reward/echo"] for metrics in logged(tmp_path / "run")) > 0
    assert CALLS == ["setup", "score", "score", "score", "score", "close"]


NAMED = r"reward 'remote' of plugin 'remote_judge' \(this program\): "


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("raise", UserError, f"^{NAMED}it raised ConnectionError: no route"),
        (lambda n: [0.0] * (n + 1), UserError, f"^{NAMED}it returned 13 scores for 12 episodes"),
        (lambda n: ["0.5"] * n, UserError, f"^{NAMED}a score must be a number, a list of numbers or None"),
        (lambda n: [[0.0] * 99] * n, UserError, f"^{NAMED}it gave 99 token rewards to a response of"),
        (
            lambda n: [float("nan")] * n,
            NonFiniteError,
            rf"^stages\.rl, iteration 3, {NAMED}a score is not finite, got nan",
        ),
    ],
)
def test_a_reward_that_fails_is_named_and_the_run_goes_on_from_the_last_checkpoint(
    recipe_file, tmp_path, how, kind, message
):
    recipe = load_recipe(recipe_file, ["rl.reward.name=remote"])
    train(recipe, tmp_path / "whole")
    CALLS.clear()
    TROUBLE.update(at=2, how=how)
    with pytest.raises(kind, match=message):
        train(recipe, tmp_path / "run")
    assert CALLS == ["setup", "score", "score", "score", "close"]
    checkpoints = (tmp_path / "run/stages/rl/checkpoints").iterdir()
    assert max(path.name for path in checkpoints) == "step-000000002"
    TROUBLE.clear()
    train(recipe, tmp_path / "run", resume=True)
    assert logged(tmp_path / "run") == logged(tmp_path / "whole")


def test_what_cannot_be_scored_is_neither_learned_from_nor_part_of_the_scale(
    recipe_file, tmp_path, monkeypatch
):
    scaled = []
    original = RewardScaler.scale
    monkeypatch.setattr(
        RewardScaler, "scale", lambda self, *batch: scaled.append(batch) or original(self, *batch)
    )
    TROUBLE.update(at=0, how=lambda n: [None, 5.0, None] * (n // 3))
    options = ["rl.reward.name=remote", "rl.normalize_rewards=true", "rl.iterations=1"]
    train(load_recipe(recipe_file, options), tmp_path / "run")
    ((rewards, _, episodes),) = scaled
    assert episodes.tolist() == [1, 4, 7, 10] and rewards.sum(1).tolist() == [5.0] * 4
    (metrics,) = logged(tmp_path / "run")
    assert metrics["rl/unscorable"] == pytest.approx(8 / 12) and metrics["rl/score"] == 5.0


def test_a_rollout_without_any_score_is_an_error(recipe_file, tmp_path):
    TROUBLE.update(at=1, how=lambda n: [None] * n)
    with pytest.raises(UserError, match=r"^stages\.rl\.reward: no episode could be scored"):
        train(load_recipe(recipe_file, ["rl.reward.name=remote"]), tmp_path / "run")


def test_a_trl_function_knows_how_far_the_training_is_also_after_resuming(recipe_file, tmp_path):
    function = f"{tmp_path}/functions.py:later_more"
    recipe = load_recipe(recipe_file, ["rl.reward.name=trl", f"rl.reward.function={function}"])
    with pytest.raises(UserError, match=r"functions\.py:later_more' of plugin 'reward_trl' .* no route"):
        train(recipe, tmp_path / "run")
    train(recipe, tmp_path / "run", resume=True)
    seen = load_function(function, "function", signature="f()").__globals__["SEEN"]
    assert seen == [(0, 4), (1, 4), (1, 4), (2, 4), (3, 4)]


LOOSE = """
import rltk

@rltk.reward
def picky(episode):
    return 1.0 + episode.columns["{column}"]
"""


def test_on_the_command_line_a_failing_reward_is_one_line_and_exit_code_2(
    recipe_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("rltk.registry._current", None)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "picky.py"
    path.write_text(LOOSE.format(column="gold"))
    options = [str(recipe_file), "-p", "picky.py", "rl.reward.name=picky", "rl.iterations=1"]
    assert command("train", *options, "--run", "failed") == 2
    expected = "rltk: error: reward 'picky' of plugin 'picky' (picky.py): it raised KeyError: 'gold'. Fix: "
    assert capsys.readouterr().err.splitlines()[-1].startswith(expected)
    path.write_text(LOOSE.format(column="number"))
    assert command("train", *options, "--run", "run") == 0
    assert logged(tmp_path / "run")[0]["rl/score"] >= 1


def command(*arguments):
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(SystemExit) as ended:
        monkeypatch.setattr(sys, "argv", ["rltk", *arguments])
        monkeypatch.setattr("warnings.showwarning", print)
        cli.main()
    return int(ended.value.code or 0)
