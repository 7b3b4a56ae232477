"""Playing cells: what one process holds open, and what it writes."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

import torch

from rltk.bench.forms import PolicyForm
from rltk.bench.judging import judge
from rltk.bench.loading import Loader, check_reads
from rltk.bench.plan import Bench, Cell, make_environment
from rltk.bench.records import write_records
from rltk.bench.tasks import Task, choose_rows, initial_states
from rltk.errors import UserError
from rltk.interfaces import Environment, Row
from rltk.rng import derive_seed
from rltk.runs import choose_device


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    :param reason: why it failed, in one line; None where it did not.
    :param traceback: of the failure.
    """

    cell: Cell
    reason: str | None = None
    traceback: str = ""


class Workshop:
    """Plays cells one after the other; policies and environments are made once and kept."""

    def __init__(self, bench: Bench) -> None:
        self.config, self.plan, self.directory = bench.config, bench.plan, bench.directory
        self._loader = Loader(choose_device(self.config.device), self.config.seed)
        self._environments: dict[str, tuple[Environment, list[Row]]] = {}

    def __enter__(self) -> Workshop:
        self._threads = torch.get_num_threads()
        torch.set_num_threads(self.config.threads)
        return self

    def __exit__(self, *error: Any) -> None:
        """Close what is open."""
        torch.set_num_threads(self._threads)
        self._loader.close()

    def attempt(self, cell: Cell) -> Outcome:
        """Play a cell and write its records; a failure is an outcome like any other."""
        try:
            self._play(cell)
        except Exception as error:
            return Outcome(cell, reason_of(error), traceback.format_exc())
        return Outcome(cell)

    def _play(self, cell: Cell) -> None:
        environment, prompts = self._environment(cell.environment)
        reference = self._reference(cell)
        player = self._loader.player(self.plan.form(cell), environment, reference)
        task = self._task(cell, environment, prompts, reference)
        if task.text:
            check_reads(player.tokenizer, environment, [row["prompt"] for row in task.rows])
        attempts = player.play(task)
        spec = self.config.environments[cell.environment].reward
        reward = None if spec is None else self._loader.reward(spec, player.tokenizer)
        write_records(self.directory / cell.path, judge(cell, task, attempts, reward))

    def _environment(self, name: str) -> tuple[Environment, list[Row]]:
        """Return an environment and the prompts of its split."""
        if name not in self._environments:
            environment = make_environment(self.config, name)
            text = self.plan.places[name].text
            prompts = environment.prompts(self.config.environments[name].split) if text else []
            self._environments[name] = environment, prompts
        return self._environments[name]

    def _reference(self, cell: Cell) -> PolicyForm | None:
        """Return the reference of the cell's own training seed, or else the first."""
        name = self.config.reference
        forms = {
            train_seed: form
            for (policy, train_seed, environment), form in self.plan.forms.items()
            if policy == name and environment == cell.environment
        }
        return forms.get(cell.train_seed, next(iter(forms.values()), None))

    def _task(
        self, cell: Cell, environment: Environment, prompts: list[Row], reference: PolicyForm | None
    ) -> Task:
        config, place = self.config, self.plan.places[cell.environment]
        # From names alone, and not from the policy: that is what pairs the episodes of all policies.
        seed = derive_seed(config.seed, "bench", cell.environment, cell.seed)
        count = place.episodes // config.samples
        rows, indices = choose_rows(prompts, count, seed) if place.text else initial_states(count, seed)
        return Task(
            environment=environment,
            text=place.text,
            split=config.environments[cell.environment].split,
            rows=rows,
            indices=indices,
            seed=derive_seed(seed, "sampling"),
            samples=config.samples,
            slots=config.slots,
            reference=None if reference is None else self._loader.policy(reference, environment),
        )


def reason_of(error: Exception) -> str:
    """Return why something failed, in one line."""
    said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return " ".join(said.split()) or type(error).__name__
