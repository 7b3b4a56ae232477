"""The page in a real browser: Chromium without a window."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rltk.bench.reporting.page import render_page
from rltk.bench.summary import summarise
from tests.bench.test_bench_report import NASTY, measured

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

#: A phone's width, less than a window may have: the page in a frame tells the outer page what it measures.
PHONE = """<!doctype html><html style="color-scheme: light dark"><script>
  addEventListener("message", message => Object.assign(document.documentElement.dataset, message.data));
</script><iframe src="report.html" style="width: 390px; height: 800px; border: 0"></iframe></html>"""
MEASURE = """<script>addEventListener("load", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  const wide = [...document.querySelectorAll("body *")].filter(item =>
    item.getBoundingClientRect().right > innerWidth + 1 && !item.closest(".scroll"));
  parent.postMessage({
    window: innerWidth,
    page: document.documentElement.scrollWidth,
    wide: wide.map(item => item.tagName + "." + item.getAttribute("class")).join(" "),
    resources: performance.getEntriesByType("resource").length,
    title: document.title,
    ink: getComputedStyle(document.body).color,
    paper: getComputedStyle(document.body).backgroundColor,
  }, "*");
});</script>"""


class Parsed(HTMLParser):
    """Collects the tags with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page() -> str:
    results = measured()
    long = "a_name_longer_than_a_phone_is_wide_" * 3
    return render_page(summarise(results), results).replace("<h1>small", f"<h1>{long}")


def dom(path: Path, profile: Path, *options: str) -> Parsed:
    """Return the page as the browser has it once it is loaded; it can reach no host."""
    command = [
        str(CHROMIUM),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={profile}",
        *options,
        "--dump-dom",
        path.as_uri(),
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return Parsed(made.stdout)


def test_nothing_is_loaded_and_nothing_runs(page: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    shown = dom(path, tmp_path / "profile")
    assert not {tag for tag, _ in shown.tags} & {"script", "img", "link", "iframe", "object", "embed", "base"}
    for tag, attributes in shown.tags:
        assert not {"src", "href", "srcset", "data", "action", "poster", "background"} & attributes.keys(), (
            tag
        )
        assert not [name for name in attributes if name.startswith("on")], tag
    assert "url(" not in page
    assert "@import" not in page
    policies = [given["content"] for tag, given in shown.tags if tag == "meta" and "http-equiv" in given]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]
    assert shown.text.count(NASTY) > 5
    assert shown.text.lstrip().startswith("small\n")  # the title


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_aside(page: str, scheme: str, tmp_path: Path) -> None:
    # Scripts are let in, so that what policies said would run if it were more than text.
    measured = page.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    path = tmp_path / "report.html"
    path.write_text(measured.replace("</head>", f"{MEASURE}</head>"), encoding="utf-8")
    setting = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    phone = tmp_path / "phone.html"
    phone.write_text(PHONE, encoding="utf-8")
    shown = dom(phone, tmp_path / "profile", "--virtual-time-budget=5000", setting)
    said = {name[5:]: value for name, value in shown.tags[0][1].items() if name.startswith("data-")}
    assert said["title"] == "small"
    assert said["resources"] == "0"
    assert said["wide"] == ""
    assert said["window"] == "390"
    assert int(said["page"] or 0) <= 390
    light = "rgb(255, 255, 255)", "rgb(27, 31, 36)"
    dark = "rgb(20, 23, 27)", "rgb(232, 234, 237)"
    assert (said["paper"], said["ink"]) == (dark if scheme == "dark" else light)
