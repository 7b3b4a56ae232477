"""Where policies come from: runs and patterns resolved to folders, one for each training seed."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rltk import yaml_io
from rltk.bench.forms import (
    ENVIRONMENT_MARK,
    BestOfForm,
    FewShotForm,
    PluginForm,
    PolicyForm,
    RunForm,
    RunsForm,
    plugin_of_folder,
)
from rltk.config import ComponentSpec
from rltk.errors import UserError, suggestion

#: A policy of one training run: its number, None where there is one run alone, and a form without runs in it.
Seeded = tuple[int | None, PolicyForm]


def resolve(form: PolicyForm, environment: str, where: str) -> list[Seeded]:
    """Return the policies that a form means in an environment, one a training seed.

    :param environment: its name, which stands in for ``{environment}`` in the form.
    :param where: the key path of the form, for errors.
    :raises UserError: there is no run, or no policy in it.
    """
    if isinstance(form, RunForm):
        run = Path(form.run.replace(ENVIRONMENT_MARK, environment))
        return [(None, policy_of_run(run, form.policy, where))]
    if isinstance(form, RunsForm):
        runs = _directories(form.runs, environment, where)
        return [(seed, policy_of_run(run, form.policy, where)) for seed, run in enumerate(runs)]
    if isinstance(form, BestOfForm | FewShotForm):
        inner = resolve(form.of, environment, f"{where}.of")
        return [(seed, form.model_copy(update={"of": of})) for seed, of in inner]
    if isinstance(form, PluginForm):
        spec = _substituted(form.policy.model_dump(mode="json"), environment)
        return [(None, PluginForm(policy=ComponentSpec(**spec)))]
    return [(None, form)]


def missing_runs(form: PolicyForm, environment: str) -> str | None:
    """Return why a policy that is another one in each environment has none in this one; None where it has."""
    if isinstance(form, BestOfForm | FewShotForm):
        return missing_runs(form.of, environment)
    path = form.run if isinstance(form, RunForm) else form.runs if isinstance(form, RunsForm) else None
    if not isinstance(path, str) or ENVIRONMENT_MARK not in path:
        return None
    path = path.replace(ENVIRONMENT_MARK, environment)
    return None if any(map(_is_run, _matches(path))) else f"there is no run {path}"


def policy_of_run(run: Path, name: str | None, where: str) -> PolicyForm:
    """Return a policy that a run left behind, prompted as its evaluate stage prompts it.

    :param name: in the run's summary, or of the stage that made it; None: the final one.
    :raises UserError: there is no run, or no such policy in it.
    """
    if not (run / "config.yaml").is_file():
        fix = "name the directory that `rltk train` made"
        raise UserError(where, "no run is here", got=str(run), fix=fix)
    found = _policies(run)
    if name is not None and name not in found:
        fix = suggestion(name, found)
        raise UserError(where, f"the run {run} has no such policy", got=name, fix=fix)
    if name is None:
        name = _final(run, found, where)
    return found[name]


def _final(run: Path, found: Mapping[str, PolicyForm], where: str) -> str:
    """Return the name of the last policy of the summary, or else of the last stage that left one."""
    saved = [key for key, form in found.items() if _folder(form) is not None]
    last = next(reversed(_summary(run)), None)
    if last in saved:
        return str(last)
    by_stages = [key for key in saved if (run / "stages" / key / "policy").is_dir()]
    if not by_stages:
        fix = "let a stage that trains one finish: rltk train --resume"
        raise UserError(where, "the run holds no policy yet", got=str(run), fix=fix)
    return by_stages[-1]


def _policies(run: Path) -> dict[str, PolicyForm]:
    """Return the policies of a run by name: those of its stages, then those that it evaluates."""
    stages = yaml_io.parse((run / "config.yaml").read_text(encoding="utf-8"), str(run / "config.yaml"))
    stages = stages.get("stages", {}) if isinstance(stages, dict) else {}
    found: dict[str, PolicyForm] = {}
    for stage in stages:
        folder = run / "stages" / stage / "policy"
        if (plugin := plugin_of_folder(folder)) is not None:
            found[stage] = _plugin_form({"name": plugin, "path": str(folder)})
    for key, values in _summary(run).items():
        path = values.get("path")
        if isinstance(path, str) and (plugin := plugin_of_folder(run / path)) is not None:
            found[key] = _plugin_form({"name": plugin, "path": str(run / path)})
    for options in stages.values():
        found |= _evaluated(options.get("policies"), run) if isinstance(options, dict) else {}
    return found


def _evaluated(policies: Any, run: Path) -> dict[str, PolicyForm]:
    """Return what the options of an evaluate stage say about policies, as far as their folders exist."""
    found: dict[str, PolicyForm] = {}
    for name, given in policies.items() if isinstance(policies, dict) else ():
        if not isinstance(given, dict) or not isinstance(given.get("policy"), dict):
            continue
        form: PolicyForm = _plugin_form(_in_run(given["policy"], run))
        if (folder := _folder(form)) is not None and plugin_of_folder(folder) is None:
            continue
        if given.get("shots"):
            form = FewShotForm(shots=given["shots"], of=form, stop=tuple(given.get("stop", ())))
        found[name] = form
    return found


def _summary(run: Path) -> dict[str, Any]:
    path = run / "summary.json"
    if not path.is_file():
        return {}
    policies: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["policies"]
    return policies


def _folder(form: PolicyForm) -> Path | None:
    """Return where a policy was saved; None where nothing was."""
    if isinstance(form, FewShotForm | BestOfForm):
        return _folder(form.of)
    path = form.policy.options.get("path") if isinstance(form, PluginForm) else None
    return None if path is None else Path(path)


def _plugin_form(spec: Mapping[str, Any]) -> PluginForm:
    return PluginForm(policy=ComponentSpec(**spec))


def _in_run(value: Any, run: Path) -> Any:
    """Return options with ``$RUN`` replaced by the run's directory."""
    from rltk.runs import expand

    return expand(value, run)


def _substituted(value: Any, environment: str) -> Any:
    if isinstance(value, dict):
        return {key: _substituted(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [_substituted(item, environment) for item in value]
    return value.replace(ENVIRONMENT_MARK, environment) if isinstance(value, str) else value


def _directories(runs: str | list[str], environment: str, where: str) -> list[Path]:
    patterns = [runs] if isinstance(runs, str) else runs
    found: list[Path] = []
    for pattern in patterns:
        matches = _matches(pattern.replace(ENVIRONMENT_MARK, environment))
        found += [Path(match) for match in matches if not glob.has_magic(pattern) or _is_run(match)]
    if not found:
        raise UserError(where, "no run matches", got=runs, fix="correct the pattern")
    return found


def _matches(pattern: str) -> list[str]:
    """Return the paths that a pattern means; what is no pattern means itself."""
    if not glob.has_magic(pattern):
        return [pattern]
    return sorted(glob.glob(pattern), key=_natural)  # noqa: PTH207 - it may begin at the root


def _is_run(path: str) -> bool:
    return (Path(path) / "config.yaml").is_file()


def _natural(text: str) -> list[Any]:
    """Return a key that sorts a-2 before a-10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]
