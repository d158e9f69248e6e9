"""`--to merged`: base and ledger in one model's folder, rounded once, opened again by others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.model_files import read_config
from backends.weight_files import check_floats, equal, headers
from mindprint.export import bends, tensors
from mindprint.export.bends import Taken
from mindprint.export.checked import Checked, Rounded, check_bound, percentage, verify
from mindprint.export.exact import Ground
from mindprint.export.folded import Folded, folded
from mindprint.export.form import Asked, Done, Made
from mindprint.export.model_config import merged_config
from mindprint.export.numbers import BYTES, KINDS, OutOfRange
from mindprint.export.plain import Plain, plain
from mindprint.export.text_files import copy_text, write_json
from mindprint.footprint import EMBEDDING, HEAD, TIED_UNLESS_SAID


@dataclass(frozen=True)
class Merge:
    """A merged model that was written. `base`: what it was merged into; `whole`: what was added."""

    made: Made
    base: Plain
    whole: Folded
    taken: Taken

    @property
    def rounded(self) -> Rounded:
        return self.taken.rounded(self.made.weight_error, self.made.dtype == "float32")


def write(ground: Ground, asked: Asked, folder: Path) -> Done:
    """Raises ExportRefused where a library loses more than the bound of the adapters' effect."""
    with plain(ground, folder) as base:
        merge = write_model(ground, base, folder, asked)
        checked = verify(ground, folder, rounded=merge.rounded)
        check_bound(checked, folder, lambda: advice(ground, merge, checked))
    return bends.told(merge.made, merge.taken, checked), checked


def write_model(ground: Ground, base: Plain, folder: Path, asked: Asked) -> Merge:
    """The merged model's files into `folder`, which is there. Nothing is verified.

    Raises ModelError, AdapterError or OutOfRange.
    """
    own = ground.source.base
    raw = read_config(base.folder)
    check_floats(base.folder)
    taken = bends.taken(ground, asked)
    whole = folded(taken.adapters, tensors.rows_of(base.folder))
    tensors.check_layers(base.folder, whole)
    ground.say(f"merging {len(whole.tensors) // 2} layers in float64, rounding once")
    dtype = base.dtype if asked.dtype == "auto" else asked.dtype
    written = tensors.write(base.folder, whole, folder, dtype, like=own)
    config = merged_config(raw, written.dtype, _tied(base.folder, raw))
    write_json(folder / "config.json", config)
    copy_text(own, folder)
    made = Made(
        form=asked.to,
        dtype=written.dtype,
        rank=None,
        weight_error=written.error,
        layers=written.layers,
        notes=_unpacked(base, written.dtype),
    )
    return Merge(made, base, whole, taken)


def advice(ground: Ground, merge: Merge, checked: Checked) -> str:
    """Which dtype would keep the effect: what it loses on the weights, worked out, times how much
    more the logits lost than the weights did here."""
    made = merge.made
    if merge.taken.fit is not None:
        return bends.advice(ground)
    if made.dtype == "float32":
        over = [one.framework for one in checked.verified if not one.lost <= one.limit]
        left = " ".join(f"--unverified {one}" for one in over)
        return (
            f"float32 loses {percentage(made.weight_error)} on the weights, so "
            f"{' and '.join(over)} computes this model otherwise: `{left}` leaves it out"
        )
    ratio = checked.lost / made.weight_error if made.weight_error else 1.0
    told = []
    for dtype in sorted(KINDS, key=lambda name: BYTES[KINDS[name]]):
        if dtype == made.dtype:
            continue
        try:
            loss = tensors.loss(merge.base.folder, merge.whole, dtype)
        except OutOfRange:
            told.append(f"{dtype} has not the range")
            continue
        if loss * ratio <= checked.bound:
            return (
                f"{dtype} would keep it (it loses {percentage(loss)} on the weights, where "
                f"{made.dtype} loses {percentage(made.weight_error)}): `--dtype {dtype}`"
            )
        told.append(f"{dtype} loses {percentage(loss)} on the weights")
    return f"no dtype keeps it ({'; '.join(told)}): export the adapter, `--to adapter`"


def _unpacked(base: Plain, dtype: str) -> tuple[str, ...]:
    """What is to be said of a base that was quantized."""
    if not base.packed:
        return ()
    return (
        f"the base is quantized ({base.quantization}): its weights were unpacked to the numbers "
        f"that it computes with, the adapters added, and all rounded once to {dtype}",
    )


def _tied(base: Path, raw: dict[str, Any]) -> bool:
    """Whether the head is the embedding: one that is stored and differs is the model's own,
    whatever the config says, as transformers 5 has it."""
    held = headers(base)
    said = bool(raw.get("tie_word_embeddings", raw["model_type"] in TIED_UNLESS_SAID))
    head = next((name for name in held if name == HEAD or name.endswith(f".{HEAD}")), None)
    if head is None:
        return True
    embedding = next((name for name in held if name.endswith(EMBEDDING)), None)
    return said and embedding is not None and equal(head, embedding, held)
