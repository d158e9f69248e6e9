"""The report as one page that needs nothing else: no script, no font, no address to load from."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mindprint.report import summary, words
from mindprint.report.model import Result, Score, StageRecord, TopicRecord
from mindprint.report.svg import Line, chart, track

TEMPLATE = "report.html.j2"


def page(result: Result) -> str:
    """The whole page as text. Everything from the run is escaped."""
    return _environment().get_template(TEMPLATE).render(result=result)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mindprint.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "share": words.share,
        "duration": duration,
        "size": words.size,
        "whole": words.whole,
        "figure": words.figure,
        "parameters": words.parameters,
        "setting": setting,
        "fall": fall,
    }
    environment.filters.update(filters)
    environment.globals.update(
        summary=summary,
        words=words,
        labels=words.LABELS,
        topic_track=topic_track,
        loss_chart=loss_chart,
        margin_chart=margin_chart,
    )
    return environment


def topic_track(result: Result, topic: TopicRecord, measure: summary.Measure) -> Markup:
    """From the base to the last state that was evaluated, with the gate."""
    values = {state: summary.value(topic.scores.get(state), measure) for state in summary.STATES}
    start = values["base"] if values["base"] is not None else values["before"]
    later = (values[state] for state in reversed(summary.STATES[1:]))
    end = next((value for value in later if value is not None), None)
    gate = summary.gate(result, measure)
    asked = f", pass mark {words.share(gate)}" if gate is not None else ""
    title = f"{topic.title}: {measure} {words.change(start, end)}{asked}"
    return track(start, end, gate, title)


def loss_chart(topic: TopicRecord, kind: str) -> Markup:
    """The losses of every `kind` stage (sft or dpo) of a topic, each over its own steps."""
    stages = [stage for stage in topic.stages if stage.name == kind]
    lines = [
        Line(stage.curve, f"{kind}{'' if stage.accepted else ' undone'}", _name(stage))
        for stage in stages
    ]
    told = "; ".join(_told(stage) for stage in stages)
    return chart(lines, f"{topic.title}: {kind.upper()} loss. {told}")


def margin_chart(topic: TopicRecord) -> Markup:
    """The mean margin of DPO: how much more the chosen answers are preferred than at its start."""
    stages = [stage for stage in topic.stages if stage.margins]
    lines = [
        Line(stage.margins, f"margin{'' if stage.accepted else ' undone'}", _name(stage))
        for stage in stages
    ]
    ends = "; ".join(
        f"{_name(s)}: {words.figure(s.margins[0][1])} to {words.figure(s.margins[-1][1])}"
        for s in stages
    )
    return chart(lines, f"{topic.title}: DPO margin. {ends}", zero=True)


def setting(value: object) -> str:
    """A configuration value as YAML would have it."""
    if value is None:
        return words.NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def duration(value: float) -> str:
    """Seconds in words that no line break parts from their unit."""
    return words.seconds(value).replace(" ", "\u00a0")


def fall(now: Score | None, learned: Score | None, measure: summary.Measure) -> str:
    """CSS class of a cell by how far a topic fell since it was learned; 0.05 is within noise."""
    if now is None or learned is None:
        return ""
    lost = getattr(learned, measure) - getattr(now, measure)
    limits = ((0.30, "fall-3"), (0.15, "fall-2"), (0.05, "fall-1"), (-0.05, "level"))
    return next((name for limit, name in limits if lost > limit), "rise")


def _name(stage: StageRecord) -> str:
    return summary.stage_label(stage) + ("" if stage.accepted else " (undone)")


def _told(stage: StageRecord) -> str:
    ends = f"{words.figure(stage.loss_first)} to {words.figure(stage.loss_last)}"
    return f"{_name(stage)}: {ends} in {words.several(stage.steps, 'step')}"
