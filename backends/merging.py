"""What a merge may lose, said alike on every backend."""

from __future__ import annotations

from backends.errors import MergeRefused


def ratio(part: float, whole: float) -> float:
    """part / whole, where nothing of nothing is 0 and something of nothing infinite."""
    if part == 0.0:
        return 0.0
    return part / whole if whole > 0.0 else float("inf")


def refusal(lost: float, weight_error: float, bound: float, dtype: str) -> MergeRefused:
    return MergeRefused(
        f"merging into {dtype} weights would lose {lost:.0%} of the adapters' effect on the logits"
        f" (bound {bound:.0%}; relative error of the weights {weight_error:.2g})",
        where="handoff",
        hint="keep the adapters stacked (handoff: stack), or open the model in float32",
    )


def bent(path: str) -> MergeRefused:
    """Where an LS-LoRA's spline is not linear."""
    return MergeRefused(
        f"the spline of `{path}` bends, and a weight cannot: a merge would be another adapter",
        where="handoff",
        hint="keep the adapters stacked (handoff: stack)",
    )


def packed(path: str) -> MergeRefused:
    """Where the base is quantized."""
    return MergeRefused(
        f"the weight of `{path}` is quantized: rounded to its few levels again, it would lose more "
        "than the adapters add",
        where="handoff",
        hint="keep the adapters stacked (handoff: stack); an export writes full precision",
    )
