"""The base's weights as plain numbers: its own files, or those of a quantized base unpacked first.

Unpacked are exactly the numbers that the run's own model computed with, in float32, so that what
is merged over them, or opened over them, is that model and no other.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from backends import packed_files
from backends.chain import Rows
from backends.contract import Session
from backends.model_files import read_config
from backends.weight_files import FLOATS, Held, headers
from mindprint.disk.room import check_room
from mindprint.export import tensors
from mindprint.export.exact import Ground
from mindprint.export.numbers import BYTES, DTYPES
from mindprint.export.source import Source
from mindprint.export.text_files import copy_text, write_json
from mindprint.inputs import Inputs

UNQUANTIZED = "none"
OWN = "unpacked"
LONGEST = 64
"""Tokens of a row that nothing is fed: the model is opened for its weights."""


@dataclass(frozen=True)
class Plain:
    """`folder` holds the weights as floats, with a config.json that says no other; `dtype`: that of
    an export under `auto`; `quantization`: as the run's model has it, "none" where the folder is
    the base's own."""

    folder: Path
    dtype: str = "auto"
    quantization: str = UNQUANTIZED

    @property
    def packed(self) -> bool:
        """Whether it was unpacked."""
        return self.quantization != UNQUANTIZED


def is_packed(base: Path, inputs: Inputs) -> bool:
    """Whether the run's model is quantized, by its files or as the run opened it. Raises
    ModelError."""
    asked = inputs.begun().config.model.quantization
    found = packed_files.packing(read_config(base), str(base / "config.json"))
    return asked != UNQUANTIZED or found is not None


def room(source: Source) -> int:
    """Bytes that the base takes once it is unpacked, 0 where it is no quantized one."""
    packed = is_packed(source.base, source.inputs)
    return tensors.size_of(source.base, "float32") if packed else 0


@contextmanager
def plain(ground: Ground, place: Path) -> Iterator[Plain]:
    """The base as plain numbers; unpacked into `place`, which is there, and taken away at the end.

    Raises what opening the base raises, and NoRoom.
    """
    base, wanted = ground.source.base, room(ground.source)
    if not wanted:
        yield Plain(base)
        return
    check_room(place, wanted)
    folder = place / OWN
    try:
        with ground.open(LONGEST) as session:
            ground.say(f"unpacking the base, which is quantized ({session.info.quantization})")
            made = unpacked(session, base, folder)
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unpacked(session: Session, base: Path, folder: Path) -> Plain:
    """The weights of an opened quantized model into `folder`, which is made: what was packed in
    float32, one tensor a file, and the rest as it is in `base`, with what makes text of ids."""
    folder.mkdir()
    names: dict[str, str] = {}
    size = 0
    for number, (name, values) in enumerate(session.unpacked()):
        file = f"model-unpacked-{number:05}.safetensors"
        made = np.ascontiguousarray(values, dtype=np.float32)
        save_file({name: made}, folder / file, metadata={"format": "pt"})
        names[name], size = file, size + made.nbytes
    held = headers(base)
    rest = _rest(held, names)
    if rest:
        file = "model-rest.safetensors"
        tensors.copy(rest, held, folder / file)
        names |= dict.fromkeys(rest, file)
        size += sum(prod(held[name].shape) * BYTES[held[name].dtype] for name in rest)
    tensors.write_index(folder, names, size)
    keys = packed_files.KEYS
    config = {key: value for key, value in read_config(base).items() if key not in keys}
    write_json(folder / "config.json", config)
    copy_text(base, folder)
    return Plain(folder, _dtype(held, rest), session.info.quantization)


def _rest(held: Mapping[str, Held], unpacked: Collection[str]) -> list[str]:
    """The tensors of the files that are no packed weight, nor of what unpacks one."""
    parts = {name for own in packed_files.packed_parts(held).values() for name in own}
    taken = parts | set(unpacked)
    return [name for name, one in held.items() if name not in taken and one.dtype in FLOATS]


def _dtype(held: Mapping[str, Held], rest: Collection[str]) -> str:
    """What most of the numbers are stored in that were never packed."""
    counts: Counter[str] = Counter()
    for name in rest:
        counts[held[name].dtype] += prod(held[name].shape)
    most = counts.most_common(1)
    return DTYPES[most[0][0]] if most else "float32"


@contextmanager
def opened_rows(session: Session, base: Path, place: Path) -> Iterator[Rows]:
    """The rows of the weights that an opened model computes with; unpacked into `place`, which is
    there, where they are packed, and taken away at the end. Raises NoRoom."""
    if session.info.quantization == UNQUANTIZED:
        yield tensors.rows_of(base)
        return
    check_room(place, tensors.size_of(base, "float32"))
    folder = place / OWN
    try:
        yield tensors.rows_of(unpacked(session, base, folder).folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
