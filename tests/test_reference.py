"""docs/plugins/reference says what the code says."""

import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from rltk import hookspecs
from rltk.registry import Provided, get_registry

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "plugins" / "reference"
BUILT_IN = [item for item in get_registry().provided if item.source.distribution == "rltk"]
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("rltk_"))


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "generate_reference", ROOT / "docs" / "generate_reference.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = _generator()
STALE = f"docs/plugins/reference is not what the code says; run: {GENERATOR.COMMAND}"


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    pages: dict[str, str] = GENERATOR.pages()
    return pages


def test_what_is_committed_is_what_is_generated(generated: dict[str, str]) -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in REFERENCE.iterdir()}
    differing = sorted(name for name in committed | generated if committed.get(name) != generated.get(name))
    assert differing == [], STALE


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_stands_there_with_its_exact_arguments_and_their_types(name: str) -> None:
    text = (REFERENCE / "hooks.md").read_text(encoding="utf-8")
    signature = inspect.signature(getattr(hookspecs, name))
    heading = f"### {name}({', '.join(signature.parameters)})\n"
    assert heading in text, STALE
    section = text.partition(heading)[2].partition("\n###")[0]
    rows = re.findall(r"^\| `(\w+)` \| `(.*)` \|$", section, re.MULTILINE)
    expected = [(key, parameter.annotation) for key, parameter in signature.parameters.items()]
    assert [(key, shown.replace("\\|", "|")) for key, shown in rows] == expected, STALE
    assert f"Returns `{signature.return_annotation}`." in section, STALE


@pytest.mark.parametrize("item", BUILT_IN, ids=lambda item: f"{item.kind}.{item.component.name}")
def test_every_option_of_every_component_stands_there(item: Provided) -> None:
    page = {"algorithm": "algorithms", "policy": "policies", "reward_model": "rewards"}
    text = (REFERENCE / f"{page.get(item.kind, item.kind + 's')}.md").read_text(encoding="utf-8")
    heading = f"\n## {item.component.name}\n"
    assert heading in text, STALE
    section = text.partition(heading)[2].partition("\n## ")[0]
    for name, field in item.component.Config.model_fields.items():
        row = next((line for line in section.splitlines() if line.startswith(f"| `{name}` |")), "")
        assert row, f"{name}: {STALE}"
        assert ("| required |" in row) == field.is_required(), f"{name}: {STALE}"
        assert (field.description or "").replace("|", "\\|") in row, f"{name}: {STALE}"


def test_the_message_says_what_to_run() -> None:
    assert STALE.endswith("run: python docs/generate_reference.py")
    assert (ROOT / GENERATOR.COMMAND.split()[1]).is_file()
