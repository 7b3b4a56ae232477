"""``rltk envs``: every environment, what it is like and what is declared of it."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from rltk.envs_names import component_of_id
from rltk.errors import UserError
from rltk.registry import Registry, load_plugins


@dataclass(frozen=True)
class EnvironmentRow:
    """One environment.

    :param name: what recipes call it; empty where only Gymnasium knows it.
    :param id: its Gymnasium id; empty where it has none.
    :param kind: ``text`` or ``arrays``; empty where that depends on options that it cannot do without.
    :param turns: most turns of the policy in an episode; 0 where there are none.
    :param levels: its levels of difficulty.
    :param bounds: the mean scores of random actions and of the oracle, one pair a level.
    :param summary: what it is.
    """

    name: str
    id: str = ""
    kind: str = ""
    turns: int = 0
    levels: tuple[str, ...] = ()
    bounds: tuple[tuple[float, float], ...] = ()
    summary: str = ""


def list_environments(options: Sequence[str], *, as_json: bool) -> None:
    """Print the environments of all plugins, and what else they registered with Gymnasium.

    :param options: values of ``-p``.
    """
    rows = environment_rows(_load_environments(options))
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    from rltk.commands import print_table

    header = ["name", "Gymnasium id", "kind", "turns", "levels", "random", "oracle", "what it is"]
    print_table(header, map(_cells, rows))


def environment_rows(registry: Registry) -> list[EnvironmentRow]:
    """Return a row for every component, sorted by name, then one for every other id of a plugin."""
    import gymnasium

    names = registry.names("environment")
    ids = {
        key: component_of_id(key, names) for key, spec in gymnasium.registry.items() if not _gymnasiums(spec)
    }
    by_component = {component: key for key, component in ids.items() if component}
    rows = [_row(registry.get("environment", name), by_component.get(name, "")) for name in names]
    return rows + [EnvironmentRow("", key) for key, component in sorted(ids.items()) if not component]


def _load_environments(options: Sequence[str]) -> Registry:
    """Load the plugins that may have environments: others take their time, and torch's."""
    from rltk.listing.rows import plugin_rows
    from rltk.plugin_selection import select_sources

    rows = plugin_rows(select_sources(options), load=False)
    others = [
        f"no:{row.source.qualified}"
        for row in rows
        if row.status == "ok" and not {kind for kind, _ in row.components} & {"environment", None}
    ]
    return load_plugins([*options, *others])


def _row(component: type[Any], gym_id: str) -> EnvironmentRow:
    described = EnvironmentRow(
        name=component.name, id=gym_id, summary=(inspect.getdoc(component) or "").partition("\n")[0]
    )
    levels = tuple(_levels(component))
    try:
        made = [component(component.Config(**options), seed=0) for options in levels or ({},)]
        kind = "text" if made[0].spaces() is None else "arrays"
        bounds = [environment.score_bounds() for environment in made]
    except (ValidationError, UserError):
        return described
    return dataclasses.replace(
        described,
        kind=kind,
        turns=made[0].max_turns if kind == "text" else 0,
        levels=tuple(str(options["level"]) for options in levels),
        bounds=tuple(bound for bound in bounds if bound is not None),
    )


def _levels(component: type[Any]) -> Iterator[dict[str, Any]]:
    """Yield the option of each level, where a Config has the field ``level``."""
    field = component.Config.model_fields.get("level")
    if field is not None:
        yield from ({"level": level} for level in get_args(field.annotation))


def _gymnasiums(spec: Any) -> bool:
    """Return whether an id comes with Gymnasium itself."""
    entry = spec.entry_point or spec.vector_entry_point
    module = entry if isinstance(entry, str) else getattr(entry, "__module__", "")
    return bool(module.partition(".")[0] == "gymnasium")


def _cells(row: EnvironmentRow) -> list[str]:
    random, oracle = ([f"{bound[side]:.3g}" for bound in row.bounds] for side in (0, 1))
    return [
        row.name,
        row.id,
        row.kind,
        str(row.turns or ""),
        " ".join(row.levels),
        " ".join(random),
        " ".join(dict.fromkeys(oracle)),
        row.summary,
    ]
