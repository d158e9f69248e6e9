"""`--to adapter`: the ledger folded into one adapter of PEFT's, opened again by plain PEFT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from backends import peft_files
from backends.chain import Held, Rows
from backends.lora import paths_of
from mindprint.export import bends, tensors
from mindprint.export.bends import Taken
from mindprint.export.checked import Checked, Rounded, check_bound, percentage, verify
from mindprint.export.exact import Ground
from mindprint.export.folded import Folded, as_adapter, folded, norm, reduced
from mindprint.export.form import FORMS, Asked, Done, Made, over_packed
from mindprint.export.plain import Plain, plain
from mindprint.export.spline_adapter import write_spline
from mindprint.footprint import read_sizes


@dataclass(frozen=True)
class One:
    """The ledger as one adapter. `held`: as its files have it; `whole`: all that the adapters do,
    `kept` what of it is left in the rank that was asked for."""

    held: Held
    whole: Folded
    kept: Folded
    taken: Taken

    @property
    def cut(self) -> Rounded:
        return self.taken.rounded(self.kept.error, not self.kept.error)


def write(ground: Ground, asked: Asked, folder: Path) -> Done:
    """Raises ExportRefused where plain PEFT loses more than the bound of the adapters' effect."""
    source = ground.source
    if bends.alone(source, asked):
        return write_spline(ground, asked, folder)
    with plain(ground, folder) as base:
        one = fold(ground, asked, base)
        linears = read_sizes(base.folder).linears
        spec, held = one.held
        peft_files.write(folder, spec, held, base=source.inputs.called, linears=linears)
        checked = verify(ground, base.folder, folder, FORMS[asked.to].opened, one.cut)
    check_bound(checked, folder, lambda: advice(ground, asked, one))
    return made(asked, one, base, checked), checked


def fold(ground: Ground, asked: Asked, base: Plain) -> One:
    """The entries as one adapter over `base`: exactly, or of the rank that was asked for."""
    taken = bends.taken(ground, asked)
    rows = tensors.rows_of(base.folder)
    whole = folded(taken.adapters, rows)
    kept = whole if asked.rank is None else reduced(whole, asked.rank)
    return One(_held(taken, kept, rows), whole, kept, taken)


def made(asked: Asked, one: One, base: Plain, checked: Checked) -> Made:
    spec, held = one.held
    rank, notes = spec.rank, []
    if asked.rank is not None and asked.rank > rank:
        notes.append(f"the exact adapter has rank {rank}, less than the {asked.rank} asked for")
    elif one.kept.error:
        told = (
            f"{percentage(checked.lost)} of their effect on the logits" if checked.verified else ""
        )
        cut = f"rank {rank} leaves out {percentage(one.kept.error)} of the change of the weights"
        notes.append(f"{cut}, and {told}" if told else cut)
    if not norm(one.kept):
        notes.append("the adapters change nothing")
    if base.packed:
        notes.append(over_packed(base.quantization, "those numbers, unpacked"))
    done = Made(
        form=asked.to,
        dtype="float32",
        kind=spec.kind,
        rank=rank,
        weight_error=one.kept.error,
        layers=len(paths_of(held)),
        notes=tuple(notes),
    )
    return bends.told(done, one.taken, checked)


def advice(ground: Ground, asked: Asked, one: One) -> str:
    """What would keep more: the smallest rank whose error on the weights is within the bound."""
    if not one.kept.error:
        if one.taken.fit is not None:
            return bends.advice(ground)
        library = FORMS[asked.to].opened[0]
        return (
            f"the adapter is the ledger's, exactly, so {library} computes this model otherwise: "
            f"`mindprint doctor` looks at the libraries, `--unverified {library}` leaves it out"
        )
    low, high = one.kept.spec.rank, one.whole.spec.rank
    while high - low > 1:
        middle = (low + high) // 2
        kept = reduced(one.whole, middle).error <= ground.bound
        low, high = (low, middle) if kept else (middle, high)
    return f"rank {high} keeps it on the weights: `--rank {high}`, or leave `--rank` out"


def _held(taken: Taken, kept: Folded, rows: Rows) -> Held:
    """A single DoRA that nothing was cut off as it is: its magnitudes are not worked out anew."""
    spec, held = taken.adapters[0]
    if len(taken.adapters) == 1 and spec.kind == "dora" and not kept.error:
        return replace(spec, dropout=0.0), held
    return as_adapter(kept, rows)
