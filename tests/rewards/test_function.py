"""Rewards made by ``@rltk.reward`` from functions, sync and async, against the functions themselves."""

import asyncio
import functools

import pytest

import rltk
from rltk.config import load_recipe
from rltk.errors import UserError
from rltk.plugin_sources import local_source
from rltk.registry import Registry
from rltk.scoring import score_episodes

EPISODES = [
    rltk.Episode("2 + 2 =", "4", response_tokens=(7, 1), columns={"answer": "4"}),
    rltk.Episode("2 + 3 =", "4", response_tokens=(7, 1), columns={"answer": "5"}),
    rltk.Episode("say something", "hello", response_tokens=(8, 9, 1)),
]


def test_a_function_is_a_class_named_and_described_like_it():
    @rltk.reward
    def exact(episode):
        """Pays for the right answer."""
        answer = episode.columns.get("answer")
        return None if answer is None else float(episode.response == answer)

    assert exact.name == exact.__name__ == "exact" and exact.__doc__ == "Pays for the right answer."
    assert exact.Config.model_fields == {}
    assert score_episodes(exact(exact.Config()), EPISODES) == [1.0, 0.0, None]


def test_a_function_may_pay_each_token():
    @rltk.reward
    def steady(episode, pay=0.5):
        return [pay] * len(episode.response_tokens)

    assert score_episodes(steady(steady.Config()), EPISODES) == [[0.5] * 2, [0.5] * 2, [0.5] * 3]


def counting(limit, total):
    """Return an async reward whose calls end only when ``limit`` are in flight or all have begun."""
    state = {"now": 0, "most": 0, "begun": 0}
    full = asyncio.Event()

    @rltk.reward
    async def remote(episode):
        state["begun"] += 1
        state["now"] += 1
        state["most"] = max(state["most"], state["now"])
        if state["now"] == limit or state["begun"] == total:
            full.set()
        await full.wait()
        state["now"] -= 1
        return float(episode.response)

    return remote, state


@pytest.mark.parametrize("concurrency", [1, 4, 16])
def test_an_async_function_is_called_for_as_many_episodes_at_a_time_as_allowed(concurrency):
    remote, state = counting(min(concurrency, 9), 9)
    reward = remote(remote.Config(concurrency=concurrency))
    episodes = [rltk.Episode("", str(i), response_tokens=(1,)) for i in range(9)]
    assert score_episodes(reward, episodes) == [float(i) for i in range(9)]
    assert state["most"] == min(concurrency, 9) and state["now"] == 0


def test_the_first_exception_cancels_the_other_calls_and_names_the_reward():
    cancelled = []

    @rltk.reward
    async def remote(episode):
        if "answer" not in episode.columns:
            raise ConnectionError("no route")
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(episode.prompt)

    with pytest.raises(UserError, match=r"^reward 'remote': it raised ConnectionError: no route\. Fix"):
        score_episodes(remote(remote.Config()), EPISODES)
    assert sorted(cancelled) == ["2 + 2 =", "2 + 3 ="]


def test_the_concurrency_is_an_option_of_the_recipe(tmp_path, monkeypatch):
    (tmp_path / "remote.py").write_text(
        "import rltk\n\n@rltk.reward\nasync def remote(episode):\n    return 1.0\n"
    )
    monkeypatch.setattr("rltk.registry._current", None)
    sources = rltk.get_registry().sources
    registry = Registry([*sources, local_source(str(tmp_path / "remote.py"))])
    monkeypatch.setattr("rltk.registry._current", registry)
    chosen = ["rl.reward.name=remote", "rl.reward.concurrency=4"]
    recipe = load_recipe("instructgpt-tiny", chosen)
    assert recipe.stages["rl"].options["reward"] == {"name": "remote", "concurrency": 4}
    with pytest.raises(UserError, match=r"^rl\.reward\.concurrency: .* greater than or equal to 1, got 0"):
        load_recipe("instructgpt-tiny", [chosen[0], "rl.reward.concurrency=0"])


def none():
    pass


def two(episode, answer):
    pass


def by_keyword(*, episode):
    pass


class Pays:
    def __call__(self, episode):
        return 1.0


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (none, r"takes a function of one episode, got none\(\); what else it needs"),
        (two, r"takes a function of one episode, got two\(episode, answer\); what else it needs"),
        (by_keyword, r"takes a function of one episode, got by_keyword\(\*, episode\)"),
        (lambda episode: 1.0, "names the reward like the function, and a lambda has no name; use def"),
        (Pays, "takes a function, got the class Pays; derive the class from rltk.RewardModel"),
        (Pays(), "takes a function of one episode, got <"),
        (functools.partial(two, answer=""), r"takes a function of one episode, got functools\.partial"),
        (None, "takes a function of one episode, got None"),
    ],
)
def test_what_is_no_function_of_one_episode_is_refused_when_it_is_decorated(function, message):
    with pytest.raises(TypeError, match=rf"^@rltk\.reward {message}"):
        rltk.reward(function)
