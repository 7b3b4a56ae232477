"""The contract of environments, as checks: how they act; what else they hold is in environment_material."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, VectorEnv

from rltk.interfaces import Environment
from rltk.registry import get_registry
from rltk.rollout import is_text
from rltk.testing.acting import SLOTS, Actions, Trial, World, play, slots_of
from rltk.testing.components import component_under_check
from rltk.testing.environment_material import MATERIAL_CHECKS
from rltk.testing.guards import difference, untouched_rng
from rltk.testing.running import Progress, fail, ignore, require, run_checks
from rltk.testing.text_environments import FREE_TEXT_CHECKS, TEXT_CHECKS

#: Steps after which an episode may be too long to see its end.
_PATIENCE = 2000
#: Seeds that may all give one order by chance before they are taken to be ignored.
_SEEDS = 8
_SEED = 7


def check_environment(
    component: type[Environment] | str,
    options: Mapping[str, Any] | None = None,
    *,
    directory: Path | None = None,
    progress: Progress = ignore,
) -> None:
    """Assert that an environment keeps its contract.

    :param component: the class, or the name of a registered one.
    :param options: for its Config; None: what its ``check_options`` returns.
    :param directory: an empty folder for files; None: a temporary one.
    :param progress: told of every check.
    :raises AssertionError: saying what was seen and what to change.
    """
    get_registry()  # as in a run: loading the plugins registers their Gymnasium ids
    with component_under_check("environment", component, options, directory, progress) as found:

        def make() -> Environment:
            environment: Environment = found.make(seed=_SEED)
            return environment

        world = World(make, make())
        run_checks(found.who, ACTING_CHECKS, world, progress)
        if world.text:
            run_checks(found.who, TEXT_CHECKS, world, progress)
            run_checks(found.who, () if world.restricted else FREE_TEXT_CHECKS, world, progress)
        run_checks(found.who, MATERIAL_CHECKS, world, progress)


def gives_a_vector_environment(world: World) -> None:
    """make_vec() gives a Gymnasium vector environment with as many slots as it was asked for."""
    for slots in (1, SLOTS):
        envs = world.vec(slots)
        known = isinstance(envs, VectorEnv)
        require(known, f"make_vec({slots}) returned {envs!r}", fix="return a gymnasium.vector.VectorEnv")
        fix = "hand num_envs on"
        require(envs.num_envs == slots, f"make_vec({slots}) has {envs.num_envs} slots", fix=fix)
        envs.close()


def resets_in_the_step_that_ends_an_episode(world: World) -> None:
    """A slot whose episode ends begins the next one in the same step."""
    mode = world.vec().metadata.get("autoreset_mode")
    fix = 'give gym.make_vec vector_kwargs={"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}'
    known = mode == AutoresetMode.SAME_STEP
    require(known, f'metadata["autoreset_mode"] is {mode!r} and not AutoresetMode.SAME_STEP', fix=fix)


def agrees_about_its_spaces(world: World) -> None:
    """spaces() are those of make_vec(), or None for text."""
    envs, spaces = world.vec(), world.environment.spaces()
    if spaces is None:
        fix = 'return spaces() where it is not text; text environments wrap "rltk/TextGeneration-v0"'
        require(is_text(envs), "spaces() is None, and make_vec() gives no text environment", fix=fix)
        return
    fix = "return None where it is text"
    require(not is_text(envs), "spaces() is not None, and make_vec() gives a text environment", fix=fix)
    fix = "return (single_observation_space, single_action_space)"
    require(isinstance(spaces, tuple) and len(spaces) == 2, f"spaces() returned {spaces!r}", fix=fix)
    for name, said, used, agrees in (
        ("observation", spaces[0], envs.single_observation_space, spaces[0] == envs.single_observation_space),
        ("action", spaces[1], envs.single_action_space, _takes(envs.single_action_space, spaces[1])),
    ):
        problem = f"spaces() gives the {name} space {said}, make_vec() has {used}"
        require(agrees, problem, fix="make both from the same options")


def acts_without_global_randomness(world: World) -> None:
    """It is made and acts without global randomness."""
    with untouched_rng("the constructor"):
        world.make()
    with untouched_rng("make_vec()"):
        envs = world.vec()
    with untouched_rng("reset() or step()"):
        play(envs)


def observes_in_its_space(world: World) -> None:
    """Every observation lies in the observation space, of all slots and of each."""
    envs = world.vec()
    fix = "correct the space, or the shape, dtype and bounds of what reset() and step() return"
    for step, observations in enumerate(play(envs).observations):
        where = "reset()" if step == 0 else f"step {step}"
        problem = f"the observations of {where} are not in observation_space: {_shown(observations)}"
        require(observations in envs.observation_space, problem, fix=fix)
        for slot, one in enumerate(slots_of(envs.observation_space, observations)):
            problem = (
                f"slot {slot}'s observation of {where} is not in single_observation_space: {_shown(one)}"
            )
            require(one in envs.single_observation_space, problem, fix=fix)


def answers_in_the_right_types(world: World) -> None:
    """Rewards are floats and finite, the flags of ended episodes booleans, one per slot."""
    trial = play(world.vec())
    for name, answers, kind in (
        ("rewards", trial.rewards, np.floating),
        ("terminations", trial.terminated, np.bool_),
        ("truncations", trial.truncated, np.bool_),
    ):
        fix = f"return a NumPy array of {'floats' if name == 'rewards' else 'booleans'}, one a slot"
        for answer in answers:
            fits = isinstance(answer, np.ndarray) and answer.shape == (SLOTS,)
            right = fits and np.issubdtype(answer.dtype, kind)
            require(right, f"step() returned the {name} {_shown(answer)}", fix=fix)
    finite = all(np.isfinite(rewards).all() for rewards in trial.rewards)
    require(finite, "a reward is not finite", fix="return finite rewards")
    dictionaries = all(isinstance(info, dict) for info in trial.infos)
    require(dictionaries, "an info is no dict", fix="return a dict as the last value")


def repeats_itself(world: World) -> None:
    """The same seed and actions give the same episodes, also in a new one."""
    reference = play(world.vec())
    again = world.vec()
    _require_same(reference, play(again), "in a second make_vec()")
    _require_same(reference, play(again), "after reset(seed=0)")
    other = World(world.make, world.make())
    _require_same(reference, play(other.vec()), "in a second environment with the same options and seed")


def follows_the_seed(world: World) -> None:
    """Where anything is random, the seed of reset() decides it."""
    envs = world.vec()
    first = play(envs, steps=5).observations
    several = world.text and len(world.rows) > 1
    random = several or (not world.text and difference(first[0], envs.reset()[0]) is not None)
    if not random:
        return
    others = [play(envs, seed=seed, steps=5).observations for seed in range(1, 1 + _SEEDS)]
    same = all(difference(first, other) is None for other in others)
    fix = "draw from a generator made of the seed given to reset(), and from no other"
    require(not same, f"the seeds 0 to {_SEEDS} all give the same observations", fix=fix)


def keeps_former_observations(world: World) -> None:
    """A step does not write over the observations given before."""
    trial = play(world.vec())
    where = difference(trial.observations, trial.seen)
    fix = "return a copy of what step() goes on to change"
    require(where is None, "observations changed after they were returned", fix=fix)


def tells_how_episodes_ended(world: World) -> None:
    """The last observation of an episode that ended is in infos["final_obs"]."""
    envs = world.vec()
    trial = _play_until_one_ends(envs)
    done = (trial.terminated[-1] | trial.truncated[-1]) if trial.rewards else np.zeros(SLOTS, dtype=bool)
    if not done.any():
        return
    final = trial.infos[-1].get("final_obs")
    fix = 'fill infos["final_obs"] as SAME_STEP vector environments of Gymnasium do'
    require(final is not None and len(final) == SLOTS, f'infos["final_obs"] is {final!r}', fix=fix)
    for slot in np.flatnonzero(done):
        problem = f"slot {slot}'s final_obs is not in single_observation_space: {_shown(final[slot])}"
        require(final[slot] in envs.single_observation_space, problem, fix=fix)
    require("final_info" in trial.infos[-1], 'infos has no "final_info"', fix=fix.replace("_obs", "_info"))


def gives_independent_environments(world: World) -> None:
    """Two calls of make_vec() give environments that know nothing of each other."""
    reference = play(world.vec())
    envs, other = world.vec(), world.vec()
    trial = Trial()
    trial.observe(*envs.reset(seed=0))
    play(other, seed=1)
    other.close()
    actions = Actions(envs, trial.infos[0])
    for _ in reference.rewards:
        trial.step(envs, actions(trial.infos[-1]))
    _require_same(reference, trial, "while another one was acted in and closed")


def passes_gymnasiums_check(world: World) -> None:
    """The single environments inside pass gymnasium.utils.env_checker.check_env().

    Not asked of those that restrict actions: it takes any.
    """
    if world.restricted:
        return
    for env in getattr(world.vec(1).unwrapped, "envs", ()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_env(env.unwrapped, skip_render_check=True)


ACTING_CHECKS = (
    gives_a_vector_environment,
    resets_in_the_step_that_ends_an_episode,
    agrees_about_its_spaces,
    acts_without_global_randomness,
    observes_in_its_space,
    answers_in_the_right_types,
    repeats_itself,
    follows_the_seed,
    keeps_former_observations,
    tells_how_episodes_ended,
    gives_independent_environments,
    passes_gymnasiums_check,
)


def _takes(used: Space[Any], said: Space[Any]) -> bool:
    """Tell whether an environment takes all actions of a space; it may cut off those out of bounds."""
    if not (isinstance(used, Box) and isinstance(said, Box)):
        return bool(used == said)
    alike = used.shape == said.shape and used.dtype == said.dtype
    return bool(alike and (used.low <= said.low).all() and (said.high <= used.high).all())


def _play_until_one_ends(envs: VectorEnv) -> Trial:
    """Return a trial whose last step ends an episode, if one ends in time."""
    trial = Trial()
    trial.observe(*envs.reset(seed=0))
    actions = Actions(envs, trial.infos[0])
    for _ in range(_PATIENCE):
        trial.step(envs, actions(trial.infos[-1]))
        if (trial.terminated[-1] | trial.truncated[-1]).any():
            break
    return trial


def _require_same(first: Trial, second: Trial, when: str) -> None:
    fix = "let episodes depend on the options, the seeds and the actions alone"
    for name in ("observations", "rewards", "terminated", "truncated"):
        pairs = zip(getattr(first, name), getattr(second, name), strict=True)
        for step, (one, other) in enumerate(pairs, start=0 if name == "observations" else 1):
            if difference(one, other) is not None:
                at = f"step {step}" if step else "reset()"
                fail(f"the {name} of {at} are others {when}: {_shown(one)}, then {_shown(other)}", fix=fix)


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) < 160 else f"{text[:150]} ..."
