"""What each run is and cost, added up by hand."""

from __future__ import annotations

from pathlib import Path

from mindprint.compare.sides import memory_notes, peak_memory, side, speed
from tests.unit.compare.ground import entry, result, run, score, stage, topic


def test_stages_count_whether_or_not_they_were_kept(tmp_path: Path) -> None:
    kept = stage("sft", [2.0, 1.0], tokens=3000, seconds=2.0)
    undone = stage("sft", [3.0], tokens=1000, seconds=2.0, attempt=1, accepted=False)
    dpo = stage("dpo", [0.7], tokens=500, seconds=1.0)
    found = side(run(tmp_path / "r", result(topic("a", kept, undone, dpo))), 3.0)
    sft, preference = found.stages
    assert (sft.stages, sft.steps, sft.tokens, sft.seconds) == (2, 3, 4000, 4.0)
    assert sft.tokens_per_second == 1000.0  # 4000 / 4, no mean of 1500 and 500
    assert (preference.name, preference.tokens_per_second) == ("dpo", 500.0)
    assert speed(run(tmp_path / "s", result(topic("a", kept, undone, dpo)))) == 4500 / 5
    assert found.seconds == {"opening": 1.0, "training": 10.0, "evaluation": 5.0, "total": 16.0}
    assert found.total_norm == 3.0


def test_scores_are_means_over_finished_topics(tmp_path: Path) -> None:
    topics = (
        topic("a", scores={"final": score(0.5, 0.6)}),
        topic("b", scores={"final": score(1.0, 0.8)}, status="failed"),
        topic("c", scores={}, status="pending"),
    )
    found = side(run(tmp_path / "r", result(*topics)), None)
    assert (found.passed, found.topics) == (1, 3)
    assert (found.accuracy, found.voice) == (0.75, 0.7)
    assert (found.backend, found.engine, found.device) == ("torch", "native", "cpu")


def test_a_run_without_a_topic_has_no_score(tmp_path: Path) -> None:
    found = side(run(tmp_path / "r", result(topic("a", status="pending", scores={}))), None)
    assert (found.accuracy, found.voice, found.stages) == (None, None, ())


def test_memory_is_where_the_weights_lie(tmp_path: Path) -> None:
    """MLX counts its own on the CPU too, where PyTorch does not: the process's is of one kind."""
    cpu = run(tmp_path / "cpu", result())
    gpu = run(tmp_path / "gpu", result(model={"device": "cuda"}))
    none = run(tmp_path / "none", result(memory=()))
    assert [peak_memory(one) for one in (cpu, gpu, none)] == [900, 300, 0]
    assert memory_notes([cpu, cpu]) == ()
    assert memory_notes([gpu, cpu]) == (
        "peak memory is the process's for `cpu`, and the GPU's own for the others",
    )


def test_a_run_that_moved_names_both_backends(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.mkdir()
    entries = [entry(path, "a", backend="mlx"), entry(path, "b", backend="torch")]
    assert run(path, result(topic("a"), topic("b")), entries).backend == "mlx, torch"
