"""``rltk envs check``: the contract of environments, and whether scores are what is declared of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer

from rltk.config import build_config
from rltk.envs_names import find_environment, with_options
from rltk.envs_scores import degenerate_scores, oracle_score, random_score
from rltk.interfaces import Environment
from rltk.registry import construct, get_registry, load_plugins
from rltk.testing.acting import SLOTS, Actions, slots_of
from rltk.testing.command import read_options, show_check
from rltk.testing.environments import check_environment
from rltk.testing.guards import difference
from rltk.testing.running import Progress, ignore, require, run_checks

#: Episodes of random tokens, of the oracle, and prompts for each degenerate policy.
_RANDOM, _ORACLE, _DEGENERATE = 2000, 200, 40
#: Steps in which a slot is compared with one alone.
_STEPS = 100
#: How far the oracle's score may be from the declared one.
_ROUNDING = 1e-9
#: How far a measured score may be from the declared one beside four standard errors.
_TOLERANCE = 0.01
#: How far from the random to the oracle's score a policy may come that does not look at the prompt.
_FLOOR = 0.25


def check_named_environment(name: str, overrides: Sequence[str], options: Sequence[str]) -> None:
    """Print a line for every property checked, what failed on stderr, and exit with 1 if anything did.

    :param name: a component's name or a Gymnasium id.
    :param overrides: ``key=value`` options to make it with.
    :param options: values of ``-p``.
    :raises UserError: nothing is called so, or options are missing or wrong.
    :raises typer.Exit: with code 1, a check failed.
    """
    load_plugins(options)
    component, given = with_options(find_environment(name, "rltk envs check"), read_options(overrides) or {})
    if given:
        build_config("environment", component, given, where=name)
    print(f"environment {name}")
    try:
        check_environment(component, given or None, progress=show_check)
        environment = _made(component, given)
        if environment is not None:
            check_scores(environment, progress=show_check)
    except AssertionError as error:
        print(f"rltk: error: {' '.join(str(error).split())}", file=sys.stderr)
        raise typer.Exit(1) from error
    if environment is not None and environment.spaces() is None and environment.score_bounds() is None:
        print("  -       No scores are declared that the oracle and random tokens could be held to")


def check_scores(environment: Environment, *, progress: Progress = ignore) -> None:
    """Assert what the contract leaves out: a slot is like one alone, and scores are as declared.

    :raises AssertionError: saying what was seen and what to change.
    """
    who = f"environment {environment.name!r}"
    if environment.spaces() is not None:
        run_checks(who, ARRAY_CHECKS, environment, progress)
    elif (bounds := environment.score_bounds()) is not None:
        run_checks(who, SCORE_CHECKS, Declared(environment, *bounds), progress)


@dataclass(frozen=True)
class Declared:
    """A text environment with the mean scores that it declares of random tokens and of its oracle."""

    environment: Environment
    random: float
    oracle: float


def acts_alone_as_among_others(environment: Environment) -> None:
    """The first of several slots is like a single one."""
    one, several = environment.make_vec(1), environment.make_vec(SLOTS)
    (first, infos), (among, infos_among) = one.reset(seed=0), several.reset(seed=0)
    choose, choose_among = Actions(one, infos), Actions(several, infos_among)
    fix = "draw from the generator of each slot alone, seeded with seed + its number"
    for step in range(_STEPS):
        mine = slots_of(one.observation_space, first)[0]
        theirs = slots_of(several.observation_space, among)[0]
        problem = f"after {step} steps the first of {SLOTS} slots observes {theirs!r}, a single one {mine!r}"
        require(difference(mine, theirs) is None, problem, fix=fix)
        actions, actions_among = choose(infos), choose_among(infos_among)
        actions_among[0] = actions[0]
        first, *_, infos = one.step(actions)
        among, *_, infos_among = several.step(actions_among)
    one.close()
    several.close()


def oracle_scores_as_declared(declared: Declared) -> None:
    """The oracle scores what is declared."""
    measured = oracle_score(declared.environment, episodes=_ORACLE)
    seen = f"it scores {measured.mean:.4f} in {_ORACLE} episodes, and {declared.oracle} is declared"
    near = abs(measured.mean - declared.oracle) <= _ROUNDING
    require(near, seen, fix="correct oracle(), metrics() or score_bounds()")


def random_tokens_score_as_declared(declared: Declared) -> None:
    """Random tokens score what is declared."""
    measured = random_score(declared.environment, episodes=_RANDOM)
    seen = f"they score {measured.mean:.4f} in {_RANDOM} episodes, and {declared.random} is declared"
    near = abs(measured.mean - declared.random) <= _TOLERANCE + 4 * measured.error
    require(near, seen, fix="declare what was measured in score_bounds()")


def degenerate_policies_stay_low(declared: Declared) -> None:
    """Saying nothing, or one token again and again, comes to nothing."""
    floor = declared.random + _FLOOR * (declared.oracle - declared.random)
    for said, measured in degenerate_scores(declared.environment, rows=_DEGENERATE).items():
        seen = f"to say {said} scores {measured:.3f}, random tokens {declared.random}"
        require(measured <= floor, seen, fix="let metrics() pay less for what ignores the prompt")


ARRAY_CHECKS = (acts_alone_as_among_others,)
SCORE_CHECKS = (oracle_scores_as_declared, random_tokens_score_as_declared, degenerate_policies_stay_low)


def _made(component: str, options: dict[str, Any]) -> Environment | None:
    """Return the environment; None where it needs options and was given none."""
    fields = get_registry().get("environment", component).Config.model_fields
    if not options and any(field.is_required() for field in fields.values()):
        return None
    environment: Environment = construct("environment", component, options, where=component, seed=0)
    return environment
