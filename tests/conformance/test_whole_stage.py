"""The checks of a stage that an engine takes whole, each fault put in by an engine of our own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backends.contract import AdapterSpec, Availability, Objective, OptimizerSpec, Session
from backends.engines import Course, Heard, Taken
from backends.errors import OutOfMemory
from mindprint.checkpoints import Progress
from mindprint.errors import Interrupted, StageError
from mindprint.events import Event
from mindprint.fitting import DeviceFull, Fit, training_advice
from mindprint.job import Job, Rules
from mindprint.preferences import reference_logprobs
from mindprint.tokens.batches import BatchPlan, pad, pad_pairs
from mindprint.tokens.lessons import Pair
from mindprint.tokens.render import Row
from mindprint.watch import Watch
from mindprint.whole_stage import WholeStage
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.tiny import window_of

Fault = Callable[[int, Taken], Taken]


class OfOurOwn:
    """An engine over our own learner. `fault` changes what is told of a step, `spoil` comes after
    each, `still` leaves the adapter as it is from that step on, and `epochs` come in the place of
    the course's."""

    name = "ours"

    def __init__(
        self,
        fault: Fault = lambda step, taken: taken,
        spoil: Callable[[Session, int], None] = lambda session, step: None,
        still: float = math.inf,
        epochs: int | None = None,
    ) -> None:
        self._fault, self._spoil, self._still, self._epochs = fault, spoil, still, epochs

    def availability(self) -> Availability:
        return Availability(True, "")

    def train(
        self,
        session: Session,
        objective: Objective,
        optimizer: OptimizerSpec,
        course: Course,
        heard: Heard,
    ) -> None:
        learner = session.learner(objective, optimizer)
        for step in range((self._epochs or course.epochs) * course.steps_per_epoch):
            batches = course.batches_of(step % course.steps)
            window = window_of(*batches)
            stats = [learner.accumulate(batch, window) for batch in batches]
            rate = course.rate_of(min(step, course.steps - 1))
            norm = learner.apply(0.0 if step >= self._still else rate, 1.0)
            margin = sum(part.margin for part in stats) / max(window.pairs, 1)
            taken = Taken(sum(part.loss for part in stats), norm, 0.25, margin)
            self._spoil(session, step)
            if not heard(self._fault(step, taken)):
                return


def rows(seed: int, count: int = 4) -> list[Row]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(6, 14, size=count)
    return [
        Row(
            tuple(rng.integers(3, 300, size=n).tolist()),
            (False,) * 3 + (True,) * (int(n) - 3),
            cut=False,
        )
        for n in lengths
    ]


def job_of(kind: str, session: Session, epochs: int = 10) -> Job:
    """Two windows an epoch; held-out rows for SFT, a watch for DPO."""
    chosen, rejected = rows(1), rows(2)
    both = [session.logprobs(pad(part)).rows for part in (chosen, rejected)]

    def pairs_of(places: Any) -> Any:
        reference = np.concatenate([part[list(places)] for part in both])
        return pad_pairs([chosen[p] for p in places], [rejected[p] for p in places], reference)

    sft = kind == "sft"
    return Job(
        topic="lamps",
        stage=kind,
        attempt=0,
        objective=Objective(kind),  # type: ignore[arg-type]  # one of the two
        batches=BatchPlan(tuple(len(row.ids) for row in chosen), epochs, 2, 1, (1,)),
        batch_of=(lambda places: pad([chosen[p] for p in places])) if sft else pairs_of,
        peak_rate=1e-2,
        shape="constant",
        warmup_ratio=0.0,
        max_grad_norm=1.0,
        held_out=tuple(rows(3)) if sft else (),
    )


class Stage:
    """A stage on a tiny model, with what was told of it."""

    def __init__(self, session: Session, kind: str) -> None:
        self.session, self.events = session, list[Event]()
        session.adapters.add(AdapterSpec(rank=2, seed=3), "now")
        self.start = session.adapters.parameters()
        self.job = job_of(kind, session)

    def run(self, engine: Any, stop: Callable[[], bool] = lambda: False) -> Progress:
        rules = Rules(200, "stop", stop)
        fit = Fit(rules.halt, "stop", advice=training_advice("sft", 2, 1, shrinks=False))
        spec = OptimizerSpec(seed=1)
        whole = WholeStage(self.session, engine, spec, self.job, rules, fit, self.events.append)
        return whole.run()

    @property
    def told(self) -> str:
        return "\n".join(str(e.data["text"]) for e in self.events if e.kind == "notice")

    def as_it_began(self) -> bool:
        now = self.session.adapters.parameters()
        return all(np.array_equal(now[name], self.start[name]) for name in self.start)


@pytest.fixture
def stage(open_session: OpenSession, model_of: ModelFolder) -> Callable[[str], Stage]:
    return lambda kind: Stage(open_session("torch", model_of("qwen2")), kind)


def test_a_sound_stage_is_told_and_kept_by_its_best_epoch(stage: Callable[[str], Stage]) -> None:
    sound = stage("sft")
    kept: list[Any] = []

    def keep(session: Session, step: int) -> None:
        kept.append(session.adapters.parameters())

    progress = sound.run(OfOurOwn(spoil=keep))
    steps = [event.data for event in sound.events if event.kind == "step"]
    assert [data["step"] for data in steps] == list(range(1, 21))
    assert steps[-1]["tokens_per_second"] == progress.tokens / (20 * 0.25)
    assert len(progress.held_out) == 10 and progress.kept_epoch is not None
    best = min(progress.held_out, key=lambda one: one[1])[0]
    assert progress.kept_epoch == best
    now = sound.session.adapters.parameters()
    assert all(np.array_equal(now[name], kept[2 * best - 1][name]) for name in now)


FAULTS: dict[str, tuple[str, OfOurOwn, str]] = {
    "nothing moves": ("sft", OfOurOwn(still=0), "first optimizer step changed no adapter"),
    "nothing moves any more": ("sft", OfOurOwn(still=5), "no adapter tensor has changed"),
    "a flat loss": ("sft", OfOurOwn(lambda step, t: replace(t, loss=1.5)), "exactly 1.500000"),
    "another start": (
        "dpo",
        OfOurOwn(lambda step, t: replace(t, margin=t.margin + 0.1)),
        "does not start at its reference: margin 0.1",
    ),
    "another loss": (
        "dpo",
        OfOurOwn(lambda step, t: replace(t, loss=t.loss + 0.1)),
        "does not start at its reference",
    ),
    "fewer steps": ("sft", OfOurOwn(epochs=3), "took 6 steps, and the stage has 20"),
    "more steps": ("dpo", OfOurOwn(epochs=11), "took 21 steps, and the stage has 20"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_must_hold_of_every_step_is_checked(stage: Callable[[str], Stage], name: str) -> None:
    kind, engine, told = FAULTS[name]
    with pytest.raises(StageError, match=told):
        stage(kind).run(engine)


def test_what_an_engine_does_to_the_model_is_checked(stage: Callable[[str], Stage]) -> None:
    def thaw(session: Any, step: int) -> None:
        session.opened.model.get_input_embeddings().weight.requires_grad_(True)

    def change(session: Any, step: int) -> None:
        session.opened.model.get_input_embeddings().weight.data[5] += 1.0

    with pytest.raises(StageError, match=r"outside the adapter would be trained.*embed_tokens"):
        stage("sft").run(OfOurOwn(spoil=thaw))
    with pytest.raises(StageError, match=r"1 base tensors changed.*embed_tokens"):
        stage("sft").run(OfOurOwn(spoil=change))


def test_a_step_that_is_not_finite_ends_the_topic_at_the_last_good_state(
    stage: Callable[[str], Stage],
) -> None:
    spoilt = stage("sft")
    progress = spoilt.run(OfOurOwn(lambda step, t: replace(t, norm=math.nan) if step == 1 else t))
    assert progress.step == 1 and "gradient norm nan at step 2" in progress.failed
    assert "`ours` takes no step twice: the topic is given up" in spoilt.told
    assert spoilt.as_it_began()


def test_values_that_are_not_finite_are_not_kept(stage: Callable[[str], Stage]) -> None:
    def spoil(session: Any, step: int) -> None:
        if step == 3:
            next(iter(session.attachments.tensors().values())).data[0] = math.inf

    spoilt = stage("sft")
    progress = spoilt.run(OfOurOwn(spoil=spoil))
    assert "after step 4" in progress.failed and progress.kept_epoch == 1
    assert np.isfinite(next(iter(spoilt.session.adapters.parameters().values()))).all()


def test_a_watch_ends_the_stage_early(
    stage: Callable[[str], Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = stage("dpo")
    looks = iter(["", "the chosen answers fell"])
    monkeypatch.setattr(Watch, "__init__", lambda self: None)
    monkeypatch.setattr(Watch, "start", lambda *_: (0.0, 0.0))
    monkeypatch.setattr(Watch, "look", lambda *_: next(looks))
    watched.job = replace(watched.job, watch=Watch())  # type: ignore[call-arg]  # as patched
    kept: list[Any] = []
    progress = watched.run(OfOurOwn(spoil=lambda s, step: kept.append(s.adapters.parameters())))
    # a look is due once sixteen pairs are trained, and a step takes two
    assert progress.stopped == "the chosen answers fell by step 16" and progress.step == 16
    now = watched.session.adapters.parameters()
    assert all(np.array_equal(now[name], kept[7][name]) for name in now)


def test_the_watch_begins_with_what_the_reference_said(stage: Callable[[str], Stage]) -> None:
    """What is taken from the reference is what weighing the answers once more would find, up to
    the rounding of other batches."""
    chosen, rejected = rows(1), rows(2)
    session = stage("dpo").session
    pairs = [Pair(good, bad) for good, bad in zip(chosen, rejected, strict=True)]
    watch = Watch(pairs, reference_logprobs(session, pairs, 3), 2, 0, 1)
    measured = watch.measure(session)
    assert watch.start(session) == pytest.approx(measured, rel=1e-5)
    assert watch.look(session, measured) == ""
    fell = (measured[0] * 0.8, measured[1])
    assert "the chosen answers' log-probability fell by 25%" in watch.look(session, fell)


def test_a_wish_to_stop_and_a_full_device_are_told(stage: Callable[[str], Stage]) -> None:
    stopped = stage("sft")
    with pytest.raises(Interrupted, match="the sft stage in hand begins anew: `ours` takes"):
        stopped.run(OfOurOwn(), stop=lambda: len(stopped.events) > 2)

    def full(session: Session, step: int) -> None:
        raise OutOfMemory("no room")

    with pytest.raises(DeviceFull, match="out of memory: no room") as found:
        stage("sft").run(OfOurOwn(spoil=full))
    assert "sft.batch_size=1" in found.value.hint and "on_oom" not in found.value.hint
