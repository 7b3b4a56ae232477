"""New plugins: an installable package with a small working component, its test and a recipe to try it with.

The templates beside this module are plugins that work as they stand, named ``template-name``; writing a new
one replaces that name.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from rltk.errors import UserError, suggestion
from rltk.listing.rows import plugin_rows
from rltk.plugin_checks import KINDS
from rltk.plugin_selection import select_sources

#: What a template's folder and the entry points are named after, by what the command line accepts.
_SHORT_NAMES = {
    **{kind: kind for kind in KINDS if kind != "reward_model"},
    "reward": "reward",
    "reward_model": "reward",
    "observer": "observer",
}
_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9_-]{0,28}[A-Za-z0-9])?")


@dataclass(frozen=True)
class _Package:
    """The names in a new package.

    :param kind: short name of the kind, which begins the entry point's name.
    :param name: what configs call the component.
    """

    kind: str
    name: str

    @property
    def identifier(self) -> str:
        """The name where Python wants an identifier."""
        return self.name.lower().replace("-", "_")

    @property
    def module(self) -> str:
        """The plugin's module."""
        return f"rltk_{self.identifier}"

    @property
    def distribution(self) -> str:
        """What ``pip`` calls the package."""
        return f"rltk-{self.identifier.replace('_', '-')}"

    @property
    def plugin(self) -> str:
        """The entry point, by whose name the plugin can be left out."""
        return f"{self.kind}_{self.identifier}"

    def fill(self, template: str) -> str:
        """Return a template's text, or a file's name, with its own names replaced."""
        class_name = "".join(part[:1].upper() + part[1:] for part in re.split("[-_]", self.name))
        for placeholder, value in {
            "template-distribution": self.distribution,
            "template-kind": self.kind,
            "template-name": self.name,
            "template_name": self.identifier,
            "TemplateName": class_name,
        }.items():
            template = template.replace(placeholder, value)
        return template


def new_plugin(kind: str, name: str, directory: Path) -> list[Path]:
    """Write a package with a new plugin and return its files.

    :param kind: a kind of component, ``reward`` for short, or ``observer``.
    :param name: what configs will call the component.
    :param directory: where to; made if it does not exist.
    :raises UserError: no such kind, a name that cannot be used or is taken, or a directory with files in it.
    """
    package = _Package(_short_name(kind), name)
    _check_name(package)
    _check_directory(directory)
    paths = []
    for target, template in _templates(package.kind):
        path = directory / package.fill(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(package.fill(template.read_text(encoding="utf-8")), encoding="utf-8")
        paths.append(path)
    return paths


def next_steps(kind: str, name: str, directory: Path) -> str:
    """Return the commands to try, install and test what :func:`new_plugin` wrote, a line each."""
    package = _Package(_short_name(kind), name)
    return "\n".join(
        [
            f"next: cd {shlex.quote(str(directory))}",
            f"next: rltk train recipe.yaml -p {package.module}.py  # try it as a file",
            "next: pip install .  # every recipe can use it from then on",
            "next: python -m pytest  # the contract checks, and tests of your own",
        ]
    )


def _templates(kind: str) -> Iterator[tuple[str, Traversable]]:
    """Yield where each file of a package goes and what it is made from."""
    root = resources.files("rltk.scaffold") / "templates"
    yield "pyproject.toml", root / "package" / "pyproject.toml"
    yield "rltk_template_name.py", root / kind / "rltk_template_name.py"
    yield "tests/test_template_name.py", root / kind / "test_template_name.py"
    yield "recipe.yaml", root / kind / "recipe.yaml"
    yield "README.md", root / "package" / "README.md"
    yield ".gitignore", root / "package" / "gitignore"


def _short_name(kind: str) -> str:
    if kind not in _SHORT_NAMES:
        fix = suggestion(kind, _SHORT_NAMES)
        raise UserError("rltk plugins new", "no such kind of plugin", got=kind, fix=fix)
    return _SHORT_NAMES[kind]


def _check_name(package: _Package) -> None:
    """Require a name that configs, ``pip`` and Python can all use, and that nobody has taken."""
    where, name = "rltk plugins new", package.name
    if not _NAME.fullmatch(name):
        fix = "begin with a letter; go on with at most 29 letters, digits, '-' and '_', no '-' or '_' last"
        raise UserError(where, "not a name for a plugin", got=name, fix=fix)
    kind = "reward_model" if package.kind == "reward" else package.kind
    rows = plugin_rows(select_sources(), load=False)
    taken = [component for row in rows for component in row.components]
    if (kind, name) in taken or package.plugin in [row.source.plugin for row in rows]:
        fix = "choose another name (`rltk plugins` lists those taken)"
        raise UserError(where, f"another {package.kind} has that name", got=name, fix=fix)
    if importlib.util.find_spec(package.module) is not None:
        fix = "choose another name"
        raise UserError(where, f"a module {package.module!r} is already installed", got=name, fix=fix)


def _check_directory(directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        fix = "name a directory that does not exist yet, or an empty one"
        raise UserError("rltk plugins new", "there is already something", got=str(directory), fix=fix)
