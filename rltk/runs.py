"""Running a recipe: its stages in order, each with the context it needs, resumable at any moment."""

from __future__ import annotations

import contextlib
import datetime
import resource
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rltk.checkpoint import CheckpointStore
from rltk.config import ComponentSpec, Recipe, StageSpec, build_config
from rltk.errors import UserError
from rltk.interfaces import RewardModel
from rltk.plugin_record import record_plugins
from rltk.registry import Registry, construct, get_registry
from rltk.report import write_report
from rltk.rng import derive_seed
from rltk.run_directory import RunDirectory, open_run
from rltk.scoring import in_use
from rltk.signals import StopRequest, stop_on_signals

if TYPE_CHECKING:
    from rltk.interfaces import Environment
    from rltk.types import Rollout

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def train(recipe: Recipe, directory: Path, *, resume: bool = False) -> dict[str, Any]:
    """Run every stage of a recipe that is not done yet, write the report and return the summary.

    :param directory: the run directory; made if it does not exist.
    :param resume: go on with the run that ``directory`` holds.
    :raises UserError: the config, the data or the directory is wrong.
    :raises Interrupted: a signal asked to stop; the state is saved.
    """
    registry = get_registry()
    directory = directory.absolute()
    device = choose_device(recipe.device)
    environment = create_environment(recipe, directory)
    with stop_on_signals() as stop, open_run(directory, recipe, resume=resume) as run:
        error: BaseException | None = None
        registry.silenced.clear()
        for change in record_plugins(directory, registry):
            print(f"rltk: warning: {change}", file=sys.stderr)
        registry.notify("rltk_run_start", directory=directory, config=recipe.resolved())
        try:
            for index, name in enumerate(recipe.stages):
                stop.raise_if_requested()
                if run.done(name) is None:
                    context = StageContext(recipe, name, run, environment, device, registry, stop)
                    _run_stage(recipe.stages[name], context, index, len(recipe.stages))
                    run.write_summary(recipe)
            summary = run.write_summary(recipe)
            write_report(directory)
            return summary
        except BaseException as caught:
            error = caught
            raise
        finally:
            registry.notify("rltk_run_end", directory=directory, error=error)


class StageContext:
    """The run around a stage.

    :ivar run_directory: the run's folder.
    :ivar directory: the stage's own folder in it; exists.
    :ivar name: the stage's name in the recipe.
    :ivar seed: derived from the run's seed and the stage's name.
    :ivar device: where models go.
    :ivar dtype: torch.float32, or torch.bfloat16 for autocast.
    :ivar environment: built from the recipe's environment section.
    """

    def __init__(
        self,
        recipe: Recipe,
        name: str,
        run: RunDirectory,
        environment: Environment,
        device: torch.device,
        registry: Registry,
        stop: StopRequest,
    ) -> None:
        self.run_directory = run.path
        self.directory = run.stage(name)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.seed = derive_seed(recipe.seed, name)
        self.device = device
        self.dtype = _DTYPES[recipe.dtype]
        self.environment = environment
        self.run = run
        self._registry = registry
        self._at_end = contextlib.ExitStack()
        self._stop = stop
        self._interval = recipe.checkpoint_seconds
        self._store = CheckpointStore(self.directory / "checkpoints")
        self._restored: tuple[int, dict[str, Any]] | None = None
        self._started = self._saved = time.monotonic()
        self._restore(_metrics_before(run, recipe, name))

    @property
    def seconds(self) -> float:
        """Seconds of work on this stage, those before an interruption included."""
        return time.monotonic() - self._started

    def resolve(self, path: str) -> Path:
        """Return a path of a config, ``$RUN`` standing for the run directory."""
        return Path(expand(path, self.run_directory))

    def create(self, kind: str, spec: ComponentSpec, **collaborators: Any) -> Any:
        """Construct the component that a config names, ``$RUN`` in its options expanded.

        A reward model is set up, and closed when the stage ends, however it ends.

        :param collaborators: what is on offer; the component's constructor takes those it names.
        """
        options = expand(spec.options, self.run_directory)
        component = construct(kind, spec.name, options, where=self.name, **collaborators)
        if isinstance(component, RewardModel):
            self._at_end.enter_context(in_use(component))
        return component

    def __enter__(self) -> StageContext:
        return self

    def __exit__(self, *error: Any) -> None:
        """Close what the stage created."""
        self._at_end.__exit__(*error)

    def log(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Report that ``step`` (from 1) of ``total`` is done, with its metrics; they may be empty."""
        if metrics:
            self.run.metrics.append(
                {
                    "stage": self.name,
                    "step": step,
                    "total": total,
                    "seconds": round(self.seconds, 3),
                    "metrics": metrics,
                }
            )
        self._registry.notify("rltk_metrics", stage=self.name, step=step, total=total, metrics=metrics)

    def rollout(self, step: int, rollout: Rollout) -> None:
        """Show a scored rollout to the observers."""
        self._registry.notify("rltk_rollout", stage=self.name, step=step, rollout=rollout)

    def load_checkpoint(self) -> tuple[int, dict[str, Any]] | None:
        """Return the step and state that an interrupted run of this stage left, or None."""
        restored, self._restored = self._restored, None
        return restored

    def checkpoint(self, step: int, state: Callable[[], dict[str, Any]]) -> None:
        """Call after every step: saves when it is time or when a stop was asked for.

        :param step: steps done.
        :param state: returns the state to save; called only when it is saved.
        :raises Interrupted: a stop was asked for; the state has been saved.
        """
        due = time.monotonic() - self._saved >= self._interval
        if due or self._stop.signum is not None:
            self._save(step, state())
        self._stop.raise_if_requested()

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context for forward passes: autocast to bfloat16 where the recipe asks for it."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def _save(self, step: int, state: dict[str, Any]) -> None:
        tree = {"state": state, "seconds": self.seconds, "metrics": self.run.metrics.durable_size()}
        try:
            path = self._store.save(step, tree)
        except OSError as error:
            fix = "make room and run again with --resume"
            raise UserError(str(self.directory), f"cannot save: {error.strerror}", fix=fix) from error
        self._saved = time.monotonic()
        self._registry.notify("rltk_checkpoint", stage=self.name, step=step, directory=path)

    def _restore(self, metrics_before: int) -> None:
        """Read the newest checkpoint, set the clock and drop the metrics logged after it."""
        saved = self._store.latest()
        if saved is None:
            self.run.metrics.cut(metrics_before)
            return
        step, tree = saved
        self.run.metrics.cut(tree["metrics"])
        self._restored = (step, tree["state"])
        self._started = time.monotonic() - tree["seconds"]


def choose_device(name: str) -> torch.device:
    """Return the device that a recipe names; ``auto`` is CUDA where there is one.

    :raises UserError: this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    available = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }[device.type]
    if (device.index or 0) >= available:
        raise UserError("device", "not on this machine", got=name, fix="set device=auto")
    return device


def create_environment(recipe: Recipe, directory: Path) -> Environment:
    """Return the environment of a recipe's run."""
    spec = recipe.environment
    component = get_registry().get("environment", spec.name, where="environment")
    config = build_config("environment", spec.name, expand(spec.options, directory), where="environment")
    environment: Environment = component(config, seed=derive_seed(recipe.seed, "environment"))
    return environment


def expand(value: Any, directory: Path) -> Any:
    """Return a config value with every leading ``$RUN`` replaced by the run directory."""
    if isinstance(value, dict):
        return {key: expand(item, directory) for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item, directory) for item in value]
    if isinstance(value, str) and (value == "$RUN" or value.startswith("$RUN/")):
        return f"{directory}{value.removeprefix('$RUN')}"
    return value


def default_directory(name: str) -> Path:
    """Return an unused directory under ``runs/``, named for what runs in it and the time."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    base = Path("runs") / f"{name}-{stamp}"
    taken = (path for n in range(2, 1000) if not (path := base.with_name(f"{base.name}-{n}")).exists())
    return next(taken) if base.exists() else base


def _run_stage(spec: StageSpec, context: StageContext, index: int, count: int) -> None:
    registry = get_registry()
    component = registry.get("stage", spec.stage, where=context.name)
    options = expand(spec.options, context.run_directory)
    config = build_config("stage", spec.stage, options, where=context.name)
    registry.notify("rltk_stage_start", stage=context.name, plugin=spec.stage, index=index, count=count)
    with context:
        results = component(config, context=context).run()
    record = {
        "results": results,
        "seconds": round(context.seconds, 3),
        "peak_memory_gb": round(peak_memory_gb(), 3),
        "metrics": context.run.metrics.durable_size(),
    }
    context.run.finish(context.name, record)
    registry.notify("rltk_stage_end", stage=context.name, results=results, seconds=context.seconds)


def _metrics_before(run: RunDirectory, recipe: Recipe, name: str) -> int:
    """Return the size that the metrics had when the stages before this one were done."""
    names = list(recipe.stages)
    before = [record for other in names[: names.index(name)] if (record := run.done(other))]
    return before[-1]["metrics"] if before else 0


def peak_memory_gb() -> float:
    """Return the most memory this process ever held, in GB (10^9 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
