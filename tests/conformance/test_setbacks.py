"""Losses that are not finite: skipped, set back, given up; and the same after being stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.errors import OutOfMemory
from mindprint import job, oversight
from mindprint.errors import Interrupted, StageError
from mindprint.events import Event
from mindprint.report.files import write_reports
from mindprint.strategies.sequential import Sequential
from tests.conformance.conftest import ModelFolder
from tests.runs import Made, curriculum, make_run, tree_bytes
from tests.seeds.breakage import freeze_adapter
from tests.tiny import make_tokenizer

SETTINGS = (
    "gate.rollback=false",
    "sft.epochs=4",
    "sft.batch_size=2",
    "eval.max_tokens=4",
    "eval.retention=off",
    "run.checkpoint_every=3",
)
SFT_ONLY = (*SETTINGS, "dpo.when=never")
"""Six rows: 3 steps an epoch, 12 in all, a regular checkpoint after each epoch."""


@pytest.fixture(scope="module")
def model(model_of: ModelFolder) -> Path:
    return make_tokenizer(model_of("qwen2", initializer_range=0.02))


Spoils = Callable[[str, int, bool], bool]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[[Spoils], None]:
    """Makes the loss of a step NaN where `spoils(stage, step, slow)` says so: by where the stage
    stands, steps from 1, and whether its rate was halved; never by how often it was asked."""
    real_rate, real_step = job.learning_rate, Sequential.step

    def install(spoils: Spoils) -> None:
        now: dict[str, float] = {}

        def rate(step: int, *rest: Any) -> float:
            now["step"], now["rate"] = step + 1, real_rate(step, *rest)
            return now["rate"]

        def step(
            self: Any, learner: Any, batches: Any, window: Any, rate: float, norm: float
        ) -> Any:
            stage = "dpo" if window.pairs else "sft"
            if not spoils(stage, int(now["step"]), rate < 0.75 * now["rate"]):
                return real_step(self, learner, batches, window, rate, norm)
            stats = [learner.accumulate(batch, window) for batch in batches]
            learner.discard()
            return stats, math.nan

        monkeypatch.setattr(job, "learning_rate", rate)
        monkeypatch.setattr(Sequential, "step", step)

    return install


def stage_of(made: Made, place: int = 0, topic: int = 0) -> Any:
    assert made.result is not None
    return made.result.topics[topic].stages[place]


def same(one: Made, other: Made) -> None:
    assert tree_bytes(one.path) == tree_bytes(other.path)
    assert one.result is not None and other.result is not None
    for mine, its in zip(one.result.topics, other.result.topics, strict=True):
        assert (mine.status, mine.verdict, mine.scores) == (its.status, its.verdict, its.scores)
        for stage, twin in zip(mine.stages, its.stages, strict=True):
            timed = {"seconds": 0.0, "tokens_per_second": 0.0}
            assert stage.model_copy(update=timed) == twin.model_copy(update=timed)


def in_parts(
    path: Path,
    model: Path,
    backend: str,
    *settings: str,
    after: int,
    hear: Callable[[Event, Any], None] = lambda event, session: None,
    **kind: Any,
) -> Made:
    """The run, stopped after every `after` steps told in a process, and gone on with."""
    for _ in range(40):
        steps: list[Event] = []

        def count(event: Event, session: Any, seen: list[Event] = steps) -> None:
            hear(event, session)
            if event.kind == "step":
                seen.append(event)

        def asked(seen: list[Event] = steps) -> bool:
            return len(seen) >= after

        try:
            return make_run(path, model, backend, *settings, stop=asked, listen=count, **kind)
        except Interrupted:
            continue
    raise AssertionError("the run did not come to its end")


def test_one_bad_step_is_skipped_and_said(
    tmp_path: Path, backend: str, model: Path, poison: Callable[[Spoils], None]
) -> None:
    poison(lambda stage, step, slow: step == 5)
    made = make_run(tmp_path / "run", model, backend, *SFT_ONLY, teach=curriculum(1))
    stage = stage_of(made)
    assert "not finite, step skipped: loss" in made.notices() and "at step 5" in made.notices()
    assert stage.skipped_steps == 1 and stage.steps == 12 and not stage.failed
    assert [step for step, _ in stage.curve] == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize(("bad", "back"), [((5, 8), "step 6"), ((1, 2), "the stage's start")])
def test_a_second_takes_the_stage_back_at_half_the_rate(
    tmp_path: Path,
    backend: str,
    model: Path,
    poison: Callable[[Spoils], None],
    bad: tuple[int, int],
    back: str,
) -> None:
    """At the lower rate the losses stay finite, as they do when a rate was too high."""
    poison(lambda stage, step, slow: step in bad and not slow)
    rates: dict[int, float] = {}

    def hear(event: Event, _: Any) -> None:
        if event.kind == "step":
            rates[event.data["step"]] = event.data["learning_rate"]

    made = make_run(tmp_path / "run", model, backend, *SFT_ONLY, teach=curriculum(1), listen=hear)
    assert f"back to {back}, at half the learning rate" in made.notices()
    stage = stage_of(made)
    assert not stage.failed and stage.skipped_steps == 1
    skipped = {5} if bad == (5, 8) else set()  # at the stage's start the skipped step comes again
    assert [step for step, _ in stage.curve] == [n for n in range(1, 13) if n not in skipped]
    peak, last = 5e-3, 11
    expected = 0.5 * peak * 0.5 * (1 + math.cos(math.pi * (last - 1) / (12 - 1)))
    assert rates[12] == pytest.approx(expected)  # warm-up takes one step of the 12


def test_stopped_anywhere_a_set_back_is_the_same(
    tmp_path: Path, backend: str, model: Path, poison: Callable[[Spoils], None]
) -> None:
    """Stopped after every two steps, with checkpoints of its own each time: the set-backs of both
    stages still go to the regular ones, and the halved rate is not forgotten."""
    poison(lambda stage, step, slow: step in ((5, 8) if stage == "sft" else (2, 5)) and not slow)
    settings = (*SETTINGS, "dpo.when=always", "dpo.epochs=2", "dpo.learning_rate=1e-3")
    whole = make_run(tmp_path / "whole", model, backend, *settings, teach=curriculum(1))
    assert whole.notices().count("at half the learning rate") == 2
    parts = in_parts(tmp_path / "parts", model, backend, *settings, after=3, teach=curriculum(1))
    assert "going on from step" in parts.notices()  # DPO's own, which SFT's end did not take
    same(parts, whole)


def test_a_process_that_dies_right_after_goes_on_at_half_the_rate(
    tmp_path: Path, backend: str, model: Path, poison: Callable[[Spoils], None]
) -> None:
    poison(lambda stage, step, slow: step in (5, 8) and not slow)
    whole = make_run(tmp_path / "whole", model, backend, *SFT_ONLY, teach=curriculum(1))

    def die(event: Event, _: Any) -> None:
        if (
            event.kind == "step"
            and event.data["step"] == 7
            and folders(tmp_path / "parts")
            == [
                "000002-step-000006",
                "000003-step-000006",
            ]
        ):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_run(tmp_path / "parts", model, backend, *SFT_ONLY, teach=curriculum(1), listen=die)
    again = make_run(tmp_path / "parts", model, backend, *SFT_ONLY, teach=curriculum(1))
    assert "going on from step 6" in again.notices()
    assert "back to" not in again.notices()
    same(again, whole)


def folders(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


@pytest.mark.parametrize("where", ["sft", "dpo"])
def test_a_third_gives_the_topic_up_and_the_run_goes_on(
    tmp_path: Path, backend: str, model: Path, poison: Callable[[Spoils], None], where: str
) -> None:
    """Even with `gate.rollback` off and retries left: nothing of the topic stays, in memory either;
    and the same when stopped on the way."""
    short = ("sft.epochs=2", "dpo.epochs=2", "gate.retries=1")
    settings = (*SETTINGS, "dpo.when=always", *short)
    alone = curriculum(2)
    first, second = alone.topics
    second_alone = type(alone)(**{**vars(alone), "topics": (second,)})
    seen: list[str] = []

    def of_first(event: Event, session: Any) -> None:
        if event.kind == "topic-started":
            seen.append(event.topic)

    poison(lambda stage, step, slow: stage == where and step in (4, 5) and seen[-1] == first.id)
    made = make_run(tmp_path / "run", model, backend, *settings, teach=alone, listen=of_first)
    assert made.result is not None and made.result.status == "finished"
    topic = made.result.topics[0]
    assert topic.status == "failed" and topic.attempts == 1
    assert topic.verdict.startswith("failed: not finite a third time (")
    assert topic.scores["final"] == topic.scores["before"]
    last = topic.stages[-1]
    assert last.name == where and last.failed and not last.accepted
    assert last.verdict.startswith("the topic is given up: not finite a third time")
    book = json.loads((made.path / "ledger.json").read_text())["entries"]
    assert not any(entry["accepted"] for entry in book if entry["topic"] == first.id)
    assert any(entry["accepted"] for entry in book if entry["topic"] == second.id)
    # What the first topic left behind is nothing: the second is as if it had been alone.
    only = make_run(
        tmp_path / "only", model, backend, *settings, teach=second_alone, listen=of_first
    )
    mine, its = (
        (run.path / f"topics/{second.id}/dpo/adapter_model.safetensors").read_bytes()
        for run in (made, only)
    )
    assert mine == its

    parts = in_parts(
        tmp_path / "parts", model, backend, *settings, after=6, teach=alone, hear=of_first
    )
    same(parts, made)


@pytest.mark.parametrize("bad", [range(1, 13), (1, 2)])
def test_a_stage_without_a_single_step_fails_its_topic_alone(
    tmp_path: Path, backend: str, model: Path, poison: Callable[[Spoils], None], bad: Any
) -> None:
    poison(lambda stage, step, slow: step in bad)
    made = make_run(tmp_path / "run", model, backend, *SFT_ONLY, teach=curriculum(1))
    stage = stage_of(made)
    assert stage.failed and stage.curve == () and stage.loss_first is None
    assert made.result is not None and made.result.status == "finished"
    html, markdown, *_ = write_reports(made.path)
    for report in (html, markdown):
        assert "the topic is given up" in report.read_text("utf-8").lower()


def test_an_adapter_that_is_itself_not_finite_is_not_kept(
    tmp_path: Path, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No loss tells of it any more when it is the last step that spoils the adapter."""
    real, spoilt = Sequential.step, []

    def step(self: Any, learner: Any, batches: Any, window: Any, *rest: Any) -> Any:
        done = real(self, learner, batches, window, *rest)
        if int(learner.state()["step"]) == 12 and not spoilt:
            spoilt.append(True)
            learner.assign({k: v * math.inf for k, v in learner_parameters().items()})
        return done

    held: list[Any] = []

    def learner_parameters() -> Any:
        return held[0].adapters.parameters()

    monkeypatch.setattr(Sequential, "step", step)
    made = make_run(
        tmp_path / "run", model, backend, *SFT_ONLY, teach=curriculum(1), meddle=held.append
    )
    assert "after step 12): back to step 9, at half the learning rate" in made.notices()
    assert not stage_of(made).failed and stage_of(made).steps == 12


@pytest.mark.parametrize("handing", ["shrink", "stop"])
def test_a_full_device_leaves_the_last_step_saved(
    tmp_path: Path, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch, handing: str
) -> None:
    """Full at step 5: with `stop` it is step 4 that is on the disk, and going on with `shrink`
    ends where `shrink` from the start would have."""
    real = Sequential.step

    def step(self: Any, learner: Any, batches: Any, *rest: Any) -> Any:
        if int(learner.state()["step"]) >= 4 and len(batches[0].ids) > 1:
            learner.accumulate(batches[0], *rest[:1])  # what is half done must not count
            raise OutOfMemory("no room")
        return real(self, learner, batches, *rest)

    monkeypatch.setattr(Sequential, "step", step)
    shrink = (*SFT_ONLY, "run.on_oom=shrink")
    whole = make_run(tmp_path / "whole", model, backend, *shrink, teach=curriculum(1))
    assert "out of memory: batches of 1 from here, same effective batch" in whole.notices()
    if handing == "shrink":
        parts = in_parts(tmp_path / "p", model, backend, *shrink, after=5, teach=curriculum(1))
    else:
        with pytest.raises(StageError, match="out of memory with 2 rows"):
            make_run(tmp_path / "p", model, backend, *SFT_ONLY, teach=curriculum(1))
        assert folders(tmp_path / "p")[-1].endswith("step-000004")
        parts = make_run(tmp_path / "p", model, backend, *shrink, teach=curriculum(1))
        assert "going on from step 4" in parts.notices()
    same(parts, whole)


def test_a_step_that_fails_half_way_is_not_counted(
    tmp_path: Path, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The optimizer has stepped, and then says that there was no room."""
    whole = make_run(tmp_path / "whole", model, backend, *SFT_ONLY, teach=curriculum(1))
    real = Sequential.step

    def step(self: Any, learner: Any, *rest: Any) -> Any:
        done = real(self, learner, *rest)
        if int(learner.state()["step"]) == 5:
            raise OutOfMemory("no room")
        return done

    with monkeypatch.context() as broken:
        broken.setattr(Sequential, "step", step)
        with pytest.raises(StageError, match="in the middle of an optimizer step"):
            make_run(
                tmp_path / "p", model, backend, *SFT_ONLY, "run.on_oom=shrink", teach=curriculum(1)
            )
    assert folders(tmp_path / "p") == ["000001-step-000003"]
    parts = make_run(tmp_path / "p", model, backend, *SFT_ONLY, teach=curriculum(1))
    same(parts, whole)


@pytest.mark.parametrize("moment", ["held-out", "reference", "watch"])
def test_a_wish_to_stop_is_heard_between_the_batches_of_long_work(
    tmp_path: Path, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Stopped between two batches of logprobs; gone on with, all is as if nobody had asked."""
    from mindprint import preferences, stages, watch

    settings = (*SETTINGS, "sft.epochs=2", "dpo.when=always", "dpo.epochs=2")
    author = curriculum(1, rows=20)
    whole = make_run(tmp_path / "whole", model, backend, *settings, teach=author)
    begun: list[int] = []

    def counting(real: Any) -> Any:
        def work(*given: Any, **named: Any) -> Any:
            begun.append(0)
            return real(*given, **named)

        return work

    at = {
        "held-out": (oversight, "held_out_loss"),
        "reference": (stages, "reference_logprobs"),
        "watch": (watch.Watch, "look"),
    }[moment]
    assert preferences.reference_logprobs is stages.reference_logprobs
    with monkeypatch.context() as heard:
        heard.setattr(*at, counting(getattr(*at)))
        with pytest.raises(Interrupted, match="what is finished is saved"):
            make_run(
                tmp_path / "p", model, backend, *settings, teach=author, stop=lambda: bool(begun)
            )
    assert len(begun) == 1
    same(make_run(tmp_path / "p", model, backend, *settings, teach=author), whole)


def test_an_adapter_that_stops_training_is_told_in_our_words(tmp_path: Path, model: Path) -> None:
    """PyTorch says that some tensor does not require grad; what froze is said instead."""
    frozen: list[bool] = []

    def freeze(event: Event, session: Any) -> None:
        if event.kind == "step" and event.data["step"] == 2 and not frozen:
            frozen.append(True)
            freeze_adapter(session)

    with pytest.raises(StageError, match="nothing would be trained"):
        make_run(tmp_path / "run", model, "torch", *SFT_ONLY, teach=curriculum(1), listen=freeze)


def test_an_adapter_frozen_while_a_checkpoint_is_taken_up_is_told(
    tmp_path: Path, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Audited after a resume as after an attachment."""
    from mindprint.standing import Standing

    real = Standing.resume

    def resume(self: Standing) -> bool:
        found = real(self)
        if found:
            freeze_adapter(self._session)
        return found

    monkeypatch.setattr(Standing, "resume", resume)
    with pytest.raises(StageError, match="nothing would be trained"):
        in_parts(tmp_path / "run", model, backend, *SFT_ONLY, after=4, teach=curriculum(1))


def test_steps_other_than_planned_are_refused(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mindprint import stages

    monkeypatch.setattr(stages, "_planned", lambda shop, job: 11)
    with pytest.raises(StageError, match="the stage has 12 steps, and 11 were planned"):
        make_run(tmp_path / "run", model, "torch", *SFT_ONLY, teach=curriculum(1))


def test_an_adapter_damaged_after_it_was_written_is_not_entered_in_the_ledger(
    tmp_path: Path, backend: str, model: Path
) -> None:
    """The ledger's hash is of what was trained, not of what the disk made of it since."""
    whole = make_run(tmp_path / "whole", model, backend, *SFT_ONLY, teach=curriculum(1))
    changed: list[Path] = []

    def damage(event: Event, _: Any) -> None:
        if event.kind == "stage-finished":
            (file,) = (tmp_path / "run").rglob("sft/adapter_model.safetensors")
            changed.append(file)
            content = bytearray(file.read_bytes())
            content[-1] ^= 1
            file.write_bytes(content)

    make_run(tmp_path / "run", model, backend, *SFT_ONLY, teach=curriculum(1), listen=damage)
    assert changed
    ledgers = [(path / "ledger.json").read_text() for path in (tmp_path / "run", whole.path)]
    assert ledgers[0] == ledgers[1]
