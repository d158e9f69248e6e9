"""What a run takes on the disk, worked out from the headers of the model's own files.

Nothing is guessed by a model's name: parameters and layers are those that the safetensors files
hold, and the layers an adapter attaches to are picked as the backends pick them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends import lora
from backends.model_files import read_config
from backends.peft_files import PREFIX
from backends.weight_files import equal, headers
from mindprint.checkpoints import KEPT
from mindprint.config import Config

if TYPE_CHECKING:
    from mindprint.plan import PlannedStage

EMBEDDING, HEAD = "embed_tokens.weight", "lm_head.weight"
TIED_UNLESS_SAID = frozenset({"gemma3_text"})
"""Families whose configuration ties the head to the embedding where the file does not say."""

STATE = 5
"""Most adapters' worth of tensors in a checkpoint: the adapter, two moments of the optimizer, the
last sound state, the best epoch."""

STEP_BYTES = 400
"""A step in metrics.jsonl, in the stage's record and in a checkpoint's."""

QUESTION_BYTES, TOKEN_BYTES = 2500, 10
"""A question asked once, in eval.json, answers.jsonl, result.json and the reports, and each token
that its answer may have: what runs on short and long answers came to, rounded up."""

PAIR_BYTES = 16
STAGE_BYTES = 8192
"""Adapter configuration, record, ledger entry and events of a stage."""


@dataclass(frozen=True)
class Sizes:
    """`linears`: layer path -> (out, in) of every linear layer but the output head."""

    parameters: int
    linears: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Footprint:
    """Bytes. `adapter` is the file of a topic's adapter, `dpo_adapter` that of DPO's own (0 where
    it has none); `sure` is the most that surely lies on the disk at once, `most` with every stage
    that may come and every retry; `past`: the part of both that adapters of another run take,
    which are in memory all the while too."""

    parameters: int
    layers: int
    adapter: int
    dpo_adapter: int
    sure: int
    most: int
    past: int = 0

    def with_past(self, size: int) -> Footprint:
        """With adapters of another run, of `size` bytes, copied first."""
        return replace(self, past=size, sure=self.sure + size, most=self.most + size)


def read_sizes(folder: Path) -> Sizes:
    """Off the headers alone. Raises ModelError."""
    held = headers(folder)
    head = next((name for name in held if is_named(name, HEAD)), None)
    embedding = next((name for name in held if is_named(name, EMBEDDING)), None)
    skipped = 0
    if head is not None and embedding is not None and _tied(folder):
        # A stored head that is the embedding once more is read as one tensor.
        skipped = prod(held[head].shape) if equal(head, embedding, held) else 0
    shapes = {name: one.shape for name, one in held.items()}
    linears = {
        name.removesuffix(".weight"): (shape[0], shape[1])
        for name, shape in shapes.items()
        if len(shape) == 2 and name.endswith(".weight") and name not in (head, embedding)
    }
    return Sizes(sum(map(prod, shapes.values())) - skipped, linears)


def adapter_bytes(sizes: Sizes, rank: int, targets: str | tuple[str, ...]) -> int:
    """Size of an adapter's safetensors file, float32. Raises AdapterError where no layer fits."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    total = 0
    for path in sorted(lora.select(sizes.linears, targets)):
        out, inputs = sizes.linears[path]
        for name, shape in ((lora.name_a(path), (rank, inputs)), (lora.name_b(path), (out, rank))):
            span = [total, total + 4 * prod(shape)]
            header[f"{PREFIX}{name}.weight"] = {
                "dtype": "F32",
                "shape": shape,
                "data_offsets": span,
            }
            total = span[1]
    written = len(json.dumps(header, separators=(",", ":")))
    return 8 + written + -written % 8 + total


def footprint(
    sizes: Sizes, config: Config, stages: Sequence[PlannedStage], questions: int
) -> Footprint:
    """Of a run of `stages`, in the order in which they come, that asks `questions`."""
    own, dpo = adapter_bytes(sizes, config.adapter.rank, config.adapter.targets), 0
    if config.dpo.adapter == "new" and any(stage.name == "dpo" for stage in stages):
        rank = config.dpo.rank or config.adapter.rank
        dpo = adapter_bytes(sizes, rank, config.dpo.targets or config.adapter.targets)
    asked = questions * (QUESTION_BYTES + TOKEN_BYTES * config.eval.max_tokens)
    certain = [stage for stage in stages if stage.certain]
    tries = config.gate.retries + 1
    once = [_stage(stage, own, dpo, config, 1) for stage in certain]
    last = [_stage(stage, own, dpo, config, tries) for stage in stages]
    kept = sum(_stage(stage, own, dpo, config, n)[0] for stage in stages for n in range(1, tries))
    return Footprint(
        parameters=sizes.parameters,
        layers=len(lora.select(sizes.linears, config.adapter.targets)),
        adapter=own,
        dpo_adapter=dpo,
        sure=_peak(once) + asked,
        most=kept + _peak(last) + asked * tries,
    )


def _stage(
    stage: PlannedStage, own: int, dpo: int, config: Config, attempt: int
) -> tuple[int, int]:
    """(bytes that a stage's `attempt`, from 1, leaves; those of its checkpoints while it lasts)."""
    adapter = dpo if stage.name == "dpo" and dpo else own
    steps = stage.steps * attempt  # every further attempt runs as many epochs again
    pairs = stage.rows * PAIR_BYTES if stage.name == "dpo" else 0
    # Two are kept, and one more is there while it is written.
    saved = min(steps // config.run.checkpoint_every, KEPT + 1)
    held = STATE if stage.held_out else STATE - 1
    return adapter + steps * STEP_BYTES + pairs + STAGE_BYTES, saved * held * adapter


def _peak(stages: Sequence[tuple[int, int]]) -> int:
    """The most that lies there at once: a stage is on the disk before its checkpoints go."""
    total = most = 0
    for left, meanwhile in stages:
        total += left
        most = max(most, total + meanwhile)
    return most


def is_named(name: str, last: str) -> bool:
    """Whether a tensor is `last`, whatever it stands in."""
    return name == last or name.endswith(f".{last}")


def _tied(folder: Path) -> bool:
    config = read_config(folder)
    return bool(config.get("tie_word_embeddings", config["model_type"] in TIED_UNLESS_SAID))
