"""Sides in turn, each run a process of its own: A B A B, so that what else happens falls on all."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from timing import data, flops, topic
from timing.comparisons import Comparison, Side
from timing.measured import STEPPED, Measured, Run
from timing.models import SHAPES, make_model
from timing.process import timed
from timing.protocol import Spec

EPOCHS = {"sft": 1, "dpo": 2}
"""Over the data: DPO's reference pass is once for two epochs."""

STEPS: dict[str, dict[str, tuple[int, int]]] = {
    "small": {"sft": (20, 120), "dpo": (20, 80), "prefix": (0, 12)},
    "large": {"sft": (2, 6), "dpo": (2, 4), "prefix": (0, 4)},
    "0.5b": {"sft": (4, 24), "dpo": (4, 14), "prefix": (0, 8)},
    "7b": {"sft": (4, 14), "dpo": (4, 10), "prefix": (0, 6)},
}


@dataclass(frozen=True)
class Asked:
    """How to measure. `models`: the folder of the benchmark's models; `work`: an empty one.
    `peaks`: memory alone, for which the larger step count is enough."""

    models: Path
    work: Path
    repeats: int = 5
    threads: int = 2
    device: str = "cpu"
    dtype: str = "float32"
    order: str = "file"
    steps: tuple[int, int] | None = None
    peaks: bool = False


def model(asked: Asked, size: str) -> Path:
    """The model's folder, made where it is missing."""
    name = size if asked.dtype == "float32" else f"{size}-{asked.dtype}"
    folder = asked.models / name
    if not (folder / "tokenizer_config.json").is_file():
        tell(f"making the model {name} in {folder}")
        make_model(folder, SHAPES[size], dtype=asked.dtype)
    return folder


def measure(one: Comparison, size: str, asked: Asked) -> Measured:
    """Every side of a comparison, `asked.repeats` times. Raises WorkerFailed."""
    steps = step_counts(one, size, asked)
    path = model(asked, size)
    runs = tuple(made(one, str(path), steps, asked))
    each, ratio = counted(one, path, steps)
    return Measured(
        kind=one.kind,
        backend=one.backend,
        size=size,
        device=asked.device,
        dtype=asked.dtype,
        threads=asked.threads,
        order=asked.order,
        steps=steps,
        sides=tuple(side.name for side in one.sides),
        runs=runs,
        flops=each,
        flops_ratio=ratio,
    )


def step_counts(one: Comparison, size: str, asked: Asked) -> tuple[int, int]:
    """Raises ValueError for counts that do not make whole epochs."""
    if one.kind not in (*STEPPED, "prefix"):
        return (0, 0)
    found = asked.steps or STEPS[size][one.kind]
    if any(count % EPOCHS[one.trains] for count in found) or found[0] >= found[1]:
        raise ValueError(f"--steps: {one.kind} takes two rising even step counts, as 4 8")
    return found


def made(one: Comparison, path: str, steps: tuple[int, int], asked: Asked) -> Iterator[Run]:
    """The runs, side after side within each step count within each repeat."""
    counts = steps if one.kind in STEPPED and not asked.peaks else steps[1:]
    for repeat in range(asked.repeats):
        for count in counts:
            for side in one.sides:
                yield once(one, side, path, count, asked)
                tell(f"{one.kind} {one.backend} {Path(path).name}: {repeat + 1}/{asked.repeats}")


def once(one: Comparison, side: Side, path: str, count: int, asked: Asked) -> Run:
    """One side, in a folder that is thrown away with all it wrote."""
    rows = asked.work / f"data-{one.kind}-{count}"
    if not rows.is_dir():
        drawn(one, rows, count)
    work = asked.work / "side"
    shutil.rmtree(work, ignore_errors=True)
    spec = Spec(
        kind=one.trains,
        model=path,
        data=str(rows),
        work=str(work),
        steps=count,
        backend=one.backend,
        device=asked.device,
        dtype=asked.dtype,
        threads=asked.threads,
    )
    if side.module == "mindprint_train" and asked.order != "file":
        spec = replace(spec, options={"order": asked.order})
    options = {**spec.options, **side.changes.get("options", {})}
    found = timed(side.module, replace(spec, **{**side.changes, "options": options}))
    return Run(side.name, count, found.seconds, found.outcome)


def drawn(one: Comparison, folder: Path, count: int) -> None:
    if one.kind == "topic":
        topic.write(folder)
    else:
        data.write(folder, one.trains, samples(one, count))


def samples(one: Comparison, count: int) -> list[data.Sample]:
    """The rows that `count` steps go through."""
    lengths = data.LONG_PROMPTS if one.kind == "prefix" else data.PLAIN
    if one.kind == "answers":
        return data.draw("answers", Spec.questions, lengths=lengths)
    return data.draw(one.trains, count * Spec.batch // EPOCHS[one.trains], lengths=lengths)


def counted(one: Comparison, path: Path, steps: tuple[int, int]) -> tuple[float, float]:
    """Operations of a step (with its part of DPO's reference pass), and how many times as many
    they are with each row whole."""
    if one.kind not in (*STEPPED, "prefix"):
        return 0.0, 0.0
    sizes = flops.Model.read(path)
    if one.kind == "prefix":
        shared, whole = (
            flops.step(
                sizes, flops.tokens(samples(one, steps[1]), shared=way), Spec.rank, Spec.targets
            )
            for way in (True, False)
        )
        return EPOCHS["dpo"] * shared / steps[1], whole / shared
    few, many = (work(one, sizes, count) for count in steps)
    return (many - few) / (steps[1] - steps[0]), 0.0


def work(one: Comparison, sizes: flops.Model, count: int) -> int:
    """Operations of a whole run of `count` steps."""
    fed = flops.tokens(samples(one, count))
    steps = EPOCHS[one.kind] * flops.step(sizes, fed, Spec.rank, Spec.targets)
    if one.kind == "sft":
        return steps
    return steps + flops.reference(sizes, fed, Spec.rank, Spec.targets)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
