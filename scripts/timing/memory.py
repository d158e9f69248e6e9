#!/usr/bin/env python
"""The plan's estimate of memory beside the measured peak: `PYTHONPATH=scripts:. python
scripts/timing/memory.py --models FOLDER`.

Every measurement is a process of its own, which imports what a run imports, opens the model and
takes two steps of one batch. `--baseline` measures what such a process takes beside the weights,
the figure that `mindprint/memory/baseline.py` keeps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from timing.models import SHAPES, WORDS, Shape, make_model
from timing.work import peak, resident

MIB = 1 << 20
TARGETS = ("q_proj", "v_proj", "o_proj")
OTHERS = (
    Shape("wide", 512, 1408, 12, 8, 8, 32_000),
    Shape("deep", 384, 1024, 20, 6, 2, 8_192),
)
"""Two more than the benchmark's: as many key heads as query heads, and many thin layers."""

ALL = {**SHAPES, **{shape.name: shape for shape in OTHERS}}
LIBRARIES = {"torch": ("torch", "transformers", "peft"), "mlx": ("mlx", "mlx-lm", "transformers")}


@dataclass(frozen=True)
class Case:
    """`kind`: sft or dpo, or answers: `batch` prompts answered with `answer` tokens; or nothing:
    the model opened and run once over a few tokens. Every row has `prompt` and `answer` tokens;
    prompts to be answered begin with the same `shared`. `past`: frozen adapters of its kind."""

    size: str
    backend: str
    kind: str
    batch: int = 4
    prompt: int = 95
    answer: int = 60
    checkpointing: bool = False
    targets: tuple[str, ...] = TARGETS
    dtype: str = "float32"
    shared: int = 0
    adapter: str = "lora"
    past: int = 0

    def named(self) -> str:
        saving = ", checkpointing" if self.checkpointing else ""
        adapted = "" if self.targets == TARGETS else f", {len(self.targets)} targets"
        rows = f"{self.batch} x ({self.prompt} + {self.answer})"
        low = "" if self.dtype == "float32" else f", {self.dtype}"
        over = f" over {self.past}" if self.past else ""
        what = "" if self.adapter == "lora" else f", {self.adapter}{over}"
        same = f", {self.shared} shared" if self.shared else ""
        return f"{self.backend} {self.size} {self.kind} {rows}{same}{saving}{adapted}{low}{what}"


@dataclass(frozen=True)
class Found:
    """Bytes. `loaded`: in memory once every weight was used; `estimate`: by part."""

    case: Case
    peak: int
    loaded: int
    estimate: dict[str, int] = field(default_factory=dict)

    @property
    def off(self) -> float:
        """Share by which the estimate is above the measured peak, or below it."""
        return sum(self.estimate.values()) / self.peak - 1

    def line(self) -> str:
        total = sum(self.estimate.values()) / MIB
        over = (self.peak - self.loaded) / MIB
        return (
            f"{self.case.named():58} measured {self.peak / MIB:7.0f} MiB ({over:6.0f} above the "
            f"loaded model), estimated {total:7.0f} MiB, {self.off:+.1%}"
        )


def cases(backends: Sequence[str], sizes: Sequence[str]) -> Iterator[Case]:
    """All that the table shows, without those that only a GPU can hold."""
    for backend in backends:
        for size in sizes:
            for kind in ("sft", "dpo"):
                yield Case(size, backend, kind)
        for kind in ("sft", "dpo"):
            yield Case("wide", backend, kind, batch=8)
            yield Case("deep", backend, kind, prompt=240)
        yield Case("deep", backend, "sft", batch=2, prompt=440, answer=240)
        yield Case("wide", backend, "sft", batch=8, targets=("q_proj", "up_proj", "down_proj"))
        yield Case("wide", backend, "sft", batch=8, checkpointing=True)
        yield Case("wide", backend, "sft", batch=8, dtype="bfloat16")
        for adapter, past in (("dora", 0), ("lslora", 0), ("lslora", 3)):
            yield Case("wide", backend, "sft", batch=8, adapter=adapter, past=past)
        yield Case("wide", backend, "answers", batch=32)
        yield Case("wide", backend, "answers", batch=32, prompt=440, shared=400)
        if "large" in sizes:
            yield Case("large", backend, "sft", checkpointing=True)
            yield Case("large", backend, "sft", dtype="bfloat16")
            yield Case("large", backend, "answers", batch=12, answer=64)


def measured(case: Case, folder: Path) -> Found:
    """In a process of its own. Ends with what it said where it failed."""
    told = json.dumps({**asdict(case), "folder": str(folder)})
    command = [sys.executable, __file__, "--worker", told]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{case.named()}: {done.stderr.strip()}")
    tree = json.loads(done.stdout.strip().splitlines()[-1])
    return Found(case, **tree)


def worker(told: dict[str, Any]) -> None:
    """Prints one line of JSON last."""
    folder = Path(told.pop("folder"))
    case = Case(**{**told, "targets": tuple(told["targets"])})
    loaded = _run(case, folder)
    print(json.dumps({"peak": peak(), "loaded": loaded, "estimate": estimate(case, folder)}))


def _run(case: Case, folder: Path) -> int:
    """As a run does: its imports, the tokenizer, the model. Returns what was there, loaded."""
    import mindprint.cli.execute
    import mindprint.pipeline  # noqa: F401
    from backends import get
    from backends.contract import GenerateSpec, ModelSpec
    from mindprint.adapter import spec_of
    from mindprint.tokens.batches import pad
    from mindprint.tokens.render import Renderer

    Renderer.open(folder)
    get(case.backend).availability()
    dtype: Any = case.dtype
    spec = ModelSpec(str(folder), dtype=dtype, device="cpu", longest_row=4096)
    session = get(case.backend).open(spec)
    try:
        adapter = spec_of(_planned(case)[1])
        for number in range(case.past):
            session.adapters.add(adapter, f"past {number}")
            session.adapters.freeze(f"past {number}")
        session.adapters.add(adapter, "measured")
        session.logprobs(pad([_row(np.random.default_rng(0), 4, 4)]))
        loaded = resident()
        if case.kind == "answers":
            first = _row(np.random.default_rng(case.batch), case.shared, 1).ids[: case.shared]
            own = case.prompt - case.shared
            rows = (_row(np.random.default_rng(n), own, 1) for n in range(case.batch))
            prompts = [(*first, *row.ids) for row in rows]
            session.generate(prompts, GenerateSpec(case.answer, (), batch_size=case.batch))
        elif case.kind != "nothing":
            _steps(session, case)
        return loaded
    finally:
        session.close()


def _steps(session: Any, case: Case) -> None:
    from backends.contract import Objective, OptimizerSpec
    from mindprint.preferences import reference_logprobs
    from mindprint.tokens.batches import pad, pad_pairs, window_of

    learner = session.learner(
        Objective(case.kind),  # type: ignore[arg-type]  # sft or dpo here
        OptimizerSpec(),
        **({"checkpointing": True} if case.checkpointing else {}),
    )
    for _ in range(2):
        rows, pairs = _examples(case)
        if case.kind == "sft":
            batch = pad(rows)
        else:
            reference = reference_logprobs(session, pairs, case.batch).T.reshape(-1)
            batch = pad_pairs([p.chosen for p in pairs], [p.rejected for p in pairs], reference)
        learner.accumulate(batch, window_of([batch]))
        learner.apply(1e-4, 1.0)


def estimate(case: Case, folder: Path) -> dict[str, int]:
    """What `mindprint plan` would say, by part."""
    from mindprint.memory.estimate import Estimate, Place

    place = Place(case.backend, "cpu", case.dtype)
    made = Estimate.of(*_planned(case), folder, place)
    if case.kind == "answers":
        need = made.evaluation()
    else:
        kind = "sft" if case.kind == "nothing" else case.kind
        need = made.stage(kind, checkpointing=case.checkpointing)  # type: ignore[arg-type]
    parts = ("framework", "weights", "adapters", "passes")
    return {part: getattr(need, part) for part in parts}


def _planned(case: Case) -> tuple[Any, Any]:
    """A plan of just those rows, one topic after as many as there are adapters of the past, and the
    settings."""
    from mindprint.config import resolve
    from mindprint.curriculum.records import Topic
    from mindprint.evals.lengths import QUIZ, Asking, Call
    from mindprint.plan import Plan, PlannedStage
    from mindprint.tokens.lessons import Lesson

    rows, pairs = _examples(case)
    settings = (
        f"adapter.kind={case.adapter}",
        "adapter.rank=8",
        "adapter.alpha=16",
        f"adapter.targets=[{', '.join(case.targets)}]",
        f"sft.batch_size={case.batch}",
        f"dpo.batch_size={case.batch}",
        f"eval.max_tokens={case.answer}",
        "handoff=stack",
    )
    topic = Topic("measured", "", "", (), (), ())
    lesson = Lesson(topic, tuple(rows), (), tuple(pairs), 0, 0)
    kind: Any = "dpo" if case.kind == "dpo" else "sft"
    stage = PlannedStage("measured", kind, case.batch, 0, 0, 1, 1, 1, True)
    width = case.prompt + case.answer
    asked = Asking((Call(QUIZ, (case.prompt,) * case.batch, case.shared),))
    lessons = (lesson,) * (case.past + 1)
    plan = Plan((stage,), lessons, (), case.batch, 0, 0, width, 0, asked=asked)
    return plan, resolve(None, settings).config


def _examples(case: Case) -> tuple[list[Any], list[Any]]:
    """(rows, pairs) of a case, the same each time."""
    from mindprint.tokens.lessons import Pair

    rng = np.random.default_rng(0)
    rows = [_row(rng, case.prompt, case.answer) for _ in range(case.batch)]
    pairs = []
    for row in rows:
        other = _row(rng, case.prompt, case.answer)
        ids = (*row.ids[: case.prompt], *other.ids[case.prompt :])
        pairs.append(Pair(row, replace(other, ids=ids)))
    return rows, pairs


def _row(rng: np.random.Generator, prompt: int, answer: int) -> Any:
    from mindprint.tokens.rows import Row

    ids = tuple(rng.integers(WORDS.start, WORDS.stop, size=prompt + answer).tolist())
    return Row(ids, (False,) * prompt + (True,) * answer, False)


def made(models: Path, name: str) -> Path:
    """The model of that name, made if it is not there."""
    folder = models / name
    if not (folder / "config.json").is_file():
        make_model(folder, ALL[name])
    return folder


def baselines(models: Path, backends: Sequence[str]) -> Iterator[str]:
    """What a process takes beside a small model's weights."""
    for backend in backends:
        found = measured(Case("small", backend, "nothing"), made(models, "small"))
        beside = found.loaded - found.estimate["weights"]
        libraries = {name: version(name) for name in LIBRARIES[backend]}
        yield f"{backend}: {beside / MIB:.0f} MiB, {libraries}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="made there if missing")
    parser.add_argument("--backend", action="append", choices=("torch", "mlx"))
    parser.add_argument("--size", action="append", choices=tuple(ALL))
    parser.add_argument("--baseline", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker is not None:
        worker(asked.worker)
        return
    backends = tuple(asked.backend or ("torch", "mlx"))
    if asked.baseline:
        print(*baselines(asked.models, backends), sep="\n")
        return
    for case in cases(backends, tuple(asked.size or ("small", "large"))):
        found = measured(case, made(asked.models, case.size))
        tree = {**asdict(found), "off": found.off}
        print(json.dumps(tree) if asked.json else found.line(), flush=True)


if __name__ == "__main__":
    main()
