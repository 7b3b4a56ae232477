from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rltk.bench.command import bench, report
from rltk.bench.reporting.page import render_page
from rltk.bench.results import Results
from rltk.bench.summary import summarise
from rltk.errors import UserError
from tests.bench.conftest import WORLD
from tests.bench.made_up import keep, made_up

FILES = ("summary.json", "summary.csv", "summary.md", "report.html")
NASTY = '<script>document.title="run"</script><img src="https://example.com/x.png" onerror="run()"> & "more"'


def small() -> Results:
    """Return the results of three policies in two environments; one cell failed."""
    scores = [[0.2 + 0.01 * prompt] for prompt in range(20)]
    more = [[0.5 + 0.01 * prompt] for prompt in range(20)]
    return made_up(
        {
            ("a", "echo"): [scores, scores],
            ("b", "echo"): [more, more],
            ("c", "echo"): [more, 'No such file: "<b>|weights|</b>"'],
            ("a", "lock"): [scores, scores],
            ("b", "lock"): [scores, scores],
        },
        name="small",
    )


def measured() -> Results:
    """Return the same with proxies, KL and a response that is no plain text."""
    results = small()
    records = [
        replace(
            record, reward=record.score + 1, kl=float(record.policy != "a") * record.score, response=NASTY
        )
        for record in results.records
    ]
    return replace(results, config=results.config.model_copy(update={"reference": "a"}), records=records)


def rebuild(directory: Path, *overrides: str) -> dict[str, bytes]:
    """Write the report as the command does and return its files."""
    report(directory, overrides, plugins=[WORLD, "no:observer_progress"], strict=False)
    return {name: (directory / name).read_bytes() for name in FILES}


def test_the_same_records_make_the_same_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = rebuild(keep(measured(), tmp_path / "one"))
    assert rebuild(tmp_path / "one") == first
    assert rebuild(keep(measured(), tmp_path / "two")) == first
    assert str(tmp_path).encode() not in b"".join(first.values())
    shown = capsys.readouterr().out
    assert "against a" in shown
    assert re.search(r"echo +b +\+0\.300 \[\+0\.300, \+0\.300\] +\S+ +better", shown)
    assert "c in echo: ERROR 1/2: No such file" in shown
    assert f"report: {tmp_path / 'two' / 'report.html'}" in shown


def test_baseline_and_margin_of_a_finished_bench(tmp_path: Path) -> None:
    directory = keep(small(), tmp_path / "b")
    rebuild(directory, "baseline=b", "margin=0.5")
    summary = json.loads((directory / "summary.json").read_text())
    assert (summary["baseline"], summary["margin"]) == ("b", 0.5)
    assert {item["verdict"] for item in summary["versus"]} == {"tied"}
    for override, line in (
        ("seeds=3", "seeds: unknown key"),
        ("margin=-1", "margin: should be greater than or equal to 0, got -1"),
        ("baseline=z", "baseline: it names none of the policies, got 'z'"),
        ("baseline", "override: not of the form key.path=value"),
    ):
        with pytest.raises(UserError, match=line):
            rebuild(directory, override)


def test_a_bench_that_is_done_writes_its_report_again(tmp_path: Path) -> None:
    directory, options = tmp_path / "b", {"workers": 1, "plugins": [WORLD], "strict": False}
    given = {"policies": ["random", "oracle"], "environments": ["echo"], "seeds": 1, "episodes": 4}
    assert bench([], given=given, run=directory, resume=False, **options)
    first = {name: (directory / name).read_bytes() for name in FILES}
    for name in FILES:
        (directory / name).unlink()
    assert bench([], given={}, run=directory, resume=True, **options)
    assert {name: (directory / name).read_bytes() for name in FILES} == first


def test_broken_files_are_one_line(tmp_path: Path) -> None:
    directory = keep(small(), tmp_path / "b")
    cell = directory / "cells/b/echo/1.jsonl"
    whole = cell.read_text()
    cell.write_text(whole.replace('"score": 0.52', '"score": "good"'))
    with pytest.raises(UserError, match=r"b/echo/1\.jsonl:3: no record of an episode \(score is str\)"):
        rebuild(directory)
    cell.write_text(whole[:-5])
    with pytest.raises(UserError, match=r"b/echo/1\.jsonl: the file breaks off"):
        rebuild(directory)
    cell.write_text(whole)
    plan = (directory / "plan.json").read_text()
    (directory / "plan.json").write_text(plan[:-5])
    with pytest.raises(UserError, match=r"plan\.json:\d+: no JSON"):
        rebuild(directory)
    (directory / "plan.json").write_text("{}")
    with pytest.raises(UserError, match=r"plan\.json: no plan of this bench"):
        rebuild(directory)
    for path in (directory / "cells", tmp_path / "none"):
        with pytest.raises(UserError, match="no bench is here"):
            rebuild(path)


def test_csv_and_json_have_the_same_numbers(tmp_path: Path) -> None:
    files = rebuild(keep(measured(), tmp_path / "b"))
    rows = list(csv.DictReader(files["summary.csv"].decode().splitlines()))
    standings = json.loads(files["summary.json"])["standings"]
    for standing in standings:
        place = standing["environment"], standing["policy"]
        if standing["score"] is None:
            continue
        (row,) = (
            row for row in rows if (row["environment"], row["policy"], row["measure"]) == (*place, "score")
        )
        assert [float(row[end]) for end in ("value", "low", "high")] == list(standing["score"].values())
    assert {row["measure"] for row in rows if row["against"]} >= {"difference", "p_holm", "win_rate"}
    notes = [row["note"] for row in rows if row["policy"] == "c" and row["measure"] == "score"]
    assert notes == ["ERROR 1/2", "left out; it has no hands"]


def test_markdown_has_tables_of_one_width(tmp_path: Path) -> None:
    text = rebuild(keep(small(), tmp_path / "b"))["summary.md"].decode()
    assert text.startswith("# small\n\n3 policies, 2 environments, 2 evaluation seeds, 180 episodes.")
    assert "- c in lock: left out: it has no hands\n" in text
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("| ")]
    assert len(tables) == 6
    for table in tables:
        assert len({row.count("|") for row in table}) == 1


def test_what_policies_say_is_text() -> None:
    results = measured()
    page = render_page(summarise(results), results)
    assert NASTY not in page
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;document.title=&#34;run&#34;&lt;/script&gt;&lt;img src=&#34;https" in page
    assert "No such file: &#34;&lt;b&gt;|weights|&lt;/b&gt;&#34;" in page


def test_the_page_shows_every_part() -> None:
    results = measured()
    page = render_page(summarise(results), results)
    sections = re.findall(r'<section id="(\w+)">', page)
    assert sections == ["against", "overall", "pairs", "environments", "frontier", "samples", "reading"]
    # In the four figures of aggregates.
    assert page.count('class="label">c</span><svg class="track">') == 6
    assert page.count('<span class="value">ERROR 1/2</span>') == 4
    alone = made_up({("a", "echo"): [[[0.5]]]})
    sections = re.findall(r'<section id="(\w+)">', render_page(summarise(alone), alone))
    assert sections == ["overall", "environments", "samples", "reading"]
    # Coordinates that are not numbers would be drawn nowhere.
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S)
