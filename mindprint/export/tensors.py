"""A merged model's safetensors files: written from the base's, a block of a tensor at a time.

Memory is bounded by a block and an adapter's factors, whatever the size of the model.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from backends import packed_files
from backends.chain import Rows, Wide
from backends.errors import AdapterError
from backends.lora import name_a, name_b, paths_of
from backends.model_files import own_names
from backends.peft_files import check
from backends.weight_files import FLOATS, INDEX, WHOLE, Held, headers, shards, span
from mindprint.export.folded import Folded
from mindprint.export.numbers import BYTES, DTYPES, KINDS, rounded, widened

BLOCK = 1 << 22
"""Numbers of a tensor that are worked on at once: 32 MB in float64."""


@dataclass(frozen=True)
class Written:
    """`error`: norm of what rounding lost over the norm of the change, over the changed layers;
    `dtype`: of most of their weights."""

    error: float
    layers: int
    dtype: str


def kinds_of(held: Mapping[str, Held], dtype: str) -> dict[str, str]:
    """Tensor name -> the kind it is written in: its own under `auto`."""
    return {name: KINDS.get(dtype, one.dtype) for name, one in held.items()}


def size_of(folder: Path, dtype: str) -> int:
    """Bytes of the weights of `folder` in `dtype`, off the headers; of packed ones once they are
    unpacked, which under `auto` is in float32."""
    total = 0
    for one in packed_files.weights(folder).values():
        kind = KINDS.get(dtype, one.dtype)
        total += prod(one.shape) * BYTES.get(kind, BYTES["F32"])
    return total


def rows_of(folder: Path) -> Rows:
    """The rows of a layer's weight off the files, float64, a block at a time. Raises AdapterError,
    by name, for a layer that they do not hold as plain numbers."""
    held = headers(folder)
    names = own_names(folder, held)

    def rows(path: str) -> Iterator[Wide]:
        own = f"{path}.weight"
        name = own if own in held else names.get(own, own)
        if name not in held or len(held[name].shape) != 2 or held[name].dtype not in FLOATS:
            raise _unheld(folder, [path])
        return _rows(name, held[name])

    return rows


def check_layers(folder: Path, folded: Folded) -> None:
    """Raises AdapterError, by name, for a layer whose weight the files do not hold in the shape."""
    held = headers(folder)
    odd = [path for path in paths_of(folded.tensors) if f"{path}.weight" not in held]
    if odd:
        raise _unheld(folder, odd)
    shapes = {name.removesuffix(".weight"): one.shape for name, one in held.items()}
    check(folded.spec, folded.tensors, {p: (s[0], s[1]) for p, s in shapes.items() if len(s) == 2})


def write(folder: Path, folded: Folded, out: Path, dtype: str, like: Path | None = None) -> Written:
    """The weights of `folder` with the change of `folded` into `out`, in as many files as `like`
    has, or `folder` itself. Raises OutOfRange."""
    held = headers(folder)
    kinds = kinds_of(held, dtype)
    parts = _parts(held, like or folder)
    changed = set(paths_of(folded.tensors))
    lost = whole = 0.0
    names: dict[str, str] = {}
    for number, inside in enumerate(parts, 1):
        called = WHOLE if len(parts) == 1 else f"model-{number:05}-of-{len(parts):05}.safetensors"
        # Larger numbers first, so that every tensor is aligned.
        inside.sort(key=lambda name: (-BYTES[kinds[name]], name))
        names |= dict.fromkeys(inside, called)
        with (out / called).open("wb") as stream:
            stream.write(_header(inside, held, kinds))
            for name in inside:
                if name.removesuffix(".weight") in changed:
                    for error, delta in _changed(stream, name, held[name], kinds[name], folded):
                        lost, whole = lost + error, whole + delta
                else:
                    _copied(stream, name, held[name], kinds[name])
    if len(parts) > 1:
        total = sum(prod(held[name].shape) * BYTES[kinds[name]] for name in names)
        write_index(out, names, total)
    return Written(_ratio(lost, whole), len(changed), _most(kinds, changed))


def copy(names: Collection[str], held: Mapping[str, Held], file: Path) -> None:
    """Tensors of `held` as they are, into a file of their own."""
    kinds = {name: held[name].dtype for name in names}
    inside = sorted(names, key=lambda name: (-BYTES[kinds[name]], name))
    with file.open("wb") as stream:
        stream.write(_header(inside, held, kinds))
        for name in inside:
            _copied(stream, name, held[name], kinds[name])


def write_index(folder: Path, names: Mapping[str, str], size: int) -> None:
    """`names`: tensor name -> its file; `size`: of them all in bytes."""
    tree = {"metadata": {"total_size": size}, "weight_map": dict(sorted(names.items()))}
    (folder / INDEX).write_text(json.dumps(tree, indent=2) + "\n", "utf-8")


def loss(folder: Path, folded: Folded, dtype: str) -> float:
    """What rounding to `dtype` would lose of the change, on the weights, without writing them.
    Raises OutOfRange."""
    held = headers(folder)
    lost = whole = 0.0
    for path in paths_of(folded.tensors):
        name = f"{path}.weight"
        kind = KINDS.get(dtype, held[name].dtype)
        for exact, delta in _sums(name, held[name], folded):
            made = widened(rounded(exact, kind, name), kind).reshape(exact.shape)
            lost += float(np.square(made - exact).sum())
            whole += float(np.square(delta).sum())
    return _ratio(lost, whole)


def _changed(
    stream: BinaryIO, name: str, held: Held, kind: str, folded: Folded
) -> Iterator[tuple[float, float]]:
    """Write a changed weight; squared norms of the rounding error and of the change, by block."""
    for exact, delta in _sums(name, held, folded):
        data = rounded(exact, kind, name)
        stream.write(data)
        made = widened(data, kind).reshape(exact.shape)
        yield float(np.square(made - exact).sum()), float(np.square(delta).sum())


def _sums(name: str, held: Held, folded: Folded) -> Iterator[tuple[Wide, Wide]]:
    """Blocks of rows of (the stored weight with its change, the change), in float64."""
    path = name.removesuffix(".weight")
    a = folded.tensors[name_a(path)].astype(np.float64) * folded.spec.scale
    b: NDArray[np.float32] = folded.tensors[name_b(path)]
    c = folded.c.get(path)
    first = 0
    for base in _rows(name, held):
        rows = slice(first, first + len(base))
        delta = b[rows].astype(np.float64) @ a
        if c is not None:
            delta += (c[rows, None] - 1.0) * base
        yield base + delta, delta
        first += len(base)


def _rows(name: str, held: Held) -> Iterator[Wide]:
    """A matrix by blocks of rows, in float64."""
    columns = held.shape[1]
    for data in _blocks(name, held, max(1, BLOCK // columns) * columns):
        yield widened(data, held.dtype).reshape(-1, columns)


def _copied(stream: BinaryIO, name: str, held: Held, kind: str) -> None:
    """An unchanged tensor: its bytes, or its numbers in another kind."""
    for data in _blocks(name, held, BLOCK):
        same = kind == held.dtype
        stream.write(data if same else rounded(widened(data, held.dtype), kind, name))


def _blocks(name: str, held: Held, count: int) -> Iterator[bytes]:
    """A tensor's bytes, `count` numbers at a time."""
    start, end = span(held.file, name)
    with held.file.open("rb") as stream:
        stream.seek(start)
        for place in range(start, end, count * BYTES[held.dtype]):
            yield stream.read(min(count * BYTES[held.dtype], end - place))


def _parts(held: Mapping[str, Held], like: Path) -> list[list[str]]:
    """The tensors by file, as the files of `like` part them; what those do not name goes with the
    last."""
    files = shards(like)
    known = headers(like)
    place = {file: number for number, file in enumerate(files)}
    found: list[list[str]] = [[] for _ in files]
    for name in held:
        at = place[known[name].file] if name in known else len(files) - 1
        found[at].append(name)
    return [inside for inside in found if inside]


def _header(names: Sequence[str], held: Mapping[str, Held], kinds: Mapping[str, str]) -> bytes:
    tree: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name in names:
        size = prod(held[name].shape) * BYTES[kinds[name]]
        spans = [place, place + size]
        tree[name] = {"dtype": kinds[name], "shape": held[name].shape, "data_offsets": spans}
        place += size
    text = json.dumps(tree, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _unheld(folder: Path, paths: Sequence[str]) -> AdapterError:
    more = f", and {len(paths) - 3} more" if len(paths) > 3 else ""
    return AdapterError(
        f"the model's files hold no weight of {', '.join(f'`{path}`' for path in paths[:3])}{more}",
        where=str(folder),
        hint="export the adapters themselves: `--to adapter`",
    )


def _ratio(lost: float, whole: float) -> float:
    return float((lost / whole) ** 0.5) if whole else 0.0


def _most(kinds: Mapping[str, str], changed: set[str]) -> str:
    found = [kinds[f"{path}.weight"] for path in changed]
    return DTYPES[max(sorted(set(found)), key=found.count)]
