"""Small run folders, written by hand: figures that can be added up on paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backends import peft_files
from backends.contract import AdapterSpec, Params
from mindprint import ledger as ledgers
from mindprint.compare.run import Run, read_run
from mindprint.config import resolve
from mindprint.disk.sealed import adapter_digest
from mindprint.inputs import Inputs, settled, write_inputs
from mindprint.ledger import Entry, Handoff, Ledger
from mindprint.report.files import write_result
from mindprint.report.model import (
    ChoiceRecord,
    MemorySample,
    ModelRecord,
    Result,
    StageRecord,
    Timings,
    TopicRecord,
)
from mindprint.report.scores import Answer, Question, Score
from mindprint.rundir import RunDir

CONFIG: dict[str, Any] = {
    "model.path": "model",
    "model.quantization": "none",
    "handoff": "auto",
    "adapter.rank": 2,
    "adapter.dropout": 0.0,
    "sft.learning_rate": 2e-4,
    "dpo.when": "auto",
    "dpo.pairs": "file",
    "dpo.beta": 0.1,
    "eval.resamples": 200,
    "gate.retries": 1,
    "run.seed": 42,
}
RESAMPLES = 200
HASHES = {"curriculum.yaml": "c0", "a/train.jsonl": "a1", "a/quiz.jsonl": "a2"}


def stage(
    name: str, losses: Sequence[float], margins: Sequence[float] = (), **fields: Any
) -> StageRecord:
    settings = {
        "name": name,
        "attempt": 0,
        "steps": len(losses),
        "epochs": 1,
        "rows": 8,
        "rows_cut": 0,
        "tokens": 1000,
        "seconds": 2.0,
        "tokens_per_second": 500.0,
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "curve": tuple(enumerate(losses, start=1)),
        "margins": tuple(enumerate(margins, start=1)),
        **fields,
    }
    return StageRecord.model_validate(settings)


def question(number: int, base: str, final: str, right: float, voice: float = 0.5) -> Question:
    return Question(
        question=f"Question {number}?",
        reference=f"Reference {number}.",
        cluster=number,
        answers={
            "base": Answer(text=base, accuracy=0.0, voice=0.0),
            "final": Answer(text=final, accuracy=right, voice=voice),
        },
    )


def score(accuracy: float = 0.5, voice: float = 0.6) -> Score:
    return Score(
        accuracy=accuracy, voice=voice, degenerate=0.0, questions=8, voice_interval=(0.5, 0.7)
    )


def topic(name: str, *stages: StageRecord, **fields: Any) -> TopicRecord:
    settings = {
        "id": name,
        "title": f"The {name}",
        "status": "passed",
        "scores": {"final": score()},
        "stages": stages,
        **fields,
    }
    return TopicRecord.model_validate(settings)


def result(*topics: TopicRecord, **fields: Any) -> Result:
    """`config` and `model` are put over what the others have."""
    config = {**CONFIG, **fields.pop("config", {})}
    model = {
        "path": "model",
        "revision": None,
        "id": "m" * 64,
        "family": "llama",
        "parameters": 100,
        "dtype": "float32",
        "device": "cpu",
        "threads": 2,
        "blas": "mkl",
        **fields.pop("model", {}),
    }
    backend = fields.pop("backend", "torch")
    settings = {
        "mindprint": "0.1.0",
        "status": "finished",
        "verdict": "",
        "title": "Lamps",
        "author": "A keeper",
        "curriculum": "lamps",
        "model": ModelRecord(**model),
        "choices": (
            ChoiceRecord(key="backend", name=backend, because=""),
            ChoiceRecord(key="handoff", name=fields.pop("handoff", "merge"), because=""),
        ),
        "config": {key: (value, "default") for key, value in config.items()},
        "topics": topics,
        "memory": (
            MemorySample(stage="a", rss=1, peak_rss=700, device=1, device_peak=300),
            MemorySample(stage="b", rss=1, peak_rss=900, device=1, device_peak=200),
        ),
        "timings": Timings(opening=1.0, training=10.0, evaluation=5.0, total=16.0),
        "versions": {"numpy": "2.4.6"},
        "hashes": HASHES,
        **fields,
    }
    return Result.model_validate(settings)


def factors(seed: int, rank: int = 2, paths: Sequence[str] = ("up", "down")) -> Params:
    rng = np.random.default_rng(seed)
    shapes = {"up": (6, 4), "down": (4, 6)}
    made: Params = {}
    for path in paths:
        out, inputs = shapes[path]
        made[f"layers.0.{path}.lora_A"] = rng.standard_normal((rank, inputs)).astype(np.float32)
        made[f"layers.0.{path}.lora_B"] = rng.standard_normal((out, rank)).astype(np.float32)
    return made


def entry(
    path: Path,
    topic: str,
    stage: str = "sft",
    tensors: Params | None = None,
    kind: dict[str, Any] | None = None,
    **fields: Any,
) -> Entry:
    """An accepted adapter, its files written into the run folder `path`. `kind`: the fields of its
    spec that are not LoRA's."""
    held = factors(0) if tensors is None else tensors
    rank = next(iter(held.values())).shape[0]
    folder = path / "topics" / topic / stage
    spec = AdapterSpec(rank=rank, alpha=2.0 * rank, **(kind or {}))
    linears = ("layers.0.up", "layers.0.down")
    peft_files.write(folder, spec, held, base="model", linears=linears)
    settings = {
        "name": f"{topic}:{stage}",
        "topic": topic,
        "stage": stage,
        "kind": spec.kind,
        "rank": rank,
        "alpha": 2.0 * rank,
        "scaling": "standard",
        "folder": folder.relative_to(path).as_posix(),
        "sha256": adapter_digest(folder),
        "replaces": None,
        "backend": "torch",
        "before": score(),
        "after": score(),
        "accepted": True,
        "verdict": "",
        **fields,
    }
    return Entry.model_validate(settings)


def began(path: Path, curriculum: Path | None = None, **fields: Any) -> None:
    """The inputs of a run in the folder `path`, with the settings that every run begins with."""
    settings = {**settled(resolve(None, ())), "eval.resamples": RESAMPLES}
    texts = dict.fromkeys(
        ("model", "called", "backend", "device", "system", "model_id", "tokenizer", "dtype"), "x"
    )
    known = {
        **texts,
        "curriculum": curriculum,
        "topics": (),
        "hashes": HASHES,
        "config": settings,
        "origins": {},
        "versions": {},
        "opened_on": "cpu",
        "threads": 1,
        "blas": "",
    }
    write_inputs(path, Inputs(**{**known, **fields}))


def folder(
    path: Path, made: Result | None, entries: Sequence[Entry] = (), handoff: Handoff = "merge"
) -> Path:
    """A run folder with a result and a ledger."""
    path.mkdir(exist_ok=True)
    ledger = Ledger(model_id="m" * 64, handoff=handoff, entries=tuple(entries))
    ledgers.write(RunDir(path), ledger)
    if made is not None:
        write_result(path, made)
    return path


def run(path: Path, made: Result, entries: Sequence[Entry] = (), **fields: Any) -> Run:
    """Read back as a comparison reads it, by the name of its folder."""
    return read_run(path.name, folder(path, made, entries, **fields))
