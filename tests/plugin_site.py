"""A folder of installed things for tests of how plugins are listed, with a package that counts as heavy."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path

import pytest

#: Stands for torch, which these tests have loaded.
HEAVY = "slowpoke"


@contextmanager
def plugin_site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put ``folder`` on the path, with :data:`HEAVY` in it and with no plugin but those installed there."""

    def installed(*, group: str) -> list[object]:
        found = distributions(path=[str(folder)])
        return [point for dist in found for point in dist.entry_points if point.group == group]

    for module in ("light_imports", "static_imports", "static_modules"):
        name = "_NOT_FOLLOWED" if module == "static_modules" else "HEAVY"
        known = getattr(importlib.import_module(f"rltk.listing.{module}"), name)
        monkeypatch.setattr(f"rltk.listing.{module}.{name}", known | {HEAVY})
    monkeypatch.setattr("importlib.metadata.entry_points", installed)
    monkeypatch.syspath_prepend(str(folder))
    for variable in ("RLTK_PLUGINS", "RLTK_DISABLE_PLUGINS"):
        monkeypatch.delenv(variable, raising=False)
    (folder / f"{HEAVY}.py").write_text("class Tensor: ...\n")
    before = set(sys.modules)
    yield folder
    forget_modules_of(folder, before)


def forget_modules_of(folder: Path, before: set[str]) -> None:
    """Take out what was imported from ``folder`` since ``before``."""
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").is_relative_to(folder):
            del sys.modules[name]


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files by their path below ``folder``."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    importlib.invalidate_caches()
