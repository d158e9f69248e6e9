"""What an export came to, on the terminal."""

from __future__ import annotations

from mindprint.cli import output
from mindprint.export.checked import Checked, share
from mindprint.export.exporting import Exported
from mindprint.report.text import Table, plain


def show(exported: Exported) -> None:
    made, checked = exported.made, exported.checked
    kind = [made.dtype]
    kind += [f"rank {made.rank}"] if made.rank is not None else []
    kind += [f"{made.quantize} bits"] if made.quantize is not None else []
    rows = [
        ("exported", exported.folder, f"{exported.size / 1e6:,.1f} MB"),
        ("form", made.form, ", ".join(kind)),
        ("topics", str(len(exported.topics)), ", ".join(exported.topics)),
        ("exact", checked.exact, "the run's own model, that it is compared with"),
    ]
    if made.weight_error:
        rows.append(("weights", share(made.weight_error), "of the change is lost to rounding"))
    output.lines(rows)
    if checked.verified:
        output.table("\n" + plain(table(checked)))
    for framework, why in checked.unverified.items():
        output.note(f"not verified with {framework}: {why}")
    if not checked.verified:
        output.note("nothing was verified: no library that loads this form was asked")
    output.note(*made.notes)


def table(checked: Checked) -> Table:
    """One line for each library that opened the export."""
    head = ("opened with", "positions", "effect lost", "worst logit", "answers", "tokens", "by")
    rows = tuple(
        (
            f"plain {one.framework}",
            str(one.positions),
            share(one.lost),
            f"{one.worst:.1e}",
            f"{one.answers}/{one.asked}",
            f"{one.tokens}/{one.tokens_of}",
            one.version,
        )
        for one in checked.verified
    )
    return Table(head, rows)
