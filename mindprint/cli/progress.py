"""What a run is doing, told from its events: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mindprint.cli.state import RunState
from mindprint.events import Event, Listener
from mindprint.visible import visible_line

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_LINES_A_STAGE = 8


@contextmanager
def progress(planned: Mapping[str, int], console: Console | None = None) -> Iterator[Listener]:
    """A listener for the pipeline: live where stderr is a terminal, else plain lines."""
    from rich.console import Console

    console = console or Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield plain(lambda line: console.print(line, soft_wrap=True, markup=False))
        return
    from mindprint.cli.live import live

    with live(RunState(planned), console) as listener:
        yield listener


def plain(say: Callable[[str], None]) -> Listener:
    """One `key=value` line an event; of a stage's steps the first, the last, a few between."""

    def listen(event: Event) -> None:
        data = event.data
        if event.kind == "step":
            every = max(1, data["steps"] // PLAIN_LINES_A_STAGE)
            if data["step"] not in {1, data["steps"]} and data["step"] % every:
                return
        line = _LINES.get(event.kind, _other)(event, data)
        if line:
            say(visible_line(line))

    return listen


def _place(event: Event) -> str:
    stage = f" stage={event.stage}" if event.stage else ""
    return f"topic={event.topic}{stage}"


def _step_line(event: Event, data: Mapping[str, Any]) -> str:
    margin = f" margin={data['margin']:.3f}" if data.get("margin") is not None else ""
    return (
        f"{_place(event)} step={data['step']}/{data['steps']} loss={data['loss']:.4f}{margin} "
        f"tok/s={data['tokens_per_second']:.0f}"
    )


def _evaluated_line(event: Event, data: Mapping[str, Any]) -> str:
    scores = f"accuracy={data['accuracy']:.2f} voice={data['voice']:.2f}"
    return f"topic={event.topic} state={data['state']} {scores}"


def _verdict_line(event: Event, data: Mapping[str, Any]) -> str:
    status = f" status={data['status']}" if "status" in data else ""
    return f"{_place(event)}{status} verdict: {data['verdict']}" if data.get("verdict") else ""


def _notice_line(event: Event, data: Mapping[str, Any]) -> str:
    return f"{_place(event)} note: {data['text']}" if event.topic else f"note: {data['text']}"


def _other(event: Event, data: Mapping[str, Any]) -> str:
    return ""


def _started_line(event: Event, data: Mapping[str, Any]) -> str:
    return f"{_place(event)} steps={data['steps']} rows={data['rows']}"


_LINES: Mapping[str, Callable[[Event, Mapping[str, Any]], str]] = {
    "step": _step_line,
    "stage-started": _started_line,
    "stage-finished": _verdict_line,
    "evaluated": _evaluated_line,
    "topic-finished": _verdict_line,
    "notice": _notice_line,
}


def planned_steps(stages: Sequence[Any]) -> dict[str, int]:
    """Steps of a plan by topic."""
    steps: dict[str, int] = {}
    for stage in stages:
        steps[stage.topic] = steps.get(stage.topic, 0) + stage.steps
    return steps
