"""Functions written for TRL: what they are called with, what they return, what their mistakes look like.

The expected arguments are those that TRL's trainers pass.
"""

import asyncio
import itertools
import json
import os

import pytest

import rltk
from rltk.config import load_recipe
from rltk.errors import NonFiniteError, UserError
from rltk.scoring import reward_metrics, score_episodes
from rltk_rewards.trl import TRLFunction

EPISODES = [
    rltk.Episode("2 + 2 =", "4", response_tokens=(7, 1), columns={"solution": "4", "level": 1}),
    rltk.Episode("2 + 3 =", "4", response_tokens=(7, 8, 1), columns={"solution": "5"}),
    rltk.Episode("hello", "hi", response_tokens=(9,)),
]

FUNCTIONS = """
def accuracy(completions, solution, **kwargs):
    return [None if s is None else float(c == s) for c, s in zip(completions, solution)]

def everything(**kwargs):
    SEEN.update(kwargs)
    return [0.0] * len(kwargs["prompts"])

def few(prompts, completion_ids, level=None):
    return [float(len(ids)) for ids in completion_ids]

async def remote(completions, **kwargs):
    return [float(len(text)) for text in completions]

def logs(completions, log_metric, log_extra):
    log_extra("solved", ["no"] * len(completions))
    log_metric("accuracy", 0.25)
    log_metric("accuracy", 0.75)
    log_metric("cost", len(completions))
    return [0.0] * len(completions)

def steps(completions, trainer_state):
    share = trainer_state.global_step / trainer_state.max_steps
    return [share] * len(completions)

def needs_gold(completions, gold):
    return gold

def short(completions, **kwargs):
    return [1.0]

def infinite(completions, **kwargs):
    return [float("inf")] * len(completions)

def fails(completions, **kwargs):
    return completions[0]["content"]

class Scorer:
    def __call__(self, completions, **kwargs):
        return [1.0] * len(completions)

scorer = Scorer()
constant = 3
SEEN = {}
"""
_numbers = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module in the working directory that holds the functions, imported by nobody before."""
    name = f"trl_functions_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    return name


def reward(function, progress=None, **options):
    return TRLFunction(TRLFunction.Config(function=function, **options), progress=progress)


@pytest.mark.parametrize("path", ["{}.accuracy", "{}:accuracy", "{}.py:accuracy"])
def test_a_function_is_found_by_its_path_and_gets_the_columns(module, path):
    assert score_episodes(reward(path.format(module)), EPISODES) == [1.0, 0.0, None]


def test_a_function_gets_what_trl_passes(module):
    score_episodes(reward(f"{module}.everything", progress=lambda: (3, 12)), EPISODES)
    seen = __import__(module).SEEN
    assert seen.pop("trainer_state").global_step == 3
    assert callable(seen.pop("log_metric")) and callable(seen.pop("log_extra"))
    assert seen == {
        "prompts": ["2 + 2 =", "2 + 3 =", "hello"],
        "completions": ["4", "4", "hi"],
        "completion_ids": [[7, 1], [7, 8, 1], [9]],
        "solution": ["4", "5", None],
        "level": [1, None, None],
    }


def test_conversational_functions_get_messages(module):
    score_episodes(reward(f"{module}.everything", conversational=True), EPISODES[:1])
    seen = __import__(module).SEEN
    assert seen["prompts"] == [[{"role": "user", "content": "2 + 2 ="}]]
    assert seen["completions"] == [[{"role": "assistant", "content": "4"}]]
    assert "trainer_state" not in seen


def test_a_function_gets_only_what_it_takes(module):
    assert score_episodes(reward(f"{module}.few"), EPISODES) == [2.0, 3.0, 1.0]


def test_async_functions_and_objects(module):
    assert score_episodes(reward(f"{module}.remote"), EPISODES) == [1.0, 1.0, 2.0]
    assert score_episodes(reward(f"{module}.scorer"), EPISODES) == [1.0, 1.0, 1.0]


def test_metrics_are_averaged_and_of_the_last_call_only(module):
    logs = reward(f"{module}.logs")
    score_episodes(logs, EPISODES)
    score_episodes(logs, EPISODES[:2])
    assert reward_metrics(logs) == {"accuracy": 0.5, "cost": 2.0}


def test_the_state_of_the_trainer_follows_the_training(module):
    step = iter([(0, 4), (3, 4)])
    steps = reward(f"{module}.steps", progress=lambda: next(step))
    assert score_episodes(steps, EPISODES[:1]) == [0.0]
    assert score_episodes(steps, EPISODES[:1]) == [0.75]


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (
            "needs_gold",
            UserError,
            "its function needs the argument 'gold', and no prompt has a column of this",
        ),
        (
            "steps",
            UserError,
            "its function needs trainer_state, which there is only while a policy is trained",
        ),
        ("short", UserError, "it returned 1 scores for 3 episodes"),
        ("infinite", NonFiniteError, "a score is not finite, got inf"),
        ("fails", UserError, "it raised TypeError: string indices must be integers"),
    ],
)
def test_an_error_names_the_function_and_the_plugin(module, function, kind, message):
    with pytest.raises(kind) as error:
        score_episodes(rltk.create("reward_model", "trl", function=f"{module}.{function}"), EPISODES)
    assert error.value.where.startswith(f"reward '{module}.{function}' of plugin 'reward_trl' (rltk ")
    assert error.value.what.startswith(message.partition(", got")[0]) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "accuracy",
            "no path of a function, got 'accuracy'. Fix: write MODULE.FUNCTION or FILE.py:FUNCTION.",
        ),
        ("{}.py:", "no path of a function, got '{}.py:'. Fix: write MODULE.FUNCTION"),
        (
            "absent_module.f",
            "absent_module cannot be imported: ModuleNotFoundError: No module named 'absent_m",
        ),
        ("absent.py:f", "absent.py cannot be imported: ImportError: no such file: absent.py, got"),
        ("broken.py:f", "broken.py cannot be imported: ZeroDivisionError: division by zero, got"),
        ("exits.py:f", "exits.py cannot be imported: SystemExit: 3, got"),
        ("{}.acuracy", "{} has no acuracy, got '{}.acuracy'. Fix: choose one of accuracy, everything, fails"),
        ("empty.py:f", "empty.py has no f, got 'empty.py:f'. Fix: check the name."),
        ("{}.constant", "constant is no function, got '{}.constant'. Fix: name a function f(prompts"),
        ("{}.Scorer", "Scorer is no function, got '{}.Scorer'. Fix: name a function f(prompts"),
    ],
)
def test_a_path_that_leads_nowhere_is_one_line_before_anything_runs(module, tmp_path, path, message):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "exits.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "empty.py").write_text("")
    path, message = path.replace("{}", module), message.replace("{}", module)
    with pytest.raises(UserError) as error:
        load_recipe("instructgpt-tiny", ["rl.reward.name=trl", f"rl.reward.function={json.dumps(path)}"])
    assert str(error.value).startswith(f"rl.reward.function: {message}")


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "changing.py"
    path.write_text("def f(completions):\n    return [1.0] * len(completions)\n")
    assert score_episodes(reward(f"{path}:f"), EPISODES[:1]) == [1.0]
    path.write_text("def f(completions):\n    return [22.0] * len(completions)\n")
    os.utime(path, ns=(1, 1))
    assert score_episodes(reward(f"{path}:f"), EPISODES[:1]) == [22.0]


def test_a_file_may_import_its_neighbours_when_it_is_called(tmp_path):
    (tmp_path / "neighbour_of_trl.py").write_text("PAY = 5.0\n")
    (tmp_path / "late.py").write_text(
        "def f(completions):\n    from neighbour_of_trl import PAY\n    return [PAY] * len(completions)\n"
    )
    assert score_episodes(reward(f"{tmp_path}/late.py:f"), EPISODES[:1]) == [5.0]


def test_functions_are_awaited_in_the_one_loop(tmp_path):
    (tmp_path / "loops.py").write_text(
        "import asyncio\n\nasync def f(completions):\n    LOOPS.append(asyncio.get_running_loop())\n"
        "    return [0.0] * len(completions)\n\nLOOPS = []\n"
    )
    function = reward(f"{tmp_path}/loops.py:f")
    score_episodes(function, EPISODES)
    score_episodes(function, EPISODES)
    first, second = function._function.__globals__["LOOPS"]
    assert first is second and isinstance(first, asyncio.AbstractEventLoop)
