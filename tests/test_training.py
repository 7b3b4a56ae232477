"""The training loop: schedules by hand, gradients independent of micro-batches, exact resume, safe stops."""

import contextlib
import math

import pytest
import torch

from rltk.errors import Interrupted, NonFiniteError
from rltk.language_modeling import Example, count_targets, example_parts, token_nll
from rltk.rng import numpy_generator
from rltk.training import (
    Batch,
    TrainingConfig,
    Validation,
    build_optimizer,
    evenly_spaced,
    gradient_step,
    load_optimizer_state,
    lr_factor,
    optimizer_state,
    train,
    weights,
)
from tests.stage_world import FakeContext
from tests.text_world import tiny_model

NEVER = Validation(frozenset(), dict)


def config(**options):
    return TrainingConfig(learning_rate=0.01, **options)


def examples(count=12):
    generator = numpy_generator("examples")
    rows = [generator.integers(3, 32, size=generator.integers(2, 9)).tolist() for _ in range(count)]
    return [Example([*row, 1], 1) for row in rows]


def batch_of(chosen, micro_batch_tokens):
    parts = example_parts(chosen, 0, micro_batch_tokens)
    return Batch(parts, sum(count_targets(labels) for _, labels in parts))


def step(model, optimizer, batch, loss=None, max_grad_norm=1e9):
    return gradient_step(
        optimizer,
        batch,
        loss or (lambda part: token_nll(model, *part)),
        max_grad_norm=max_grad_norm,
        where="stages.sft, step 3",
        autocast=contextlib.nullcontext,
    )


def test_cosine_falls_from_the_peak_to_the_final_ratio():
    options = config(schedule="cosine", final_lr_ratio=0.1)
    assert lr_factor(1, 4, options) == 1.0
    assert lr_factor(3, 4, options) == pytest.approx(0.55)
    assert lr_factor(4, 4, options) == pytest.approx(0.1 + 0.9 * 0.5 * (1 - math.sqrt(0.5)))
    assert lr_factor(10_000, 10_000, options) == pytest.approx(0.1, abs=1e-6)


def test_linear_and_constant_schedules_and_the_warm_up():
    linear = config(schedule="linear", final_lr_ratio=0.0, warmup_ratio=0.4)
    assert [lr_factor(i, 10, linear) for i in (1, 2, 4, 5, 8)] == pytest.approx([0.25, 0.5, 1.0, 1.0, 0.5])
    constant = config(schedule="constant", warmup_ratio=0.2)
    assert [lr_factor(i, 5, constant) for i in (1, 2, 5)] == [1.0, 1.0, 1.0]


def test_validation_steps_are_even_and_end_with_the_last():
    assert evenly_spaced(10, 4) == {3, 5, 8, 10}
    assert evenly_spaced(2, 5) == {1, 2}
    assert evenly_spaced(7, 1) == {7}


def test_only_matrices_decay():
    model = tiny_model("gpt2")
    decayed, others = build_optimizer(model, config(weight_decay=0.3)).param_groups
    assert decayed["weight_decay"] == 0.3 and all(p.ndim >= 2 for p in decayed["params"])
    assert others["weight_decay"] == 0.0 and all(p.ndim == 1 for p in others["params"])
    assert len(decayed["params"]) + len(others["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize("micro_batch_tokens", [1, 9, 30])
def test_gradients_do_not_depend_on_the_micro_batches(micro_batch_tokens):
    model = tiny_model("gpt2", scale=1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    whole = step(model, optimizer, batch_of(examples(), 10_000))
    expected = [p.grad.clone() for p in model.parameters()]
    assert len(batch_of(examples(), micro_batch_tokens).parts) > 2
    cut = step(model, optimizer, batch_of(examples(), micro_batch_tokens))
    assert cut["loss"] == pytest.approx(whole["loss"], rel=1e-6)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-6, rtol=1e-5)


def test_gradients_are_clipped_to_the_norm_that_is_reported():
    model = tiny_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    norm = step(model, optimizer, batch_of(examples(), 100))["grad_norm"]
    assert norm == pytest.approx(
        math.sqrt(sum(float((p.grad**2).sum()) for p in model.parameters())), rel=1e-5
    )
    step(model, optimizer, batch_of(examples(), 100), max_grad_norm=norm / 4)
    clipped = math.sqrt(sum(float((p.grad**2).sum()) for p in model.parameters()))
    assert clipped == pytest.approx(norm / 4, rel=1e-3)


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (lambda weight: (weight * float("inf")).sum(), "the loss is not finite"),
        (lambda weight: torch.sqrt(weight * 0.0).sum(), "the gradient norm is not finite"),
    ],
)
def test_a_non_finite_step_changes_nothing_and_is_named(loss, what):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    with pytest.raises(NonFiniteError, match=f"^stages.sft, step 3: {what}"):
        step(None, optimizer, Batch([None], 1), loss=lambda _: loss(weight))
    assert weight.tolist() == [1.0, 1.0, 1.0]
    assert optimizer.state[weight] == {}


def run(context, model, total_steps=6, validation=NEVER):
    def batch(step):
        return batch_of(examples()[step % 3 :: 3], 20)

    return train(
        model,
        config(warmup_ratio=0.3),
        context=context,
        prefix="sft",
        total_steps=total_steps,
        batch=batch,
        loss=lambda part: token_nll(model, *part),
        validation=validation,
    )


@pytest.mark.parametrize("stop_after", [1, 4, 5])
def test_an_interrupted_run_ends_with_the_very_same_weights(tmp_path, stop_after):
    def losses(values):
        return Validation(frozenset([2, 4, 6]), lambda: {"loss": values.pop(0)}, minimise="loss")

    whole = tiny_model("gpt2")  # GPT-2 has dropout, so randomness is part of what must be resumed
    straight = FakeContext(tmp_path / "straight", "sft")
    expected = run(straight, whole, validation=losses([3.0, 1.0, 2.0]))
    assert expected.best_step == 4

    model = tiny_model("gpt2")
    left = [3.0, 1.0, 2.0][stop_after // 2 :]
    with pytest.raises(Interrupted):
        run(
            FakeContext(tmp_path / "cut", "sft", stop_after=stop_after),
            model,
            validation=losses([3.0, 1.0, 2.0]),
        )
    model = tiny_model("gpt2")
    resumed = FakeContext(tmp_path / "cut", "sft")
    progress = run(resumed, model, validation=losses(left))
    assert resumed.metrics == straight.metrics[stop_after:]
    assert progress.best_step == 4 and progress.best_metrics == {"loss": 1.0}
    for parameter, other in zip(model.parameters(), whole.parameters(), strict=True):
        assert torch.equal(parameter, other)


def test_training_ends_with_the_weights_that_validated_best(tmp_path):
    model, seen, losses = tiny_model(), [], [2.0, 1.0, 1.5]

    def measure():
        assert not model.training and not torch.is_grad_enabled()
        seen.append({name: tensor.clone() for name, tensor in weights(model).items()})
        return {"loss": losses[len(seen) - 1]}

    context = FakeContext(tmp_path, "sft")
    progress = run(context, model, validation=Validation(frozenset([2, 4, 6]), measure, minimise="loss"))
    assert (progress.best_step, progress.metrics) == (4, {"loss": 1.5})
    assert all(torch.equal(tensor, seen[1][name]) for name, tensor in weights(model).items())
    assert not all(torch.equal(tensor, seen[2][name]) for name, tensor in weights(model).items())


def test_metrics_are_named_after_the_stage_and_loss_falls(tmp_path):
    context = FakeContext(tmp_path, "sft")
    run(context, tiny_model(scale=0.2), total_steps=30)
    assert set(context.metrics[0]) == {"sft/loss", "sft/grad_norm", "sft/learning_rate"}
    assert context.metrics[-1]["sft/loss"] < 0.8 * context.metrics[0]["sft/loss"]


def test_tied_weights_are_kept_once_and_optimiser_state_comes_back():
    model = tiny_model("gpt2")
    assert "lm_head.weight" in model.state_dict()
    assert len(weights(model)) == len(list(model.parameters()))
    optimizer = build_optimizer(model, config())
    step(model, optimizer, batch_of(examples(), 100))
    other = build_optimizer(model, config())
    load_optimizer_state(other, optimizer_state(optimizer))
    for before, after in zip(optimizer_state(optimizer), optimizer_state(other), strict=True):
        assert before.keys() == after.keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(before[key], after[key]) for key in before)
