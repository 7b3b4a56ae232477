"""Checks of what a policy says about whole episodes, which is what algorithms learn from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rltk.policy import Policy
from rltk.rng import torch_generator
from rltk.testing.guards import difference, unchanged, untouched_rng
from rltk.testing.policy_acting import require_close, require_zero_mean
from rltk.testing.policy_cases import TOLERANCE, Case
from rltk.testing.running import require
from rltk.types import Evaluation, Rollout


def evaluates_in_the_shape_of_the_mask(case: Case) -> None:
    """evaluate() returns finite [B, T], differentiable, and 0 where the mask is False."""
    policy, rollout = case.policy, case.rollout()
    for name, tensor in _described(policy.evaluate(rollout)).items():
        shape, expected = tuple(tensor.shape), tuple(rollout.mask.shape)
        require(shape == expected, f"{name} have shape {shape}, not {expected}", fix="return [B, T]")
        require(torch.isfinite(tensor).all(), f"{name} are not all finite", fix="look at the padding")
        fix = "end with torch.where(batch.mask, ..., 0.0)"
        require(not tensor[~rollout.mask].any(), f"{name} are not 0 where the mask is False", fix=fix)
        differentiable = tensor.requires_grad or name == "values" or not policy.actor_parameters()
        require(differentiable, f"{name} carry no gradient", fix="compute them without torch.no_grad()")


def evaluates_the_same_twice(case: Case) -> None:
    """evaluate() gives the same twice, and leaves the rollout and the global random generators alone."""
    policy, rollout = case.policy, case.rollout()
    with untouched_rng("evaluate()"), unchanged("the rollout's arrays", rollout), torch.no_grad():
        first = policy.evaluate(rollout)
        second = policy.evaluate(rollout)
    where = difference(_described(first), _described(second))
    fix = "switch dropout off: call self.eval() in the constructor"
    require(where is None, f"two evaluations differ in {where}", fix=fix)


def evaluates_rows_by_themselves(case: Case) -> None:
    """A row alone gives what it gives in a padded batch."""
    policy, rollout = case.policy, case.rollout()
    with torch.no_grad():
        together = _described(policy.evaluate(rollout))
        for row in range(len(rollout)):
            alone = rollout.select(torch.tensor([row]))
            for name, tensor in _described(policy.evaluate(alone)).items():
                batched = together[name][row : row + 1, : tensor.shape[1]]
                fix = "let no position see another row or the padding"
                what = f"{name} of row {row}:"
                require_close(tensor, batched, alone, "the row alone", "a batch", what, fix)


def ignores_padding(case: Case) -> None:
    """What stands in the padding changes neither evaluations nor gradients."""
    policy, rollout = case.policy, case.rollout()
    spoilt = with_garbage(case, policy, rollout)
    first, second = policy.evaluate(rollout), policy.evaluate(spoilt)
    fix = "read only tokens before rollout.lengths, and mask what you return with rollout.mask"
    for name, tensor in _described(first).items():
        other = _described(second)[name]
        require_close(tensor, other, rollout, "zero padding", "other padding", name, fix)
    parameters = policy.actor_parameters()
    if not parameters:
        return
    gradients = [
        torch.autograd.grad(now.logprobs.sum(), parameters, materialize_grads=True) for now in (first, second)
    ]
    for one, other in zip(*gradients, strict=True):
        furthest = float((one - other).abs().max()) if one.numel() else 0.0
        size = 1.0 + float(one.abs().max()) if one.numel() else 1.0
        seen = f"garbage in the padding moves a gradient of the log-probabilities by {furthest:.4g}"
        require(furthest <= TOLERANCE * size, seen, fix=fix)


def with_garbage(case: Case, policy: Policy, rollout: Rollout) -> Rollout:
    """Return the rollout with other tokens, observations and actions wherever there is padding."""
    mask = rollout.mask
    deep = mask.reshape(*mask.shape, *[1] * (rollout.actions.dim() - 2))
    spoilt = rollout.replace(actions=torch.where(deep, rollout.actions, torch.ones_like(rollout.actions)))
    if rollout.observations is not None:
        garbage = torch.full_like(rollout.observations, 3.0)
        return spoilt.replace(observations=torch.where(mask[..., None], rollout.observations, garbage))
    assert rollout.tokens is not None and rollout.lengths is not None
    shape, count = rollout.tokens.shape, case.count(policy)
    garbage = torch.randint(count, shape, generator=torch_generator("garbage"))
    real = torch.arange(shape[1]) < rollout.lengths[:, None]
    return spoilt.replace(tokens=torch.where(real, rollout.tokens, garbage))


def reads_what_the_environment_said(case: Case) -> None:
    """Tokens that are no actions are read, but not scored."""
    policy, rollout = case.policy, case.rollout()
    rows = (rollout.mask.sum(1) >= 3).nonzero()[:, 0]
    rollout = rollout.select(rows)
    with torch.no_grad():
        every = policy.evaluate(rollout).logprobs
        some = policy.evaluate(without_second_action(rollout)).logprobs
    expected = torch.cat([every[:, :1], every[:, 2:]], 1)
    fix = "take the actions' places from rollout.action_mask, which may have gaps"
    mask = rollout.replace(mask=torch.cat([rollout.mask[:, :1], rollout.mask[:, 2:]], 1))
    one, other = "a rollout whose second token is no action", "one where it is"
    require_close(some, expected, mask, one, other, "log-probability", fix)


def without_second_action(rollout: Rollout) -> Rollout:
    """Return a text rollout whose second action was the environment's token instead."""
    assert rollout.action_mask is not None
    rows = torch.arange(len(rollout))
    action_mask = rollout.action_mask.clone()
    action_mask[rows, action_mask.long().argmax(1) + 1] = False
    names = ("mask", "actions", "logprobs", "rewards", "values")
    parts = {name: getattr(rollout, name) for name in names}
    kept = {name: torch.cat([part[:, :1], part[:, 2:]], 1) for name, part in parts.items()}
    return rollout.replace(action_mask=action_mask, **kept)


def describes_its_distributions(case: Case) -> None:
    """value(), action_logprobs() and the distribution parameters agree with evaluate()."""
    policy, rollout = case.policy, case.rollout()
    with torch.no_grad():
        now = policy.evaluate(rollout)
        parameters = policy.distribution_parameters(rollout)
        logprobs, entropy = policy.logprobs_and_entropy(parameters, rollout.actions)
        values = policy.value(rollout)
        alone = policy.action_logprobs(rollout)
    fix = "compute both from the same distribution, temperature included"
    for other, found in (("logprobs_and_entropy()", (logprobs, entropy)), ("action_logprobs()", alone)):
        require_close(now.logprobs, found[0], rollout, "evaluate()", other, "log-probability", fix)
        require_close(now.entropy, found[1], rollout, "evaluate()", other, "entropy", fix)
    require_close(now.values, values, rollout, "evaluate()", "value()", "value", fix)


def adds_up(case: Case) -> None:
    """Probabilities of all actions sum to 1, and the entropy is theirs."""
    policy, rollout = case.policy, case.rollout()
    with torch.no_grad():
        parameters = policy.distribution_parameters(rollout)
        table = _logprob_table(case, policy, parameters, rollout)
        _, entropy = policy.logprobs_and_entropy(parameters, rollout.actions)
    fix = "normalise with torch.log_softmax over the actions"
    total = table.exp().sum(-1)
    require_close(total, torch.ones_like(total), rollout, "adding up", "theory", "total probability", fix)
    exact = torch.special.entr(table.exp()).sum(-1)
    require_close(entropy, exact, rollout, "logprobs_and_entropy()", "adding up", "entropy", fix)


def measures_its_divergence(case: Case) -> None:
    """kl_divergence() is 0 for equal distributions, never negative, and exact where it can be added up."""
    policy, moved, rollout = case.policy, case.shaken(seed=1), case.rollout()
    with torch.no_grad():
        p, q = policy.distribution_parameters(rollout), moved.distribution_parameters(rollout)
        same, apart = policy.kl_divergence(p, p), policy.kl_divergence(p, q)
        fix = "return the exact KL(p || q), summed over the actions"
        require_close(same, torch.zeros_like(same), rollout, "kl_divergence(p, p)", "theory", "KL", fix)
        lowest, highest = (float(value) for value in torch.aminmax(apart[rollout.mask]))
        require(lowest > -1e-6, f"kl_divergence(p, q) is {lowest:.4g}", fix=fix)
        equal = not policy.actor_parameters()
        require(highest > 1e-6 or equal, "kl_divergence(p, q) is 0 for p other than q", fix=fix)
        if case.lists_actions(policy):
            p_table, q_table = (_logprob_table(case, policy, each, rollout) for each in (p, q))
            log_ratios = torch.where(p_table.isneginf(), 0.0, p_table - q_table)
            exact = (p_table.exp() * log_ratios).sum(-1)
            require_close(apart, exact, rollout, "kl_divergence(p, q)", "adding up", "KL", fix)


def needs_the_observation_alone(case: Case) -> None:
    """An action taken out of its episode is evaluated as inside it."""
    policy, rollout = case.policy, case.rollout()
    steps = rollout.steps()
    with torch.no_grad():
        together, apart = (_described(policy.evaluate(each)) for each in (rollout, steps))
    for name, tensor in together.items():
        fix = "leave the class's memoryless at False where an action depends on more than the observation"
        inside = tensor[rollout.mask][:, None]
        require_close(apart[name], inside, steps, "the action alone", "its episode", name, fix)


def measures_what_samples_show(case: Case) -> None:
    """kl_divergence() is the mean log-ratio of samples."""
    policy, moved, rollout = case.policy, case.shaken(seed=1), case.samples
    with torch.no_grad():
        p, q = policy.distribution_parameters(rollout), moved.distribution_parameters(rollout)
        (now, _), (then, _) = (policy.logprobs_and_entropy(each, rollout.actions) for each in (p, q))
        excess = (now - then - policy.kl_divergence(p, q))[:, 0]
    what = "log-ratios of samples of p are off kl_divergence(p, q)"
    require_zero_mean(excess, what, fix="return KL(p || q), not KL(q || p), summed over action dimensions")


def sends_gradients_where_it_says(case: Case) -> None:
    """Log-probabilities depend on actor_parameters() alone, values reach all of critic_parameters()."""
    policy, rollout = case.policy, case.rollout()
    now = policy.evaluate(rollout)
    names = {id(parameter): name for name, parameter in policy.named_parameters()}
    actor, critic = policy.actor_parameters(), policy.critic_parameters()
    shared = [names.get(id(p), "?") for p in actor if id(p) in {id(c) for c in critic}]
    require(not shared, f"{', '.join(shared)} belong to both", fix="list each parameter once, as the actor's")
    reached = _reached(now.logprobs.sum() + now.entropy.sum(), policy)
    strangers = [names[id(p)] for p in reached if id(p) not in {id(a) for a in actor}]
    fix = "list in actor_parameters() all that the action distribution depends on, and nothing else"
    require(not strangers, f"log-probabilities depend on {', '.join(strangers)}, which it omits", fix=fix)
    require(reached or not actor, "log-probabilities depend on no parameter", fix=fix)
    unreached = _missing(critic, _reached(now.values.sum(), policy), names)
    fix = "compute values with gradients, and list in critic_parameters() only what they depend on"
    require(not unreached, f"values do not depend on {', '.join(unreached)}", fix=fix)


def _reached(total: Tensor, policy: Policy) -> list[nn.Parameter]:
    """Return the parameters that a number depends on."""
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    if not total.requires_grad:
        return []
    gradients = torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True)
    return [p for p, g in zip(parameters, gradients, strict=True) if g is not None and bool(g.any())]


def _missing(
    wanted: Sequence[nn.Parameter], reached: Sequence[nn.Parameter], names: dict[int, str]
) -> list[str]:
    found = {id(parameter) for parameter in reached}
    return [names.get(id(p), "a parameter outside the module") for p in wanted if id(p) not in found]


LEARNING_CHECKS = (
    evaluates_in_the_shape_of_the_mask,
    evaluates_the_same_twice,
    evaluates_rows_by_themselves,
    ignores_padding,
    describes_its_distributions,
    measures_its_divergence,
    measures_what_samples_show,
    sends_gradients_where_it_says,
)
#: Where the policy says that it is memoryless.
MEMORYLESS_CHECKS = (needs_the_observation_alone,)
#: For text alone.
TEXT_LEARNING_CHECKS = (reads_what_the_environment_said,)
#: Where the actions are few enough to be listed.
LISTED_CHECKS = (adds_up,)


def _described(evaluation: Evaluation) -> dict[str, Tensor]:
    return {
        "logprobs": evaluation.logprobs,
        "entropy": evaluation.entropy,
        "values": evaluation.values,
    }


def _logprob_table(case: Case, policy: Policy, parameters: Tensor, rollout: Rollout) -> Tensor:
    """Return the log-probabilities of all discrete actions, ``[B, T, n]``."""
    others = case.alternatives(policy, rollout.actions)
    return torch.stack([policy.logprobs_and_entropy(parameters, other)[0] for other in others], -1)
