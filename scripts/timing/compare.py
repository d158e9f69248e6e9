"""Sides in turn, each run a process of its own: A B A B, so that what else happens falls on all."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from timing import data, flops, topic
from timing.comparisons import Comparison, Side
from timing.measured import STEPPED, Measured, Operations, Run
from timing.models import SHAPES, make_model
from timing.process import timed
from timing.protocol import Spec
from timing.sides.rows import EPOCHS, batch_of, order

STEPS: dict[str, dict[str, tuple[int, int]]] = {
    "small": {"sft": (4, 64), "dpo": (2, 32), "prefix": (0, 12)},
    "large": {"sft": (2, 8), "dpo": (2, 6), "prefix": (0, 4)},
    "0.5b": {"sft": (4, 24), "dpo": (4, 14), "prefix": (0, 8)},
    "7b": {"sft": (4, 14), "dpo": (4, 10), "prefix": (0, 6)},
}
EVERY_SECOND = ("large",)
"""Models on which a peer takes part in every second repeat only: a step of its takes so long that
what else the machine does hardly shows."""


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
    order: str = "buckets"
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
    every = 2 if size in EVERY_SECOND and one.kind in STEPPED else 1
    runs = tuple(made(one, str(path), steps, asked, every))
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
        check=check(one, str(path), steps, asked),
        operations=counted(one, path, steps, asked),
    )


def check(one: Comparison, path: str, steps: tuple[int, int], asked: Asked) -> Run | None:
    """mindprint once more over the fewer steps, its rows in the file's order, so that its losses
    can be held against a peer's; None where no peer tells its losses or the order is that one."""
    told = any(side.losses for side in one.sides[1:])
    if asked.peaks or asked.order == "file" or not told:
        return None
    tell(f"{one.kind} {one.backend} {Path(path).name}: losses in the file's order")
    return once(one, one.sides[0], path, steps[0], replace(asked, order="file"))


def step_counts(one: Comparison, size: str, asked: Asked) -> tuple[int, int]:
    """Raises ValueError for counts that do not make whole epochs."""
    if one.kind not in (*STEPPED, "prefix"):
        return (0, 0)
    found = asked.steps or STEPS[size][one.kind]
    if any(count % EPOCHS[one.trains] for count in found) or found[0] >= found[1]:
        raise ValueError(f"--steps: {one.kind} takes two rising even step counts, as 4 8")
    return found


def made(
    one: Comparison, path: str, steps: tuple[int, int], asked: Asked, every: int
) -> Iterator[Run]:
    """The runs, side after side within each step count within each repeat; the peers' in the first
    of `every` repeats."""
    counts = steps if one.kind in STEPPED and not asked.peaks else steps[1:]
    for repeat in range(asked.repeats):
        for count in counts:
            for side in one.sides[: None if repeat % every == 0 else 1]:
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
    if side.module == "mindprint_train":
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


def counted(one: Comparison, path: Path, steps: tuple[int, int], asked: Asked) -> Operations | None:
    """Of one step of mindprint's, with its part of DPO's reference pass (not in `prefix`)."""
    if one.kind not in (*STEPPED, "prefix"):
        return None
    model = flops.Counted.read(path, Spec.rank, Spec.targets)
    few, many = (work(one, model, count, asked) if count else Operations() for count in steps)
    each = (many - few) / (steps[1] - steps[0])
    if one.kind != "prefix":
        return each
    real = samples(one, steps[1])
    ways = [model.step(flops.tokens(real, whole=whole)) for whole in (True, False)]
    return replace(each, ratio=ways[0] / ways[1])


def work(one: Comparison, model: flops.Counted, count: int, asked: Asked) -> Operations:
    """Of a whole run of `count` steps."""
    rows, epochs = samples(one, count), EPOCHS[one.trains]
    spec = Spec(one.trains, "", "", "", steps=count, options={"order": asked.order})
    reference = np.zeros((len(rows), 2), np.float32) if one.trains == "dpo" else None
    batches = [
        batch_of([rows[place] for place in places], reference, places)
        for places in order(rows, spec)
    ]
    once = flops.tokens(rows)
    real = replace(
        once, fed=epochs * once.fed, seen=epochs * once.seen, headed=epochs * once.headed
    )
    each = [real, flops.padded(real, batches)]
    found = [float(model.step(tokens)) for tokens in each]
    if one.kind == "dpo":
        found = [
            sum_ + model.forward(tokens) / epochs for sum_, tokens in zip(found, each, strict=True)
        ]
    return Operations(*found)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
