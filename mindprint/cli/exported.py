"""What an export came to, on the terminal."""

from __future__ import annotations

from mindprint.cli import output
from mindprint.export.checked import Checked, percentage
from mindprint.export.exporting import Exported
from mindprint.report.text import Table, plain

NAMES = {"lora": "LoRA", "dora": "DoRA", "lslora": "LS-LoRA"}


def show(exported: Exported) -> None:
    made, checked = exported.made, exported.checked
    kind = [made.dtype]
    kind += [NAMES[made.kind]] if made.kind is not None else []
    kind += [f"rank {made.rank}"] if made.rank is not None else []
    kind += [f"{made.quantize} bits"] if made.quantize is not None else []
    rows = [
        ("exported", exported.folder, f"{exported.size / 1e6:,.1f} MB"),
        ("form", made.form, ", ".join(kind)),
        ("topics", str(len(exported.topics)), ", ".join(exported.topics)),
    ]
    if checked.verified:
        rows.append(("exact", checked.exact, "the run's own model, that it is compared with"))
    if made.weight_error:
        rows.append(("weights", percentage(made.weight_error), "of the change is lost to rounding"))
    output.lines(rows)
    if checked.verified:
        output.table("\n" + plain(table(checked, held=made.quantize is None)))
    for framework, why in checked.unverified.items():
        output.note(f"not verified with {framework}: {why}")
    if not checked.verified and made.kind != "lslora":
        output.note("nothing was verified: no library that loads this form was asked")
    output.note(*checked.notes, *made.notes)


def table(checked: Checked, held: bool) -> Table:
    """One line for each library that opened the export. `held`: whether its bound stood."""
    head = ("opened with", "positions", "effect lost", "bound", "worst logit", "answers", "tokens")
    rows = tuple(
        (
            f"plain {one.framework}",
            str(one.positions),
            percentage(one.lost) if one.measurable else "none to measure",
            percentage(one.limit) if held else "–",
            f"{one.worst:.1e}",
            f"{one.answers}/{one.asked}",
            f"{one.tokens}/{one.tokens_of}",
            one.version,
        )
        for one in checked.verified
    )
    return Table((*head, "by"), rows)
