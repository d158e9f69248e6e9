"""`--to adapter`: the ledger folded into one adapter of PEFT's, opened again by plain PEFT."""

from __future__ import annotations

from pathlib import Path

from backends import peft_files
from mindprint.export.checked import Checked, Rounded, check_bound, percentage, verify
from mindprint.export.exact import Ground
from mindprint.export.folded import Folded, concatenated, norm, reduced
from mindprint.export.form import FORMS, Asked, Done, Made
from mindprint.footprint import read_sizes


def write(ground: Ground, asked: Asked, folder: Path) -> Done:
    """Raises ExportRefused where plain PEFT loses more than the bound of the adapters' effect."""
    source = ground.source
    folded = fold(ground, asked)
    linears = read_sizes(source.base).linears
    peft_files.write(
        folder, folded.spec, folded.tensors, base=source.inputs.called, linears=linears
    )
    checked = verify(ground, source.base, folder, FORMS[asked.to].opened, cut(folded))
    check_bound(checked, folder, lambda: advice(ground, asked, folded))
    return made(asked, folded, checked), checked


def fold(ground: Ground, asked: Asked) -> Folded:
    """The entries as one adapter: exactly, or of the rank that was asked for."""
    whole = concatenated(ground.source.adapters())
    return whole if asked.rank is None else reduced(whole, asked.rank)


def cut(folded: Folded) -> Rounded:
    return Rounded(folded.error, exact=not folded.error)


def made(asked: Asked, folded: Folded, checked: Checked) -> Made:
    rank, notes = folded.spec.rank, []
    if asked.rank is not None and asked.rank > rank:
        notes.append(f"the exact adapter has rank {rank}, less than the {asked.rank} asked for")
    elif folded.error:
        told = (
            f"{percentage(checked.lost)} of their effect on the logits" if checked.verified else ""
        )
        cut = f"rank {rank} leaves out {percentage(folded.error)} of the change of the weights"
        notes.append(f"{cut}, and {told}" if told else cut)
    if not norm(folded):
        notes.append("the adapters change nothing")
    layers = len(folded.tensors) // 2
    return Made(
        form=asked.to,
        dtype="float32",
        rank=rank,
        weight_error=folded.error,
        layers=layers,
        notes=tuple(notes),
    )


def advice(ground: Ground, asked: Asked, folded: Folded) -> str:
    """What would keep more: the smallest rank whose error on the weights is within the bound."""
    if not folded.error:
        library = FORMS[asked.to].opened[0]
        return (
            f"the adapter is the ledger's, exactly, so {library} computes this model otherwise: "
            f"`mindprint doctor` looks at the libraries, `--unverified {library}` leaves it out"
        )
    whole = concatenated(ground.source.adapters())
    low, high = folded.spec.rank, whole.spec.rank
    while high - low > 1:
        middle = (low + high) // 2
        kept = reduced(whole, middle).error <= ground.bound
        low, high = (low, middle) if kept else (middle, high)
    return f"rank {high} keeps it on the weights: `--rank {high}`, or leave `--rank` out"
