"""What a reward may return, and the line that each breach of its contract becomes."""

import asyncio

import numpy as np
import pytest
import torch

import rltk
from rltk.episode import Episode
from rltk.errors import NonFiniteError, UserError
from rltk.plugin_sources import local_source
from rltk.registry import Registry
from rltk.scoring import in_use, reward_metrics, score_episodes

TWO = [Episode("p", "a b", response_tokens=(5, 6, 1)), Episode("p", "", response_tokens=(1,))]


def scores(returned, episodes=TWO):
    def some(episodes):
        return returned

    return score_episodes(some, episodes)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ([1, 2.5], [1.0, 2.5]),
        ((True, None), [1.0, None]),
        (np.array([1, 2]), [1.0, 2.0]),
        (np.array([1.5, None], dtype=object), [1.5, None]),
        (torch.tensor([0.5, 2.0], requires_grad=True), [0.5, 2.0]),
        ([torch.tensor(0.5), np.float32(2)], [0.5, 2.0]),
        ([[1, 2, 3], [4]], [[1.0, 2.0, 3.0], [4.0]]),
        ([np.array([1, 2, 3]), torch.tensor([4])], [[1.0, 2.0, 3.0], [4.0]]),
        ([torch.tensor([0.5, 1.0, 2.0]), 3], [[0.5, 1.0, 2.0], 3.0]),
    ],
)
def test_every_form_of_scores_becomes_plain_floats(returned, expected):
    checked = scores(returned)
    assert checked == expected
    assert all(type(score) in (float, list, type(None)) for score in checked)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([1.0], "it returned 1 scores for 2 episodes"),
        (3.0, "it must return a list with one score per episode, got 'float'"),
        (None, "it must return a list with one score per episode, got 'NoneType'"),
        ({"a": 1, "b": 2}, "it must return a list with one score per episode, got 'dict'"),
        ({1.0, 2.0}, "it must return a list with one score per episode, got 'set'"),
        ("12", "it must return a list with one score per episode, got '12'"),
        ((score for score in (1, 2)), "it must return a list with one score per episode, got 'generator'"),
        (torch.tensor(1.0), r"it returned an array of shape \[\] for 2 episodes"),
        (torch.zeros(2, 1), r"it returned an array of shape \[2, 1\] for 2 episodes"),
        (np.zeros((2, 3)), r"it returned an array of shape \[2, 3\] for 2 episodes"),
        ([np.zeros((3, 1)), 1.0], r"a score is an array of shape \[3, 1\]"),
        ([[0.0], 1.0], "it gave 1 token rewards to a response of 3 tokens"),
        ([torch.zeros(3), torch.zeros(3)], "it gave 3 token rewards to a response of 1 tokens"),
        (["1.0", 2.0], "a score must be a number, a list of numbers or None, got '1.0'"),
        ([b"1", 2.0], "a score must be a number, a list of numbers or None, got 'bytes'"),
        ([["True"] * 3, 2.0], "a score must be a number, a list of numbers or None, got 'True'"),
        ([[0.0, None, 0.0], 2.0], "a score must be a number, a list of numbers or None, got 'NoneType'"),
        ([[[0.0], [1.0], [2.0]], 2.0], "a score must be a number, a list of numbers or None, got 'list'"),
        ([{"score": 1}, 2.0], "a score must be a number, a list of numbers or None, got 'dict'"),
        ([1j, 2.0], "a score must be a number, a list of numbers or None, got 'complex'"),
    ],
)
def test_anything_else_is_one_line_that_names_the_reward(returned, message):
    with pytest.raises(UserError, match=rf"^reward 'some': {message}\. Fix: ") as error:
        scores(returned)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), np.float32("inf"), torch.tensor(torch.nan)])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [0.0, value, 0.0]])
def test_a_score_that_is_not_finite_is_an_error_of_its_own(value, wrap):
    with pytest.raises(NonFiniteError, match=r"^reward 'some': a score is not finite, got -?(nan|inf)\."):
        scores([wrap(value), 1.0])


def test_a_forgotten_await_is_told():
    async def remote(episode):
        return 1.0

    with pytest.raises(UserError, match=r"reward 'forgetful': a score was never awaited\. Fix: await it"):

        def forgetful(episodes):
            return [remote(episode) for episode in episodes]

        score_episodes(forgetful, TWO[:1])


def test_async_scores_are_awaited():
    async def later(episodes):
        await asyncio.sleep(0)
        return [float(len(episode.response_tokens)) for episode in episodes]

    assert score_episodes(later, TWO) == [3.0, 1.0]


def test_nothing_to_ask():
    assert score_episodes(None, TWO) == [0.0, 0.0]
    assert scores("never looked at", []) == []


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), SystemExit(3), KeyError("gold")])
def test_a_reward_that_raises_is_named_and_the_cause_kept(error):
    def broken(episodes):
        raise error

    reason = f"it raised {type(error).__name__}: {error}"
    with pytest.raises(UserError, match=rf"^reward 'broken': {reason}\. Fix: repair it; --debug") as caught:
        score_episodes(broken, TWO)
    assert caught.value.__cause__ is error


def test_an_error_without_words_and_a_users_own_error():
    def silent(episodes):
        raise AssertionError

    with pytest.raises(UserError, match=r"^reward 'silent': it raised AssertionError\. Fix"):
        score_episodes(silent, TWO)

    def knows_better(episodes):
        raise UserError("the sandbox", "is not running", fix="start it")

    with pytest.raises(UserError, match=r"^the sandbox: is not running\. Fix: start it\.$"):
        score_episodes(knows_better, TWO)


def test_the_list_a_reward_gets_is_its_own():
    def shuffles(episodes):
        episodes.clear()
        return [1.0, 2.0]

    episodes = list(TWO)
    assert score_episodes(shuffles, episodes) == [1.0, 2.0] and episodes == TWO


def test_the_plugin_is_named_where_one_provided_the_reward(tmp_path, monkeypatch):
    path = tmp_path / "polite.py"
    path.write_text("import rltk\n\n@rltk.reward\ndef polite(episode):\n    return 'very'\n")
    registry = Registry([local_source(str(path))])
    monkeypatch.setattr("rltk.registry._current", registry)
    with pytest.raises(UserError) as error:
        score_episodes(rltk.create("reward_model", "polite"), TWO)
    assert error.value.where == f"reward 'polite' of plugin 'polite' ({path})"
    with pytest.raises(UserError, match=r"^part 'x': a score must be a number"):
        score_episodes(rltk.create("reward_model", "polite"), TWO, where="part 'x'")


class Measured(rltk.RewardModel):
    """Notes what is called, and logs what it is told."""

    name = "measured"

    def __init__(self, logged=None, fail=()):
        super().__init__(self.Config())
        self.logged, self.fail, self.calls = logged, fail, []

    def _called(self, method):
        self.calls.append(method)
        if method in self.fail:
            raise ConnectionError(f"no {method}")

    async def setup(self):
        self.loop = asyncio.get_running_loop()
        self._called("setup")

    async def score(self, episodes):
        assert asyncio.get_running_loop() is self.loop
        self._called("score")
        return [0.0] * len(episodes)

    def metrics(self):
        return self.logged

    async def close(self):
        assert asyncio.get_running_loop() is self.loop
        self._called("close")


def test_metrics_are_numbers_by_name():
    given = {"cost": torch.tensor(2), "share": np.float32(0.5), "none": float("nan")}
    metrics = reward_metrics(Measured(given))
    assert list(metrics) == ["cost", "share", "none"] and metrics["cost"] == 2.0 and metrics["share"] == 0.5
    assert reward_metrics(lambda episodes: []) == {} == reward_metrics(None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.0], r"metrics\(\) must return numbers by name, got 'list'"),
        ({"a": "many"}, "a metric must be a number, got 'many'"),
        ({"a": np.zeros(2)}, "a metric must be a number, got 'ndarray'"),
    ],
)
def test_other_metrics_are_one_line(given, message):
    with pytest.raises(UserError, match=rf"^reward 'measured': {message}\. Fix: "):
        reward_metrics(Measured(given))


def test_a_reward_in_use_is_set_up_and_closed_once_in_one_loop():
    with in_use(Measured()) as reward:
        score_episodes(reward, TWO)
        score_episodes(reward, TWO)
    assert reward.calls == ["setup", "score", "score", "close"]
    with in_use(scores) as function:
        assert function is scores


def test_a_reward_is_closed_after_an_error_and_the_first_error_is_told():
    reward = Measured(fail=("score", "close"))
    with pytest.raises(UserError, match="it raised ConnectionError: no score"), in_use(reward):
        score_episodes(reward, TWO)
    assert reward.calls == ["setup", "score", "close"]


@pytest.mark.parametrize("method", ["setup", "close"])
def test_a_setup_or_close_that_fails_is_named(method):
    with (
        pytest.raises(
            UserError, match=rf"^reward 'measured', {method}\(\): it raised ConnectionError: no {method}"
        ),
        in_use(Measured(fail=(method,))),
    ):
        pass
