"""YAML as people mean it: ``1e-4`` is a number, and a key that stands twice is a mistake."""

from __future__ import annotations

import re
from typing import Any

import yaml

from rltk.errors import UserError


class _Loader(yaml.SafeLoader):
    """The safe loader, with YAML 1.2 floats and without silent duplicates."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """The safe dumper, quoting the texts that :class:`_Loader` would take for numbers."""


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d+)[eE][-+]?\d+$"),
        list("-+.0123456789"),
    )


def parse(text: str, where: str) -> Any:
    """Return the value of a YAML text.

    :raises UserError: the text is no YAML, with line and column.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(place, f"no valid YAML: {problem}", fix="correct the text") from error


def dump(value: Any) -> str:
    """Return plain values as YAML, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def inline(value: Any) -> str:
    """Return a plain value as YAML on one line, numbers as people write them."""
    if isinstance(value, float):
        return repr(value)
    shown = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=float("inf"),
    )
    return shown.removesuffix("\n").removesuffix("\n...")
