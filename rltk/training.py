"""The supervised training loop that stages share: summed losses, one division, checked before every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rltk.errors import NonFiniteError, UserError
from rltk.interfaces import ComponentConfig
from rltk.rng import seeded_initialisation
from rltk.types import Metrics, Rollout

if TYPE_CHECKING:
    from rltk.runs import StageContext


class TrainingConfig(ComponentConfig):
    """Options of every stage that trains with AdamW on batches of rows."""

    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate of AdamW")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="how the learning rate falls after the warm-up"
    )
    final_lr_ratio: float = Field(
        0.1, ge=0, le=1, description="where a cosine or linear schedule ends, as a share of the peak"
    )
    warmup_ratio: float = Field(
        0.0, ge=0, lt=1, description="share of the steps in which the rate rises to its peak"
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay of matrices; vectors get none")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW decay of the gradient average")
    beta2: float = Field(0.95, ge=0, lt=1, description="AdamW decay of the squared gradient average")
    adam_epsilon: float = Field(1e-8, gt=0, description="AdamW epsilon")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    batch_size: int = Field(32, ge=1, description="rows per gradient step")
    micro_batch_tokens: int = Field(
        8192, ge=1, description="padded tokens per forward pass; less saves memory, the result is the same"
    )


@dataclass(frozen=True)
class Batch:
    """What one gradient step learns from.

    :param parts: micro-batches, each handed to the loss function by itself.
    :param count: what the sum of the parts' losses is divided by: tokens or prompts of the whole batch.
    """

    parts: Sequence[Any]
    count: float


@dataclass(frozen=True)
class Validation:
    """When and how to measure during training.

    :param steps: the steps after which to measure.
    :param measure: returns metrics by their short name; called without gradients, in evaluation mode.
    :param minimise: the metric whose lowest value decides which weights training ends with; None: the last.
    """

    steps: frozenset[int]
    measure: Callable[[], Metrics]
    minimise: str | None = None


@dataclass
class Progress:
    """Where training stands beyond weights and optimiser: what validation found, and the best weights.

    :param metrics: the latest validation's.
    :param best_step: the step of the best validation; 0 before the first.
    :param best_metrics: the best validation's.
    :param best_weights: the weights then, where another step's are not wanted.
    """

    metrics: Metrics = field(default_factory=dict)
    best_step: int = 0
    best_metrics: Metrics = field(default_factory=dict)
    best_weights: dict[str, Tensor] = field(default_factory=dict)


def lr_factor(step: int, total: int, config: TrainingConfig) -> float:
    """Return the share of the peak learning rate that ``step`` (from 1) of ``total`` uses."""
    warmup = round(config.warmup_ratio * total)
    if step <= warmup:
        return step / warmup
    if config.schedule == "constant":
        return 1.0
    done = (step - 1 - warmup) / (total - warmup)
    fall = 0.5 * (1 + math.cos(math.pi * done)) if config.schedule == "cosine" else 1 - done
    return config.final_lr_ratio + (1 - config.final_lr_ratio) * fall


def scheduled(value: float, schedule: Literal["constant", "linear"], progress: float) -> float:
    """Return what ``value`` is after a share of the training: itself, or on a straight line to 0."""
    return value * (1.0 - progress) if schedule == "linear" else value


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Return a fused AdamW that decays matrices and leaves biases and norms alone."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.adam_epsilon,
        fused=True,
    )


def gradient_step(
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    loss: Callable[[Any], Tensor],
    *,
    max_grad_norm: float,
    where: str,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Metrics:
    """Take one optimiser step on a batch, in micro-batches.

    The gradient is that of the summed loss divided once by the count of the whole batch, so it does not
    depend on how the batch was cut.

    :param loss: returns the summed float32 loss of one part, a scalar.
    :param where: the step's name for the error.
    :returns: ``loss`` and ``grad_norm`` (before clipping).
    :raises NonFiniteError: before any weight changes, when loss or gradient is NaN or infinite.
    """
    total = accumulate_gradients(optimizer, batch, loss, autocast=autocast)
    return apply_gradients(optimizer, total, max_grad_norm=max_grad_norm, where=where)


def accumulate_gradients(
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    loss: Callable[[Any], Tensor],
    *,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Tensor:
    """Do the first half of :func:`gradient_step`: leave the gradient in the parameters, return the loss."""
    for parameter in _parameters(optimizer):
        parameter.grad = None
    losses: list[Tensor] = []
    for part in batch.parts:
        with autocast():
            summed = loss(part) / batch.count
        summed.backward()
        losses.append(summed.detach())
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def apply_gradients(
    optimizer: torch.optim.Optimizer, loss: Tensor, *, max_grad_norm: float, where: str
) -> Metrics:
    """Do the second half of :func:`gradient_step`: check, clip the gradient and take the step."""
    gradients = [p.grad for p in _parameters(optimizer) if p.grad is not None]
    value, size = _loss_and_norm(loss, gradients)
    for name, number in (("loss", value), ("gradient norm", size)):
        if not math.isfinite(number):
            fix = "lower learning_rate or look at the data of this step; the last checkpoint is untouched"
            raise NonFiniteError(where, f"the {name} is not finite", got=number, fix=fix)
    if size > max_grad_norm:
        for gradient in gradients:
            gradient.mul_(max_grad_norm / (size + 1e-6))
    optimizer.step()
    return {"loss": value, "grad_norm": size}


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _loss_and_norm(loss: Tensor, gradients: Sequence[Tensor]) -> tuple[float, float]:
    """Return a loss and the norm of all gradients: read at once from a device, which is a wait."""
    if not loss.is_cpu:
        value, norm = torch.stack([loss, nn.utils.get_total_norm(gradients)]).tolist()
        return value, norm
    return loss.item(), math.hypot(*(torch.linalg.vector_norm(gradient).item() for gradient in gradients))


def require_groups(rollout: Rollout, where: str) -> Tensor:
    """Return the group of each row, ``[B]``.

    :param where: the algorithm's name, for the error.
    :raises UserError: the rollout has no groups.
    """
    if rollout.groups is None:
        what = f"{where!r} compares several answers to one prompt, and every episode has a prompt of its own"
        fix = "set rl.group_size=4 or more; on control tasks choose an algorithm without groups"
        raise UserError("algorithm", what, fix=fix)
    return rollout.groups


def require_finite(rollout: Rollout, where: str) -> None:
    """Require finite rewards, values and log-probabilities of all actions.

    Algorithms call it before their first step: a bad row may be in the last of many mini-batches.

    :param where: the algorithm's name, for the error.
    :raises NonFiniteError: naming what is not finite.
    """
    for name in ("rewards", "values", "logprobs"):
        everywhere = getattr(rollout, name)
        if bool(torch.isfinite(everywhere).all()):
            continue
        numbers = everywhere[rollout.mask]
        bad = numbers[~torch.isfinite(numbers)]
        if len(bad):
            what = f"{name} of {len(bad)} of {len(numbers)} actions are not finite"
            fix = "look at the rewards and the policy of this step; the last checkpoint is untouched"
            raise NonFiniteError(where, what, got=float(bad[0]), fix=fix)


def train(
    model: nn.Module,
    config: TrainingConfig,
    *,
    context: StageContext,
    prefix: str,
    total_steps: int,
    batch: Callable[[int], Batch],
    loss: Callable[[Any], Tensor],
    validation: Validation,
) -> Progress:
    """Train ``model`` in place, going on exactly from the stage's checkpoint where there is one.

    :param prefix: what metrics are named after: ``prefix/loss``.
    :param batch: returns the batch of a step, a function of the step (from 1) alone.
    :param loss: returns the summed float32 loss of one part of a batch, a scalar.
    :raises NonFiniteError: as :func:`gradient_step`, naming the step.
    :raises Interrupted: by ``context.checkpoint``, after the state has been saved.
    """
    optimizer = build_optimizer(model, config)
    progress = Progress()
    start = 0
    restored = context.load_checkpoint()
    if restored is not None:
        start = restored[0]
        progress = _load_state(restored[1], model, optimizer)
    for step in range(start + 1, total_steps + 1):
        rate = config.learning_rate * lr_factor(step, total_steps, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        with seeded_initialisation(context.seed, "dropout", step):
            metrics = gradient_step(
                optimizer,
                batch(step),
                loss,
                max_grad_norm=config.max_grad_norm,
                where=f"stages.{context.name}, step {step}",
                autocast=context.autocast,
            )
        metrics["learning_rate"] = rate
        if step in validation.steps:
            metrics |= _validate(model, validation, progress, step)
        context.log(step, total_steps, {f"{prefix}/{key}": value for key, value in metrics.items()})
        context.checkpoint(step, lambda: _state(model, optimizer, progress))
    if progress.best_weights:
        load_weights(model, progress.best_weights)
    model.eval()
    return progress


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's parameters and persistent buffers, each tensor once even where weights are tied."""
    kept: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen or tensor.numel() == 0:
            seen.add(tensor.data_ptr())
            kept[name] = tensor
    return kept


def load_weights(model: nn.Module, saved: dict[str, Tensor]) -> None:
    """Copy what :func:`weights` returned into the model."""
    with torch.no_grad():
        for name, tensor in weights(model).items():
            tensor.copy_(saved[name])


def optimizer_state(optimizer: torch.optim.Optimizer) -> list[dict[str, Tensor]]:
    """Return each parameter's optimiser state, in the order of the groups: a tree checkpoints can hold."""
    return [dict(optimizer.state[p]) for group in optimizer.param_groups for p in group["params"]]


def load_optimizer_state(optimizer: torch.optim.Optimizer, saved: Sequence[dict[str, Tensor]]) -> None:
    """Restore what :func:`optimizer_state` returned for an optimiser of the same parameters."""
    state = optimizer.state_dict()
    state["state"] = {index: entry for index, entry in enumerate(saved) if entry}
    optimizer.load_state_dict(state)


def evenly_spaced(total_steps: int, times: int) -> frozenset[int]:
    """Return the steps after which to measure ``times`` times in even intervals, the last step among them."""
    return frozenset(-(-total_steps * i // times) for i in range(1, times + 1))


@torch.no_grad()
def _validate(model: nn.Module, validation: Validation, progress: Progress, step: int) -> Metrics:
    model.eval()
    metrics = progress.metrics = validation.measure()
    minimise = validation.minimise
    if minimise is None:
        return metrics
    if not progress.best_step or metrics[minimise] < progress.best_metrics[minimise]:
        progress.best_step, progress.best_metrics = step, metrics
        progress.best_weights = {name: tensor.clone() for name, tensor in weights(model).items()}
    return metrics


def _state(model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> dict[str, Any]:
    return {"weights": weights(model), "optimizer": optimizer_state(optimizer), "progress": vars(progress)}


def _load_state(state: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    load_weights(model, state["weights"])
    load_optimizer_state(optimizer, state["optimizer"])
    return Progress(**state["progress"])
