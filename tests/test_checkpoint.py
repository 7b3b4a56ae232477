import contextlib
import json
import os
from pathlib import Path

import pytest
import torch

from rltk import checkpoint
from rltk.checkpoint import CheckpointError, CheckpointStore, load_state, save_state


def test_round_trip_keeps_values_dtypes_and_key_types(tmp_path: Path) -> None:
    base = torch.arange(10.0)
    tree = {
        "tensors": [base, base[2:5], torch.tensor(3, dtype=torch.bfloat16), torch.empty(0)],
        "mask": torch.tensor([True, False]),
        "numbers": [1, 2**100, 0.1, -0.0, True, None, "text", float("inf")],
        7: {"int key": 1, None: 2},
        "$tensor": {"$items": "not special"},
        "pair": (1, 2),
    }
    save_state(tmp_path / "state", tree)
    loaded = load_state(tmp_path / "state")
    for mine, theirs in zip(tree["tensors"], loaded["tensors"], strict=True):
        assert theirs.dtype == mine.dtype and torch.equal(theirs, mine)
    assert torch.equal(loaded["mask"], tree["mask"])
    assert loaded["numbers"] == tree["numbers"]
    assert [type(value) for value in loaded["numbers"]] == [type(value) for value in tree["numbers"]]
    assert loaded[7] == {"int key": 1, None: 2}
    assert loaded["$tensor"] == {"$items": "not special"}
    assert loaded["pair"] == [1, 2]


def test_an_optimizer_goes_on_exactly_where_it_was_saved(tmp_path: Path) -> None:
    def step(model: torch.nn.Linear, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()

    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    step(model, optimizer)
    save_state(tmp_path / "s", {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    other = torch.nn.Linear(3, 2)
    other_optimizer = torch.optim.AdamW(other.parameters(), lr=0.1)
    state = load_state(tmp_path / "s")
    other.load_state_dict(state["model"])
    other_optimizer.load_state_dict(state["optimizer"])
    step(model, optimizer)
    step(other, other_optimizer)
    assert torch.equal(model.weight, other.weight)


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object()])
def test_other_types_are_refused_and_leave_nothing(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError, match="tensors and JSON values"):
        save_state(tmp_path / "state", {"x": value})
    assert list(tmp_path.iterdir()) == []


def test_only_as_many_as_asked_for_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=2)
    assert store.latest() is None
    for step in (9, 10, 11):
        store.save(step, {"step": step})
    assert store.steps() == [10, 11]
    assert store.latest() == (11, {"step": 11})


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(3, {"x": 1})
    store.save(3, {"x": 2})
    assert store.latest() == (3, {"x": 2})


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
@pytest.mark.parametrize("file", ["tree.json", "tensors.safetensors", "manifest.json"])
def test_a_damaged_checkpoint_is_named_and_passed_over(tmp_path: Path, file: str, damage: str) -> None:
    store = CheckpointStore(tmp_path)
    for step in (1, 2):
        store.save(step, {"weight": torch.full((4,), float(step)), "step": step})
    path = store.path(2) / file
    content = path.read_bytes()
    if damage == "delete":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    else:
        # the first digit of a digest or the last byte of a file, so that the file stays readable
        at = content.index(b'": "') + 4 if file == "manifest.json" else len(content) - 2
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(CheckpointError, match="step-000000002"):
        load_state(store.path(2))
    with pytest.warns(RuntimeWarning, match="passed over"):
        latest = store.latest()
    assert latest is not None and latest[0] == 1
    assert torch.equal(latest[1]["weight"], torch.ones(4))


class Crash(BaseException):
    """The process ends here: nothing may clean up after it."""


def _crash_at(monkeypatch: pytest.MonkeyPatch, call: int) -> list[str]:
    """Make the ``call``-th operation that touches the disk crash, before it is done."""
    calls: list[str] = []

    def wrap(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def operation(*args: object, **kwargs: object) -> object:
            calls.append(name)
            if len(calls) > call:
                raise Crash
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, operation)

    wrap(os, "rename")
    wrap(os, "fsync")
    wrap(checkpoint, "save_file")
    wrap(checkpoint.shutil, "rmtree")
    wrap(Path, "write_text")
    return calls


def test_a_crash_at_any_point_leaves_the_former_or_the_new_checkpoint(tmp_path: Path) -> None:
    """From the fault on every disk operation fails, the clean-up too, as after a kill."""
    old, new = {"w": torch.zeros(3), "step": 2}, {"w": torch.ones(3), "step": 3}
    outcomes = []
    for call in range(100):
        store = CheckpointStore(tmp_path / str(call))
        store.save(1, {"step": 1})
        store.save(2, old)
        with pytest.MonkeyPatch.context() as monkeypatch:
            calls = _crash_at(monkeypatch, call)
            with contextlib.suppress(Crash):
                store.save(3, new)
        latest = CheckpointStore(tmp_path / str(call)).latest()
        assert latest is not None
        step, tree = latest
        expected = {2: old, 3: new}[step]
        assert tree["step"] == step and torch.equal(tree["w"], expected["w"])
        outcomes.append(step)
        # a later save works in spite of what the crash left, and tidies it up
        store.save(4, new)
        assert store.steps()[-1] == 4 and not list(store.directory.glob(".*"))
        if len(calls) <= call:
            break
    assert outcomes == sorted(outcomes) and set(outcomes) == {2, 3} and len(outcomes) > 8


def test_the_new_checkpoint_is_on_the_disk_before_an_old_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(tmp_path)
    for step in (1, 2):
        store.save(step, {})
    calls = _crash_at(monkeypatch, 1000)
    store.save(3, {})
    assert calls[-1] == "rmtree" and calls[-2] == "fsync" and "rename" in calls


def test_write_text_replaces_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "done.json"
    checkpoint.write_text(path, "old")

    def crash(*_: object) -> None:
        raise Crash

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(Crash):
        checkpoint.write_text(path, "new")
    assert path.read_text() == "old"


def test_the_files_hold_no_pickle(tmp_path: Path) -> None:
    save_state(tmp_path / "s", {"w": torch.zeros(1), "x": [1]})
    assert {file.suffix for file in (tmp_path / "s").iterdir()} == {".json", ".safetensors"}
    assert json.loads((tmp_path / "s" / "tree.json").read_text()) == {"w": {"$tensor": "0"}, "x": [1]}
