"""The benchmark of speed: what work costs at least, who runs when, and what becomes of the measurements."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from tests.benchmarks import speed
from tests.benchmarks.speed_floor import Cost, decoding, embeddings, floor, forward, learning, passed
from tests.benchmarks.speed_models import build_model, forbid_special_tokens, text_of, word_tokenizer
from tests.benchmarks.speed_report import write_report
from tests.benchmarks.speed_summary import exponent, growth, met, summarise
from tests.benchmarks.speed_work import SCALING, SHAPES, Shape, Work, gpt2, rows

TINY = gpt2(2, 32, 2, 64, positions=64)
LLAMA = Shape("llama", 2, 32, 4, 2, 48, 64, positions=64, tied=False)


def model_of(shape: Shape, device: str = "cpu") -> Any:
    return build_model(
        {
            "shape": {"model_type": shape.model_type},
            "options": shape.options(),
            "device": device,
            "dtype": "float32",
        }
    )


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_have_as_many_parameters_as_their_models(name: str) -> None:
    shape = SHAPES[name]
    with torch.device("meta"):
        config = AutoConfig.for_model(shape.model_type, **shape.options())
        parameters = dict(AutoModelForCausalLM.from_config(config).named_parameters())
    tables = {name: p for name, p in parameters.items() if re.search("wte|wpe|embed_tokens|lm_head", name)}
    matrices = sum(p.numel() for p in parameters.values() if p.ndim == 2)
    places = sum(p.numel() for name, p in tables.items() if "wpe" in name)
    assert matrices - sum(p.numel() for p in tables.values()) == shape.trunk_parameters
    assert sum(p.numel() for p in tables.values()) - places == embeddings(shape)


@pytest.mark.parametrize("shape", [TINY, LLAMA])
def test_operations_are_those_that_torch_counts(shape: Shape) -> None:
    model = model_of(shape)
    model.set_attn_implementation("eager")  # of which every product is seen
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.tensor([[5]]))
    # over a single token, causal attention attends to everything
    assert counter.get_total_flops() == passed(shape, 1) + 2 * shape.head_parameters


def test_attention_costs_what_its_triangle_has() -> None:
    more = passed(TINY, 3) - 3 * (passed(TINY, 1) - 4 * 2 * 32)
    assert more == 4 * 2 * 32 * (1 + 2 + 3)


def test_decoding_reads_the_weights_once_a_step_and_the_cache_once_a_token() -> None:
    work = Work("", "decode", LLAMA, slots=2, episodes=4, prompt_tokens=3, new_tokens=2)
    trunk, head = LLAMA.trunk_parameters, LLAMA.head_parameters
    cached = 2 * 2 * 16 * 4  # keys and values, two layers, half as many heads, four bytes
    cost = decoding(work)
    assert cost.bytes == 4 * (trunk + head) * 4 + 4 * cached * (3 + 4)
    assert cost.operations == 4 * (passed(LLAMA, 4) + 2 * 2 * head)
    assert decoding(work, itemsize=2).bytes == cost.bytes / 2


def test_an_iteration_is_its_parts() -> None:
    work = Work("", "ppo", TINY, episodes=8, epochs=2, minibatch=4, critic="separate")
    with_head, without = forward(work, head=True), forward(work, head=False)
    trained = 2 * (TINY.trunk_parameters + TINY.head_parameters)
    update = (with_head + without) * 6 + Cost(bytes=4 * 28 * trained)
    assert learning(work) == update
    assert floor(work) == decoding(work) + (with_head + without) + update + without
    lean = replace(work, critic="detached_head")
    assert floor(work).operations - floor(lean).operations == 7 * without.operations


def test_cost_takes_the_time_of_both_rates() -> None:
    assert Cost(6e9, 4e9).seconds(operations_per_second=3e9, bytes_per_second=8e9) == 2.5


def test_lengths_are_drawn_at_the_hazard_and_cut_off() -> None:
    work = Work("", "decode", TINY, episodes=4000, new_tokens=64, hazard=0.04)
    lengths = work.lengths()
    expected = (1 - 0.96**64) / 0.04
    assert lengths == work.lengths()
    assert min(lengths) == 1 and max(lengths) == 64
    assert sum(lengths) / 4000 == pytest.approx(expected, rel=0.03)
    assert replace(work, hazard=0.0).lengths() == [64] * 4000


def test_prompts_are_words_and_survive_as_text() -> None:
    work = Work("", "rloo", TINY, episodes=8, group=4)
    prompts, tokenizer = work.prompts(), word_tokenizer(64)
    assert len(prompts) == 2 and all(len(prompt) == 16 and min(prompt) >= 3 for prompt in prompts)
    assert [tokenizer.encode(text_of(prompt)) for prompt in prompts] == prompts
    assert len(tokenizer) == 64


def test_forbidden_tokens_have_a_constant_low_logit() -> None:
    model = model_of(TINY)
    forbid_special_tokens(model)
    with torch.no_grad():
        logits = model(torch.arange(3, 43).reshape(4, 10)).logits
    assert torch.allclose(logits[..., :3], torch.tensor(-60.0), atol=1e-3)
    assert logits[..., 3:].abs().max() < 10


def test_sides_take_turns_and_share_a_peer() -> None:
    works = [
        Work("a", "ppo", TINY, peer="trl_ppo"),
        Work("b", "ppo", TINY, peer="trl_ppo", peer_row="a"),
        Work("c", "decode", TINY),
    ]
    runs = [(run.row, run.side, run.repetition) for run in speed.planned(works, 2)]
    assert runs[:5] == [
        ("machine", "machine", 0),
        ("a", "rltk", 0),
        ("a", "trl_ppo", 0),
        ("b", "rltk", 0),
        ("c", "rltk", 0),
    ]
    assert runs[6:8] == [("a", "trl_ppo", 1), ("a", "rltk", 1)]
    assert len(set(runs)) == len(runs) == 10


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_line_is_a_job(device: str, tmp_path: Path) -> None:
    settings = speed.Settings(device, threads=1, quick=True, repeats=1)
    works = rows(device)
    assert len({work.name for work in works}) == len(works)
    for work in works:
        if work.kind not in ("ppo", "rloo"):
            job = speed.as_job(speed.Run(work.name, "rltk", 0), settings, tmp_path)
            assert json.loads(json.dumps(job))["shape"]["hidden"] == work.shape.hidden
            assert len(job["lengths"]) == work.quick().episodes
            assert work.prompt_tokens + work.new_tokens < work.shape.positions
        if work.peer_row is not None:
            twin = next(other for other in works if other.name == work.peer_row)
            assert twin.peer == work.peer
            assert replace(work, critic=twin.critic, compile=twin.compile, goal=twin.goal) == replace(
                twin, name=work.name, peer_row=twin.name
            )


def record(row: str, side: str, repetition: int, seconds: float, **more: Any) -> dict[str, Any]:
    base = {"seconds": [seconds, seconds], "cpu_seconds": [2 * seconds], "tokens": 100, "memory": 5e6}
    return {
        **base,
        "row": row,
        "side": side,
        "repetition": repetition,
        "settings": SETTINGS,
        "load": 1,
        **more,
    }


SETTINGS = {"device": "cpu", "threads": 1, "quick": True, "repeats": 2}


def machine(repetition: int, rate: float) -> dict[str, Any]:
    sizes = {speed.working_set(shape) for shape in (TINY, LLAMA)}
    copies = {str(size): rate for size in sizes}
    return record("machine", "machine", repetition, 0.0, matrix=rate, copy=copies)


def test_ratios_are_medians_of_pairs() -> None:
    work = Work("a", "ppo", TINY, peer="trl_ppo", goal=3.0, memory_goal=0.5)
    records = [machine(0, 1e9), machine(1, 2e9)]
    for repetition, (ours, theirs) in enumerate([(1.0, 2.0), (1.0, 3.0), (2.0, 20.0), (1.0, 9.0)]):
        records.append(record("a", "rltk", repetition, ours, phases={"update": ours}))
        if repetition < 3:
            records.append(record("a", "trl_ppo", repetition, theirs, memory=1e7))
    (entry,) = summarise(records, [work, replace(work, name="not measured")], itemsize=4)
    assert entry["ratio"] == {"median": 3.0, "lowest": 2.0, "highest": 10.0}
    assert entry["cpu_ratio"]["median"] == 3.0
    assert entry["rltk"]["seconds"] == 1.0 and entry["rltk"]["tokens_per_second"] == 100.0
    assert entry["rltk"]["phases"] == {"update": pytest.approx(5 / 8)}
    assert entry["memory_ratio"] == 0.5
    cost = floor(work)
    assert entry["floor"]["seconds"] == pytest.approx((cost.operations + cost.bytes) / 2e9)
    assert entry["distance"] == pytest.approx(1.0 / entry["floor"]["seconds"])
    assert entry["utilisation"] == pytest.approx(cost.operations / 2e9)
    assert met(entry) is True
    assert met({**entry, "goal": 3.1}) is False
    assert met({**entry, "memory_ratio": 0.51}) is False
    assert met({**entry, "ratio": None}) is None


def test_overhead_is_what_is_not_acting() -> None:
    work = Work("o", "overhead", TINY, goal=0.05)
    records = [machine(0, 1e9), record("o", "rltk", 0, 1.0, phases={"acting": 1.6})]
    (entry,) = summarise(records, [work], itemsize=4)
    assert entry["overhead"] == pytest.approx(0.25)
    assert met(entry) is False


def test_growth_has_the_exponent_of_a_power() -> None:
    assert exponent({1: 3.0, 2: 12.0, 4: 48.0}) == pytest.approx(2.0)
    assert exponent({0: 1.0, 32: 1.0}) is None
    values = list(SCALING["update-tokens"])
    entries = [
        {"row": f"scaling-update-tokens-{value}", "rltk": {"seconds": 2.0 * value}} for value in values
    ]
    (found,) = growth(entries)
    assert found["factor"] == "update-tokens" and found["exponent"] == pytest.approx(1.0)
    assert growth(entries[:1]) == []


def test_the_report_puts_tables_between_markers(tmp_path: Path) -> None:
    works = [
        Work("a", "ppo", TINY, peer="trl_ppo", goal=3.0, memory_goal=0.6),
        Work("b", "rloo", LLAMA),
        Work("o", "overhead", TINY, goal=0.05),
    ]
    records = [
        machine(0, 1e9),
        record("a", "rltk", 0, 1.0, phases={"decode": 0.5, "update": 1.5}),
        record("a", "trl_ppo", 0, 4.0, memory=1e7),
        record("b", "rltk", 0, 1.0, phases={}),
        record("o", "rltk", 0, 1.0, phases={"acting": 1.98}),
    ]
    write_report(records, works, tmp_path, itemsize=4)
    page = (tmp_path / "speed.md").read_text()
    assert "| a | PPOTrainer, TRL 1.12 | 1.00 | 4.00 | 100 | 4.00 |" in page
    assert "| ≥ 3.0 | met |" in page
    assert "| a | 5 | 10 | 0.50 | ≤ 0.6 |" in page
    assert "overhead 1.0%" in page
    assert re.search(r"\| a \| 25 % \| . \| . \| . \| 75 % \|", page)
    assert "1 GFLOP/s" in page
    written = json.loads((tmp_path / "speed.json").read_text())
    assert [entry["row"] for entry in written["rows"]] == ["a", "b", "o"]
    assert len(written["runs"]) == 5
    write_report(records, works, tmp_path, itemsize=4)
    assert (tmp_path / "speed.md").read_text() == page


def test_a_gpu_has_a_table_and_a_file_of_its_own(tmp_path: Path) -> None:
    settings = {**SETTINGS, "device": "cuda"}
    records = [{**machine(0, 1e12), "settings": settings}, record("u", "rltk", 0, 0.5)]
    write_report(records, [Work("u", "update", TINY)], tmp_path, itemsize=4)
    assert "| u | 200 |" in (tmp_path / "speed.md").read_text()
    assert (tmp_path / "speed_cuda.json").is_file() and not (tmp_path / "speed.json").exists()


def test_a_run_goes_on_from_its_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[speed.Run] = []

    def pretend(run: speed.Run, settings: speed.Settings, models: Path) -> dict[str, Any]:
        measured.append(run)
        if run.side == "machine":
            return machine(run.repetition, 1e9)
        return record(run.row, run.side, run.repetition, 1.0, phases={})

    works = [Work("a", "decode", TINY, peer="generate", goal=1.0), Work("b", "decode", LLAMA)]
    monkeypatch.setattr(speed, "measure", pretend)
    monkeypatch.setattr(speed, "rows", lambda device: works)
    file = tmp_path / "records.jsonl"
    given = ["--records", str(file), "--docs", str(tmp_path), "--quick", "--threads", "1"]
    speed.main([*given, "--rows", "a", "--repetitions", "1"])
    assert len(measured) == 3
    file.write_text(file.read_text() + '{"row": "a", "si')  # as an interrupted run leaves it
    speed.main([*given, "--repetitions", "2"])
    assert len(measured) == len(set(measured)) == 8
    assert len(file.read_text().splitlines()) == 8
    assert "| b | generate" not in (tmp_path / "speed.md").read_text()
    assert len(json.loads((tmp_path / "speed.json").read_text())["runs"]) == 8


SMOKE = [
    ("decode", "rltk", {"hazard": 0.1}),
    ("decode", "generate", {"hazard": 0.1}),
    ("overhead", "rltk", {}),
    ("ppo", "rltk", {"critic": "separate"}),
    ("ppo", "trl_ppo", {}),
    ("rloo", "rltk", {"group": 4}),
    ("rloo", "trl_rloo", {"group": 4}),
    ("update", "rltk", {"critic": "detached_head"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "side", "more"), SMOKE)
def test_both_sides_do_the_work(
    kind: Any, side: str, more: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (speed.ROOT / speed.SIDES[side][1] / "bin/python").exists():
        pytest.skip("make peers-text")
    work = Work("smoke", kind, TINY, slots=8, episodes=16, new_tokens=8, minibatch=16, epochs=2, **more)
    monkeypatch.setattr(speed, "rows", lambda device: [work])
    settings = speed.Settings("cpu", threads=1, quick=False, repeats=2)
    measured = speed.measure(speed.Run("smoke", side, 0), settings, tmp_path)
    assert measured["tokens"] == sum(work.lengths())
    assert len(measured["seconds"]) == len(measured["cpu_seconds"]) == 2
    assert min(measured["seconds"]) > 0 and measured["memory"] > 0
    if side == "rltk" and kind in ("ppo", "rloo", "overhead"):
        assert 0.5 < sum(measured["phases"].values()) / sum(measured["seconds"]) <= 1.0
