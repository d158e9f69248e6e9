"""Folding adapters into the base weights: rebuilt from the file, rounded once, measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from backends import merging
from backends.contract import MergeReport
from backends.errors import MergeRefused
from backends.merging import ratio, refusal
from backends.model_files import own_names
from backends.sampling import probe_rows
from backends.torch.base_weight import quantized
from backends.torch.chain import Entry, norms, stretch
from backends.torch.model import Opened
from backends.torch.precise import float32_arithmetic
from backends.weight_files import shards


@dataclass(frozen=True)
class Change:
    """One layer's merge: the adapters already in its weight, merge by merge, and those to fold in
    now."""

    path: str
    linear: nn.Module
    earlier: Sequence[Sequence[Entry]]
    now: Sequence[Entry]

    @property
    def weight(self) -> nn.Parameter:
        return self.linear.weight

    def check(self) -> None:
        """Raises MergeRefused where no weight can hold what is to be folded in."""
        if quantized(self.linear):
            raise merging.packed(self.path)
        if any(entry.slope is None for entry in self.now):
            raise merging.bent(self.path)


class Pristine:
    """The tensors of the model's safetensors files, read one at a time."""

    def __init__(self, folder: Path) -> None:
        file_of: dict[str, Path] = {}
        for file in shards(folder):
            with safe_open(file, framework="pt") as opened:
                file_of.update(dict.fromkeys(opened.keys(), file))
        names = own_names(folder, file_of)
        self._at = {own: (file_of[stored], stored) for own, stored in names.items()}

    def read(self, name: str) -> Any:
        """The stored tensor, on the CPU. Raises MergeRefused when the files have none."""
        if name not in self._at:
            raise MergeRefused(
                f"the model's files hold no tensor `{name}`, so a merge cannot be rebuilt",
                hint="keep the adapters stacked (handoff: stack)",
            )
        file, stored = self._at[name]
        with safe_open(file, framework="pt") as opened:
            return opened.get_tensor(stored)


def fold(
    opened: Opened,
    changes: Sequence[Change],
    bound: float,
    logits_with: Callable[[bool], Any],
) -> MergeReport:
    """Put the pristine weight with all adapters in it, worked out in float32 and rounded once,
    into every changed layer.

    `logits_with(attached)` gives probe logits with everything attached, or with nothing. Raises
    MergeRefused, with the weights as they were, when more than `bound` of the effect is lost, or
    where a weight cannot hold it at all.
    """
    for change in changes:
        change.check()
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
            _assign(change.weight, _held(pristine, change))
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
    expected = _held(pristine, change).to(before.dtype)
    if not torch.equal(before, expected):
        raise MergeRefused(
            f"the weight of `{change.path}` is not what its file and the merges so far make it",
            hint="open the model afresh",
        )
    return before


def _rewrite(pristine: Pristine, change: Change, before: Any) -> tuple[float, float]:
    """Assign the merged weight; squared norms of the rounding error and of the delta."""
    _assign(change.weight, _folded(_held(pristine, change), change.now).contiguous())
    delta = _delta(pristine, change)
    moved = change.weight.detach().cpu().double() - before.double()
    return float((moved - delta).square().sum()), float(delta.square().sum())


def _delta(pristine: Pristine, change: Change) -> Any:
    """What the merge changes, in float64, since the error of a float32 merge is itself below
    float32's resolution."""
    wide = torch.float64
    if all(entry.magnitudes is None for entry in change.now):
        return sum((_added(entry, wide) for entry in change.now), torch.zeros((), dtype=wide))
    before = _held(pristine, change, wide)
    return _folded(before.clone(), change.now).sub_(before)


def _held(pristine: Pristine, change: Change, dtype: Any = torch.float32) -> Any:
    """The weight as the merges so far make it before it is rounded, [out, in] on the CPU,
    contiguous."""
    total = pristine.read(f"{change.path}.weight").to(dtype)
    for entries in change.earlier:
        total = _folded(total, entries)
    return total.contiguous()


def _folded(total: Any, entries: Sequence[Entry]) -> Any:
    """`total`, in place, with `entries` in it. Splines come last: branches are outside the norm of
    a DoRA that is over them."""
    for entry in sorted(entries, key=lambda entry: entry.spline is not None):
        total += _added(entry, total.dtype)
        if entry.magnitudes is not None:
            # As they are found where it trains, so that a fresh one stretches nothing here either.
            lengths = norms(total.square().sum(dim=1))
            total *= stretch(entry.magnitudes.to(total.dtype), lengths)[:, None]
    return total


def _added(entry: Entry, dtype: Any) -> Any:
    """B A, times the slope of a spline that is linear. [out, in]."""
    delta = entry.b.to(dtype).contiguous() @ entry.a.to(dtype).contiguous()
    if entry.spline is None:
        return delta
    if entry.slope is None:
        raise ValueError("a spline that bends is in no weight")
    return delta.mul_(entry.slope)


def _assign(weight: nn.Parameter, value: Any) -> None:
    with torch.no_grad():
        weight.copy_(value.to(weight.dtype))


def changes_of(
    linears: Mapping[str, nn.Module],
    earlier: Sequence[Mapping[str, list[Entry]]],
    now: Mapping[str, list[Entry]],
) -> list[Change]:
    """One change for every layer that `now` touches, in the model's order."""
    return [
        Change(path, linear, [merge[path] for merge in earlier if path in merge], now[path])
        for path, linear in linears.items()
        if path in now
    ]
