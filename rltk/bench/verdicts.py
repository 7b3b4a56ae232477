"""What a comparison says, in words."""

from __future__ import annotations

from collections import Counter

from rltk.bench.comparisons import Versus
from rltk.bench.summary import Summary
from rltk.stats import Verdict


def to_settle(versus: Versus, summary: Summary) -> str:
    """Return what would settle an underpowered comparison; "" where it is settled."""
    if versus.verdict != "underpowered":
        return ""
    text = all(place.text for place in summary.environments if place.name in versus.environments)
    unit = "prompts" if text else "episodes"
    each = " each" if len(versus.environments) > 1 else ""
    ways = [(versus.more_prompts, f"more {unit}{each}"), (versus.more_seeds, "more training seeds")]
    found = [f"{_about(count)} {words}" for count, words in ways if count is not None]
    return " or ".join(found) or f"no number of {unit}"


def headlines(summary: Summary) -> list[str]:
    """Return a sentence on each policy against the baseline, over all environments where it can be said."""
    return [
        _sentence(summary, policy)
        for policy in summary.policies
        if policy != summary.baseline and any(item.policy == policy for item in summary.versus)
    ]


def covers(summary: Summary) -> str:
    """Return in a sentence what the intervals say something of."""
    trained = [
        policy
        for policy in summary.policies
        if any(item.train_seeds > 1 for item in summary.standings if item.policy == policy)
    ]
    if not trained:
        return "Intervals are over prompts: what others would have shown of these very policies."
    return f"Intervals are over prompts, those of {_listed(trained)} over training seeds too."


def _about(count: int) -> str:
    """Return a number with two digits that matter; it is an estimate."""
    least = max(count, 1)
    rounded = int(float(f"{least:.2g}"))
    return f"{rounded:,}" if rounded < 10 else f"about {rounded:,}"


def _sentence(summary: Summary, policy: str) -> str:
    found = [item for item in summary.versus if item.policy == policy]
    counts = Counter(item.verdict for item in found)
    where = (
        f"in {found[0].environments[0]}"
        if len(found) == 1
        else f"in {max(counts.values())} of {len(found)} environments"
    )
    if len(counts) == 1:
        (verdict,) = counts
        return f"{policy} is {_against(verdict, summary.baseline)} {where}."
    parts = ", ".join(f"{verdict} in {counts[verdict]}" for verdict in _ORDER if counts[verdict])
    return f"{policy} against {summary.baseline}: {parts}."


#: The order in which verdicts are told.
_ORDER: tuple[Verdict, ...] = ("better", "worse", "tied", "underpowered")


def _against(verdict: Verdict, baseline: str) -> str:
    return {
        "better": f"better than {baseline}",
        "worse": f"worse than {baseline}",
        "tied": f"tied with {baseline}",
        "underpowered": f"too close to {baseline} to tell by what was played",
    }[verdict]


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
