"""`mindprint ledger`: what a run accepted, what it rolled back, and what is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mindprint.cli.options import Json, RunPath

if TYPE_CHECKING:
    from mindprint.inputs import Inputs
    from mindprint.ledger import Entry, Ledger
    from mindprint.report.text import Table


def ledger(run: RunPath, as_json: Json = False) -> None:
    """List the adapters of a run in the order they were made, and which of them are in force."""
    import shlex

    from mindprint.cli import output
    from mindprint.errors import ConfigError
    from mindprint.inputs import read_inputs
    from mindprint.ledger import LEDGER, read
    from mindprint.report.text import plain
    from mindprint.rundir import RunDir

    inputs = read_inputs(run)
    if not (run / LEDGER).is_file():
        hint = f"`mindprint resume {shlex.quote(str(run))}` goes on with the run, and makes it"
        raise ConfigError(f"the run has no {LEDGER} yet", where=str(run), hint=hint)
    held = read(RunDir(run))
    if as_json:
        output.result(_tree(held, inputs))
        return
    output.table(plain(entry_table(held, inputs)))
    output.table("\n" + _base(held, inputs))


def entry_table(held: Ledger, inputs: Inputs) -> Table:
    """A line for each entry, and for each topic that was dropped."""
    from mindprint.report.text import Table, one_line
    from mindprint.report.words import NONE

    head = ("topic", "stage", "state", "rank", "alpha", "kind", "backend", "accuracy", "voice")
    rows: list[tuple[str, ...]] = [
        (
            entry.topic,
            entry.stage,
            state,
            str(entry.rank),
            f"{entry.alpha:g}",
            entry.kind,
            entry.backend,
            *_scores(entry),
            entry.sha256[:12],
            one_line(entry.verdict),
        )
        for entry, state in zip(held.entries, held.states(), strict=True)
    ]
    for origin in inputs.dropped:
        blank = (NONE,) * 7
        rows += [
            (topic, NONE, "dropped", *blank, f"as it was: {origin.run}") for topic in origin.topics
        ]
    return Table((*head, "hash", "verdict"), tuple(rows), frozenset({3, 4}))


def _scores(entry: Entry) -> tuple[str, str]:
    from mindprint.report.words import NONE, change

    before, after = entry.before, entry.after
    if before is None or after is None:
        return NONE, NONE
    return change(before.accuracy, after.accuracy), change(before.voice, after.voice)


def _base(held: Ledger, inputs: Inputs) -> str:
    """The model in a sentence."""
    topics = list(dict.fromkeys(entry.topic for entry in held.acting()))
    count = len(held.acting())
    adapters = f"{count} adapter{'s' if count != 1 else ''} ({', '.join(topics)})"
    force = adapters if topics else "no adapter, so the model is its base"
    return (
        f"The base model `{inputs.called}` never changed (hash {held.model_id[:12]}); in force: "
        f"{force}. Handoff: {held.handoff}."
    )


def _tree(held: Ledger, inputs: Inputs) -> dict[str, Any]:
    return {
        "model": inputs.called,
        "model_id": held.model_id,
        "handoff": held.handoff,
        "entries": [
            {**entry.model_dump(mode="json"), "state": state}
            for entry, state in zip(held.entries, held.states(), strict=True)
        ],
        "dropped": [origin.model_dump(mode="json") for origin in inputs.dropped],
    }
