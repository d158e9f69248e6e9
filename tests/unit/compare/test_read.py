"""Run folders read into a whole comparison: of any kind, and what is said of those that are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mindprint.checkpoints import Checkpoints, Held, Progress
from mindprint.compare.model import Comparison
from mindprint.compare.read import compared
from mindprint.disk.sealed import Damaged
from mindprint.errors import ConfigError, DataError
from mindprint.inputs import Origin
from mindprint.report.compare_summary import broken, facts
from mindprint.report.compare_tables import cost
from mindprint.report.model import Result, TopicRecord
from mindprint.rundir import RunDir
from mindprint.stage_folder import write_stage
from tests.unit.compare.ground import (
    began,
    entry,
    factors,
    folder,
    question,
    result,
    stage,
    topic,
)


def taught(losses: list[float], said: str = "grey", **fields: Any) -> Result:
    asked = tuple(question(number, "x", said, 1.0) for number in range(8))
    margins = [0.0, 1.0]
    stages = stage("sft", losses), stage("dpo", [0.7, 0.6], margins)
    return result(topic("a", *stages, questions=asked), **fields)


def pair(tmp_path: Path, here: Result, there: Result) -> Comparison:
    for name, made in (("here", here), ("there", there)):
        path = tmp_path / name
        path.mkdir()
        folder(path, made, [entry(path, "a", tensors=factors(1))])
    return compared([("here", tmp_path / "here"), ("there", tmp_path / "there")])


def test_two_equal_runs(tmp_path: Path) -> None:
    found = pair(tmp_path, taught([2.0, 1.0]), taught([2.0, 1.0]))
    assert Comparison.model_validate(json.loads(found.model_dump_json())) == found
    assert [side.name for side in found.runs] == ["here", "there"]
    assert found.differences == () and found.first == () and found.notes == ()
    assert found.paired
    assert found.runs[0].total_norm == pytest.approx(found.runs[1].total_norm)
    assert [(one.stage, one.measure, one.lines) for one in found.curves] == [
        ("sft", "loss", ((2.0, 1.0), (2.0, 1.0))),
        ("dpo", "loss", ((0.7, 0.6), (0.7, 0.6))),
        ("dpo", "margin", ((0.0, 1.0), (0.0, 1.0))),
    ]
    assert found.verdict.startswith(
        "Nothing that is known of the runs differs. `there` keeps to `here` within the bounds over "
        "all 4 steps of 2 stages (losses equal to the last digit). Over 8 questions accuracy and "
        "markers are the same, answer by answer. All 8 greedy answers at the topics' ends are the "
        "same to the last character."
    )


def test_curves_have_gaps_where_a_run_has_no_such_step(tmp_path: Path) -> None:
    found = pair(tmp_path, taught([2.0, 1.0, 0.5]), taught([2.0, 1.0]))
    assert found.curves[0].steps == (1, 2, 3)
    assert found.curves[0].lines == ((2.0, 1.0, 0.5), (2.0, 1.0, None))
    assert found.notes == ("SFT of `a` has 3 steps in `here`, 2 steps in `there`",)


def test_three_runs_are_each_held_against_the_first(tmp_path: Path) -> None:
    losses = {"one": [2.0, 1.0], "two": [2.0, 1.0], "three": [2.0, 1.5]}
    for name, values in losses.items():
        folder(tmp_path / name, taught(values))
    found = compared([(name, tmp_path / name) for name in losses])
    assert [one.run for one in found.overall] == ["two", "three"]
    assert [(one.run, one.step) for one in found.first] == [("three", 2)]
    assert len(found.curves[0].lines) == 3
    assert "`two` keeps to `one`" in found.verdict and "`three` leaves `one`" in found.verdict


def test_two_models_have_no_bound_and_no_distance(tmp_path: Path) -> None:
    other = taught([5.0, 4.0], said="red", model={"id": "n" * 64, "path": "bigger"})
    found = pair(tmp_path, taught([2.0, 1.0]), other)
    assert {one.bound for one in found.partings} == {None}
    assert found.first == ()
    assert [one.relative for one in found.distances] == [None]
    assert "`there` is held to no bound, since the models differ." in found.verdict
    assert "0 of 8 greedy answers" in found.verdict
    assert "no difference of accuracy is shown (+0.00" in found.verdict


def test_another_curriculum_shares_nothing(tmp_path: Path) -> None:
    other = result(topic("z", stage("sft", [1.0])), hashes={"z/train.jsonl": "9"})
    found = pair(tmp_path, taught([2.0, 1.0]), other)
    assert found.partings == () and not found.paired
    assert [one.id for one in found.topics] == ["a", "z"]
    assert "`there` and `here` have no stage in common. No topic was finished by both" in (
        found.verdict
    )


def test_a_failed_topic_and_a_retry_are_told(tmp_path: Path) -> None:
    first = stage("sft", [2.0, 1.0], accepted=False)
    again = stage("sft", [1.9, 0.9], attempt=1, accepted=False)
    failed = result(topic("a", first, again, status="failed"))
    found = pair(tmp_path, failed, result(topic("a", first, status="failed")))
    assert [(one.stage, one.attempt) for one in found.curves] == [("sft", 0), ("sft", 1)]
    assert found.curves[1].lines == ((1.9, 0.9), (None, None))
    assert found.notes == ("`here` trained SFT, attempt 2, of `a`, `there` did not",)


def test_a_run_stopped_in_the_middle_has_its_finished_stages(tmp_path: Path) -> None:
    """Its topic has no record yet: the stage's own folder has the curve."""
    stopped = result(TopicRecord(id="a", title="The a"), status="stopped")
    folder(tmp_path / "here", taught([2.0, 1.0]))
    folder(tmp_path / "there", stopped)
    sft = tmp_path / "there/topics/a/sft"
    entry(tmp_path / "there", "a")  # writes the adapter's files
    write_stage(sft, stage("sft", [2.0, 1.2]))
    found = compared([("here", tmp_path / "here"), ("there", tmp_path / "there")])
    assert [(one.stage, one.step) for one in found.first] == [("sft", 2)]
    assert found.topics[0].accuracy == (0.5, None)
    assert found.notes == ("`there` was stopped: 0 of 1 topics are compared to their end",)


def test_the_stage_in_hand_is_compared_as_far_as_its_checkpoint(tmp_path: Path) -> None:
    taught = topic("a", stage("sft", [2.0, 1.0, 0.5]))
    folder(tmp_path / "here", result(taught))
    folder(tmp_path / "there", result(TopicRecord(id="a", title="The a"), status="stopped"))
    tensors = factors(1)
    kept = Checkpoints(RunDir(tmp_path / "there"), "a", "sft", 0)
    done = Progress(step=2, tokens=500, seconds=1.0, curve=[(1, 2.0), (2, 1.2)])
    assert kept.save(done, tensors, {}, Held(tensors), regular=True) == ""
    both = [("here", tmp_path / "here"), ("there", tmp_path / "there")]
    found = compared(both)
    assert found.curves[0].lines == ((2.0, 1.0, 0.5), (2.0, 1.2, None))
    assert [(one.step, one.apart) for one in found.first] == [(2, pytest.approx(0.2))]
    assert found.runs[1].stages[0].steps == 2 and found.runs[1].stages[0].tokens == 500
    assert found.notes[-1] == "SFT of `a` has 3 steps in `here`, 2 steps so far in `there`"

    state = next(kept._root.iterdir()) / "state.json"
    state.write_text(state.read_text().replace('"tokens": 500', '"tokens": 900'))
    assert compared(both).partings == ()  # what somebody changed is not believed


def test_where_the_stage_in_hand_stands_is_no_parting(tmp_path: Path) -> None:
    folder(tmp_path / "here", result(topic("a", stage("sft", [2.0, 1.0, 0.5]))))
    folder(tmp_path / "there", result(TopicRecord(id="a", title="The a"), status="stopped"))
    kept, tensors = Checkpoints(RunDir(tmp_path / "there"), "a", "sft", 0), factors(1)
    kept.save(Progress(step=1, curve=[(1, 2.0)]), tensors, {}, Held(tensors), regular=False)
    found = compared([("here", tmp_path / "here"), ("there", tmp_path / "there")])
    assert found.first == ()
    assert "within the bounds over the 1 step of 1 stage that both took" in found.verdict
    assert [one.kind for one in found.gaps] == ["unfinished", "unequal"]
    assert broken(found)[0] == "there: `there` is not finished"


def test_a_dropped_topic_is_said_first_and_pairs_no_scores(tmp_path: Path) -> None:
    """Scores of the whole model after the drop are not those of each topic's own end."""
    asked = tuple(question(number, "x", "grey", 1.0) for number in range(8))
    a = topic("a", stage("sft", [2.0, 1.0]), questions=asked)
    folder(tmp_path / "here", result(a, topic("b", stage("sft", [1.5]), questions=asked)))
    folder(tmp_path / "less", result(a, memory=()))
    gone = Origin(run="here", ledger="", topics=("b",))
    began(tmp_path / "less", dropped=(gone,), forked_from=gone)
    found = compared([("here", tmp_path / "here"), ("less", tmp_path / "less")])
    assert found.verdict.startswith("`b` was taught to `less` and taken away: ")
    assert found.overall[0].accuracy is None and not found.paired
    assert [one.accuracy_changes for one in found.topics] == [(None,), (None,)]
    assert [one.state for one in found.agreement] == ["base"]
    assert "times as many" not in found.verdict and "Over 8 questions" not in found.verdict
    assert {row[2] for row in cost(found).rows} == {"–"}  # neither speed nor times nor ratios
    told = next(one for one in found.differences if one.kind == "topics")
    assert told.values == ("taught", "taught, then dropped")
    assert broken(found) == (
        "less: `b` was dropped from `less`",
        "less: `here` trained SFT of `b`, `less` did not",
    )


def test_a_run_over_adapters_without_a_topic_was_judged_by_itself(tmp_path: Path) -> None:
    for name in ("here", "over"):
        folder(tmp_path / name, taught([2.0, 1.0]))
    began(tmp_path / "over", dropped=(Origin(run="x", ledger="", topics=("b",)),))
    found = compared([("here", tmp_path / "here"), ("over", tmp_path / "over")])
    assert found.runs[1].dropped == () and found.overall[0].accuracy is not None


def test_strict_names_each_check_that_was_not_made(tmp_path: Path) -> None:
    """Stages without a bound, of one run alone, of unequal length, and a run that is not done."""
    b = topic("b", stage("sft", [1.0]), stage("dpo", [0.7], [0.0]))
    folder(tmp_path / "here", result(topic("a", stage("sft", [2.0, 1.0])), b))
    other = result(
        topic("a", stage("sft", [2.0], stopped="the loss rose")),
        topic("b", stage("sft", [1.0])),
        status="stopped",
        hashes={"curriculum.yaml": "c0", "a/train.jsonl": "a1", "b/train.jsonl": "b"},
    )
    folder(tmp_path / "there", other)
    found = compared([("here", tmp_path / "here"), ("there", tmp_path / "there")])
    assert broken(found) == (
        "there leaves here beyond a bound",
        "there: `there` is not finished",
        "there: SFT of `a` has 2 steps in `here`, 1 steps in `there`",
        "there: SFT of `b` is held to no bound: other data: `b/train.jsonl`",
        "there: `here` trained DPO of `b`, `there` did not",
    )
    assert "leaves `here` at step 2 of SFT of topic 1, The a: `there` took no" in found.verdict
    assert facts(found)[0].kind == "failed"


def test_questions_are_told_apart_from_their_phrasings(tmp_path: Path) -> None:
    asked = tuple(
        question(number // 2, "x", "grey", 1.0).model_copy(update={"question": f"{number}?"})
        for number in range(8)
    )
    made = result(topic("a", stage("sft", [2.0]), questions=asked))
    found = pair(tmp_path, made, made)
    assert "Over 4 questions in 8 phrasings accuracy and markers" in found.verdict


def test_a_stage_that_is_not_as_it_was_written_is_left_out_aloud(tmp_path: Path) -> None:
    folder(tmp_path / "here", taught([2.0, 1.0]))
    folder(tmp_path / "there", result(TopicRecord(id="a", title="The a"), status="running"))
    sft = tmp_path / "there/topics/a/sft"
    sft.mkdir(parents=True)
    (sft / "stage.json").write_text("{}")
    found = compared([("here", tmp_path / "here"), ("there", tmp_path / "there")])
    assert found.partings == ()
    assert any(
        "sft of `a` is left out: `stage.json` is not as it was" in one for one in found.notes
    )


def test_a_run_without_a_ledger_is_compared_by_its_figures(tmp_path: Path) -> None:
    folder(tmp_path / "here", taught([2.0, 1.0]))
    (folder(tmp_path / "there", taught([2.0, 1.0])) / "ledger.json").unlink()
    found = compared([("here", tmp_path / "here"), ("there", tmp_path / "there")])
    assert found.runs[1].total_norm is None
    assert found.distances[0].relative is None
    assert found.notes == (
        "the adapters of `there` are not compared: `ledger.json` is not as it was written: it is "
        "missing",
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "a comparison needs two runs, and none is given"),
        (["here"], "a comparison needs two runs, and one is given"),
        (["here", "here"], "here` is given twice"),
    ],
)
def test_too_few_runs_and_the_same_twice(tmp_path: Path, names: list[str], said: str) -> None:
    folder(tmp_path / "here", taught([2.0]))
    with pytest.raises(ConfigError, match=said):
        compared([(str(place), tmp_path / name) for place, name in enumerate(names)])


def test_one_folder_by_two_paths_is_one(tmp_path: Path) -> None:
    folder(tmp_path / "here", taught([2.0]))
    (tmp_path / "link").symlink_to(tmp_path / "here")
    with pytest.raises(ConfigError, match="is given twice"):
        compared([("here", tmp_path / "here"), ("link", tmp_path / "link")])


def test_two_names_that_are_one(tmp_path: Path) -> None:
    for name in "ab":
        folder(tmp_path / name, taught([2.0]))
    with pytest.raises(ConfigError, match="two of the runs have one name"):
        compared([("run", tmp_path / "a"), ("run", tmp_path / "b")])


def test_every_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder(tmp_path / "here", taught([2.0]))
    folder(tmp_path / "begun", None)
    runs = [(name, tmp_path / name) for name in ("here", "begun", "missing")]
    with pytest.raises(DataError, match="2 of the runs cannot be compared") as found:
        compared(runs)
    assert [Path(one.file).name for one in found.value.faults] == ["begun", "missing"]
    with pytest.raises(DataError, match="the folder holds no result") as found:
        compared(runs[:2])
    assert "mindprint resume" in found.value.hint


def test_a_result_that_somebody_changed_is_not_believed(tmp_path: Path) -> None:
    for name in ("here", "there"):
        folder(tmp_path / name, taught([2.0]))
    file = tmp_path / "there/result.json"
    file.write_text(file.read_text().replace('"accuracy": 0.5', '"accuracy": 0.9'))
    with pytest.raises(Damaged, match="its content is not what its checksum says"):
        compared([("here", tmp_path / "here"), ("there", tmp_path / "there")])


def test_an_adopted_adapter_alone_has_nothing_to_compare(tmp_path: Path) -> None:
    folder(tmp_path / "here", taught([2.0]))
    path = tmp_path / "adopted"
    path.mkdir()
    folder(path, None, [entry(path, "older", "adopted", before=None, after=None)])
    with pytest.raises(DataError) as found:
        compared([("here", tmp_path / "here"), ("adopted", path)])
    assert "adopted adapter and trained nothing" in found.value.what
    assert f"--from {path}" in found.value.hint
