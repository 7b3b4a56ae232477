"""The cells of a bench: which policy plays where, from which run, with which evaluation seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rltk.bench.config import BenchConfig
from rltk.bench.forms import (
    BestOfForm,
    EndpointForm,
    FewShotForm,
    OracleForm,
    PluginForm,
    PolicyForm,
    plugin_of_folder,
)
from rltk.bench.sources import missing_runs, resolve
from rltk.errors import UserError
from rltk.interfaces import Environment
from rltk.registry import construct
from rltk.rng import derive_seed


@dataclass(frozen=True)
class Cell:
    """One policy of one training run in one environment with one evaluation seed."""

    policy: str
    train_seed: int | None
    environment: str
    seed: int

    @property
    def path(self) -> Path:
        """Where its records lie in the directory of the bench."""
        policy = self.policy if self.train_seed is None else f"{self.policy}@{self.train_seed}"
        return Path("cells") / policy / self.environment / f"{self.seed}.jsonl"

    @property
    def error_path(self) -> Path:
        """Where the reason lies if it failed."""
        return self.path.with_suffix(".error")

    def __str__(self) -> str:
        return str(self.path.relative_to("cells").with_suffix(""))


@dataclass(frozen=True)
class Place:
    """What has to be known of an environment before anybody plays in it.

    :param text: whether it deals prompts.
    :param oracle: whether it has an oracle.
    :param episodes: how many a cell has.
    :param bounds: mean scores of random actions and of the oracle, or None.
    """

    text: bool
    oracle: bool
    episodes: int
    bounds: tuple[float, float] | None


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    :param cells: policy by policy, so that each is loaded once.
    :param forms: where the policy of a cell comes from, by (policy, training seed, environment).
    :param places: the environments by name.
    :param left_out: why a policy does not play in an environment, by (policy, environment).
    """

    cells: tuple[Cell, ...]
    forms: Mapping[tuple[str, int | None, str], PolicyForm]
    places: Mapping[str, Place]
    left_out: Mapping[tuple[str, str], str]

    def form(self, cell: Cell) -> PolicyForm:
        """Return where the policy of a cell comes from."""
        return self.forms[cell.policy, cell.train_seed, cell.environment]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as ``plan.json`` has it."""
        return {
            "environments": {
                name: {
                    "text": place.text,
                    "oracle": place.oracle,
                    "episodes": place.episodes,
                    "bounds": None if place.bounds is None else list(place.bounds),
                }
                for name, place in self.places.items()
            },
            "policies": [
                {
                    "policy": policy,
                    "train_seed": train_seed,
                    "environment": name,
                    "form": form.model_dump(mode="json"),
                }
                for (policy, train_seed, name), form in self.forms.items()
            ],
            "left_out": [
                {"policy": policy, "environment": name, "reason": reason}
                for (policy, name), reason in self.left_out.items()
            ],
        }


@dataclass(frozen=True)
class Bench:
    """What a process has to know to play cells.

    :param directory: where it is kept.
    :param plugins: values of ``-p``.
    """

    config: BenchConfig
    plan: Plan
    directory: Path
    plugins: tuple[str, ...] = ()


def make_plan(config: BenchConfig) -> Plan:
    """Return the plan of a bench.

    :raises UserError: an environment cannot be made or has no prompts, a run is missing, or no cell is left.
    """
    places = {name: _look_at(config, name) for name in config.environments}
    forms: dict[tuple[str, int | None, str], PolicyForm] = {}
    left_out: dict[tuple[str, str], str] = {}
    for policy, form in config.policies.items():
        for name, place in places.items():
            reason = missing_runs(form, name) or _cannot_play(form, place)
            seeded = [] if reason else resolve(form, name, f"policies.{policy}")
            reason = reason or next((why for _, one in seeded if (why := _cannot_play(one, place))), None)
            if reason:
                left_out[policy, name] = reason
            else:
                forms |= {(policy, seed, name): one for seed, one in seeded}
    cells = tuple(
        Cell(policy, train_seed, name, seed)
        for policy, train_seed, name in _policy_by_policy(forms)
        for seed in range(config.seeds)
    )
    for (policy, _, _), form in forms.items():
        if policy == config.reference and not isinstance(form, PluginForm):
            fix = "name a policy that is neither oracle nor endpoint, nor wrapped"
            raise UserError("reference", "it gives no log-probabilities", got=policy, fix=fix)
    if not cells:
        reason = next(iter(left_out.values()))
        raise UserError("policies", f"none can play in any of the environments ({reason})", fix="add one")
    return Plan(cells, forms, places, left_out)


def make_environment(config: BenchConfig, name: str) -> Environment:
    """Return an environment of the bench, made from the bench's seed as a run's is from the run's."""
    spec = config.environments[name].environment
    seed = derive_seed(config.seed, "environment")
    where = f"environments.{name}"
    environment: Environment = construct("environment", spec.name, spec.options, where=where, seed=seed)
    return environment


def _look_at(config: BenchConfig, name: str) -> Place:
    environment = make_environment(config, name)
    text = environment.spaces() is None
    rows = config.episodes // config.samples
    if text:
        split = config.environments[name].split
        prompts = len(environment.prompts(split))
        if not prompts:
            where = f"environments.{name}.split"
            raise UserError(where, "it has no prompts", got=split, fix="choose another")
        rows = min(rows, prompts)
    has_oracle = type(environment).oracle is not Environment.oracle
    return Place(text, has_oracle, rows * config.samples, environment.score_bounds())


def _policy_by_policy(
    forms: Mapping[tuple[str, int | None, str], PolicyForm],
) -> list[tuple[str, int | None, str]]:
    """Return the keys with those of one policy and training run next to each other."""
    order = {policy: place for place, policy in enumerate(dict.fromkeys(key[0] for key in forms))}
    return sorted(forms, key=lambda key: (order[key[0]], -1 if key[1] is None else key[1]))


def _cannot_play(form: PolicyForm, place: Place) -> str | None:
    """Return why a policy of this form cannot play in an environment of this kind; None where it can."""
    if isinstance(form, BestOfForm | FewShotForm | EndpointForm) and not place.text:
        return "the environment has no text"
    if isinstance(form, BestOfForm | FewShotForm):
        return _cannot_play(form.of, place)
    if isinstance(form, OracleForm):
        return None if place.oracle else "the environment has no oracle"
    path = form.policy.options.get("path") if isinstance(form, PluginForm) else None
    plugin = None if path is None else plugin_of_folder(Path(path))
    if plugin is None or (plugin == "causal_lm") == place.text:
        return None
    return "the policy acts on arrays" if place.text else "the policy acts on text"
