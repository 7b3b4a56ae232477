"""check_stage passes stages that keep the contract, and says of each breach what it is."""

import json
import re
import signal
import threading
from functools import partial

import numpy as np
import pytest
import torch
from pydantic import Field

import rltk
from rltk.config import load_recipe
from rltk.errors import Interrupted, UserError
from rltk.interfaces import Stage
from rltk.registry import Registry, get_registry
from rltk.rng import torch_generator
from rltk.runs import train
from rltk.testing import check_stage

BROKEN = []


def breach(pattern):
    """Collect a class with one thing broken, and what the check must say of it."""

    def collect(cls):
        BROKEN.append(pytest.param(cls, pattern, id=cls.__name__))
        return cls

    return collect


class Wander(Stage):
    """Adds noise to a weight, step by step, and writes it to a file."""

    name = "wander"

    class Config(rltk.ComponentConfig):
        steps: int = Field(5, gt=0, description="How many.")

    def run(self):
        done, weight = self.start()
        for step in range(done + 1, self.config.steps + 1):
            weight = weight + torch.randn(2, generator=self.generator(step))
            self.log(step, weight)
            self.context.checkpoint(step, partial(self.state, weight))
        return self.finish(weight)

    def start(self):
        done, state = self.context.load_checkpoint() or (0, {"weight": torch.zeros(2)})
        return done, state["weight"]

    def generator(self, step):
        return torch_generator(self.context.seed, step)

    def log(self, step, weight):
        self.context.log(step, self.config.steps, {"wander/weight": float(weight[0])})

    def state(self, weight):
        return {"weight": weight}

    def finish(self, weight):
        folder = self.context.directory / "policy"
        folder.mkdir()
        (folder / "weight.txt").write_text(str(weight.tolist()))
        path = f"stages/{self.context.name}/policy"
        return {"policies": {"walker": {"path": path, "seconds": self.context.seconds}}}


class FollowUp(Wander):
    """Goes on from the weight of an earlier stage."""

    name = "follow_up"

    class Config(Wander.Config):
        path: str = Field(description="What the earlier stage left.")

    def start(self):
        done, weight = super().start()
        return done, weight if done else torch.tensor(self.read())

    def read(self):
        return json.loads(self.context.resolve(self.config.path).read_text())

    @classmethod
    def check_options(cls, directory):
        (directory / "weight.txt").write_text("[0.0, 0.0]")
        return {"path": str(directory / "weight.txt"), "steps": 2}


@pytest.fixture
def plugins(monkeypatch):
    """A registry of this process with the two stages."""

    class Plugin:
        @rltk.hookimpl
        def rltk_stages(self):
            return [Wander, FollowUp]

    registry = Registry(get_registry().sources)
    registry.register(Plugin(), "walks")
    monkeypatch.setattr("rltk.registry._current", registry)
    return registry


RECIPE = {
    "environment": {"name": "gymnasium", "id": "CartPole-v1"},
    "stages": {
        "first": {"stage": "wander", "steps": 3},
        "next": {"stage": "follow_up", "path": "$RUN/stages/first/policy/weight.txt"},
        "later": {"stage": "wander"},
    },
}


@pytest.mark.parametrize("stage", [Wander, FollowUp])
def test_stages_that_keep_the_contract_pass_alone(stage):
    done = []
    before = get_registry()
    check_stage(stage, progress=lambda title, error: done.append((title, error)))
    assert len(done) > 15 and all(error is None for _, error in done)
    assert get_registry() is before


def test_one_step_needs_no_checkpoint():
    class Short(Wander):
        """Takes one step."""

        def run(self):
            self.context.log(1, 1, {})
            return {}

    check_stage(Short)


def test_a_stage_that_saves_nothing_may_begin_anew():
    class BeginsAgain(Wander):
        """Is so short that it saves nothing."""

        def run(self):
            for step in (1, 2, 3):
                self.context.log(step, 3, {})
                self.context.checkpoint(step, dict)
            return {}

    check_stage(BeginsAgain)


def test_a_recipe_is_run_up_to_the_stage_and_earlier_runs_are_gone_on_from(plugins, tmp_path):
    check_stage("follow_up", RECIPE, directory=tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "stages").iterdir()] == ["first"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    check_stage(FollowUp, RECIPE, options={"steps": 2}, directory=tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_a_whole_run_made_before_will_do(plugins, tmp_path):
    (tmp_path / "walks.yaml").write_text(str(RECIPE))
    train(load_recipe(tmp_path / "walks.yaml"), tmp_path / "run")
    check_stage("follow_up", tmp_path / "walks.yaml", directory=tmp_path / "run")


def test_what_cannot_be_checked_is_the_users_error(plugins, tmp_path):
    with pytest.raises(
        UserError, match="instructgpt-tiny: none of its stages uses this plugin, got 'wander'"
    ):
        check_stage("wander", "instructgpt-tiny")
    check_stage("follow_up", RECIPE, directory=tmp_path)
    other = {**RECIPE, "seed": 3}
    with pytest.raises(UserError, match="holds a run of another recipe; it differs in seed"):
        check_stage("follow_up", other, directory=tmp_path)
    (tmp_path / "stages" / "first" / "done.json").unlink()
    with pytest.raises(UserError, match="stage first of this run is not done"):
        check_stage("follow_up", RECIPE, directory=tmp_path)


def test_wrong_options_are_the_users_error(plugins):
    with pytest.raises(UserError, match=r"checked\.stepps: unknown key\. Fix: did you mean .steps"):
        check_stage(Wander, options={"stepps": 2})


def test_what_is_no_stage_is_told():
    with pytest.raises(AssertionError, match="is no subclass of Stage"):
        check_stage(Plain)


class Plain:
    """No stage."""


def test_somebody_at_the_keyboard_can_stop_a_check():
    class Pressed(Wander):
        """Somebody presses Ctrl-C."""

        def log(self, step, weight):
            super().log(step, weight)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        check_stage(Pressed)


def test_other_threads_are_refused():
    raised = []

    def check():
        try:
            check_stage(Wander)
        except RuntimeError as error:
            raised.append(str(error))

    thread = threading.Thread(target=check)
    thread.start()
    thread.join()
    assert raised and "main thread" in raised[0]


def test_nothing_is_told_to_observers(monkeypatch):
    seen = []

    class Observer:
        @rltk.hookimpl
        def rltk_metrics(self, step):
            seen.append(step)

    registry = Registry(get_registry().sources)
    registry.register(Observer(), "observer")
    monkeypatch.setattr("rltk.registry._current", registry)
    check_stage(Wander)
    assert seen == []


@breach(r"run\(\) returned None")
class ReturnsNothing(Wander):
    def finish(self, weight):
        return None


@breach(r"cannot be written as JSON at \['model'\]\[1\]")
class ReturnsATensor(Wander):
    def finish(self, weight):
        return {"model": [1, weight]}


@breach(r"the results' policies are \['walker'\]")
class ListsPolicies(Wander):
    def finish(self, weight):
        return {"policies": ["walker"]}


@breach(r"the results' policies hold 'walker': 3")
class NumbersPolicies(Wander):
    def finish(self, weight):
        return {"policies": {"walker": 3}}


@breach("there is no 'stages/nowhere/policy', the path of policy 'walker'")
class LosesItsPolicy(Wander):
    def finish(self, weight):
        return {"policies": {"walker": {"path": "stages/nowhere/policy"}}}


@breach(r"run\(\) used the global generator of torch")
class DrawsGlobally(Wander):
    def generator(self, step):
        return None


@breach(r"run\(\) used the global generator of numpy")
class SeedsGlobally(Wander):
    def start(self):
        np.random.seed(self.context.seed % 2**32)
        return super().start()


@breach("it logged no step")
class LogsNothing(Wander):
    def log(self, step, weight):
        pass


@breach("it logged the steps 0 of 5, 1 of 5, 2 of 5, 3 of 5 and 1 more")
class CountsFromZero(Wander):
    def log(self, step, weight):
        super().log(step - 1, weight)


@breach("it logged the steps 1 of 10, 2 of 10, 3 of 10, 4 of 10 and 1 more")
class PromisesMore(Wander):
    def log(self, step, weight):
        self.context.log(step, 10, {})


@breach("the metrics of step 1 hold 'wander/weight': tensor")
class LogsTensors(Wander):
    def log(self, step, weight):
        self.context.log(step, self.config.steps, {"wander/weight": weight[0]})


@breach("it wrote notes.txt. Fix: write below context.directory")
class WritesBesideIt(Wander):
    def finish(self, weight):
        (self.context.run_directory / "notes.txt").write_text("mine")
        return super().finish(weight)


@breach("the metrics were others in a second run, at .*wander/weight")
class DrawsAfresh(Wander):
    def generator(self, step):
        generator = torch.Generator()
        generator.seed()
        return generator


@breach("the results were others in a second run, at ")
class ReturnsAnAddress(Wander):
    def finish(self, weight):
        return {"weight": f"{np.random.default_rng().integers(10**9)}"}


@breach("policy/weight.txt had other contents in a second run")
class StampsItsFiles(Wander):
    def finish(self, weight):
        results = super().finish(weight)
        (self.context.directory / "policy/weight.txt").write_text(str(self.context.seconds))
        return results


@breach("were others when it was saved after every step")
class DrawsWhileSaving(Wander):
    def run(self):
        self.source = torch_generator(self.context.seed)
        restored = self.context.load_checkpoint()
        if restored is not None:
            self.source.set_state(restored[1]["source"])
        done, weight = (0, torch.zeros(2)) if restored is None else (restored[0], restored[1]["weight"])
        for step in range(done + 1, self.config.steps + 1):
            weight = weight + torch.randn(2, generator=self.source)
            self.log(step, weight)
            self.context.checkpoint(step, partial(self.state, weight))
        return self.finish(weight)

    def state(self, weight):
        state = {"weight": weight, "source": self.source.get_state()}
        torch.randn(2, generator=self.source)
        return state


@breach("asked to stop after step 1, it went on to its end")
class NeverStops(Wander):
    def run(self):
        done, weight = self.start()
        for step in range(done + 1, self.config.steps + 1):
            self.log(step, weight)
        return self.finish(weight)


@breach("asked to stop after step 1, it stopped after step 2")
class StopsLate(Wander):
    def run(self):
        done, weight = self.start()
        for step in range(done + 1, self.config.steps + 1):
            weight = weight + torch.randn(2, generator=self.generator(step))
            self.log(step, weight)
            if step % 2 == 0:
                self.context.checkpoint(step, partial(self.state, weight))
        return self.finish(weight)


@breach("a checkpoint holds tensors and JSON values, not set")
class SavesASet(Wander):
    def state(self, weight):
        return {"weight": {1, 2}}


@breach(r"the metrics were others when it was stopped after step 1 and 3 and resumed, at \[1\]")
class ForgetsItsWeight(Wander):
    def state(self, weight):
        return {"weight": torch.zeros(2)}


@breach("the metrics were others when it was stopped after step 1 and 3 and resumed")
class RepeatsAStep(Wander):
    def start(self):
        restored = self.context.load_checkpoint()
        return (0, torch.zeros(2)) if restored is None else (restored[0] - 1, restored[1]["weight"])


@breach("other contents when it was stopped after step 1 and 3 and resumed")
class AppendsToItsFile(Wander):
    def start(self):
        with (self.context.directory / "log.txt").open("a") as file:
            file.write("begun\n")
        return super().start()


@breach("Unknown options are errors: Config accepts the unknown key")
class AllowsAnything(Wander):
    class Config(rltk.ComponentConfig, extra="allow"):
        steps: int = Field(5, gt=0, description="How many.")


@breach("It runs to its end: it raised ZeroDivisionError: division by zero")
class Divides(Wander):
    def start(self):
        return 1 / 0, None


@pytest.mark.parametrize(("stage", "pattern"), BROKEN)
def test_a_breach_is_told(stage, pattern):
    stage.__doc__ = stage.__doc__ or "Broken."
    before = get_registry()
    with pytest.raises(AssertionError) as caught:
        check_stage(stage)
    message = str(caught.value)
    assert message.startswith("stage 'wander': ")
    assert re.search(pattern, message), message
    assert get_registry() is before


def test_a_stage_without_the_options_it_needs_is_told_which():
    class Needs(Wander):
        """Needs to know how far."""

        class Config(rltk.ComponentConfig):
            distance: float = Field(description="How far.")

    with pytest.raises(AssertionError, match=r"without the options distance \(How far\)"):
        check_stage(Needs)
