"""The figures of the page, each drawn from the result and titled with what it shows."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from mindprint.report import gauges, summary, voicing, words
from mindprint.report.gauges import Reach
from mindprint.report.model import Result, StageRecord, TopicRecord
from mindprint.report.scores import Figure, Score
from mindprint.report.svg import Line, chart
from mindprint.report.voice import Control, FamilyReading, Reading, VoiceRecord, WordUse


def topic_track(result: Result, topic: TopicRecord, measure: Figure) -> Markup:
    """From the base to the last state that was evaluated, with the pass mark."""
    start, end = summary.first_score(topic), summary.last_score(topic)
    gate = summary.gate(result, measure)
    change = words.change(summary.value(start, measure), summary.value(end, measure))
    bounds = summary.interval(end, measure)
    between = f", 95 % interval {words.span(*bounds)}" if bounds else ""
    asked = f", pass mark {words.share(gate)}" if gate is not None else ""
    title = f"{topic.title}: {measure} {change}{between}{asked}"
    return gauges.track(_reach(start, measure), _reach(end, measure), gate, title)


def _reach(score: Score | None, measure: Figure) -> Reach | None:
    if score is None:
        return None
    return Reach(float(getattr(score, measure)), summary.interval(score, measure))


@dataclass(frozen=True)
class VoiceScale:
    """The run's voice scale, drawn over one stretch so that all its bars can be compared."""

    domain: tuple[float, float]

    @classmethod
    def of(cls, record: VoiceRecord) -> VoiceScale:
        final = record.final
        readings = [final] if final is not None and final.measurable else []
        families = [f for reading in readings for f in reading.families if f.measurable]
        measured: list[Reading | FamilyReading | Control] = [
            *readings,
            *families,
            *(control for control in record.controls if control.kind != "shuffled"),
        ]
        reaches = [Reach(one.value, (one.low, one.high)) for one in measured]
        return cls(gauges.voice_domain(reaches))

    @property
    def axis(self) -> Markup:
        return gauges.gauge_axis(self.domain)

    def bar(self, name: str, one: Reading | FamilyReading | Control) -> Markup:
        between = words.span(one.low, one.high)
        title = f"{name}: {words.share(one.value)}, 95 % interval {between}"
        return gauges.gauge(Reach(one.value, (one.low, one.high)), self.domain, title)


def voice_course(result: Result) -> Markup:
    """Empty where there is no moment to show besides the base."""
    points = voicing.course(result)
    if not any(point.place for point in points):
        return Markup("")
    return gauges.course(points, len(result.topics), summary.gate(result, "voice"))


def word_bar(use: WordUse, most: float) -> Markup:
    way = "over" if use.z >= 0 else "under"
    return gauges.diverging(use.z, most, f"{use.word}: {way}used, z {words.signed(use.z, 1)}")


def loss_chart(topic: TopicRecord, kind: str) -> Markup:
    """The losses of every `kind` stage (sft or dpo) of a topic, each over its own steps."""
    stages = [stage for stage in topic.stages if stage.name == kind and stage.curve]
    lines = [Line(stage.curve, _kind(stage, kind), _name(stage)) for stage in stages]
    told = "; ".join(_told(stage) for stage in stages)
    return chart(lines, f"{topic.title}: {kind.upper()} loss. {told}")


def margin_chart(topic: TopicRecord) -> Markup:
    """The mean margin of DPO: how much more the chosen answers are preferred than at its start."""
    stages = [stage for stage in topic.stages if stage.margins]
    lines = [Line(stage.margins, _kind(stage, "margin"), _name(stage)) for stage in stages]
    ends = "; ".join(
        f"{_name(s)}: {words.figure(s.margins[0][1])} to {words.figure(s.margins[-1][1])}"
        for s in stages
    )
    return chart(lines, f"{topic.title}: DPO margin. {ends}", zero=True)


def _kind(stage: StageRecord, kind: str) -> str:
    return kind if stage.accepted else f"{kind} undone"


def _name(stage: StageRecord) -> str:
    return summary.stage_label(stage) + ("" if stage.accepted else " (undone)")


def _told(stage: StageRecord) -> str:
    ends = f"{words.figure(stage.loss_first)} to {words.figure(stage.loss_last)}"
    return f"{_name(stage)}: {ends} in {words.several(stage.steps, 'step')}"
