"""What LoRA means on every backend: which layers, which initial values, which names."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from backends.contract import AdapterSpec
from backends.errors import AdapterError


def init_a(seed: int, path: str, rank: int, inputs: int) -> NDArray[np.float32]:
    """A of one layer: uniform in +-1/sqrt(inputs), float32 [rank, inputs], from (seed, path)."""
    digest = hashlib.sha256(path.encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    bound = 1.0 / np.sqrt(inputs)
    draws = np.random.default_rng([seed, *words]).uniform(-bound, bound, size=(rank, inputs))
    return draws.astype(np.float32)


def matches(path: str, target: str) -> bool:
    """A target names whole trailing components of a layer path (PEFT's rule)."""
    return path == target or path.endswith("." + target)


def select(linears: Collection[str], targets: str | tuple[str, ...]) -> list[str]:
    """The layer paths an adapter attaches to, in the model's order.

    `linears` holds every linear layer but the output head. Raises AdapterError when a target
    matches none of them.
    """
    if targets == "all-linear":
        if not linears:
            raise AdapterError("the model has no linear layer", where="adapter.targets")
        return list(linears)
    named = (targets,) if isinstance(targets, str) else targets
    kinds = sorted({path.rsplit(".", 1)[-1] for path in linears})
    for target in named:
        if not any(matches(path, target) for path in linears):
            near = difflib.get_close_matches(target, kinds, n=1)
            guess = f"did you mean `{near[0]}`? " if near else ""
            raise AdapterError(
                f"no layer matches the target `{target}`",
                where="adapter.targets",
                hint=f"{guess}this model has: {', '.join(kinds)} (or all-linear)",
            )
    return [path for path in linears if any(matches(path, target) for target in named)]


def leaf_targets(chosen: Collection[str], linears: Collection[str]) -> list[str]:
    """Target names that pick exactly `chosen`: short ones where they suffice, else full paths."""
    leaves = sorted({path.rsplit(".", 1)[-1] for path in chosen})
    picked = {path for path in linears if any(matches(path, leaf) for leaf in leaves)}
    return leaves if picked == set(chosen) else sorted(chosen)


def name_a(path: str) -> str:
    return f"{path}.lora_A"


def name_b(path: str) -> str:
    return f"{path}.lora_B"


def paths_of(names: Iterable[str]) -> list[str]:
    """The layers that tensors of these contract names belong to, in their order."""
    return list(dict.fromkeys(name.rsplit(".", 1)[0] for name in names))


def check_free(name: str, taken: Collection[str], training: str | None) -> None:
    """Raises AdapterError when `name` is taken or another adapter already trains."""
    if name in taken:
        raise AdapterError(f"an adapter named `{name}` is already attached")
    if training is not None:
        raise AdapterError(
            f"`{training}` is still training; an adapter is never added over another by accident",
            hint="freeze, merge_and_unload or unload it first",
        )


def describe(spec: AdapterSpec) -> str:
    return f"rank {spec.rank}, alpha {spec.alpha:g}, {spec.scaling}, scale {spec.scale:g}"
