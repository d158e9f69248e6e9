"""`mindprint compare`: runs side by side, or a curriculum trained on several backends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mindprint.cli.options import ConfigFile, Device, Json, ModelPath, Settings, Topics

Named = Annotated[
    list[Path],
    typer.Argument(metavar="RUN RUN...|CURRICULUM", help="run folders, or a curriculum folder"),
]
Backends = Annotated[
    str | None,
    typer.Option(
        "--backends",
        metavar="mlx,torch,trl",
        help="train CURRICULUM once on each of these (trl: PyTorch with TRL's trainers)",
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="new folder [default: under runs/]")
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="exit code 1 when a run leaves the first, or was not held to it throughout"
    ),
]


def compare(
    named: Named,
    backends: Backends = None,
    model: ModelPath = None,
    device: Device = "auto",
    config: ConfigFile = None,
    settings: Settings = None,
    topics: Topics = None,
    out: Out = None,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Compare finished runs with the first of them: losses, scores, answers, adapters, cost.

    With --backends a curriculum is trained on each of them first, one after another. What was
    stopped goes on with the same command.
    """
    from mindprint.cli.compared import check_out, compared_runs, default_place, tell
    from mindprint.cli.matched import Task, matched

    place = out or default_place()
    check_out(place)
    if backends is None:
        options = {
            "--model": model,
            "--device": device if device != "auto" else None,
            "--config": config,
            "--set": settings,
            "--topic": topics,
        }
        comparison = compared_runs(named, [name for name, given in options.items() if given])
    else:
        task = Task.asked(named, model, device, config, settings or (), topics or ())
        comparison = matched(task, backends, place)
    tell(comparison, place, strict, as_json)
