"""Write docs/plugins/reference: every hook and every built-in component, from the code.

Run it after changing a hook, a Config or a docstring: ``python docs/generate_reference.py``.
"""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

from rltk import hookspecs
from rltk.describing.component import Description, Option, describe
from rltk.describing.docstrings import docstring, markdown
from rltk.describing.rendering import shown_default
from rltk.listing.reading import read_plugin
from rltk.plugin_checks import ARGUMENTS, HOOKS
from rltk.plugin_sources import entry_point_sources
from rltk.registry import Provided, Registry

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "plugins" / "reference"
COMMAND = "python docs/generate_reference.py"

_NOTE = f"<!-- Written by `{COMMAND}` from the code; edit that instead. -->"
_PAGES = {
    "algorithm": "algorithms",
    "policy": "policies",
    "reward_model": "rewards",
    "environment": "environments",
    "stage": "stages",
}
_HOOKS_INTRODUCTION = """\
What a plugin may implement: module-level functions of these names, marked with `@rltk.hookimpl`. An
implementation takes any of the arguments, by name and without defaults; a misspelt name, of the hook or of an
argument, is an error when the plugin is loaded. How to write them: the pages of the kinds for the collecting
hooks, [observers.md](../observers.md) for the event hooks.

*Collecting hooks* are called once, when plugins are loaded, and return a list of classes. *Event hooks* are
called in the process of the run, where it stands; what they return is ignored."""


def pages() -> dict[str, str]:
    """Return the text of every page of the reference by its file name.

    :raises RuntimeError: a built-in plugin does not load.
    """
    registry = _built_in()
    found = {"hooks.md": _hooks_page(registry)}
    for kind, page in _PAGES.items():
        items = sorted((item for item in registry.provided if item.kind == kind), key=_name)
        found[f"{page}.md"] = _kind_page(kind, page, items, registry)
    return found


def _built_in() -> Registry:
    """Return the plugins that pyproject.toml lists, whatever is installed beside them."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["rltk"]
    registry = Registry(
        entry_point_sources(EntryPoint(name, listed[name], "rltk") for name in sorted(listed))
    )
    if registry.failures:
        raise RuntimeError(str(registry.failures[0])) from registry.failures[0].error
    return registry


def _name(item: Provided) -> str:
    return str(item.component.name)


def _kind_page(kind: str, page: str, items: list[Provided], registry: Registry) -> str:
    built_in = ", ".join(f"[{_name(item)}](#{_name(item)})" for item in items)
    introduction = (
        f"The built-in {page}: {built_in}.\nHow to write your own: [{page}.md](../{page}.md). The same "
        f"in a terminal, for\nplugins of others too: `rltk plugins show NAME`."
    )
    parts = [_NOTE, f"# Reference: {page}", introduction]
    for item in items:
        parts += _component(describe(item, registry))
    return "\n\n".join(parts) + "\n"


def _component(item: Description) -> Iterator[str]:
    source = Path("plugins" if not item.module.startswith("rltk_envs") else "envs", *item.module.split("."))
    path = next(
        path for path in (source.with_suffix(".py"), source / "__init__.py") if (ROOT / path).is_file()
    )
    yield f"## {item.name}"
    yield markdown(item.docstring)
    facts = [f"Class [`{item.class_name}`](../../../{path}) of plugin `{item.plugin}`."]
    if item.paper:
        facts.append(f"Paper: {_paper(item.paper)}.")
    if item.collaborators:
        taken = ", ".join(
            f"`{part.name}`" + " (optional)" * (not part.required) for part in item.collaborators
        )
        facts.append(f"Beside the options, the constructor takes {taken}.")
    yield "\n".join(facts)
    yield _options(item.options) if item.options else "It has no options."
    yield f"```yaml\n{item.example}```" if item.example else "It has no example."
    if item.command:
        yield f"`{item.command}`"


def _paper(paper: str) -> str:
    number = re.search(r"arXiv:(\d+\.\d+)", paper)
    return f"[{paper}](https://arxiv.org/abs/{number[1]})" if number else paper


def _options(options: tuple[Option, ...]) -> str:
    rows = [("option", "type", "default", "what it is"), ("---",) * 4]
    for option in options:
        default = "required" if option.required else f"`{shown_default(option)}`"
        rows.append((f"`{option.name}`", f"`{option.type}`", default, option.description))
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _hooks_page(registry: Registry) -> str:
    parts = [_NOTE, "# Reference: hooks", _HOOKS_INTRODUCTION]
    collecting = list(HOOKS.values())
    for title, hooks in (
        ("Collecting hooks", collecting),
        ("Event hooks", [hook for hook in ARGUMENTS if hook not in collecting]),
    ):
        parts += [f"## {title}", *(part for hook in hooks for part in _hook(hook, registry))]
    return "\n\n".join(parts) + "\n"


def _hook(name: str, registry: Registry) -> Iterator[str]:
    hook = getattr(hookspecs, name)
    signature = inspect.signature(hook)
    yield f"### {name}({', '.join(signature.parameters)})"
    yield markdown(docstring(hook))
    arguments = [
        f"| `{parameter.name}` | `{_cell(str(parameter.annotation))}` |"
        for parameter in signature.parameters.values()
    ]
    if arguments:
        yield "\n".join(["| argument | type |", "| --- | --- |", *arguments])
    yield f"Returns `{signature.return_annotation}`."
    kinds = [kind for kind, collecting in HOOKS.items() if collecting == name]
    names = {item.plugin for item in registry.provided if item.kind in kinds}
    names |= {source.plugin for source in registry.sources if name in read_plugin(source).hooks}
    if names:
        yield f"Implemented by {', '.join(f'`{plugin}`' for plugin in sorted(names))}."


def main() -> None:
    """Write the pages and say where."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
        print(REFERENCE / name)


if __name__ == "__main__":
    main()
