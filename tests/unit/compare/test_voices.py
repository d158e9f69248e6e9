"""The voice paired by open prompt, on the first run's scale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mindprint.compare.run import Run
from mindprint.compare.topics import overall, topic_scores
from mindprint.compare.voices import Scale
from mindprint.curriculum.load import read_curriculum
from mindprint.curriculum.records import Curriculum
from mindprint.disk.sealed import write_json
from mindprint.evals.prompts import open_prompts
from mindprint.evals.sheet import Exam
from mindprint.evals.style.of_curriculum import instrument_of
from mindprint.exams import write_exam
from mindprint.inputs import read_inputs
from mindprint.report.voice import OpenAnswer, Reading, VoiceRecord
from tests.unit.compare.ground import began, result, run, score, topic

LESSONS = Path(__file__).parents[3] / "mindprint/demo/curriculum"
FLAT = "It is good to see the morning, and then it is good to go home again, which is what we do."

READING = Reading(
    value=0.5,
    low=0.4,
    high=0.6,
    unclipped=0.5,
    families=(),
    prompts=44,
    words=200,
    copied=0.0,
    longest_copy=0,
    on_prompt=0.0,
)


@pytest.fixture(scope="module")
def lessons() -> Curriculum:
    return read_curriculum(LESSONS)


def voiced(path: Path, lessons: Curriculum, own: int, **inputs: Any) -> Run:
    """A run whose answers to the first `own` open prompts are the author's."""
    prompts = open_prompts(lessons, 44)
    said = tuple(
        one.answer if at < own else f"{FLAT} {one.prompt}" for at, one in enumerate(prompts)
    )
    base = tuple(f"{FLAT} {FLAT} {one.prompt}" for one in prompts)
    path.mkdir()
    began(path, LESSONS, **{"hashes": lessons.hashes, **inputs})
    answers = tuple(
        OpenAnswer(prompt=one.prompt, author=one.answer, base=before, final=after)
        for one, before, after in zip(prompts, base, said, strict=True)
    )
    record = VoiceRecord(
        measurable=True,
        because="",
        prompts=len(prompts),
        bag_words=200,
        auc=1.0,
        masking="",
        final=READING,
        answers=answers,
    )
    exam = Exam(score(), (), (), reading=READING, open=said)
    (path / "topics" / "a").mkdir(parents=True)
    write_exam(path / "topics" / "a" / "final.json", exam)
    return run(path, result(topic("a"), voice=record))


def began_config(path: Path) -> Any:
    return read_inputs(path).resolved().config


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, lessons: Curriculum) -> tuple[Run, Run]:
    folder = tmp_path_factory.mktemp("voices")
    return voiced(folder / "h", lessons, 30), voiced(folder / "t", lessons, 6)


def test_it_is_paired_on_the_first_runs_scale(pair: tuple[Run, Run], lessons: Curriculum) -> None:
    first, other = pair
    scale = Scale(first)
    found, (scores,) = overall(first, other, scale), topic_scores(pair, scale)
    answers = first.result.voice.answers if first.result.voice else ()
    made = instrument_of(lessons, began_config(first.path), [one.base for one in answers])
    said = [[one.final for one in run.result.voice.answers] for run in pair if run.result.voice]
    assert found.voice_change == made.change(*said) == scores.voice_changes[0]
    assert found.voice_change is not None and found.voice_change.fell
    assert found.prompts == found.voice_change.clusters == len(answers) and not found.voice_because


def test_what_cannot_be_paired_says_why(pair: tuple[Run, Run], tmp_path: Path) -> None:
    first, other = pair
    assert first.inputs is not None and first.result.voice is not None

    def why(here: Run, there: Run) -> str:
        change, because = Scale(here).at_the_end(there)
        assert change is None
        return because

    gone = replace(first, inputs=replace(first.inputs, curriculum=tmp_path / "none"))
    assert "the curriculum, which is gone from" in why(gone, other)
    changed = replace(first, inputs=replace(first.inputs, hashes={"curriculum.yaml": "1"}))
    assert "has changed since" in why(changed, other)
    lost = replace(first, inputs=None, no_inputs="`inputs.json` is missing")
    assert why(lost, other) == "of `h`, `inputs.json` is missing"
    bare = replace(other, result=other.result.model_copy(update={"voice": None}))
    assert why(first, bare) == "not both were asked open prompts"
    fewer = other.result.voice.model_copy(update={"answers": first.result.voice.answers[1:]})  # type: ignore[union-attr]
    odd = replace(other, result=other.result.model_copy(update={"voice": fewer}))
    assert why(first, odd) == "the open prompts are not the same"
    dull = other.result.voice.model_copy(update={"measurable": False, "because": "too short"})  # type: ignore[union-attr]
    unread = replace(other, result=other.result.model_copy(update={"voice": dull}))
    assert why(first, unread) == "the voice of `t` could not be measured: too short"


def test_answers_that_somebody_changed_are_not_paired(pair: tuple[Run, Run]) -> None:
    first, other = pair
    file = other.path / "topics/a/final.json"
    whole = file.read_bytes()
    try:
        write_json(file, {"open": ["mine"]})
        assert Scale(first).of_topic(other, "a") is None
        file.write_bytes(whole[:-20])
        assert Scale(first).of_topic(other, "a") is None
    finally:
        file.write_bytes(whole)
