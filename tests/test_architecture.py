"""The rules that keep the parts apart."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENTRY_POINTS: dict[str, str] = PYPROJECT["project"]["entry-points"]["rltk"]
SOURCE_ROOTS = (ROOT / "plugins", ROOT / "envs")
PACKAGES = {path.name for root in SOURCE_ROOTS for path in root.iterdir() if path.name.startswith("rltk_")}
CORE = sorted((ROOT / "rltk").rglob("*.py"))
PLUGIN_FILES = sorted(path for root in SOURCE_ROOTS for path in root.rglob("*.py"))


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names of all modules imported anywhere in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _module(path: Path) -> str:
    """Return the dotted name of a file below a source root."""
    root = next(root for root in SOURCE_ROOTS if path.is_relative_to(root))
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _has_hook_implementations(tree: ast.Module) -> bool:
    """Return whether a module-level function is decorated with hookimpl, called or not, or rltk.reward."""
    names = [
        ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
    ]
    return any(name.rpartition(".")[2] in ("hookimpl", "reward") for name in names)


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_imports_no_plugin(path: Path) -> None:
    assert not {name for name in _imports(_parse(path)) if name.split(".")[0] in PACKAGES}


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_import_no_other_plugin(path: Path) -> None:
    """What one package holds may be shared inside it; another package's components go by the registry."""
    own = _module(path).split(".")[0]
    others = {name for name in _imports(_parse(path)) if name.split(".")[0] in PACKAGES - {own}}
    assert not others


def test_modules_with_hook_implementations_are_the_entry_points() -> None:
    implementing = {_module(path) for path in PLUGIN_FILES if _has_hook_implementations(_parse(path))}
    assert implementing == set(ENTRY_POINTS.values())


def test_entry_points_carry_the_kind_and_name_one_module_each() -> None:
    kinds = {"algorithm", "environment", "observer", "policy", "reward", "stage"}
    assert {name.split("_")[0] for name in ENTRY_POINTS} <= kinds
    assert len(set(ENTRY_POINTS.values())) == len(ENTRY_POINTS)


def test_every_source_package_goes_into_the_wheel() -> None:
    packages = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {Path(package).name for package in packages} == {"rltk", *PACKAGES}
    assert all((ROOT / package / "__init__.py").is_file() for package in packages)


def test_every_built_in_plugin_loads() -> None:
    from rltk.registry import Registry

    registry = Registry(_built_in())
    assert registry.failures == []


def _built_in() -> list:
    from importlib.metadata import EntryPoint

    from rltk.plugin_sources import entry_point_sources

    return entry_point_sources(EntryPoint(name, value, "rltk") for name, value in ENTRY_POINTS.items())


def test_no_two_built_in_components_share_a_name() -> None:
    from rltk.registry import Registry

    registry = Registry(_built_in())
    keys = [(item.kind, item.component.name) for item in registry.provided]
    assert len(keys) == len(set(keys))


def test_every_option_of_a_built_in_component_is_described() -> None:
    from rltk.registry import Registry

    bare = [
        f"{item.kind} {item.component.name}.{name}"
        for item in Registry(_built_in()).provided
        for name, field in item.component.Config.model_fields.items()
        if not field.description
    ]
    assert bare == []


@pytest.mark.parametrize("module", ["rltk", "rltk.cli", "rltk.errors", "rltk.hookspecs", "rltk.registry"])
def test_importing_the_package_is_cheap(module: str) -> None:
    code = f"import {module}, sys; print({{'torch', 'transformers', 'gymnasium'}} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_the_public_names_exist() -> None:
    import rltk

    for name in rltk.__all__:
        assert getattr(rltk, name) is not None
    assert set(rltk.__all__) <= set(dir(rltk))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = rltk.no_such_name


@pytest.mark.parametrize("path", [*CORE, *PLUGIN_FILES], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 80, node.name


@pytest.mark.parametrize("path", [*CORE, *PLUGIN_FILES], ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_pickled(path: Path) -> None:
    unsafe = {"pickle", "cloudpickle", "dill", "joblib"}
    tree = _parse(path)
    assert not {name for name in _imports(tree) if name.split(".")[0] in unsafe}
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not calls & {"torch.save", "torch.load"}
