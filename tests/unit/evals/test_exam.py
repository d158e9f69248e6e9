"""What the gate reads as a voice."""

from __future__ import annotations

from mindprint.evals.exam import calibrated
from mindprint.report.scores import Score
from mindprint.report.voice import Reading

MARKED = Score(accuracy=0.9, voice=0.8, markers=0.8, degenerate=0.0, questions=13)


def reading(measurable: bool, because: str = "") -> Reading:
    return Reading(
        value=0.6,
        low=0.5,
        high=0.7,
        unclipped=0.6,
        families=(),
        prompts=44,
        words=221,
        copied=0.0,
        longest_copy=0,
        on_prompt=0.0,
        measurable=measurable,
        because=because,
    )


def test_a_reading_is_the_voice_and_the_markers_stay_beside_it() -> None:
    score = calibrated(MARKED, reading(True), scale=True)
    assert (score.voice, score.voice_by, score.voice_interval) == (0.6, "calibrated", (0.5, 0.7))
    assert score.markers == 0.8


def test_without_a_scale_the_markers_stay() -> None:
    assert calibrated(MARKED, reading(False), scale=False) == MARKED


def test_answers_too_short_for_the_scale_are_not_let_off_with_markers() -> None:
    score = calibrated(MARKED, reading(False, "half of the answers fill 9 words"), scale=True)
    assert (score.voice, score.voice_by) == (0.0, "calibrated")
    assert score.reasons == ("voice 0.00: half of the answers fill 9 words",)
