"""Event hooks: who is called, and what becomes of an observer that raises."""

import pytest

import rltk
from rltk.errors import UserError
from rltk.registry import Registry


class Recorder:
    """Remembers the steps it saw."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    @rltk.hookimpl
    def rltk_metrics(self, step: int) -> None:
        self.steps.append(step)


class Broken(Recorder):
    """Raises at the second step."""

    error: type[Exception] = ZeroDivisionError

    @rltk.hookimpl
    def rltk_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.steps.append(step)
        if step == 2:
            raise self.error("of all things\nsecond line")


def _notify(registry: Registry, steps: int = 3) -> None:
    for step in range(1, steps + 1):
        registry.notify("rltk_metrics", stage="s", step=step, total=steps, metrics={})


def test_an_observer_that_raises_is_warned_about_once_and_then_left_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry, broken, recorder = Registry([]), Broken(), Recorder()
    registry.register(recorder, "recorder")
    registry.register(broken, "broken")
    _notify(registry, steps=4)
    assert broken.steps == [1, 2]
    assert recorder.steps == [1, 2, 3, 4]
    assert capsys.readouterr().err == (
        "rltk: warning: plugin 'broken' raised ZeroDivisionError: of all things in rltk_metrics and is not "
        "called again in this run. Fix: repair it, or leave it out with -p no:broken.\n"
    )


def test_the_next_run_hears_it_again() -> None:
    registry, broken = Registry([]), Broken()
    registry.register(broken, "broken")
    _notify(registry)
    registry.silenced.clear()
    registry.notify("rltk_metrics", stage="s", step=9, total=9, metrics={})
    assert broken.steps == [1, 2, 9]


def test_a_user_error_of_an_observer_stops_the_run() -> None:
    class Refusing(Recorder):
        @rltk.hookimpl
        def rltk_metrics(self, step: int) -> None:
            raise UserError("tracker", "not logged in", fix="log in")

    registry = Registry([])
    registry.register(Refusing(), "refusing")
    with pytest.raises(UserError, match="tracker: not logged in"):
        _notify(registry)


def test_a_plugin_taken_out_is_not_called() -> None:
    registry, recorder = Registry([]), Recorder()
    registry.register(recorder, "recorder")
    registry.unregister("recorder")
    _notify(registry)
    assert recorder.steps == [] and registry.sources == []


def test_a_name_is_given_once() -> None:
    registry = Registry([])
    registry.register(Recorder(), "recorder")
    with pytest.raises(UserError, match="another plugin has this name"):
        registry.register(Recorder(), "recorder")
