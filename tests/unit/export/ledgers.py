"""A run's folder with a ledger of drawn adapters, made without any training, and its ground."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from backends import get, model_files, peft_files
from backends.chain import Held
from backends.contract import AdapterSpec, ModelSpec, Session
from backends.lora import name_a, name_b
from mindprint import ledger as ledgers
from mindprint.config import resolve
from mindprint.disk.sealed import adapter_digest
from mindprint.export.exact import Ground
from mindprint.export.source import Source
from mindprint.export.witness import Job, Seen
from mindprint.footprint import read_sizes
from mindprint.inputs import Inputs, settled, write_inputs
from mindprint.ledger import Entry, Ledger
from mindprint.report.scores import Score
from mindprint.rundir import RunDir
from mindprint.tokens.render import Renderer
from tests import kinds

ZERO = Score(accuracy=0, voice=0, degenerate=0, questions=1)
FIRST, SECOND = "unit/chapter/one", "unit/chapter/two"
SPECS = (AdapterSpec(rank=4, alpha=8.0), AdapterSpec(rank=2, alpha=3.0, scaling="rslora"))
"""Of the two entries: another rank, another scale, and the second leaves attention alone."""
QUESTIONS = ("Who keeps the lamp?", "What is the tower made of?", "Name what the sea gives back.")


def drawn(model: Path, spec: AdapterSpec, seed: int, size: float, only: str = "") -> Held:
    """Random factors for every layer of `model` whose path holds `only`."""
    if spec.kind != "lora":
        return kinds.drawn(weights_of(model), spec, seed, size, only)
    rng = np.random.default_rng(seed)
    tensors = {}
    for path, (out, inputs) in read_sizes(model).linears.items():
        if only in path:
            tensors[name_a(path)] = rng.uniform(-1, 1, (spec.rank, inputs)).astype(np.float32)
            b = size * rng.standard_normal((out, spec.rank))
            tensors[name_b(path)] = b.astype(np.float32)
    return spec, tensors


def weights_of(model: Path) -> dict[str, NDArray[np.float32]]:
    """Every layer's, of a float32 model in one file."""
    held = load_file(model / "model.safetensors")
    return {path: held[f"{path}.weight"] for path in read_sizes(model).linears}


def make_run(
    path: Path,
    model: Path,
    *,
    size: float = 0.01,
    questions: bool = True,
    dtype: str = "float32",
    specs: Sequence[AdapterSpec] = SPECS,
    quantization: str = "none",
    backend: str = "torch",
) -> Path:
    """A run of two topics over `model`, whose adapters change each weight by about `size`; of one,
    with a single spec."""
    path.mkdir(parents=True)
    asked = [f"model.quantization={quantization}"] if quantization != "none" else []
    resolved = resolve(None, asked, model__path=str(model))
    inputs = _inputs(model, dict(settled(resolved)), dict(resolved.origins))
    model_id = model_files.model_id(model, quantization, backend)
    write_inputs(path, replace(inputs, dtype=dtype, backend=backend, model_id=model_id))
    held = [drawn(model, spec, n, size, "" if n == 1 else "mlp") for n, spec in enumerate(specs, 1)]
    entries = []
    for topic, (spec, tensors) in zip((FIRST, SECOND), held, strict=False):
        folder = path / "topics" / topic / "sft"
        peft_files.write(folder, spec, tensors, base="tiny", linears=read_sizes(model).linears)
        if questions:
            rows = "".join(json.dumps({"question": text}) + "\n" for text in QUESTIONS)
            (folder / "answers.jsonl").write_text(rows, "utf-8")
        entries.append(_entry(topic, spec, folder.relative_to(path), adapter_digest(folder)))
    book = Ledger(model_id=model_id, handoff="stack", entries=tuple(entries))
    ledgers.write(RunDir(path), book)
    return path


def _entry(topic: str, spec: AdapterSpec, folder: Path, digest: str) -> Entry:
    return Entry(
        name=f"{topic}:sft",
        topic=topic,
        stage="sft",
        kind=spec.kind,
        rank=spec.rank,
        alpha=spec.alpha,
        scaling=spec.scaling,
        folder=folder.as_posix(),
        sha256=digest,
        replaces=None,
        backend="torch",
        before=ZERO,
        after=ZERO,
        accepted=True,
        verdict="",
    )


def _inputs(model: Path, config: dict[str, object], origins: dict[str, str]) -> Inputs:
    return Inputs(
        curriculum=model / "nowhere",
        model=str(model),
        called=model.name,
        backend="torch",
        device="cpu",
        topics=(FIRST, SECOND),
        system="You are a keeper.",
        hashes={},
        config=config,
        origins=origins,
        model_id=model_files.model_id(model),
        tokenizer="",
        versions={},
        dtype="float32",
        opened_on="cpu",
        threads=1,
        blas="",
    )


def ground(
    run: Path,
    backend: str,
    *,
    bound: float = 0.1,
    until: str | None = None,
    without: Sequence[str] = (),
) -> Ground:
    """What a form is made from, in float32 on the CPU."""
    source = Source.find(run, until=until, without=without, model=None)

    @contextmanager
    def opened(longest_row: int) -> Iterator[Session]:
        spec = ModelSpec(
            str(source.base),
            dtype="float32",
            device="cpu",
            longest_row=longest_row,
            quantization=source.inputs.begun().config.model.quantization,
        )
        session = get(backend).open(spec)
        try:
            yield session
        finally:
            session.close()

    renderer = Renderer.open(source.base)
    return Ground(source, renderer, backend, opened, bound, lambda text: None)


def inside(job: Job) -> Seen:
    """The witness's own function in this process: starting a new one costs seconds."""
    from backends.mlx import witness as mlx
    from backends.torch import witness as torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PEFT and transformers say to each other
        return mlx.see(job) if job.framework == "mlx-lm" else torch.see(job)
