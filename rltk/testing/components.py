"""What every component must hold, of whatever kind; and making one to check."""

from __future__ import annotations

import contextlib
import inspect
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rltk.errors import PluginError, suggestion
from rltk.plugin_checks import BASES, check_component
from rltk.testing.running import Progress, fail, ignore, require, run_checks

#: The collaborators a run offers to the constructors of each kind; a constructor takes those it names.
OFFERED = {
    "algorithm": ("policy", "generator", "auxiliary_loss"),
    "environment": ("seed",),
    "policy": ("device", "autocast", "spaces", "generator", "build_tokenizer"),
    "reward_model": ("device", "tokenizer", "progress"),
    "stage": ("context",),
}
_UNKNOWN_KEY = "no_such_option"


class OptionsNeededError(AssertionError):
    """A component cannot be made without options that were not given."""


@dataclass(frozen=True)
class Component:
    """A component class under check, with options it can be made from and a folder to write to."""

    kind: str
    cls: type[Any]
    options: Mapping[str, Any]
    directory: Path

    @property
    def who(self) -> str:
        """What to call it in messages."""
        return f"{self.kind} {getattr(self.cls, 'name', self.cls.__qualname__)!r}"

    def config(self) -> Any:
        """Return its Config, built from the options."""
        return self.cls.Config.model_validate(dict(self.options))

    def make(self, **collaborators: Any) -> Any:
        """Construct it, handing over those collaborators that its constructor names."""
        accepted = inspect.signature(self.cls).parameters
        given = {name: value for name, value in collaborators.items() if name in accepted}
        return self.cls(self.config(), **given)


@contextlib.contextmanager
def component_under_check(
    kind: str,
    component: type[Any] | str,
    options: Mapping[str, Any] | None,
    directory: Path | None,
    progress: Progress = ignore,
) -> Iterator[Component]:
    """Find the component, choose its options and hold it to what every component must hold.

    :param component: a class, or the name of a registered one.
    :param options: for its Config; None: what its ``check_options`` returns.
    :param directory: an empty folder for files; None: a temporary one.
    :raises UserError: nobody registered a component of that name.
    :raises OptionsNeededError: its Config requires options that nobody gave.
    :raises AssertionError: the component does not hold its contract.
    """
    cls = _find(kind, component)
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rltk-check-")))
        bare = Component(kind, cls, {}, directory)
        run_checks(bare.who, CLASS_CHECKS, bare, progress)
        chosen = _offered_options(bare) if options is None else options
        subject = Component(kind, cls, chosen, directory)
        _require_options(subject)
        run_checks(subject.who, CONFIG_CHECKS, subject, progress)
        yield subject


def _find(kind: str, component: type[Any] | str) -> type[Any]:
    if isinstance(component, str):
        from rltk.registry import get_registry

        return get_registry().get(kind, component)
    return component


def _offered_options(subject: Component) -> Mapping[str, Any]:
    try:
        options = subject.cls.check_options(subject.directory)
    except Exception as error:
        seen = f"{subject.who}: check_options() raised {type(error).__name__}: {error}"
        raise AssertionError(f"{seen}. Fix: put what it needs into the directory it is given.") from error
    seen = f"{subject.who}: check_options() returned {options!r}"
    require(isinstance(options, Mapping), seen, fix="return a dict of options")
    return options


def _require_options(subject: Component) -> None:
    """Raise OptionsNeededError, naming them and how to give them, where required options are missing."""
    fields = subject.cls.Config.model_fields
    missing = {
        field.alias or name: field.description or "not described"
        for name, field in fields.items()
        if field.is_required() and not {name, field.alias} & set(subject.options)
    }
    if missing:
        named = ", ".join(f"{name} ({about.rstrip('.')})" for name, about in missing.items())
        raise OptionsNeededError(
            f"{subject.who}: it cannot be made without the options {named}. Fix: return them from its "
            f"check_options(directory), or give them: options={{...}}, on the command line key=value."
        )


def can_be_registered(subject: Component) -> None:
    """It is a complete subclass of the class of its kind, with a name and a Config."""
    try:
        check_component(subject.kind, subject.cls)
    except PluginError as error:
        fix = f"derive it from rltk.{BASES[subject.kind]}, and its Config from rltk.ComponentConfig"
        fail(str(error), fix=fix)


def says_what_it_is(subject: Component) -> None:
    """Its docstring says in one line what it is."""
    first = (subject.cls.__doc__ or "").strip().partition("\n")[0]
    require(first, "it has no docstring", fix="describe it in one line, which `rltk plugins show` prints")


def describes_its_options(subject: Component) -> None:
    """Every option is described."""
    fields = subject.cls.Config.model_fields
    bare = [name for name, field in fields.items() if not field.description]
    fix = 'write `option: type = Field(default, description="...")`'
    require(not bare, f"no description of {', '.join(bare)}", fix=fix)


def asks_only_for_what_is_offered(subject: Component) -> None:
    """Its constructor takes the config first and asks for nothing that a run does not offer."""
    parameters = list(inspect.signature(subject.cls).parameters.values())
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    fix = "write `def __init__(self, config, *, ...)`"
    require(parameters and parameters[0].kind in by_position, "it takes no config", fix=fix)
    offered = OFFERED[subject.kind]
    for parameter in parameters[1:]:
        required = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        )
        problem = f"it requires {parameter.name!r}, which nobody offers"
        fix = f"offered are {', '.join(offered)}; give the others defaults, or make them options"
        require(not required or parameter.name in offered, problem, fix=fix)
        problem = f"it takes {parameter.name!r} by position only"
        require(parameter.kind is not parameter.POSITIONAL_ONLY, problem, fix="take it by keyword")


def refuses_unknown_options(subject: Component) -> None:
    """Unknown options are errors."""
    refused = _error_of(subject.cls.Config, {**subject.options, _UNKNOWN_KEY: 1})
    fix = 'leave model_config alone: rltk.ComponentConfig sets extra="forbid"'
    require(refused is not None, f"Config accepts the unknown key {_UNKNOWN_KEY!r}", fix=fix)


def has_valid_options(subject: Component) -> None:
    """The options are valid, and so are the defaults."""
    config = subject.cls.Config
    error = _error_of(config, subject.options)
    if error is not None:
        unknown = [key for key in subject.options if key not in config.model_fields]
        hint = "; ".join(f"{key}: {suggestion(key, config.model_fields)}" for key in unknown)
        fix = hint or "correct check_options, or the options given"
        fail(f"the options {dict(subject.options)} are not valid: {_first_line(error)}", fix=fix)
    defaults = {
        name: field.get_default(call_default_factory=True, validated_data={})
        for name, field in config.model_fields.items()
        if not field.is_required()
    }
    error = _error_of(config, {**defaults, **subject.options})
    if error is not None:
        fail(f"a default is not valid: {_first_line(error)}", fix="choose one that its own type allows")


def keeps_its_config_through_json(subject: Component) -> None:
    """Its Config survives being written to the run's config.yaml and read back."""
    config = subject.config()
    try:
        again = type(config).model_validate(config.model_dump(mode="json"))
    except ValidationError as error:
        again = _first_line(error)
    changed = [
        name
        for name in type(config).model_fields
        if getattr(again, name, inspect.Parameter.empty) != getattr(config, name)
    ]
    fix = "use types that JSON can hold, and validators that accept what they return"
    require(again == config, f"{', '.join(changed)} came back as {again!r}", fix=fix)


CLASS_CHECKS = (
    can_be_registered,
    says_what_it_is,
    describes_its_options,
    asks_only_for_what_is_offered,
)
CONFIG_CHECKS = (
    has_valid_options,
    refuses_unknown_options,
    keeps_its_config_through_json,
)


def _error_of(model: type[BaseModel], options: Mapping[str, Any]) -> ValidationError | None:
    try:
        model.model_validate(dict(options))
    except ValidationError as error:
        return error
    return None


def _first_line(error: ValidationError) -> str:
    detail = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"
