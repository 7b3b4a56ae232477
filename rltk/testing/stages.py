"""The contract of stages, as checks: each is run by the real machinery, on a small recipe."""

from __future__ import annotations

import copy
import itertools
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rltk.config import read_recipe, validate_recipe
from rltk.errors import UserError
from rltk.interfaces import Stage
from rltk.registry import get_registry
from rltk.run_directory import plain
from rltk.testing.components import CLASS_CHECKS, Component, component_under_check
from rltk.testing.guards import difference
from rltk.testing.running import Progress, fail, ignore, require, run_checks
from rltk.testing.stage_runs import Outcome, StageRuns, unwritable, watched
from rltk.testing.tiny_text import TinyText

#: What a stage is called in the recipe made for one that brings none.
_ALONE = "checked"
_UNKNOWN_KEY = "no_such_option"


@dataclass
class _Subject:
    """A stage under check and the runs it is judged by."""

    runs: StageRuns
    done: dict[str, Outcome] = field(default_factory=dict)

    @cached_property
    def first(self) -> Outcome:
        """A run without interruption or checkpoint."""
        return self.runs.run("first")

    @property
    def steps(self) -> int:
        """How many steps it has."""
        return len(self.first.steps)


def check_stage(
    component: type[Stage] | str,
    recipe: str | Path | Mapping[str, Any] | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    directory: Path | None = None,
    progress: Progress = ignore,
) -> None:
    """Assert that a stage keeps its contract; call it in the main thread.

    :param component: the class, or the name of a registered one.
    :param recipe: name, file or tree of a recipe that has the stage; what comes before it is run too. None:
        the stage's ``check_recipe``, or where that is empty the stage alone in an environment of a few words.
    :param options: of the stage, beside or in place of those that the recipe gives it.
    :param directory: a finished run of the recipe, or at least of the stages before this one, to go on from;
        where it is empty, they are run in it. None: they are run in a temporary folder.
    :param progress: told of every check.
    :raises AssertionError: saying what was seen and what to change.
    :raises UserError: the recipe is wrong, or has no such stage; ``directory`` holds another run.
    """
    stage = get_registry().get("stage", component) if isinstance(component, str) else component
    bare = Component("stage", stage, {}, Path())
    run_checks(bare.who, CLASS_CHECKS, bare)  # a recipe cannot be read with anything else
    with tempfile.TemporaryDirectory(prefix="rltk-check-") as folder:
        scratch = Path(folder)
        (scratch / "files").mkdir()
        tree, name = _tree(stage, recipe, options or {}, scratch / "files")
        given = {key: value for key, value in tree["stages"][name].items() if key != "stage"}
        with watched(stage, name, TinyText) as watcher:
            if options:
                validate_recipe(tree, "options")
            with component_under_check("stage", stage, given, scratch / "files", progress) as found:
                runs = StageRuns(tree, directory or scratch / "before", scratch, watcher)
                runs.run_earlier_stages()
                run_checks(found.who, CHECKS, _Subject(runs), progress)


def refuses_unknown_options(subject: _Subject) -> None:
    """An option that it does not have is an error before anything runs."""
    tree = copy.deepcopy(dict(subject.runs.tree))
    tree["stages"][subject.runs.stage][_UNKNOWN_KEY] = 1
    try:
        validate_recipe(tree, "recipe")
    except UserError as error:
        fix = "let the message name the option"
        require(
            _UNKNOWN_KEY in str(error), f"a recipe with an unknown option is refused as: {error}", fix=fix
        )
        return
    fix = "leave Config.model_config alone, and give nested models extra='forbid'"
    fail(f"a recipe with the option {_UNKNOWN_KEY}=1 is accepted", fix=fix)


def runs_to_its_end(subject: _Subject) -> None:
    """It runs to its end."""
    _ = subject.first


def returns_results_for_the_summary(subject: _Subject) -> None:
    """run() returns a mapping of what goes into summary.json."""
    results = subject.first.results
    fix = 'return a dict such as {context.name: {"accuracy": 0.9}}, with what JSON has'
    require(isinstance(results, Mapping), f"run() returned {results!r}", fix=fix)
    where = unwritable(results)
    require(where is None, f"the results hold what cannot be written as JSON at {where}", fix=fix)


def describes_policies(subject: _Subject) -> None:
    """Where the results have policies, each is a mapping by name, and a path in it leads somewhere."""
    policies = subject.first.results.get("policies", {})
    fix = 'return {"policies": {"name": {"path": "stages/NAME/policy", ...}}}, paths from the run directory'
    require(isinstance(policies, Mapping), f"the results' policies are {policies!r}", fix=fix)
    for name, values in policies.items():
        right = isinstance(name, str) and isinstance(values, Mapping)
        require(right, f"the results' policies hold {name!r}: {values!r}", fix=fix)
        path = values.get("path")
        known = path is None or isinstance(path, str)
        require(known, f"the path of policy {name!r} is {path!r}", fix=fix)
        lost = path and path.startswith("stages/") and not (subject.first.directory / path).exists()
        require(not lost, f"there is no {path!r}, the path of policy {name!r}", fix=fix)


def leaves_global_randomness_alone(subject: _Subject) -> None:
    """It leaves the global random generators alone."""
    if subject.first.randomness is not None:
        raise subject.first.randomness


def logs_every_step(subject: _Subject) -> None:
    """It logs its steps, 1 to the total, in order, with numbers by name."""
    logged = [(step, total) for step, total, _ in subject.first.steps]
    fix = "call context.log(step, total, metrics) after every step, once; (1, 1, {}) where there is but one"
    require(logged, "it logged no step", fix=fix)
    total = logged[0][1]
    right = logged == [(step, total) for step in range(1, total + 1)]
    problem = f"it logged the steps {_shown([f'{step} of {of}' for step, of in logged])}"
    require(right, problem, fix=fix)
    for step, _, metrics in subject.first.steps:
        for name, value in metrics.items():
            number = isinstance(name, str) and isinstance(value, int | float)
            problem = f"the metrics of step {step} hold {name!r}: {value!r}"
            require(number, problem, fix="log floats: float(tensor)")


def writes_only_to_its_own_folder(subject: _Subject) -> None:
    """It writes below context.directory and nowhere else in the run."""
    own = Path("stages") / subject.runs.stage
    allowed = [own, Path("metrics.jsonl")]
    foreign = [path for path in subject.first.written if not any(map(path.is_relative_to, allowed))]
    problem = f"it wrote {_shown([str(path) for path in foreign])}"
    require(not foreign, problem, fix="write below context.directory")


def repeats_itself(subject: _Subject) -> None:
    """A second run with the same seed gives the same results, metrics and files."""
    fix = "derive every generator from context.seed (rltk.rng); keep clocks and addresses out of files"
    _require_same(subject.first, subject.runs.run("second"), "in a second run", fix)


def may_be_saved_at_any_step(subject: _Subject) -> None:
    """Saving a checkpoint after every step changes nothing."""
    saved = subject.runs.run("saved", checkpoint_seconds=0)
    fix = "let the function given to context.checkpoint() return the state and change nothing"
    _require_same(subject.first, saved, "when it was saved after every step", fix)


def stops_when_asked(subject: _Subject) -> None:
    """Asked to stop, it does so after the step."""
    if subject.steps < 2:
        return
    middle = (subject.steps + 1) // 2
    stops = (1,) if middle == 1 else (1, middle)
    outcome = subject.done["resumed"] = subject.runs.run("resumed", stops=stops)
    fix = "call context.checkpoint(step, state) after every step, right after context.log()"
    for asked, stopped in itertools.zip_longest(outcome.asked_at, outcome.stopped_at):
        went = f"stopped after step {stopped}" if stopped else "went on to its end"
        require(asked == stopped, f"asked to stop after step {asked}, it {went}", fix=fix)


def goes_on_exactly(subject: _Subject) -> None:
    """Stopped and resumed, it gives the same results, metrics and files."""
    if "resumed" not in subject.done:
        return
    resumed = subject.done["resumed"]
    when = f"when it was stopped after step {' and '.join(map(str, resumed.asked_at))} and resumed"
    fix = "save everything that the next step needs, and take it from context.load_checkpoint()"
    _require_same(subject.first, resumed, when, fix)


CHECKS = (
    refuses_unknown_options,
    runs_to_its_end,
    returns_results_for_the_summary,
    describes_policies,
    leaves_global_randomness_alone,
    logs_every_step,
    writes_only_to_its_own_folder,
    repeats_itself,
    may_be_saved_at_any_step,
    stops_when_asked,
    goes_on_exactly,
)


def _tree(
    stage: type[Stage],
    recipe: str | Path | Mapping[str, Any] | None,
    options: Mapping[str, Any],
    files: Path,
) -> tuple[dict[str, Any], str]:
    """Return the recipe up to the first use of the stage, on the CPU, and the stage's name in it."""
    chosen = (stage.check_recipe or _alone(stage, files)) if recipe is None else recipe
    tree = copy.deepcopy(dict(chosen)) if isinstance(chosen, Mapping) else read_recipe(str(chosen))
    stages = tree.get("stages") or {}
    name = next((name for name, its in stages.items() if its.get("stage") == stage.name), None)
    if name is None:
        title = chosen if isinstance(chosen, str | Path) else "recipe"
        raise UserError(str(title), "none of its stages uses this plugin", got=stage.name, fix="add one")
    names = list(stages)
    tree["stages"] = {key: dict(stages[key]) for key in names[: names.index(name) + 1]}
    tree["stages"][name] |= options
    return {**tree, "device": "cpu"}, name


def _alone(stage: type[Stage], files: Path) -> dict[str, Any]:
    options = stage.check_options(files)
    return {
        "name": "check",
        "environment": {"name": TinyText.name},
        "stages": {_ALONE: {"stage": stage.name, **options}},
    }


def _require_same(first: Outcome, second: Outcome, when: str, fix: str) -> None:
    for what, one, other in (
        ("results", *(_timeless(plain(outcome.results)) for outcome in (first, second))),
        ("metrics", *(_timeless(_metrics(outcome)) for outcome in (first, second))),
    ):
        where = difference(one, other)
        require(where is None, f"the {what} were others {when}, at {where or 'the top'}", fix=fix)
    files, others = _artifacts(first), _artifacts(second)
    differing = sorted(path for path in files.keys() | others.keys() if files.get(path) != others.get(path))
    require(not differing, f"{_shown(differing)} had other contents {when}", fix=fix)


def _metrics(outcome: Outcome) -> list[Any]:
    """Return the lines of metrics.jsonl."""
    path = outcome.directory / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]


def _artifacts(outcome: Outcome) -> dict[str, bytes]:
    """Return the stage's files, its record of when and how it finished aside."""
    paths = [path for path in outcome.folder.rglob("*") if path.is_file() and path.name != "done.json"]
    return {str(path.relative_to(outcome.folder)): path.read_bytes() for path in paths}


def _timeless(value: Any) -> Any:
    """Return a value without what is measured by a clock."""
    if isinstance(value, Mapping):
        kept = {key: item for key, item in value.items() if not str(key).endswith(("seconds", "_per_second"))}
        return {key: _timeless(item) for key, item in kept.items()}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _shown(items: Iterable[str]) -> str:
    listed = list(items)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")
