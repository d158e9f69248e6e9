"""The progress of a run: plain lines without escapes, a live view that fits, the time left."""

from __future__ import annotations

from io import StringIO
from itertools import count

import pytest
from rich.console import Console

from mindprint.cli.live import draw
from mindprint.cli.progress import plain, progress
from mindprint.cli.state import RunState
from mindprint.events import Event

TOPICS = [{"id": f"u/c/t{n}", "title": f"Topic {n}"} for n in (1, 2, 3)]


def step(at: int, steps: int, **more: float) -> Event:
    data = {"step": at, "steps": steps, "loss": 2.0 / at, "tokens_per_second": 1500.0, **more}
    return Event("step", "u/c/t1", "dpo" if more else "sft", data)


STORY = [
    Event("run-started", data={"topics": TOPICS}),
    Event("notice", data={"text": "the tokenizer's own chat template"}),
    Event("evaluated", "u/c/t1", "base", {"state": "base", "accuracy": 0.0, "voice": 0.1}),
    Event("topic-started", "u/c/t1", "", {"title": "Topic 1"}),
    Event("stage-started", "u/c/t1", "sft", {"steps": 16, "rows": 32}),
    *(step(at, 16) for at in range(1, 17)),
    Event("stage-finished", "u/c/t1", "sft", {"verdict": "kept", "accepted": True, "seconds": 2}),
    Event("stage-started", "u/c/t1", "dpo", {"steps": 2, "rows": 4}),
    step(1, 2, margin=0.25),
    Event(
        "topic-finished",
        "u/c/t1",
        "",
        {"status": "passed", "verdict": "well done", "accuracy": 0.9, "voice": 0.8},
    ),
    Event("run-finished", data={"verdict": "one of three"}),
]

PLAIN = """\
note: the tokenizer's own chat template
topic=u/c/t1 state=base accuracy=0.00 voice=0.10
topic=u/c/t1 stage=sft steps=16 rows=32
topic=u/c/t1 stage=sft step=1/16 loss=2.0000 tok/s=1500
topic=u/c/t1 stage=sft step=2/16 loss=1.0000 tok/s=1500
topic=u/c/t1 stage=sft step=4/16 loss=0.5000 tok/s=1500
topic=u/c/t1 stage=sft step=6/16 loss=0.3333 tok/s=1500
topic=u/c/t1 stage=sft step=8/16 loss=0.2500 tok/s=1500
topic=u/c/t1 stage=sft step=10/16 loss=0.2000 tok/s=1500
topic=u/c/t1 stage=sft step=12/16 loss=0.1667 tok/s=1500
topic=u/c/t1 stage=sft step=14/16 loss=0.1429 tok/s=1500
topic=u/c/t1 stage=sft step=16/16 loss=0.1250 tok/s=1500
topic=u/c/t1 stage=sft verdict: kept
topic=u/c/t1 stage=dpo steps=2 rows=4
topic=u/c/t1 stage=dpo step=1/2 loss=2.0000 margin=0.250 tok/s=1500
topic=u/c/t1 status=passed verdict: well done
"""


def test_plain_lines() -> None:
    lines: list[str] = []
    listen = plain(lines.append)
    for event in STORY:
        listen(event)
    assert "\n".join(lines) + "\n" == PLAIN


def test_not_a_terminal_gets_plain_lines_without_escapes() -> None:
    out = StringIO()
    with progress({}, Console(file=out, width=40)) as listen:
        for event in STORY:
            listen(event)
    assert out.getvalue() == PLAIN  # not wrapped at 40 columns either


def shown(state: RunState, height: int = 40) -> str:
    console = Console(file=StringIO(), width=100, force_terminal=False)
    with console.capture() as captured:
        console.print(draw(state, height))
    return captured.get()


def test_live_view() -> None:
    ticks = count()
    state = RunState({"u/c/t1": 18, "u/c/t2": 10, "u/c/t3": 10}, clock=lambda: float(next(ticks)))
    for event in STORY[:13]:
        state.hear(event)
    view = shown(state)
    assert "▸  Topic 1  running  0.00  0.10" in view
    assert "·  Topic 2  waiting" in view
    # 8 steps in 1 tick of the clock; 10 of this topic and 20 of the others are ahead: 3.75 s
    assert "SFT" in view and "8/16  loss 0.250  1,500 tokens/s  about 3.8 s left" in view
    for event in STORY[13:]:
        state.hear(event)
    assert "✓  Topic 1  passed" in shown(state)


def test_a_long_curriculum_shows_what_is_around_the_running_topic() -> None:
    state = RunState({})
    topics = [{"id": f"t{n}", "title": f"Topic {n}"} for n in range(50)]
    state.hear(Event("run-started", data={"topics": topics}))
    state.hear(Event("topic-started", "t30", "", {"title": "Topic 30"}))
    view = shown(state, height=6)
    assert "Topic 30" in view and "Topic 27" in view and "Topic 20" not in view


def test_no_time_left_is_guessed_from_too_few_steps() -> None:
    state = RunState({"u/c/t1": 18})
    for event in STORY[:8]:
        state.hear(event)
    assert state.seconds_left() is None


def test_a_terminal_gets_the_live_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with progress({"u/c/t1": 18}, console) as listen:
        for event in STORY:
            listen(event)
    assert "Topic 1: SFT: kept" in out.getvalue() and "✓" in out.getvalue()
    assert "\x1b[3" not in out.getvalue()  # NO_COLOR: the cursor moves, nothing is coloured
