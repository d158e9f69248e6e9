"""Folding adapters into the base weights: rebuilt from the file, rounded once, measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from backends.contract import MergeReport
from backends.errors import MergeRefused
from backends.merging import ratio, refusal
from backends.sampling import probe_rows
from backends.torch.frozen import Factors
from backends.torch.model import Opened
from backends.torch.precise import float32_arithmetic
from backends.weight_files import shards


@dataclass(frozen=True)
class Change:
    """One layer's merge: the factors already in its weight, and those to fold in now."""

    path: str
    weight: nn.Parameter
    earlier: Factors
    now: Factors


class Pristine:
    """The tensors of the model's safetensors files, read one at a time."""

    def __init__(self, folder: Path) -> None:
        self._file: dict[str, Path] = {}
        for file in shards(folder):
            with safe_open(file, framework="pt") as opened:
                self._file.update(dict.fromkeys(opened.keys(), file))

    def read(self, name: str) -> Any:
        """The stored tensor, on the CPU. Raises MergeRefused when the files have none."""
        if name not in self._file:
            raise MergeRefused(
                f"the model's files hold no tensor `{name}`, so a merge cannot be rebuilt",
                hint="keep the adapters stacked (handoff: stack)",
            )
        with safe_open(self._file[name], framework="pt") as opened:
            return opened.get_tensor(name)


def fold(
    opened: Opened,
    changes: Sequence[Change],
    bound: float,
    logits_with: Callable[[bool], Any],
) -> MergeReport:
    """Put pristine + all deltas, summed in float32 and rounded once, into every changed weight.

    `logits_with(attached)` gives probe logits with everything attached, or with nothing. Raises
    MergeRefused, with the weights as they were, when more than `bound` of the effect is lost.
    """
    pristine = Pristine(opened.folder)
    exact, base = logits_with(True), logits_with(False)
    errors: list[float] = []
    deltas: list[float] = []
    done: list[Change] = []
    try:
        for change in changes:
            before = _unchanged(pristine, change)
            done.append(change)  # first: an interrupted assignment is undone as well
            error, delta = _rewrite(pristine, change, before)
            errors.append(error)
            deltas.append(delta)
        merged = logits_with(False)
        lost = ratio((merged - exact).norm().item(), (exact - base).norm().item())
        weight_error = ratio(sum(errors) ** 0.5, sum(deltas) ** 0.5)
        if not lost <= bound:  # also when it is not a number
            raise refusal(lost, weight_error, bound, opened.info.dtype)
    except BaseException:
        for change in done:
            _assign(change.weight, _sum(pristine, change, change.earlier))
        raise
    positions = exact.shape[0] * exact.shape[1]
    return MergeReport(lost, weight_error, positions, len(changes), opened.info.dtype)


def probe_logits(opened: Opened) -> Any:
    """Float32 logits of the probe rows on the CPU, computed in float32 arithmetic: in bfloat16
    the rounding of activations (about 1e-2) would hide what the rounding of weights loses."""
    ids = torch.from_numpy(probe_rows(opened.info.vocabulary)).long().to(opened.device)
    with torch.no_grad(), float32_arithmetic(opened.model):
        return opened.head(opened.hidden(ids)).cpu()


def _unchanged(pristine: Pristine, change: Change) -> Any:
    """The weight on the CPU, or MergeRefused when it is not what it should be before a merge."""
    before = change.weight.detach().cpu().clone()
    expected = _sum(pristine, change, change.earlier).to(before.dtype)
    if not torch.equal(before, expected):
        raise MergeRefused(
            f"the weight of `{change.path}` is not what its file and the merges so far make it",
            hint="open the model afresh",
        )
    return before


def _rewrite(pristine: Pristine, change: Change, before: Any) -> tuple[float, float]:
    """Assign the merged weight; squared norms of the rounding error and of the delta."""
    _assign(change.weight, _sum(pristine, change, [*change.earlier, *change.now]))
    # In float64, since the error of a float32 merge is itself below float32's resolution.
    delta = sum((b.double() @ a.double() for a, b in change.now), torch.zeros(()).double())
    moved = change.weight.detach().cpu().double() - before.double()
    return float((moved - delta).square().sum()), float(delta.square().sum())


def _sum(pristine: Pristine, change: Change, factors: Factors) -> Any:
    """float32 [out, in] on the CPU, contiguous."""
    total = pristine.read(f"{change.path}.weight").float()
    for a, b in factors:
        total += b.contiguous() @ a.contiguous()
    return total.contiguous()


def _assign(weight: nn.Parameter, value: Any) -> None:
    with torch.no_grad():
        weight.copy_(value.to(weight.dtype))


def changes_of(
    linears: Mapping[str, nn.Module],
    earlier: Mapping[str, list[tuple[Any, Any]]],
    now: Mapping[str, list[tuple[Any, Any]]],
) -> list[Change]:
    """One change for every layer that `now` touches, in the model's order."""
    return [
        Change(path, linear.weight, tuple(earlier.get(path, ())), tuple(now[path]))
        for path, linear in linears.items()
        if path in now
    ]
