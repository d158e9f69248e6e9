"""Scores side by side, and their paired differences."""

from __future__ import annotations

from pathlib import Path

from mindprint.compare.run import Run
from mindprint.compare.topics import overall, paired, topic_scores
from mindprint.compare.voices import Scale
from mindprint.evals.stats import Pairs, averaged
from mindprint.report.model import TopicRecord
from tests.unit.compare.ground import question, result, run, score, topic


def quiz(name: str, rights: list[float], voice: float = 0.5, start: int = 0) -> TopicRecord:
    asked = tuple(
        question(number, "x", "y", right, voice) for number, right in enumerate(rights, start)
    )
    mean = sum(rights) / len(rights)
    return topic(name, questions=asked, scores={"final": score(mean, voice)})


def runs(tmp_path: Path, *topics: tuple[TopicRecord, ...]) -> list[Run]:
    return [run(tmp_path / str(place), result(*one)) for place, one in enumerate(topics)]


HERE, THERE = [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_a_difference_is_paired_by_question(tmp_path: Path) -> None:
    """0.375 and 0.875: five of eight questions turned, one by one, to the other run's favour."""
    made = runs(tmp_path, (quiz("a", HERE),), (quiz("a", THERE, voice=0.7),))
    (found,) = topic_scores(made, Scale(made[0]))
    assert found.accuracy == (0.375, 0.875)
    assert found.voice == (0.5, 0.7)
    assert found.status == ("passed", "passed")
    assert found.voice_intervals == ((0.5, 0.7), (0.5, 0.7))
    (change,) = found.accuracy_changes
    floored = Pairs(HERE, THERE, list(range(8)), floor=0.0, floored=[False] * 8)
    assert change == averaged([floored], seed=42, resamples=200)
    assert change is not None and change.value == 0.5
    (markers,) = found.markers_changes
    assert markers is not None and round(markers.value, 12) == 0.2
    assert paired(made)


def test_all_topics_count_the_same_in_the_whole(tmp_path: Path) -> None:
    """A mean over topics of their differences, as a run's own change is: (0.5 + 0) / 2."""
    made = runs(
        tmp_path, (quiz("a", HERE), quiz("b", [1.0] * 4)), (quiz("a", THERE), quiz("b", [1.0] * 4))
    )
    found = overall(*made, Scale(made[0]))
    assert found.accuracy is not None and found.accuracy.value == 0.25
    assert found.accuracy.clusters == 12
    assert found.voice == (None, None)


def test_other_questions_are_not_paired(tmp_path: Path) -> None:
    made = runs(tmp_path, (quiz("a", HERE),), (quiz("a", HERE, start=1),))
    (found,) = topic_scores(made, Scale(made[0]))
    assert found.accuracy == (0.375, 0.375)
    assert found.accuracy_changes == (None,)
    assert found.markers_changes == (None,)
    assert overall(*made, Scale(made[0])).accuracy is None
    assert not paired(made)


def test_a_topic_that_one_run_lacks_or_has_not_finished(tmp_path: Path) -> None:
    waiting = TopicRecord(id="b", title="The b")
    made = runs(tmp_path, (quiz("a", HERE), quiz("b", HERE)), (quiz("a", HERE), waiting), ())
    first, second = topic_scores(made, Scale(made[0]))
    assert first.accuracy == (0.375, 0.375, None)
    assert first.status == ("passed", "passed", "")
    assert first.accuracy_changes[0] is not None and first.accuracy_changes[1] is None
    assert second.status == ("passed", "pending", "")
    assert second.accuracy == (0.375, None, None)
    assert second.accuracy_changes == (None, None)
    assert not paired(made)  # the last was asked nothing
    assert paired(made[:2])
