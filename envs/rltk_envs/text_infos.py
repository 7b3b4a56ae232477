"""What the infos of a text environment say of the episodes that ended, laid out as SyncVectorEnv does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rltk.episode import Episode
from rltk.scoring import Score
from rltk_envs.text_slots import TextSlots


@dataclass
class FinishedEpisode:
    """An episode that ended in a step, with what the reward model said (None: scored later or unscorable)."""

    episode: Episode
    score: Score = None


def ended_infos(ended: NDArray[np.bool_], finished: Sequence[FinishedEpisode]) -> dict[str, Any]:
    """Return the infos ``response`` and ``finished`` of the slots whose episodes ended.

    :param ended: ``[N]`` which slots they are.
    :param finished: one of each, in their order.
    """
    records, responses = np.full((2, len(ended)), None, dtype=object)
    for slot, record in zip(np.flatnonzero(ended).tolist(), finished, strict=True):
        records[slot], responses[slot] = record, record.episode.response
    return {
        "response": responses,
        "_response": ended.copy(),
        "finished": records,
        "_finished": ended.copy(),
    }


def final_infos(
    ended: NDArray[np.bool_], infos: dict[str, Any], episodes: NDArray[np.int64], slots: TextSlots
) -> dict[str, Any]:
    """Return ``final_obs`` and ``final_info``, for slots that go on in the step that ends an episode.

    :param infos: as :func:`ended_infos` returns them.
    :param episodes: ``[N]`` the numbers of the episodes.
    :param slots: as they stood at the end.
    """
    observations = np.full(len(ended), None, dtype=object)
    for slot in np.flatnonzero(ended).tolist():
        observations[slot] = slots.observe(slot)
    return {
        "final_obs": observations,
        "_final_obs": ended.copy(),
        "final_info": {"episode_id": np.where(ended, episodes, 0), "_episode_id": ended.copy(), **infos},
        "_final_info": ended.copy(),
    }
