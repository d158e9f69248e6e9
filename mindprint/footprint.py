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

from backends import lora, text_part
from backends.contract import AdapterSpec
from backends.model_files import read_config
from backends.packed_files import weights
from backends.peft_files import stored_name
from backends.weight_files import equal, headers
from mindprint.adapter import spec_of, told
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
    """`linears`: layer path -> (out, in) of every linear layer but the output head, of
    packed ones what they stand for; `parameters` counts likewise."""

    parameters: int
    linears: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Footprint:
    """Bytes. `adapter` is the file of a topic's adapter, `dpo_adapter` that of DPO's own (0 where
    it has none); `sure` is the most that surely lies on the disk at once, `most` with every stage
    that may come and every retry; `past`: the part of both that adapters of another run take,
    which are in memory all the while too, and `branches`, how many LS-LoRA there are among them;
    `kind`: the adapter's, in words, "" of plain LoRA."""

    parameters: int
    layers: int
    adapter: int
    dpo_adapter: int
    sure: int
    most: int
    past: int = 0
    branches: int = 0
    kind: str = ""

    def beside(self, handoff: str) -> int:
        """How many of `branches` act beside the adapter that trains: where one adapter is carried
        on, the last of them is that adapter."""
        return max(0, self.branches - 1) if handoff == "continue" else self.branches

    def with_past(self, size: int, branches: int = 0) -> Footprint:
        """With adapters of another run, of `size` bytes, copied first."""
        sure, most = self.sure + size, self.most + size
        return replace(self, past=size, branches=branches, sure=sure, most=most)


def read_sizes(folder: Path) -> Sizes:
    """Off the headers alone. Raises ModelError."""
    held, stored = headers(folder), weights(folder)
    head = next((name for name in stored if is_named(name, HEAD)), None)
    embedding = next((name for name in stored if is_named(name, EMBEDDING)), None)
    skipped = 0
    if head is not None and embedding is not None and _tied(folder):
        # A stored head that is the embedding once more is read as one tensor.
        same = equal(stored[head].name, stored[embedding].name, held)
        skipped = prod(stored[head].shape) if same else 0
    shapes = {name: one.shape for name, one in stored.items()}
    linears = {
        name.removesuffix(".weight"): (shape[0], shape[1])
        for name, shape in shapes.items()
        if len(shape) == 2 and name.endswith(".weight") and name not in (head, embedding)
    }
    return Sizes(sum(map(prod, shapes.values())) - skipped, linears)


def tensors_of(sizes: Sizes, spec: AdapterSpec) -> dict[str, tuple[int, ...]]:
    """Contract name -> shape of every tensor of an adapter. Raises AdapterError where no layer
    fits."""
    found: dict[str, tuple[int, ...]] = {}
    for path in lora.select(sizes.linears, spec.targets):
        found |= lora.shapes(spec, path, *sizes.linears[path])
    return found


def adapter_bytes(sizes: Sizes, spec: AdapterSpec) -> int:
    """Size of an adapter's safetensors file, float32. Raises AdapterError where no layer fits."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    total = 0
    for name, shape in sorted(tensors_of(sizes, spec).items()):
        span = [total, total + 4 * prod(shape)]
        header[stored_name(name)] = {"dtype": "F32", "shape": shape, "data_offsets": span}
        total = span[1]
    written = len(json.dumps(header, separators=(",", ":")))
    return 8 + written + -written % 8 + total


def footprint(
    sizes: Sizes, config: Config, stages: Sequence[PlannedStage], questions: int
) -> Footprint:
    """Of a run of `stages`, in the order in which they come, that asks `questions`."""
    spec = spec_of(config)
    own, dpo = adapter_bytes(sizes, spec), 0
    if config.dpo.adapter == "new" and any(stage.name == "dpo" for stage in stages):
        dpo = adapter_bytes(sizes, spec_of(config, "dpo"))
    asked = questions * (QUESTION_BYTES + TOKEN_BYTES * config.eval.max_tokens)
    certain = [stage for stage in stages if stage.certain]
    tries = config.gate.retries + 1
    once = [_stage(stage, own, dpo, config, 1) for stage in certain]
    last = [_stage(stage, own, dpo, config, tries) for stage in stages]
    kept = sum(_stage(stage, own, dpo, config, n)[0] for stage in stages for n in range(1, tries))
    return Footprint(
        parameters=sizes.parameters,
        layers=len(lora.select(sizes.linears, spec.targets)),
        adapter=own,
        dpo_adapter=dpo,
        sure=_peak(once) + asked,
        most=kept + _peak(last) + asked * tries,
        kind=told(spec),
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
    family = text_part.kind(config) or config["model_type"]
    return bool(config.get("tie_word_embeddings", family in TIED_UNLESS_SAID))
