"""How near one sequence is to another."""

from __future__ import annotations

from collections.abc import Sequence


def positions_right(said: Sequence[str], wanted: Sequence[str]) -> float:
    """Return the share of the longer sequence's positions at which both agree; 1 if both are empty."""
    same = sum(a == b for a, b in zip(said, wanted, strict=False))
    return same / max(len(said), len(wanted), 1) if said or wanted else 1.0


def edit_distance(said: Sequence[str], wanted: Sequence[str]) -> int:
    """Return the fewest insertions, deletions and replacements that turn one sequence into the other.

    By rows of the table of Wagner & Fischer (1974, The String-to-String Correction Problem).
    """
    above = list(range(len(wanted) + 1))
    for i, a in enumerate(said, start=1):
        row = [i]
        for j, b in enumerate(wanted, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
        above = row
    return above[-1]


def likeness(said: Sequence[str], wanted: Sequence[str]) -> float:
    """Return 1 less the edit distance as a share of the longer sequence."""
    return 1.0 - edit_distance(said, wanted) / max(len(said), len(wanted), 1)
