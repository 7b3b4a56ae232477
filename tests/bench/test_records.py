import json
from pathlib import Path

import pytest

from rltk.bench.records import Record, read_records, write_records
from rltk.errors import UserError

RECORD = Record(
    policy="p",
    train_seed=None,
    environment="e",
    seed=1,
    prompt=4,
    prompt_key="0123456789abcdef",
    sample=0,
    score=0.5,
    reward=None,
    kl=0.25,
    prompt_text="żółć \u2028 <script>",
    response="a\nb",
    length=3,
    terminated=True,
    truncated=False,
    metrics={"words": 2.0},
)


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "cells" / "p" / "0.jsonl"
    write_records(path, [RECORD, RECORD])
    assert read_records(path, 2) == [RECORD, RECORD]
    line = path.read_text(encoding="utf-8").split("\n")[0]
    assert list(json.loads(line)) == sorted(json.loads(line))
    assert [item.name for item in path.parent.iterdir()] == ["0.jsonl"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (RECORD.to_line()[:40], "the file breaks off"),
        ("", "the file is empty"),
        (RECORD.to_line() + "\n" + RECORD.to_line()[:-9] + "\n", r"0\.jsonl:2: no record of an episode"),
        (RECORD.to_line() + "\n", r"it should hold 2 records, got 1"),
        ("[]\n[]\n", "other keys than those of a record"),
        (RECORD.to_line().replace("0.5", '"0.5"') + "\n", "score is str"),
        (RECORD.to_line().replace("0.5", "NaN") + "\n", "not finite"),
        (RECORD.to_line().replace('"seed"', '"sede"') + "\n", "other keys"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "0.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=line) as error:
        read_records(path, 2)
    assert "\n" not in str(error.value)
    assert "--resume" in str(error.value)


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "0.jsonl").write_bytes(b"\xff\xfe\n")
    for path in (tmp_path / "0.jsonl", tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            read_records(path)
