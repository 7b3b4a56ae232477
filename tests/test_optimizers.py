"""Optimisers without torch's compiler, against torch's own."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from rltk import optimizers
from rltk.training import load_optimizer_state, optimizer_state

ADAM = (optimizers.Adam, torch.optim.Adam, {"eps": 1e-5, "fused": True})
RMSPROP = (optimizers.RMSprop, torch.optim.RMSprop, {"alpha": 0.9, "eps": 1e-3, "foreach": True})


def descend(kind: type[Any], options: dict[str, Any], *, interrupted: bool) -> list[torch.Tensor]:
    """Return two parameters after four steps on a curved surface, at rates of their own that change."""
    x = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    y = torch.tensor([[0.5], [4.0]], requires_grad=True)
    groups = [{"params": [x], "lr": 0.1}, {"params": [y], "lr": 0.01}]
    optimizer = kind(groups, **options)
    for step in range(4):
        optimizer.zero_grad()
        ((x**4).sum() * (1 + y**2).log().sum()).backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] *= 0.5
        if interrupted and step == 1:
            saved, rates = optimizer_state(optimizer), [group["lr"] for group in optimizer.param_groups]
            optimizer = kind(groups, **options)
            load_optimizer_state(optimizer, saved)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
    assert x.is_leaf and x.requires_grad
    return [x.detach(), y.detach()]


@pytest.mark.parametrize(("ours", "torchs", "options"), [ADAM, RMSPROP], ids=["adam", "rmsprop"])
@pytest.mark.parametrize("interrupted", [False, True])
def test_steps_are_torchs(ours: type[Any], torchs: type[Any], options: Any, interrupted: bool) -> None:
    expected = descend(torchs, options, interrupted=False)
    for parameter, other in zip(descend(ours, options, interrupted=interrupted), expected, strict=True):
        assert torch.equal(parameter, other)


def test_the_compiler_is_not_imported() -> None:
    code = (
        "import sys, torch; from rltk.optimizers import Adam, RMSprop\n"
        "x = torch.ones(3, requires_grad=True)\n"
        "for optimizer in (Adam([x], fused=True), RMSprop([x], foreach=True)):\n"
        "    optimizer.zero_grad(); (x**2).sum().backward(); optimizer.step()\n"
        "    optimizer.load_state_dict(optimizer.state_dict())\n"
        "print('torch._dynamo' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
