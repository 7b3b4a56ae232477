"""The table of policies, defined once for the terminal, the report and the documentation."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

DASH = "–"  # noqa: RUF001 - an en dash is what tables show for nothing
Table = tuple[list[str], list[list[str]]]


@dataclass(frozen=True)
class Column:
    """One measure of a policy: where it stands in the summary and how it is shown.

    An interval under ``key + "_ci"`` is shown behind the value.
    """

    key: str
    title: str
    digits: int = 2
    percent: bool = False

    def show(self, policy: Mapping[str, Any]) -> str:
        """Return the cell of a policy; a dash where it has no such measure."""
        value = finite(policy.get(self.key))
        if value is None:
            return DASH
        shown = self._number(value) + (" %" if self.percent else "")
        interval = [finite(end) for end in policy.get(f"{self.key}_ci") or ()]
        if len(interval) == 2 and None not in interval:
            shown += f" [{', '.join(self._number(end) for end in interval if end is not None)}]"
        return shown

    def _number(self, value: float) -> str:
        return fixed(value * 100, 0) if self.percent else fixed(value, self.digits)


#: What decides between policies, in the order shown; everything else goes to :func:`flag_table`.
COLUMNS = (
    Column("return", "return", digits=1),
    Column("greedy_return", "greedy return", digits=1),
    Column("utility", "utility"),
    Column("utility_greedy", "greedy utility"),
    Column("win_rate", "win rate", percent=True),
    Column("reward_win_rate", "win rate by reward", percent=True),
    Column("reward", "reward"),
    Column("kl", "KL", digits=1),
    Column("length", "length", digits=1),
    Column("corpus_loss", "corpus loss", digits=3),
)
_COMPARED_WITH = {"win_rate": "baseline", "reward_win_rate": "baseline", "kl": "reference"}


def finite(value: object) -> float | None:
    """Return a finite number as a float, anything else as None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def fixed(value: float, digits: int) -> str:
    """Return a number with so many digits behind the point; never a negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def policy_table(summary: Mapping[str, Any]) -> Table:
    """Return header and rows of the main table, one row a policy, as text.

    :param summary: what ``summary.json`` holds; columns that no policy has are left out.
    """
    policies = summary.get("policies") or {}
    used = [column for column in COLUMNS if _used(column.key, policies)]
    titles = [column.title + _compared_with(column.key, summary) for column in used]
    return _table(titles, used, policies)


def flag_table(summary: Mapping[str, Any]) -> Table:
    """Return header and rows of all measures that :func:`policy_table` does not show."""
    policies = summary.get("policies") or {}
    main = {column.key for column in COLUMNS}
    keys = dict.fromkeys(key for policy in policies.values() for key in policy if key not in main)
    used = [_flag(key, policies) for key in keys if _used(key, policies)]
    return _table([column.title for column in used], used, policies)


def markdown_table(table: Table) -> str:
    """Return a table as GitHub-flavoured Markdown, numbers to the right."""
    header, rows = table
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *rows])


def headline(summary: Mapping[str, Any]) -> str:
    """Return one sentence on the last policy against the baseline, or "" where they were not compared."""
    policies = summary.get("policies") or {}
    baseline = str((summary.get("evaluation") or {}).get("baseline"))
    if not policies or baseline not in policies or baseline == (last := list(policies)[-1]):
        return ""
    final, other = policies[last], policies[baseline]
    parts = [_preference(last, baseline, final)] if finite(final.get("win_rate")) is not None else []
    before, after = finite(other.get("utility")), finite(final.get("utility"))
    if before is not None and after is not None:
        parts.append(f"utility {before:.2f} → {after:.2f}")
    return "; ".join(parts)


def _preference(name: str, baseline: str, policy: Mapping[str, Any]) -> str:
    sentence = f"{name} is preferred to {baseline} {policy['win_rate'] * 100:.0f} % of the time"
    ends = [end for end in map(finite, policy.get("win_rate_ci") or ()) if end is not None]
    if len(ends) != 2:
        return sentence
    verdict = ": too close to call" if ends[0] <= 0.5 <= ends[1] else ""
    return f"{sentence} (95 % interval {ends[0] * 100:.0f} to {ends[1] * 100:.0f} %){verdict}"


def _table(titles: list[str], columns: Iterable[Column], policies: Mapping[str, Any]) -> Table:
    columns = list(columns)
    rows = [[name, *(column.show(policy) for column in columns)] for name, policy in policies.items()]
    return ["policy", *titles], rows


def _used(key: str, policies: Mapping[str, Any]) -> bool:
    return any(finite(policy.get(key)) is not None for policy in policies.values())


def _compared_with(key: str, summary: Mapping[str, Any]) -> str:
    other = (summary.get("evaluation") or {}).get(_COMPARED_WITH.get(key, ""))
    preposition = "to" if key == "kl" else "vs"
    return f" {preposition} {other}" if other else ""


def _flag(key: str, policies: Mapping[str, Any]) -> Column:
    values = [finite(policy.get(key)) for policy in policies.values()]
    percent = all(0 <= value <= 1 for value in values if value is not None)
    return Column(key, key.replace("_", " "), percent=percent)
