"""LS-LoRA's splines in words and tables: how far they bent, and what is amiss with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mindprint.report.model import Result, StageRecord, TopicRecord
from mindprint.report.spline import LayerSpline, SplinesRecord
from mindprint.report.summary import stage_label
from mindprint.report.text import Table
from mindprint.report.words import figure, percent, several, whole

FAR = 1.0
"""Mean |v - k| beyond which a spline is no longer near the identity: its own unit is that of z."""
HALF = 0.5
MUTED = 0.25
"""A scale below this keeps most of z from the spline, or most of phi from the layer's output."""

BASIS = (
    "LS-LoRA adds s_out phi(s_in z) to a layer, z being what LoRA would add. Moved is the mean "
    "distance of phi's values from the identity, bent the variance of its slopes. Inner and "
    "outside are shares of the inputs s_in z: on the two pieces beside 0, and beyond the grid."
)
_HEAD = ("layers", "moved", "most", "bent", "s_in", "s_out", "inner", "outside")


def kept(topic: TopicRecord) -> tuple[StageRecord, SplinesRecord] | None:
    """The last stage of a topic that was kept and has splines; the last of any, if none was."""
    found = [(stage, stage.splines) for stage in topic.stages if stage.splines is not None]
    stood = [one for one in found if one[0].accepted]
    return next(((stage, made) for stage, made in reversed(stood or found) if made), None)


def bent(result: Result) -> Iterator[tuple[TopicRecord, StageRecord, SplinesRecord]]:
    """The topics that have splines, each with its stage's."""
    for topic in result.topics:
        if (found := kept(topic)) is not None:
            yield topic, *found


def groups(record: SplinesRecord) -> dict[str, tuple[LayerSpline, ...]]:
    """Layers of one sort together (`q_proj`), in the order in which a block has them."""
    found: dict[str, tuple[LayerSpline, ...]] = {}
    for layer in record.layers:
        sort = layer.layer.rpartition(".")[2]
        found[sort] = (*found.get(sort, ()), layer)
    return found


def topic_table(result: Result) -> Table:
    """A line a topic, all its layers together."""
    rows = tuple(
        (topic.title, stage_label(stage), *_together(made.layers))
        for topic, stage, made in bent(result)
    )
    return Table(("topic", "stage", *_HEAD), rows, frozenset(range(2, 2 + len(_HEAD))))


def group_table(result: Result) -> Table:
    """A line for each topic and sort of layer."""
    rows = tuple(
        (topic.title, stage_label(stage), sort, *_together(layers))
        for topic, stage, made in bent(result)
        for sort, layers in groups(made).items()
    )
    return Table(("topic", "stage", "sort", *_HEAD), rows, frozenset(range(3, 3 + len(_HEAD))))


def layer_table(record: SplinesRecord) -> Table:
    """A line a layer."""
    rows = tuple(
        (
            one.layer,
            figure(one.moved),
            figure(one.slope_variance),
            *map(figure, one.scales),
            percent(one.inner),
            percent(one.outside),
        )
        for one in record.layers
    )
    head = ("layer", "moved", "bent", "s_in", "s_out", "inner", "outside")
    return Table(head, rows, frozenset(range(1, len(head))))


def _together(layers: Sequence[LayerSpline]) -> tuple[str, ...]:
    """How many they are, their means, and the layer that moved most."""
    most = max(layers, key=lambda one: one.moved)
    return (
        whole(len(layers)),
        figure(_mean([one.moved for one in layers])),
        figure(most.moved),
        figure(_mean([one.slope_variance for one in layers])),
        figure(_mean([one.scales[0] for one in layers])),
        figure(_mean([one.scales[1] for one in layers])),
        percent(_mean([one.inner for one in layers])),
        percent(_mean([one.outside for one in layers])),
    )


def findings(record: SplinesRecord) -> tuple[str, ...]:
    """What is amiss, a sentence each, with the setting that would change it."""
    found = (_far(record), _idle(record), _beyond(record), _muted(record))
    return tuple(sentence for sentence in found if sentence)


def told(result: Result) -> list[str]:
    """The findings of every topic, each with its topic and stage."""
    return [
        f"{topic.title}, {stage_label(stage)}: {sentence}."
        for topic, stage, made in bent(result)
        for sentence in findings(made)
    ]


def _far(record: SplinesRecord) -> str:
    far = [one for one in record.layers if one.moved > FAR]
    if not far:
        return ""
    most = max(far, key=lambda one: one.moved)
    return (
        f"in {_of(far, record)} the spline's values lie more than {FAR:g} from the identity on "
        f"average (most in `{most.layer}`: {figure(most.moved)}); a larger "
        "`adapter.identity_penalty` or a smaller `adapter.spline_rate` holds them back"
    )


def _idle(record: SplinesRecord) -> str:
    """A spline of three knots has no other pieces."""
    idle = [one for one in record.layers if one.inner >= 1.0 and len(one.values) > 3]
    if not idle:
        return ""
    return (
        f"in {_of(idle, record)} every input lies on the two pieces beside 0, so that the outer "
        "knots learn nothing; a narrower `adapter.grid` would use them"
    )


def _beyond(record: SplinesRecord) -> str:
    beyond = [one for one in record.layers if one.outside > HALF]
    if not beyond:
        return ""
    most = max(beyond, key=lambda one: one.outside)
    return (
        f"in {_of(beyond, record)} more than half of the inputs lie outside the grid (most in "
        f"`{most.layer}`: {percent(most.outside)}); a wider `adapter.grid` would reach them"
    )


def _muted(record: SplinesRecord) -> str:
    muted = [one for one in record.layers if min(map(abs, one.scales)) < MUTED]
    if not muted:
        return ""
    most = min(muted, key=lambda one: min(map(abs, one.scales)))
    before, after = most.scales
    return (
        f"in {_of(muted, record)} a scale of the spline is below {MUTED:g} (least in "
        f"`{most.layer}`: {figure(before)} before phi, {figure(after)} after it), which silences "
        "the adapter; a smaller `adapter.spline_rate` keeps the scales nearer to 1"
    )


def _of(some: Sequence[LayerSpline], record: SplinesRecord) -> str:
    if len(some) == len(record.layers):
        return f"all of its {several(len(some), 'layer')}" if len(some) > 1 else "its one layer"
    return f"{whole(len(some))} of {several(len(record.layers), 'layer')}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
