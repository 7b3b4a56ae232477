"""What a bench compares, from YAML and the command line, checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rltk.bench.entries import EnvironmentEntry, default_entry_name, read_entry
from rltk.bench.forms import AnyPolicy, default_name
from rltk.config_errors import one_line, origin, propagate, user_error
from rltk.errors import UserError, suggestion
from rltk.yaml_io import parse

#: What policies and environments may be called: names of files.
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
Name = Annotated[str, Field(pattern=_NAME)]


def _named(default: Callable[[Any], str]) -> Callable[[Any], Any]:
    """Return what turns a list into a mapping, each item under its default name."""

    def mapping(given: Any) -> Any:
        if not isinstance(given, list | tuple):
            return given
        named: dict[str, Any] = {}
        for item in given:
            if (name := default(item)) in named:
                fix = "give a mapping with a name for each"
                raise UserError("", "two of them would have one name", got=name, fix=fix)
            named[name] = item
        return named

    return lambda given: propagate(mapping, given)


class BenchConfig(BaseModel):
    """Everything that determines the results of a bench."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    name: str = Field("bench", description="What the bench is called.")
    description: str = Field("", description="What it is for, in one line.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of everything random.")
    policies: Annotated[dict[Name, AnyPolicy], BeforeValidator(_named(default_name))] = Field(
        min_length=1, description="The policies by name, or a list of them, in the order they are shown."
    )
    environments: Annotated[
        dict[Name, Annotated[EnvironmentEntry, BeforeValidator(read_entry)]],
        BeforeValidator(_named(default_entry_name)),
    ] = Field(min_length=1, description="The environments by name, or a list of them.")
    seeds: int = Field(5, ge=1, description="Evaluation seeds; each draws prompts and samples of its own.")
    episodes: int = Field(
        100, ge=1, description="Episodes of one policy in one environment with one seed, at most."
    )
    samples: int = Field(1, ge=1, description="Episodes that answer one prompt; they count as episodes.")
    reference: str | None = Field(
        None, description="The policy that KL is measured to, by its name; null measures none."
    )
    baseline: str | None = Field(
        None,
        description="The policy that others are compared with; null: the reference, or else the first.",
    )
    margin: float = Field(
        0.02,
        ge=0,
        description="Smallest difference of interest, as a share of the way from random to the oracle.",
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, mps, cuda or cuda:N."
    )
    slots: int = Field(128, ge=1, description="Episodes acted side by side.")
    threads: int = Field(
        1, ge=1, description="Threads of each worker; sums over several threads may round otherwise."
    )

    def resolved(self) -> dict[str, Any]:
        """Return the config with every default filled in, as plain YAML values; itself a valid config."""
        return self.model_dump(mode="json")


class ReportOptions(BaseModel):
    """What a report of a finished bench may have in place of the config's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    baseline: str | None = Field(None, description="The policy that others are compared with.")
    margin: float | None = Field(None, ge=0, description="Smallest difference of interest.")


def read_bench(path: Path | None, given: Mapping[str, Any], overrides: Sequence[str]) -> BenchConfig:
    """Return the bench of a YAML file and of the command line.

    :param path: the file; None where everything is given.
    :param given: keys that replace those of the file.
    :param overrides: ``key.path=value`` pairs that go on top.
    :raises UserError: all mistakes at once.
    """
    tree = _read_tree(path) if path is not None else {}
    if path is not None:
        tree.setdefault("name", path.stem)
    tree |= given
    for override in overrides:
        _override(tree, override)
    return validate_bench(tree, path.name if path is not None else "bench")


def read_report_options(overrides: Sequence[str]) -> dict[str, Any]:
    """Return what ``baseline=POLICY`` and ``margin=NUMBER`` ask of a report.

    :raises UserError: another key, or no such value.
    """
    options: dict[str, Any] = {}
    for override in overrides:
        _override(options, override)
    try:
        return ReportOptions(**options).model_dump()
    except ValidationError as error:
        raise user_error(one_line(error, ReportOptions), "--report") from error


def validate_bench(tree: Mapping[str, Any], where: str) -> BenchConfig:
    """Return the bench that a mapping describes.

    :param where: what to call the mapping in errors about it as a whole.
    :raises UserError: all mistakes at once.
    """
    try:
        config = BenchConfig.model_validate(_with_named_policies(tree))
    except ValidationError as error:
        raise user_error(one_line(error, BenchConfig), where) from origin(one_line(error, BenchConfig))
    for key, named in (("reference", config.reference), ("baseline", config.baseline)):
        if named is not None and named not in config.policies:
            fix = suggestion(named, config.policies)
            raise UserError(key, "it names none of the policies", got=named, fix=fix)
    if config.episodes % config.samples:
        fix = f"set episodes to a multiple of {config.samples}"
        raise UserError("episodes", "no multiple of samples", got=config.episodes, fix=fix)
    return config


def _with_named_policies(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree with policies in place of their names in the wrappers around them."""
    policies = tree.get("policies")
    if not isinstance(policies, Mapping):
        return dict(tree)
    resolved = {name: _unwrapped(given, policies, (str(name),)) for name, given in policies.items()}
    return {**tree, "policies": resolved}


def _unwrapped(given: Any, policies: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    if not isinstance(given, Mapping) or "of" not in given:
        return given
    of = given["of"]
    if isinstance(of, str) and of in policies:
        if of in path:
            fix = "name another policy"
            raise UserError(f"policies.{path[0]}.of", "a policy cannot wrap itself", got=of, fix=fix)
        return {**given, "of": _unwrapped(policies[of], policies, (*path, of))}
    return {**given, "of": _unwrapped(of, policies, path)}


def _read_tree(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError("bench", "no such file", got=str(path), fix="check the path")
    tree = parse(path.read_text(encoding="utf-8"), path.name)
    if not isinstance(tree, dict):
        what = "the file is empty" if tree is None else "the file holds no mapping"
        raise UserError(path.name, what, fix="write `policies:` and `environments:`")
    return tree


def _override(tree: dict[str, Any], override: str) -> None:
    """Set one ``key.path=value`` in the tree, making mappings that are missing."""
    path, equals, text = override.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise UserError("override", "not of the form key.path=value", got=override, fix="write e.g. seeds=10")
    if keys[0] not in BenchConfig.model_fields:
        fix = suggestion(keys[0], BenchConfig.model_fields)
        raise UserError(path, f"no key of a bench is named {keys[0]!r}", fix=fix)
    parent: Any = tree
    for depth, key in enumerate(keys[:-1]):
        parent = parent.setdefault(key, {})
        if not isinstance(parent, dict):
            where = ".".join(keys[: depth + 1])
            fix = "write it as a mapping in the file"
            raise UserError(where, f"has no key {keys[depth + 1]!r}", got=parent, fix=fix)
    parent[keys[-1]] = parse(text, path)
