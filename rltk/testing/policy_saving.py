"""Checks of policies that are put away and taken out again."""

from __future__ import annotations

import torch

from rltk.checkpoint import load_state, save_state
from rltk.policy import Policy
from rltk.testing.guards import difference
from rltk.testing.policy_cases import Case, weights_of
from rltk.testing.running import require
from rltk.training import load_weights, weights
from rltk.types import Rollout


def begins_alike(case: Case) -> None:
    """Made twice with the same generator it has the same weights."""
    where = difference(weights_of(case.make(seed=3)), weights_of(case.make(seed=3)))
    fix = "draw the initial weights from the generator given to the constructor"
    require(where is None, f"the weights {where} differ", fix=fix)


def goes_on_from_a_checkpoint(case: Case) -> None:
    """Its state_dict() holds all that its answers depend on, bit for bit."""
    policy, rollout = case.policy, case.rollout()
    saved = case.component.directory / "checkpoint"
    save_state(saved, {"policy": weights(policy)})
    again = case.shaken(seed=1)
    load_weights(again, load_state(saved)["policy"])
    fix = "make every tensor that matters a parameter or a persistent buffer"
    _require_same_answers(policy, again, rollout, "restored from a checkpoint", fix)


def opens_what_it_saved(case: Case) -> None:
    """Saved and opened again by its option path it is the same policy, bit for bit."""
    policy, rollout = case.policy, case.rollout()
    saved = case.component.directory / f"saved policy, {case.label}"
    policy.save(saved)
    require(saved.is_dir() and any(saved.iterdir()), "save() wrote nothing", fix="write into the directory")
    if "path" not in type(policy).Config.model_fields:
        return
    again = case.make(seed=1, options={"path": str(saved)})
    fix = "save every weight, the critic's included, and read all of them where config.path is given"
    _require_same_answers(policy, again, rollout, "saved and opened again", fix)


def _require_same_answers(first: Policy, second: Policy, rollout: Rollout, what: str, fix: str) -> None:
    with torch.no_grad():
        answers = [vars(policy.evaluate(rollout)) for policy in (first, second)]
    where = difference(answers[0], answers[1])
    require(where is None, f"{what}, evaluate() differs in {where}", fix=fix)


SAVING_CHECKS = (begins_alike, goes_on_from_a_checkpoint, opens_what_it_saved)
