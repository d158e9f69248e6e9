"""What an adapter means on every backend: which layers, which tensors and first values, which
names."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from backends import spline
from backends.contract import AdapterSpec, Params
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


def name_m(path: str) -> str:
    """DoRA's magnitudes, by PEFT's name."""
    return f"{path}.lora_magnitude_vector"


def name_v(path: str) -> str:
    """The values of LS-LoRA's spline at its knots."""
    return f"{path}.lora_spline_values"


def name_s(path: str) -> str:
    """LS-LoRA's two scales: before and after its spline."""
    return f"{path}.lora_spline_scales"


def shapes(spec: AdapterSpec, path: str, out: int, inputs: int) -> dict[str, tuple[int, ...]]:
    """Contract name -> shape of every tensor that an adapter has on a layer."""
    found: dict[str, tuple[int, ...]] = {
        name_a(path): (spec.rank, inputs),
        name_b(path): (out, spec.rank),
    }
    if spec.kind == "dora":
        found[name_m(path)] = (out,)
    if spec.spline is not None:
        found |= {name_v(path): (spec.spline.knots,), name_s(path): (2,)}
    return found


def initial(
    spec: AdapterSpec, path: str, out: int, inputs: int, norms: NDArray[np.float32] | None = None
) -> Params:
    """First values of a layer's tensors, under which the adapter changes nothing. `norms`: float32
    [out], the norm of each row of the weight it goes over, which DoRA begins with."""
    found: Params = {
        name_a(path): init_a(spec.seed, path, spec.rank, inputs),
        name_b(path): np.zeros((out, spec.rank), dtype=np.float32),
    }
    if spec.kind == "dora":
        if norms is None:
            raise ValueError("DoRA begins with the norms of the weight's rows")
        found[name_m(path)] = norms
    if spec.spline is not None:
        found[name_v(path)] = spline.knots(spec.spline).astype(np.float32)
        found[name_s(path)] = np.ones(2, dtype=np.float32)
    return found


def rates(spec: AdapterSpec, names: Iterable[str]) -> dict[str, tuple[float, bool]]:
    """Contract name -> (what multiplies the learning rate, whether weight decay acts)."""
    own = 1.0 if spec.spline is None else spec.spline.rate
    ends = (name_v(""), name_s(""))
    return {name: (own, False) if name.endswith(ends) else (1.0, True) for name in names}


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
    kind = "" if spec.kind == "lora" else f"{spec.kind}, "
    return f"{kind}rank {spec.rank}, alpha {spec.alpha:g}, {spec.scaling}, scale {spec.scale:g}"
