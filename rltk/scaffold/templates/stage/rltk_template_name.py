"""A stage: counts the words of the environment's demonstrations, step by step and resumable."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import rltk
from pydantic import Field
from rltk.interfaces import Split

RLTK_API = 1


class TemplateNameStage(rltk.Stage):
    """Counts the words of demonstrations and leaves them in ``words.json``, the most frequent first."""

    name = "template-name"

    class Config(rltk.ComponentConfig):
        """Options, such as ``words: {stage: template-name, split: test}``."""

        split: Split = Field("train", description="Which demonstrations: train, validation or test.")
        rows_per_step: int = Field(100, ge=1, description="Demonstrations read between two checkpoints.")

    config: Config

    def run(self) -> Mapping[str, Any]:
        """Read all demonstrations and return what goes into ``summary.json``.

        :raises UserError: the environment has no demonstrations.
        """
        context, size = self.context, self.config.rows_per_step
        rows = context.environment.demonstrations(self.config.split)
        total = -(-len(rows) // size)
        done, state = context.load_checkpoint() or (0, {"words": {}})
        words = Counter(state["words"])
        for step in range(done + 1, total + 1):
            for row in rows[(step - 1) * size : step * size]:
                words.update(row["response"].split())
            context.log(step, total, {"words/distinct": len(words), "words/total": words.total()})
            context.checkpoint(step, lambda: {"words": dict(words)})
        path = context.directory / "words.json"
        path.write_text(json.dumps(dict(words.most_common()), indent=2) + "\n", encoding="utf-8")
        return {context.name: {"rows": len(rows), "distinct": len(words), "total": words.total()}}


@rltk.hookimpl
def rltk_stages() -> list[type[rltk.Stage]]:
    """Provide ``template-name``."""
    return [TemplateNameStage]
