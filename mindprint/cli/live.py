"""The live view of a run: the topics with their state, the stage in hand, the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mindprint.cli.state import RunState, TopicState
from mindprint.events import Event, Listener
from mindprint.report.words import seconds, share
from mindprint.visible import visible, visible_line

MARKS = {
    "waiting": ("·", "dim"),
    "running": ("▸", "cyan"),
    "passed": ("✓", "green"),
    "finished": ("✓", "dim"),
    "failed": ("✗", "red"),
}
FEWEST_LINES = 4


@contextmanager
def live(state: RunState, console: Console) -> Iterator[Listener]:
    """Redraws a few times a second; verdicts and notices scroll by above."""
    with Live(_Screen(state), console=console, refresh_per_second=5, transient=False) as screen:

        def listen(event: Event) -> None:
            state.hear(event)
            line = _above(event, state)
            if line is not None:
                screen.console.print(line)

        yield listener(listen, screen)


def listener(listen: Listener, screen: Live) -> Listener:
    """Redraw at once when something ends, so that the last view is never stale."""

    def both(event: Event) -> None:
        listen(event)
        if event.kind != "step":
            screen.refresh()

    return both


class _Screen:
    """Draws the state as it is when asked, so that the clock moves between events."""

    def __init__(self, state: RunState) -> None:
        self._state = state

    def __rich_console__(self, console: Console, options: object) -> Iterator[RenderableType]:
        yield draw(self._state, max(FEWEST_LINES, console.height - 4))


def draw(state: RunState, height: int = 40) -> RenderableType:
    """The whole view, at most `height` lines of topics."""
    table = Table.grid(padding=(0, 2))
    for _ in range(4):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for known in _fitting(state, height):
        mark, style = MARKS.get(known.state, MARKS["waiting"])
        scores = (
            f"{share(known.accuracy)}  {share(known.voice)}" if known.state != "waiting" else ""
        )
        table.add_row(
            Text(mark, style),
            Text(visible_line(known.title), style),
            Text(known.state, style),
            scores,
        )
    return Group(table, _stage(state)) if state.topic else table


def _fitting(state: RunState, height: int) -> list[TopicState]:
    """All topics, or those around the one that is running."""
    every = list(state.topics.values())
    if len(every) <= height:
        return every
    names = list(state.topics)
    at = names.index(state.topic) if state.topic in names else 0
    first = min(max(0, at - height // 2), len(every) - height)
    return every[first : first + height]


def _stage(state: RunState) -> RenderableType:
    if not state.stage:
        return Text("  asking the quiz", "dim")
    facts = [f"{state.step}/{state.steps}"]
    if state.loss is not None:
        facts.append(f"loss {state.loss:.3f}")
    if state.margin is not None:
        facts.append(f"margin {state.margin:+.3f}")
    if state.speed:
        facts.append(f"{state.speed:,.0f} tokens/s")
    if state.step == state.steps > 0:
        facts.append("asking the quiz")
    left = state.seconds_left()
    if left is not None:
        facts.append(f"about {seconds(left)} left")
    row = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(1, state.steps), completed=state.step, width=24)
    row.add_row(Text(f"  {state.stage.upper()}", "bold"), bar, Text("  ".join(facts)))
    return row


def _above(event: Event, state: RunState) -> Text | None:
    """A line that stays: a stage's verdict, or a notice."""
    known = state.topics.get(event.topic)
    title = f"{visible_line(known.title)}: " if known else ""
    if event.kind == "stage-finished":
        style = "" if event.data.get("accepted", True) else "yellow"
        return Text(f"{title}{event.stage.upper()}: {visible(event.data['verdict'])}", style)
    if event.kind == "notice":
        return Text(f"{title}{visible(event.data['text'])}", "dim")
    return None
