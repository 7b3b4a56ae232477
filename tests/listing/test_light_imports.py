"""Stopping an import at the first heavy package, and leaving nothing behind."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rltk.listing.light_imports import HeavyImport, light_imports
from tests.plugin_site import HEAVY, plugin_site, write


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with plugin_site(tmp_path, monkeypatch) as folder:
        yield folder


def test_a_heavy_import_is_stopped_and_works_afterwards(site: Path) -> None:
    before, finders = dict(sys.modules), list(sys.meta_path)
    with pytest.raises(HeavyImport, match=HEAVY), light_imports() as guard:
        importlib.import_module(HEAVY)
    assert guard.refused == HEAVY
    assert sys.modules == before and sys.meta_path == finders
    assert importlib.import_module(HEAVY).Tensor


def test_what_is_light_is_imported_and_kept(site: Path) -> None:
    write(site, {"feather.py": "import json, re\nx = 1\n"})
    with light_imports() as guard:
        importlib.import_module("feather")
    assert guard.refused is None and sys.modules["feather"].x == 1


def test_a_heavy_package_that_is_loaded_already_costs_nothing(site: Path) -> None:
    importlib.import_module(HEAVY)
    write(site, {"feather.py": f"import {HEAVY}\n"})
    with light_imports() as guard:
        importlib.import_module("feather")
    assert guard.refused is None


def test_asking_whether_a_heavy_package_is_installed_gets_the_truth(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rltk.listing.light_imports.HEAVY", frozenset({HEAVY, "heavy_but_absent"}))
    with light_imports() as guard:
        spec = importlib.util.find_spec(HEAVY)
        assert spec is not None and spec.origin == str(site / f"{HEAVY}.py")
        assert importlib.util.find_spec("heavy_but_absent") is None
        with pytest.raises(ModuleNotFoundError, match="No module named 'heavy_but_absent'"):
            importlib.import_module("heavy_but_absent")
        assert guard.refused is None


PACKAGE = {
    "pack/__init__.py": "from pack import first, second\n",
    "pack/first.py": "x = 1\n",
    "pack/second.py": f"import pack.first\nimport {HEAVY}\ny = pack.first.x + 1\n",
}


def test_no_part_of_a_package_that_was_stopped_is_left(site: Path) -> None:
    """A parent that is imported anew would lack its children as attributes, had they been kept."""
    write(site, PACKAGE)
    before = set(sys.modules)
    with pytest.raises(HeavyImport), light_imports():
        importlib.import_module("pack")
    assert set(sys.modules) == before
    assert importlib.import_module("pack").second.y == 2


@pytest.mark.parametrize("error", ["", " BaseException"])
def test_who_swallows_the_refusal_is_not_kept_nor_anything_that_believed_it(site: Path, error: str) -> None:
    belief = f"try:\n    import {HEAVY}\n    here = True\nexcept{error}:\n    here = False\n"
    believer = "from shelf.belief import here\n"
    write(site, {"shelf/__init__.py": "", "shelf/belief.py": belief, "believer.py": believer})
    importlib.import_module("shelf")
    before = set(sys.modules)
    with pytest.raises(HeavyImport), light_imports() as guard:
        importlib.import_module("shelf.belief")
        importlib.import_module("believer")
    assert guard.refused == HEAVY
    assert set(sys.modules) == before and not hasattr(sys.modules["shelf"], "belief")
    assert importlib.import_module("believer").here is True


def test_an_optional_import_does_not_take_a_heavy_package_for_absent(site: Path) -> None:
    write(site, {"careful.py": f"try:\n    import {HEAVY}\nexcept Exception:\n    {HEAVY} = None\n"})
    with pytest.raises(HeavyImport), light_imports():
        importlib.import_module("careful")
