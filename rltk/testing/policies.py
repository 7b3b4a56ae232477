"""The contract of policies, as checks: acting, learning, saving."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rltk.policy import Policy
from rltk.testing.components import Component, component_under_check
from rltk.testing.policy_acting import ACTING_CHECKS, RESTRICTED_CHECKS, TEXT_ACTING_CHECKS
from rltk.testing.policy_cases import Case, cases
from rltk.testing.policy_learning import (
    LEARNING_CHECKS,
    LISTED_CHECKS,
    MEMORYLESS_CHECKS,
    TEXT_LEARNING_CHECKS,
)
from rltk.testing.policy_saving import SAVING_CHECKS
from rltk.testing.running import Progress, ignore, run_checks


def contract(case: Case) -> tuple[Callable[[Case], None], ...]:
    """Return the checks that a policy has to pass in a world."""
    listed = LISTED_CHECKS if case.lists_actions(case.policy) else ()
    text = (*TEXT_LEARNING_CHECKS, *TEXT_ACTING_CHECKS) if case.actions is None else ()
    restricted = RESTRICTED_CHECKS if case.restricted else ()
    memoryless = MEMORYLESS_CHECKS if case.component.cls.memoryless else ()
    learning = (*listed, *LEARNING_CHECKS, *memoryless)
    return (*restricted, *ACTING_CHECKS, *learning, *text, *SAVING_CHECKS)


def check_policy(
    component: type[Policy] | str,
    options: Mapping[str, Any] | None = None,
    *,
    directory: Path | None = None,
    progress: Progress = ignore,
) -> None:
    """Assert that a policy keeps its contract.

    A policy with a ``tokenizer`` is tried on text, any other on arrays, with Discrete and with Box actions;
    it may refuse one of the two with a UserError. Where its session takes action masks, it is also tried with
    some of the Discrete actions forbidden.

    :param component: the class, or the name of a registered one.
    :param options: for its Config; None: what its ``check_options`` returns.
    :param directory: an empty folder for files; None: a temporary one.
    :param progress: told of every check.
    :raises AssertionError: saying what was seen and what to change.
    """
    with component_under_check("policy", component, options, directory, progress) as found:
        accepted: list[Case] = []

        def acts_somewhere(subject: Component) -> None:
            """It is made for text or for arrays, without global randomness."""
            accepted.extend(cases(subject))

        run_checks(found.who, (acts_somewhere,), found, progress)
        for case in accepted:
            run_checks(f"{found.who} on {case.label}", contract(case), case, _within(case.label, progress))


def _within(label: str, progress: Progress) -> Progress:
    """Return a progress that says in which world a check was run."""
    return lambda title, error: progress(f"on {label}: {title}", error)
