"""Packed weights on MLX: packed as the model is opened, or by mlx-lm before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from backends import weight_files
from backends.contract import Choice, ModelSpec
from backends.errors import ModelError
from backends.mlx.base_weight import Packed, sizes
from backends.mlx.framework import mx, nn, tree_flatten
from backends.mlx_conversion import GROUPS

KEY = "model.quantization"
BITS = {"4bit": 4, "8bit": 8}
CODED = {(4, 16): "nvfp4", (4, 32): "mxfp4", (8, 32): "mxfp8"}
"""(bits, group) -> mode, where scales are codes of 8 bits; with scales that are floats it is
`affine`."""
WIDTHS = ((2, 3, 4, 5, 6, 8), (16, 32, 64, 128))
"""Bits of a number and numbers of a group that MLX's kernels know."""


@dataclass(frozen=True)
class Packs:
    """The packed layers of a model, by path. `kind` says how, "none" where there is none;
    `because`, why and what was left as it is."""

    kind: str = "none"
    because: str = ""
    layers: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def told(self) -> tuple[Choice, ...]:
        return () if self.kind == "none" else (Choice(self.kind, self.because, KEY),)


def pack(net: Any, quantization: str) -> Packs:
    """Pack every linear layer, the head and the embedding, as mlx-lm does: in groups of 64, or of
    32 where rows are no multiple of that; what is no multiple of either stays as it is. One layer
    after another is evaluated, so that one at a time is there in both forms.

    Raises ModelError where nothing can be packed.
    """
    bits = BITS[quantization]
    left: list[str] = []

    def how(path: str, module: Any) -> bool | dict[str, Any]:
        if not hasattr(module, "to_quantized"):
            return False
        width = module.weight.shape[-1]
        group = next((group for group in GROUPS if width % group == 0), None)
        if group is None:
            left.append(path)
            return False
        return {"group_size": group, "bits": bits}

    nn.quantize(net, class_predicate=how)
    layers = packed_layers(net)
    if not layers:
        raise ModelError(
            f"no layer of this model can be packed: none has rows of a multiple of {min(GROUPS)}",
            where=KEY,
            hint="use `model.quantization: none`",
        )
    for layer in layers.values():
        mx.eval(layer.parameters())
    told = [f"named; mlx {metadata.version('mlx')}"]
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        why = f"rows are no multiple of {min(GROUPS)}"
        told.append(f"as they are, since their {why}: {', '.join(left[:3])}{more}")
    return Packs(_kind(layers), "; ".join(told), layers)


def adopt(net: Any, found: Mapping[str, mx.array], where: str) -> Packs:
    """Give `net` the packed layers that the files' tensors are for; their values come with all
    others'. How each was packed is told by the sizes, as mlx-lm reads it. Raises ModelError."""

    def how(path: str, module: Any) -> bool | dict[str, Any]:
        if not hasattr(module, "to_quantized") or f"{path}.scales" not in found:
            return False
        return _sized(path, module, found, where)

    nn.quantize(net, class_predicate=how)
    layers = packed_layers(net)
    return Packs(_kind(layers), "as the model's files hold it", layers)


def _sized(path: str, module: Any, found: Mapping[str, mx.array], where: str) -> dict[str, Any]:
    width = module.weight.shape[-1]
    scales, weight = found[f"{path}.scales"], found.get(f"{path}.weight")
    if weight is not None and weight.dtype == mx.uint32 and scales.ndim == weight.ndim == 2:
        group, over = divmod(width, max(1, scales.shape[1]))
        bits, rest = divmod(weight.shape[1] * 32, width)
        mode = CODED.get((bits, group)) if scales.dtype == mx.uint8 else "affine"
        known = bits in WIDTHS[0] and group in WIDTHS[1]
        if known and mode is not None and not over and not rest:
            return {"group_size": group, "bits": bits, "mode": mode}
    raise ModelError(
        f"`{path}` is packed in a way that MLX does not know: its rows are {width} wide, "
        f"with scales {tuple(scales.shape)}",
        where=where,
    )


def precision(chosen: Choice, spec: ModelSpec, folder: Path) -> Choice:
    """`chosen`, or float16 where that is not named and the files' scales are in it: bfloat16 would
    round them, and with them every weight. Raises ModelError."""
    if spec.dtype != "auto" or chosen.name != "bfloat16":
        return chosen
    held = weight_files.dtypes(folder)
    kinds = {kind for name, kind in held.items() if name.endswith(".scales")}
    if kinds != {"F16"}:
        return chosen
    return Choice("float16", "what the packed weights' scales are stored in", chosen.key)


def packed_layers(net: Any) -> dict[str, Any]:
    """Layer path -> packed layer, in the model's order."""
    return {path: leaf for path, leaf in _leaves(net) if isinstance(leaf, Packed)}


def numbers(net: Any) -> int:
    """How many the model computes with, however they are packed."""
    total = 0
    for _, leaf in _leaves(net):
        if isinstance(leaf, Packed):
            out, inputs = sizes(leaf)
            total += out * inputs + ("bias" in leaf and leaf.bias.size)
        else:
            total += sum(array.size for _, array in tree_flatten(leaf.parameters()))
    return total


def _leaves(net: Any) -> list[tuple[str, Any]]:
    is_leaf = nn.Module.is_module
    found: list[tuple[str, Any]] = tree_flatten(net.leaf_modules(), is_leaf=is_leaf)
    return found


def _kind(layers: Mapping[str, Any]) -> str:
    """Such as "4-bit in groups of 64": of most numbers first, where it is not the same for all."""
    counts: dict[str, int] = {}
    for layer in layers.values():
        called = "" if layer.mode == "affine" else f" ({layer.mode})"
        name = f"{layer.bits}-bit{called} in groups of {layer.group_size}"
        counts[name] = counts.get(name, 0) + layer.weight.size * 32 // layer.bits
    return ", ".join(sorted(counts, key=lambda name: (-counts[name], name))) or "none"
