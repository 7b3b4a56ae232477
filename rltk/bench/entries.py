"""The environments of a bench: a component with its options, or any Gymnasium id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rltk.config import EnvironmentSpec, RewardSpec
from rltk.config_errors import one_line, propagate
from rltk.envs_names import find_environment, with_options
from rltk.interfaces import Split


class EnvironmentEntry(BaseModel):
    """Where policies are compared, and what else is measured there."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    environment: EnvironmentSpec = Field(description="The environment's name and options.")
    split: Split = Field("test", description="Which prompts: train, validation or test.")
    reward: RewardSpec | None = Field(
        None, description="A proxy to score responses with beside the truth; null leaves it out."
    )


def spell_out_entry(given: Any) -> Any:
    """Return the mapping that a short form of an entry stands for.

    Short forms are a name, a Gymnasium id, or either with its options: a component's as ``name``, an id as
    ``id``, beside which ``split`` and ``reward`` may stand too.

    :raises UserError: a string that names nothing.
    """
    if isinstance(given, str):
        return {"environment": find_environment(given, "")}
    if isinstance(given, Mapping):
        if "id" in given and not {"environment", "name"} & set(given):
            own = {key: given[key] for key in ("split", "reward") if key in given}
            options = {key: value for key, value in given.items() if key not in ("id", *own)}
            name, options = with_options(find_environment(str(given["id"]), "id"), options)
            return {"environment": {"name": name, **options}, **own}
        if "environment" not in given and "name" in given:
            return {"environment": dict(given)}
        if isinstance(given.get("environment"), str):
            return {**given, "environment": find_environment(given["environment"], "")}
    return given


def read_entry(given: Any) -> EnvironmentEntry:
    """Return the entry that a short form or a mapping means.

    :raises ValidationError: with one line a mistake, at its key.
    """
    try:
        return EnvironmentEntry.model_validate(propagate(spell_out_entry, given))
    except ValidationError as error:
        raise one_line(error, EnvironmentEntry) from error


def default_entry_name(given: Any) -> str:
    """Return what to call an environment that was given without a name."""
    entry = propagate(spell_out_entry, given)
    spec = entry.get("environment") if isinstance(entry, Mapping) else None
    name = spec.get("id", spec.get("name")) if isinstance(spec, Mapping) else None
    return re.sub(r"[^\w.-]", "-", str(name or "environment"))
