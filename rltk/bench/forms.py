"""The forms in which a bench names a policy, from a short string to a mapping with every option."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from rltk.config import PolicySpec, RewardSpec
from rltk.config_errors import one_line, propagate
from rltk.data import HUB_PREFIX
from rltk.errors import UserError, suggestion
from rltk.registry import get_registry

#: Stands for the name of the environment in any text of a policy.
ENVIRONMENT_MARK = "{environment}"
_GLOB = set("*?[")


class PolicyForm(BaseModel):
    """One way to say which policy is meant."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class RunForm(PolicyForm):
    """What a run left behind."""

    run: str = Field(description="The run's directory.")
    policy: str | None = Field(None, description="Which of its policies; null: the final one.")


class RunsForm(PolicyForm):
    """Runs that differ in their seed: training seeds 0, 1, 2, ... of one policy."""

    runs: str | list[str] = Field(
        description="The runs' directories, or a pattern such as runs/ppo-*; they count in sorted order."
    )
    policy: str | None = Field(None, description="Which of their policies; null: the final one.")


class PluginForm(PolicyForm):
    """A policy plugin with its options."""

    policy: PolicySpec = Field(description="The policy's name and options.")


class OracleForm(PolicyForm):
    """Says what the environment's oracle says."""

    oracle: Literal[True] = Field(description="true.")


class EndpointForm(PolicyForm):
    """A server that speaks the API of OpenAI."""

    endpoint: str = Field(
        pattern=r"^https?://", description="Where the API begins, such as http://localhost:8000/v1."
    )
    model: str = Field(description="The model to ask for.")
    api: Literal["chat", "completions"] = Field(
        "chat", description="chat: prompts are messages of the user; completions: plain text to go on with."
    )
    system: str | None = Field(None, description="System message before the prompt (chat only).")
    temperature: float = Field(1.0, ge=0, description="Temperature of the sampling.")
    max_tokens: int = Field(256, ge=1, description="Longest answer, in the server's tokens.")
    body: dict[str, Any] = Field({}, description="Further keys of every request, such as top_p.")
    api_key_env: str | None = Field(
        None, description="Environment variable that holds the API key; null sends none."
    )
    concurrency: int = Field(8, ge=1, description="Requests under way at once, in each worker.")
    timeout_seconds: float = Field(60.0, gt=0, description="How long to wait for an answer.")
    retries: int = Field(4, ge=0, description="How often a request is tried again.")
    backoff_seconds: float = Field(
        1.0, ge=0, description="Wait before the second try; it doubles with each further one."
    )


class BestOfForm(PolicyForm):
    """The best of several answers of a policy."""

    best_of: int = Field(ge=1, description="How many answers to choose from.")
    of: AnyPolicy = Field(description="The policy that answers, in any form, or by its name in this bench.")
    reward: RewardSpec | None = Field(
        None, description="What to choose by: a reward's name and options; null: the environment's own score."
    )


class FewShotForm(PolicyForm):
    """A policy that reads demonstrations before each prompt."""

    shots: int = Field(ge=1, description="How many demonstrations.")
    of: AnyPolicy = Field(description="The policy that reads them, in any form, or by its name here.")
    stop: tuple[str, ...] = Field((), description="Texts that end a response, beside EOS.")


#: By the key that only this form has, or that decides where it stands first.
FORMS: dict[str, type[PolicyForm]] = {
    "best_of": BestOfForm,
    "shots": FewShotForm,
    "endpoint": EndpointForm,
    "runs": RunsForm,
    "run": RunForm,
    "oracle": OracleForm,
    "policy": PluginForm,
}


def read_form(given: Any) -> PolicyForm:
    """Return the form that a string or mapping means.

    :raises ValidationError: with one line a mistake, at its key.
    """
    if isinstance(given, PolicyForm):
        return given
    mapping = _spelt_out(given) if isinstance(given, str) else given
    kind = next((FORMS[key] for key in FORMS if isinstance(mapping, Mapping) and key in mapping), None)
    if kind is None:
        raise UserError("", "no policy", got=given, fix=f"write a mapping with one of: {', '.join(FORMS)}")
    try:
        return kind.model_validate(mapping)
    except ValidationError as error:
        raise one_line(error, kind) from error


def default_name(given: Any) -> str:
    """Return what to call a policy that was given without a name."""
    if isinstance(given, str):
        path, _, policy = given.removeprefix(HUB_PREFIX).partition(":")
        return "-".join(_plain(word) for word in (Path(path).name, policy) if word)
    if not isinstance(given, Mapping):
        return "policy"
    for key in ("run", "runs", "model"):
        if isinstance(given.get(key), str):
            return default_name(given[key])
    for key in ("best_of", "shots"):
        if key in given:
            return f"{default_name(given.get('of'))}-{key.replace('_', '-')}-{given[key]}"
    plugin = given.get("policy")
    return str(plugin.get("name")) if isinstance(plugin, Mapping) else "policy"


def _spelt_out(text: str) -> dict[str, Any]:
    """Return the mapping that a short string stands for.

    :raises UserError: it stands for nothing.
    """
    if text == "oracle":
        return {"oracle": True}
    if text.startswith(HUB_PREFIX):
        return {"policy": {"name": "causal_lm", "path": text.removeprefix(HUB_PREFIX)}}
    path, _, policy = text.partition(":")
    if _GLOB & set(path):
        return {"runs": path, "policy": policy or None}
    if ENVIRONMENT_MARK in path or (Path(path) / "config.yaml").is_file():
        return {"run": path, "policy": policy or None}
    if (name := plugin_of_folder(Path(text))) is not None:
        return {"policy": {"name": name, "path": text}}
    names = get_registry().names("policy")
    if text in names:
        return {"policy": {"name": text}}
    if Path(text).is_dir():
        fix = "let a stage of it that trains a policy finish, or name another directory"
        raise UserError("", "this directory holds neither a run nor a policy", got=text, fix=fix)
    close = suggestion(text, [*names, "oracle"])
    fix = f"{close}, a run's directory, a folder of a model, or {HUB_PREFIX}ID of one on the Hugging Face hub"
    raise UserError("", "unknown policy", got=text, fix=fix)


def plugin_of_folder(folder: Path) -> str | None:
    """Return which plugin saved the policy in a folder; None where there is none."""
    if (folder / "config.json").is_file():
        return "causal_lm"
    saved = folder / "policy.json"
    if not saved.is_file():
        return None
    return str(json.loads(saved.read_text(encoding="utf-8"))["policy"])


def _plain(text: str) -> str:
    """Return a text with only what may be in names and on every disk."""
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in text.replace(ENVIRONMENT_MARK, ""))
    return kept.strip("._-") or "policy"


#: Any form of a policy; strings are spelt out.
AnyPolicy = Annotated[Any, AfterValidator(lambda given: propagate(read_form, given))]

BestOfForm.model_rebuild()
FewShotForm.model_rebuild()
