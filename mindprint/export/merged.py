"""`--to merged`: base and ledger in one model's folder, rounded once, opened again by others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from backends.json_files import json_of
from backends.model_files import read_config
from backends.weight_files import check_floats, equal, headers
from mindprint.errors import ConfigError
from mindprint.export import tensors
from mindprint.export.checked import Checked, Rounded, check_bound, percentage, verify
from mindprint.export.exact import Ground
from mindprint.export.folded import Folded, concatenated
from mindprint.export.form import Asked, Done, Made
from mindprint.export.model_config import merged_config
from mindprint.export.numbers import BYTES, KINDS, OutOfRange
from mindprint.footprint import EMBEDDING, HEAD, TIED_UNLESS_SAID

TEXT = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
"""What turns text into ids and ends an answer. Nothing else of the base's folder goes along."""
TOKENIZER = "tokenizer_config.json"


def write(ground: Ground, asked: Asked, folder: Path) -> Done:
    """Raises ExportRefused where a library loses more than the bound of the adapters' effect."""
    made, folded = write_model(ground, folder, asked)
    checked = verify(ground, folder, rounded=rounding(made))
    check_bound(checked, folder, lambda: advice(ground, made, folded, checked))
    return made, checked


def write_model(ground: Ground, folder: Path, asked: Asked) -> tuple[Made, Folded]:
    """The merged model's files into `folder`, which is there. Nothing is verified.

    Raises ModelError, AdapterError or OutOfRange.
    """
    base = ground.source.base
    raw = read_config(base)
    check_floats(base)
    if raw.get("quantization_config") or raw.get("quantization"):
        where = str(base / "config.json")
        raise ConfigError("the base is quantized, and cannot be merged into", where=where)
    folded = concatenated(ground.source.adapters())
    tensors.check_layers(base, folded)
    ground.say(f"merging {len(folded.tensors) // 2} layers in float64, rounding once")
    written = tensors.write(base, folded, folder, asked.dtype)
    config = merged_config(raw, written.dtype, _tied(base, raw))
    _write_json(folder / "config.json", config)
    _copy_text(base, folder)
    made = Made(
        form=asked.to,
        dtype=written.dtype,
        rank=None,
        weight_error=written.error,
        layers=written.layers,
    )
    return made, folded


def rounding(made: Made) -> Rounded:
    return Rounded(made.weight_error, exact=made.dtype == "float32")


def advice(ground: Ground, made: Made, folded: Folded, checked: Checked) -> str:
    """Which dtype would keep the effect: what it loses on the weights, worked out, times how much
    more the logits lost than the weights did here."""
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
            loss = tensors.loss(ground.source.base, folded, dtype)
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


def _copy_text(base: Path, folder: Path) -> None:
    for name in TEXT:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    if (base / TOKENIZER).is_file():
        tree = json_of(base / TOKENIZER)
        if isinstance(tree, dict) and tree.pop("auto_map", None) is not None:
            _write_json(folder / TOKENIZER, tree)  # it named code, which does not go along
        else:
            shutil.copyfile(base / TOKENIZER, folder / TOKENIZER)


def _write_json(file: Path, tree: dict[str, Any]) -> None:
    text = json.dumps(tree, indent=2, sort_keys=True, ensure_ascii=False)
    file.write_text(text + "\n", "utf-8")
