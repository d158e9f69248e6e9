"""`mindprint adopt`: an adapter trained by others, made a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mindprint.cli.options import BackendName, Device, Json, Settings

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="adapter folder, as PEFT or mlx-lm writes it")
]
Model = Annotated[
    str, typer.Option("--model", metavar="PATH|ID", help="the model it was trained on")
]
NewRun = Annotated[Path, typer.Option("--out", metavar="RUN", help="new run folder")]
Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="its topic in the ledger [default: DIR's name]"),
]


def adopt(
    folder: Folder,
    model: Model,
    out: NewRun,
    name: Name = None,
    backend: BackendName = "auto",
    device: Device = "auto",
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Make an adapter that others trained a run, checked, with one accepted ledger entry.

    `chat`, `eval RUN CURRICULUM` and `export` work on the run, and `train --from RUN` goes on.
    """
    import shlex

    from mindprint.adopt import Stranger, adopt, checked_name
    from mindprint.cli import output
    from mindprint.rundir import check_place
    from mindprint.target import Target

    called = checked_name(name, folder)
    check_place(out)
    stranger = Stranger.read(folder)
    target = Target.find(
        model, backend=backend, device=device, settings=settings or (), place="--model"
    )
    made = adopt(stranger, target, out, called)
    output.note(*(f"notice: {text}" for text in made.notices))
    if as_json:
        output.result(
            {
                "run": str(made.run),
                "entry": made.entry.model_dump(mode="json"),
                "effect": vars(made.effect),
                "notices": list(made.notices),
            }
        )
        return
    run = shlex.quote(str(out))
    output.table(f"adopted `{called}` into {out}: {made.effect.told}")
    output.note(f"train over it with `mindprint train CURRICULUM --from {run}`")
