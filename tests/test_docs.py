"""The documentation: its examples run, its links lead somewhere, and it names what the code holds."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_PYTHON = re.compile(r"(<!-- not run -->\n+)?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def python_blocks(page: Path) -> list[tuple[int, str]]:
    """Return the line and source of each Python block that is meant to run."""
    text = page.read_text(encoding="utf-8")
    found = [match for match in _PYTHON.finditer(text) if match[1] is None]
    return [(text.count("\n", 0, match.start(2)) + 1, match[2]) for match in found]


def relative_links(page: Path) -> list[tuple[str, Path]]:
    """Return the text and target of each link to a file, code blocks aside."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    links = [(match[1], match[2].partition("#")[0]) for match in _LINK.finditer(text)]
    local = [(shown, target) for shown, target in links if target and "://" not in target]
    return [(shown, page.parent / target) for shown, target in local]


BLOCKS = [
    pytest.param(page, line, source, id=f"{_name(page)}:{line}")
    for page in PAGES
    for line, source in python_blocks(page)
]


@pytest.mark.parametrize(("page", "line", "source"), BLOCKS)
def test_examples_run(page: Path, line: int, source: str) -> None:
    """Each block stands alone; the empty lines put before it make a traceback name the page's own line."""
    code = compile("\n" * (line - 1) + source, str(page), "exec")
    exec(code, {"__name__": "documented_example"})


def test_blocks_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n\n```python\nx = 1\n```\n\n<!-- not run -->\n```python\nno\n```\n\n```\nno\n```\n")
    assert python_blocks(page) == [(4, "x = 1\n")]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_files(page: Path) -> None:
    assert [str(target) for _, target in relative_links(page) if not target.exists()] == []


def _holds(source: str, name: str) -> bool:
    """Tell whether a module defines a function, class or constant of this name, at any depth."""
    return bool(re.search(rf"^\s*(?:(?:async )?def|class) {name}\b|^{name}\b\s*[:=]", source, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_linked_names_are_in_the_file(page: Path) -> None:
    """A link such as [`Task.to_row`](tasks.py) has to name something that tasks.py still defines."""
    names = [
        (shown.strip("`").rpartition(".")[2], target)
        for shown, target in relative_links(page)
        if target.suffix == ".py" and re.fullmatch(r"`[\w.]+`", shown) and not shown.endswith(".py`")
    ]
    assert [name for name, target in names if not _holds(target.read_text(encoding="utf-8"), name)] == []
