"""Each run by itself: what it was made on, how it ended, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from mindprint.compare.model import Side, StageFigures, StageKind
from mindprint.compare.run import Run
from mindprint.report.summary import mean, passed

KINDS: tuple[StageKind, ...] = ("sft", "dpo")


def side(run: Run, total_norm: float | None) -> Side:
    """`total_norm`: of all that the run's ledger adds to the weights, None where unknown."""
    result, timings = run.result, run.result.timings
    return Side(
        name=run.name,
        path=str(run.path),
        title=result.title,
        status=result.status,
        backend=run.backend,
        engine=run.engine,
        device=result.model.device,
        dtype=result.model.dtype,
        model=result.model.path,
        model_id=result.model.id,
        passed=passed(result),
        topics=len(result.topics),
        accuracy=mean(result, "final", "accuracy"),
        voice=mean(result, "final", "voice"),
        stages=stage_figures(run),
        peak_memory=peak_memory(run),
        seconds={}
        if run.dropped  # what it took was to ask it anew
        else {
            "opening": timings.opening,
            "training": timings.training,
            "evaluation": timings.evaluation,
            "total": timings.total,
        },
        total_norm=total_norm,
        dropped=run.dropped,
    )


def stage_figures(run: Run) -> tuple[StageFigures, ...]:
    """What all stages of a kind took together, those that were rolled back too; nothing of a run
    that a topic was dropped from, whose stages another run trained."""
    found: list[StageFigures] = []
    if run.dropped:
        return ()
    for kind in KINDS:
        records = [record for record in run.stages.values() if record.name == kind]
        if not records:
            continue
        seconds = sum(record.seconds for record in records)
        tokens = sum(record.tokens for record in records)
        figures = StageFigures(
            name=kind,
            stages=len(records),
            steps=sum(record.steps for record in records),
            seconds=round(seconds, 3),
            tokens=tokens,
            tokens_per_second=tokens / seconds if seconds else 0.0,
        )
        found.append(figures)
    return tuple(found)


def speed(run: Run) -> float:
    """Tokens a second over all its stages, 0 where nothing was trained."""
    figures = stage_figures(run)
    seconds = sum(one.seconds for one in figures)
    return sum(one.tokens for one in figures) / seconds if seconds else 0.0


def peak_memory(run: Run) -> int:
    """Bytes: the device's own figure on a GPU, of the process on the CPU, where the weights lie in
    it whether or not the framework keeps a count of its own."""
    name = "device_peak" if on_device(run) else "peak_rss"
    return max((int(getattr(sample, name)) for sample in run.result.memory), default=0)


def on_device(run: Run) -> bool:
    """Whether the run's peak memory is its GPU's own figure."""
    samples = run.result.memory
    return run.result.model.device != "cpu" and any(sample.device_peak for sample in samples)


def memory_notes(runs: Sequence[Run]) -> tuple[str, ...]:
    """Said where the figures of memory are not of one kind."""
    gpu = [run.name for run in runs if on_device(run)]
    rest = [run.name for run in runs if not on_device(run)]
    if not gpu or not rest:
        return ()
    told = ", ".join(f"`{name}`" for name in rest)
    return (f"peak memory is the process's for {told}, and the GPU's own for the others",)
