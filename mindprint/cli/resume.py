"""`mindprint resume`: go on with a run that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mindprint.cli.options import BackendName, ConfigFile, Device, Json, RunPath, Settings

Fork = Annotated[
    Path | None,
    typer.Option("--fork", metavar="NEW", help="begin a new run with what this one has accepted"),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TOPIC", help="with --fork: take no topic after this one"),
]
ModelPlace = Annotated[
    str | None, typer.Option("--model", metavar="PATH|ID", help="where the same model lies now")
]
CurriculumPlace = Annotated[
    Path | None,
    typer.Option("--curriculum", metavar="PATH", help="where the curriculum lies now"),
]


def resume(
    run: RunPath,
    backend: BackendName = "",
    device: Device = "",
    fork: Fork = None,
    until: Until = None,
    config: ConfigFile = None,
    settings: Settings = None,
    model: ModelPlace = None,
    curriculum: CurriculumPlace = None,
    as_json: Json = False,
) -> None:
    """Go on where a run stopped, to the result that it would have had.

    What it began with must be the same: settings, curriculum, model, libraries. With --fork a new
    run begins with the accepted topics, and all but the model may be other. Another --backend is
    taken from the next topic on.
    """
    from mindprint.cli.going_on import Wish, go_on
    from mindprint.cli.parting import part
    from mindprint.errors import ConfigError

    wish = Wish(backend, device, config, tuple(settings or ()), model, curriculum)
    if fork is not None:
        part(run, fork, until, wish, as_json)
    elif until is not None:
        hint = "add `--fork NEW`: a run itself never goes back"
        raise ConfigError("`--until` is for `--fork`", where="--until", hint=hint)
    else:
        go_on(run, wish, as_json)
