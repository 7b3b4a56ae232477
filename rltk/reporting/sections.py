"""The sections of the report that are made of tables, bars and words."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rltk.reporting.charts import bar_chart
from rltk.reporting.record import RunRecord
from rltk.reporting.tables import Table, finite, flag_table, headline, policy_table

#: Rows of the reward model's chart: key in the summary and label, all shares of pairs.
_ACCURACIES = {
    "accuracy": "reward model",
    "agreement": "two labelers agree",
    "length_baseline": "longer answer wins",
}


def header_section(record: RunRecord) -> str:
    """Return title, one-sentence result and the facts of the run, as HTML."""
    summary = record.summary
    seconds = summary.get("seconds")
    total = (
        sum(v for v in map(finite, seconds.values()) if v is not None)
        if isinstance(seconds, Mapping)
        else None
    )
    memory = finite(summary.get("peak_memory_gb"))
    facts = {
        "seed": summary.get("seed", record.config.get("seed")),
        "environment": (record.config.get("environment") or {}).get("name"),
        "time": duration(total) if total else None,
        "peak memory": f"{memory:.1f} GB" if memory else None,
        "directory": record.directory,
    }
    shown = " · ".join(f"{name} {escape(str(value))}" for name, value in facts.items() if value is not None)
    result = headline(summary)
    return (
        f"<h1>{escape(str(summary.get('recipe') or record.directory.name))}</h1>"
        f'<p class="facts">{shown}</p>{f"<p class=headline>{escape(result)}.</p>" if result else ""}'
    )


def policies_section(record: RunRecord) -> str:
    """Return the tables of policies, as HTML."""
    main, flags = policy_table(record.summary), flag_table(record.summary)
    if not main[1]:
        return "<h2>Policies</h2><p class=muted>No policy has been evaluated yet.</p>"
    flag_part = html_table(flags) if len(flags[0]) > 1 else ""
    return f"<h2>Policies</h2>{_evaluation_note(record.summary)}{html_table(main)}{flag_part}"


def html_table(table: Table) -> str:
    """Return a table as HTML; it scrolls by itself where the screen is narrow."""
    header, rows = table
    head = "".join(f"<th>{escape(title)}</th>" for title in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def reward_model_section(record: RunRecord) -> str:
    """Return the reward model's accuracy beside what bounds it from above and below, as HTML."""
    measures = record.summary.get("reward_model") or {}
    bars = [
        (label, value, _with_interval(value, measures.get(f"{key}_ci")))
        for key, label in _ACCURACIES.items()
        if (value := finite(measures.get(key))) is not None
    ]
    if not bars:
        return ""
    chart = bar_chart(
        "Share of held-out pairs ordered as the labeler did", [*bars, ("chance", 0.5, "50 %")], highest=1
    )
    return (
        "<h2>Reward model</h2><p class=muted>It cannot be expected to agree with labelers much more often "
        "than they agree with one another; always preferring the longer answer scores the length baseline."
        f"</p>{chart}"
    )


def time_section(record: RunRecord) -> str:
    """Return where the time went, as HTML."""
    seconds = record.summary.get("seconds")
    if not isinstance(seconds, Mapping):
        return ""
    bars = [
        (stage, value, duration(value)) for stage, v in seconds.items() if (value := finite(v)) is not None
    ]
    return f"<h2>Time</h2>{bar_chart('Time per stage', bars)}" if bars else ""


def next_section(record: RunRecord) -> str:
    """Return what to try next, as HTML."""
    steps = next_steps(record.config, str(record.directory))
    items = "".join(
        f"<dt><code>{escape(command)}</code></dt><dd>{escape(why)}</dd>" for command, why in steps
    )
    return f'<h2>What to try next</h2><dl class="next">{items}</dl>' if items else ""


def next_steps(
    config: Mapping[str, Any], directory: str, plugins: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """Return commands that follow from a run and what each is for.

    They name the run's own config, which has the overrides and is there for recipes from a file too.

    :param config: the resolved recipe.
    :param directory: the run's directory as it should stand in a command.
    :param plugins: the values of ``-p`` that the run was made with.
    """
    recipe = " ".join([f"{directory}/config.yaml", *(f"-p {plugin}" for plugin in plugins)])
    stages = {name: options or {} for name, options in (config.get("stages") or {}).items()}
    by_plugin = {options.get("stage"): name for name, options in stages.items()}
    steps = []
    if "sft" in by_plugin:
        steps.append(
            (f'rltk generate {directory} "a prompt of yours"', "ask the final policy something yourself")
        )
    seed = config.get("seed")
    if isinstance(seed, int):
        steps.append((f"rltk train {recipe} seed={seed + 1}", "see how much of the result was luck"))
    if "rl" in by_plugin:
        rl = by_plugin["rl"]
        name = (stages[rl].get("algorithm") or {}).get("name")
        variants = (config.get("variants") or {}).get(f"{rl}.algorithm") or {}
        # A run of a variant no longer knows the options of the algorithm that the recipe began with.
        if variants and name not in variants:
            other = next(iter(variants))
            steps.append(
                (f"rltk train {recipe} {rl}.algorithm.name={other}", "swap the algorithm and nothing else")
            )
        if "reward_model" in by_plugin and stages[rl].get("kl_coef") != 0:
            steps.append(
                (f"rltk train {recipe} {rl}.kl_coef=0", "drop the leash: watch reward rise and utility fall")
            )
    return steps


def duration(seconds: float) -> str:
    """Return a length of time as people say it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _evaluation_note(summary: Mapping[str, Any]) -> str:
    facts = summary.get("evaluation") or {}
    if not facts.get("num_prompts"):
        return ""
    note = f"{facts['num_prompts']} prompts of the {facts['split']} split."
    if facts.get("labelers"):
        note += f" Win rates: judged by {len(facts['labelers'])} held-out labelers, ties count half."
    return f"<p class=muted>{escape(note)} Brackets hold 95 % intervals over prompts.</p>"


def _with_interval(value: float, interval: Any) -> str:
    ends = [finite(end) for end in interval or ()]
    shown = [f"{end * 100:.0f}" for end in ends if end is not None]
    return f"{value * 100:.1f} %" + (f" [{', '.join(shown)}]" if len(shown) == 2 else "")
