"""Models that are wrapped or spread over processes, and commands that a launcher started several times."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import rltk
from rltk.cli import main
from rltk.errors import UserError
from rltk.processes import require_whole
from rltk.testing.worlds import tiny_causal_lm, word_tokenizer


@pytest.fixture
def group() -> Iterator[None]:
    """A process group of this process alone."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_a_model_spread_over_processes_is_refused_by_policies_and_algorithms() -> None:
    policy = rltk.create("policy", "causal_lm", model=tiny_causal_lm(), tokenizer=word_tokenizer())
    fully_shard(policy.model, mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(UserError, match=r"policy\.model: weights are spread over processes.*'DTensor'"):
        rltk.create("policy", "causal_lm", model=policy.model, tokenizer=policy.tokenizer)
    for name in ("trpo", "ppo", "reinforce"):
        with pytest.raises(UserError, match=f"algorithm {name}: weights are spread.*before fully_shard"):
            rltk.create("algorithm", name, policy=policy)


@pytest.mark.usefixtures("group")
def test_a_wrapped_model_is_refused() -> None:
    wrapped = DistributedDataParallel(tiny_causal_lm())
    with pytest.raises(UserError, match=r"got 'DistributedDataParallel'. Fix: pass what is in it"):
        rltk.create("policy", "causal_lm", model=wrapped, tokenizer=word_tokenizer())


def test_the_older_flat_parameters_are_told_too() -> None:
    flat = torch.nn.Parameter(torch.zeros(3))
    require_whole([flat], "x")
    flat._fsdp_flattened = True  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="x: weights are spread over processes"):
        require_whole([flat], "x")


def test_a_command_started_several_times_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("sys.argv", ["rltk", "train", "cartpole"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("rltk: error: WORLD_SIZE: a run is one process") and error.count("\n") == 1
