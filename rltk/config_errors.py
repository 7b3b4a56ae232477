"""Pydantic's validation errors as one line a mistake: key path, constraint, given value, what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from rltk.errors import UserError, suggestion

T = TypeVar("T")
_EXPLAINED = "rltk"


class ConfigError(UserError):
    """Several mistakes in one config; ``str`` gives one line each."""

    def __init__(self, errors: Sequence[UserError]) -> None:
        first = errors[0]
        super().__init__(first.where, first.what, got=first.got, fix=first.fix)
        self.errors = list(errors)
        self.args = ("\n".join(str(error) for error in errors),)


def propagate(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function inside a pydantic validator; its UserError becomes a validation error at ``where``.

    An empty ``where`` blames the validated value as a whole.
    """
    try:
        return function(*arguments)
    except UserError as error:
        explained = _explained(error.what, error.fix, error.__cause__)
        loc = (error.where,) if error.where else ()
        line = InitErrorDetails(type=explained, loc=loc, input=error.got)
        raise ValidationError.from_exception_data("rltk", [line]) from error


def one_line(error: ValidationError, model: type[BaseModel], beside: Iterable[str] = ()) -> ValidationError:
    """Return the same mistakes, each with its explanation and remedy in terms of the model's fields.

    :param beside: keys besides the model's fields that may stand where they do.
    """
    lines = []
    for detail in error.errors(include_url=False):
        if detail["type"] == _EXPLAINED:
            explained = _explained(**detail["ctx"])
        else:
            explained = _explained(*_explain(detail, model, beside))
        lines.append(InitErrorDetails(type=explained, loc=detail["loc"], input=_given(detail)))
    return ValidationError.from_exception_data(error.title, lines)


def user_error(error: ValidationError, where: str, prefix: str = "") -> UserError:
    """Return the mistakes of a :func:`one_line` error as one UserError.

    :param where: what to name when a mistake is about the whole.
    :param prefix: the key path of what was validated.
    """
    errors = []
    for detail in error.errors(include_url=False):
        path = [str(key) for key in detail["loc"] if key != "[key]"]
        path = path[1:] if path[:1] == ["stages"] and len(path) > 1 else path
        place = ".".join([prefix, *path] if prefix else path) or where
        context = detail["ctx"]
        errors.append(UserError(place, context["what"], got=detail["input"], fix=context["fix"]))
    return errors[0] if len(errors) == 1 else ConfigError(errors)


def origin(error: ValidationError) -> BaseException:
    """Return the exception that a mistake comes from, such as a plugin's at import, or ``error`` itself."""
    causes = [detail["ctx"].get("cause") for detail in error.errors(include_url=False)]
    return next((cause for cause in causes if cause is not None), error)


def _explained(what: str, fix: str, cause: BaseException | None = None) -> PydanticCustomError:
    # Validators cannot chain exceptions, so the cause travels as data.
    return PydanticCustomError(_EXPLAINED, "{what}", {"what": what, "fix": fix, "cause": cause})


def _explain(detail: ErrorDetails, model: type[BaseModel], beside: Iterable[str]) -> tuple[str, str]:
    """Return what is wrong and how to fix it."""
    path = detail["loc"]
    parent = _model_at(model, path[:-1])
    key = str(path[-1]) if path else ""
    known = parent.model_fields if parent else {}
    if detail["type"] == "extra_forbidden":
        return "unknown key", suggestion(key, [*known, *beside] if len(path) == 1 else known)
    if detail["type"] == "missing":
        return "missing", f"set it ({_describe(known.get(key))})"
    message = re.sub(r"^(Input|Value error,|Assertion failed,) ?", "", detail["msg"])
    return message[:1].lower() + message[1:], _remedy(known.get(key))


def _given(detail: ErrorDetails) -> Any:
    """Return the offending value; None, which is not shown, where the key itself is the mistake."""
    given = detail["input"]
    if detail["type"] in ("extra_forbidden", "missing") or isinstance(given, BaseModel):
        return None
    text = repr(given)
    return given if len(text) <= 200 else f"{text[:200]}..."


def _remedy(field: FieldInfo | None) -> str:
    return f"choose a valid value ({_describe(field)})" if field else "choose a valid value"


def _describe(field: FieldInfo | None) -> str:
    description = ((field.description if field else None) or "required").rstrip(".")
    default = field.default if field else None
    shown = isinstance(default, str | int | float) and default != ""
    return f"{description}; default {default!r}" if shown else description


def _model_at(model: type[BaseModel], path: Sequence[Any]) -> type[BaseModel] | None:
    """Return the plain nested model that a path leads to, where its fields say so."""
    current: type[BaseModel] | None = model
    for key in path:
        fields: Mapping[str, FieldInfo] = current.model_fields if current else {}
        if isinstance(key, str) and key in fields:
            current = _nested_model(fields[key].annotation)
        elif isinstance(key, str):
            return None
    return current


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _nested_model(part))), None)
