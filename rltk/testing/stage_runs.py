"""Runs of a recipe up to one stage, by the real machinery, watched from inside and from outside."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rltk import registry as registries
from rltk import yaml_io
from rltk.config import Recipe, validate_recipe
from rltk.errors import Interrupted, UserError
from rltk.hookspecs import hookimpl
from rltk.interfaces import Environment, Stage
from rltk.plugin_checks import HOOKS
from rltk.plugin_sources import Source
from rltk.run_directory import differing_keys
from rltk.runs import train
from rltk.testing.guards import untouched_rng

_WHO = "rltk.testing"
#: What two runs have to share for the one to go on from the other's stages.
_SHARED = ("seed", "environment", "dtype")


@dataclass
class Outcome:
    """What one run of the stage did.

    :param directory: the run directory.
    :param stage: the stage's name in the recipe.
    :param results: what ``run()`` returned.
    :param steps: what it logged: step, total and metrics.
    :param asked_at: the steps after which it was asked to stop.
    :param stopped_at: the steps after which it did.
    :param randomness: what was found of its use of the global generators.
    :param written: files that ``run()`` made or changed.
    """

    directory: Path
    stage: str
    results: Any = None
    steps: list[tuple[int, int, Mapping[str, Any]]] = field(default_factory=list)
    asked_at: list[int] = field(default_factory=list)
    stopped_at: list[int] = field(default_factory=list)
    randomness: AssertionError | None = None
    written: list[Path] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The stage's own folder."""
        return self.directory / "stages" / self.stage


class Watcher:
    """Observes a run: keeps what the stage logs, and asks it to stop, as Ctrl-C does, when it is told to."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.outcome = Outcome(Path(), stage)
        self.stop_at: int | None = None

    @hookimpl
    def rltk_metrics(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Keep a step; ask to stop after it where it is time."""
        if stage != self.stage:
            return
        self.outcome.steps.append((step, total, metrics))
        if self.stop_at is not None and step >= self.stop_at:
            self.stop_at = None
            self.outcome.asked_at.append(step)
            with _quiet_stderr():
                signal.raise_signal(signal.SIGINT)


class StageRuns:
    """Runs the recipe as often as it is asked to, the earlier stages only once.

    :param tree: the recipe; the stage under check is its last.
    :param before: a run directory with the earlier stages; where it is empty, they are run in it.
    :param scratch: a folder to work in.
    """

    def __init__(self, tree: Mapping[str, Any], before: Path, scratch: Path, watcher: Watcher) -> None:
        self.tree = tree
        self.stage = watcher.stage
        self._before, self._scratch, self._watcher = before, scratch, watcher
        self._earlier = {name: options for name, options in tree["stages"].items() if name != self.stage}

    def run(self, name: str, *, stops: Sequence[int] = (), checkpoint_seconds: float = 1e6) -> Outcome:
        """Run the stage, stopping after some steps and going on.

        All runs are made in the same place and then moved, so that paths in what they leave are the same.
        """
        recipe = validate_recipe({**self.tree, "checkpoint_seconds": checkpoint_seconds}, "recipe")
        workplace = self._scratch / "run"
        self._begin(recipe, workplace)
        self._watcher.outcome = outcome = Outcome(self._scratch / name, self.stage)
        for stop in (*stops, None):
            self._watcher.stop_at = stop
            try:
                train(recipe, workplace, resume=True)
            except Interrupted:
                if len(outcome.stopped_at) == len(outcome.asked_at):
                    raise  # by somebody at the keyboard
                outcome.stopped_at.append(outcome.steps[-1][0])
            else:
                break
        self._watcher.stop_at = None
        shutil.move(workplace, outcome.directory)
        return outcome

    def run_earlier_stages(self) -> None:
        """Run the stages before this one, unless they are done; call it before :meth:`run`.

        :raises UserError: there is a run of another recipe, or one that has not come so far.
        """
        if not self._earlier:
            return
        recipe = validate_recipe({**self.tree, "stages": self._earlier}, "recipe")
        config = self._before / "config.yaml"
        if not config.is_file():
            train(recipe, self._before)
            return
        found, wanted = yaml_io.parse(config.read_text(encoding="utf-8"), str(config)), recipe.resolved()
        differing = differing_keys(
            {**_only(found, _SHARED), **_only(found["stages"], self._earlier)},
            {**_only(wanted, _SHARED), **wanted["stages"]},
        )
        if differing:
            fix = "give an empty directory, or none"
            what = f"holds a run of another recipe; it differs in {', '.join(differing[:8])}"
            raise UserError(str(self._before), what, fix=fix)
        missing = [
            name for name in self._earlier if not (self._before / "stages" / name / "done.json").is_file()
        ]
        if missing:
            fix = "finish it with rltk train --resume"
            raise UserError(str(self._before), f"stage {missing[0]} of this run is not done", fix=fix)

    def _begin(self, recipe: Recipe, workplace: Path) -> None:
        """Make a run directory in which the stage is next."""
        workplace.mkdir()
        metrics = self._before / "metrics.jsonl"
        if self._earlier and metrics.is_file():
            shutil.copyfile(metrics, workplace / "metrics.jsonl")
        for name in self._earlier:
            shutil.copytree(self._before / "stages" / name, workplace / "stages" / name)
        (workplace / "config.yaml").write_text(yaml_io.dump(recipe.resolved()), encoding="utf-8")


def _only(mapping: Mapping[str, Any], keys: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    return {key: mapping.get(key) for key in keys}


@contextlib.contextmanager
def watched(stage: type[Stage], name: str, *environments: type[Environment]) -> Iterator[Watcher]:
    """Make a registry with the stage under check this process's, and a watcher of its runs.

    It holds the components of all plugins but none of their observers: a check is not to be logged anywhere.

    :param name: the stage's name in the recipe.
    :param environments: more classes to provide.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("check_stage interrupts runs by signals, which only the main thread receives")
    watcher, former = Watcher(name), registries.get_registry()
    mine: dict[tuple[str, str], type[Any]] = {("stage", stage.name): _spied(stage, watcher)}
    mine |= {("environment", environment.name): environment for environment in environments}
    theirs = [(item.kind, item.component) for item in former.provided]
    kept = [(kind, item) for kind, item in theirs if (kind, item.name) not in mine]
    offered = [*kept, *((kind, item) for (kind, _), item in mine.items())]
    plugin = _plugin(offered)
    registry = registries.Registry([Source(_WHO, _WHO, lambda: plugin)])
    registry.register(watcher, f"{_WHO}.watcher")
    registries._current = registry
    try:
        yield watcher
    finally:
        registries._current = former


def _plugin(components: Sequence[tuple[str, type[Any]]]) -> object:
    """Return a plugin that provides components."""

    def provide(kind: str) -> staticmethod[[], list[type[Any]]]:
        def provided() -> list[type[Any]]:
            return [component for its, component in components if its == kind]

        return staticmethod(hookimpl(provided))

    return type("Plugin", (), {hook: provide(kind) for kind, hook in HOOKS.items()})()


def _spied(stage: type[Stage], watcher: Watcher) -> type[Stage]:
    """Return the stage with a ``run`` that also records what it returned, drew and wrote."""

    def run(self: Any) -> Mapping[str, Any]:
        outcome, before = watcher.outcome, _files(self.context.run_directory)
        finished = False
        try:
            with untouched_rng("run()"):
                outcome.results = stage.run(self)
                finished = True
        except AssertionError as error:
            if not finished:
                raise
            outcome.randomness = error
        after = _files(self.context.run_directory)
        outcome.written = [path for path in after if after[path] != before.get(path)]
        return outcome.results if _fits_into_the_summary(outcome.results) else {}

    return type(stage.__name__, (stage,), {"run": run, "__doc__": stage.__doc__})


def _fits_into_the_summary(results: Any) -> bool:
    """Tell whether a run can go on with what the stage returned, right or not in every detail."""
    if not isinstance(results, Mapping) or unwritable(results) is not None:
        return False
    policies = results.get("policies", {})
    return isinstance(policies, Mapping) and all(isinstance(values, Mapping) for values in policies.values())


def unwritable(value: Any, where: str = "") -> str | None:
    """Return where a value, such as ``['model']``, cannot be written as JSON; None where all of it can."""
    if isinstance(value, Mapping):
        pairs: Any = value.items()
    elif isinstance(value, list | tuple):
        pairs = enumerate(value)
    elif getattr(value, "shape", None) == () or isinstance(value, Path):
        return None
    else:
        return None if value is None or isinstance(value, str | int | float) else where
    found = (unwritable(item, f"{where}[{key!r}]") for key, item in pairs)
    return next((place for place in found if place is not None), None)


def _files(directory: Path) -> dict[Path, tuple[int, int]]:
    """Return the size and the time of change of every file in a run directory."""
    paths = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory): _stamp(path.stat()) for path in paths}


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hold back what the signal's handler tells a user at the terminal."""
    terminal = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
