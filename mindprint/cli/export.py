"""`mindprint export`: a run's model in the forms that others read, each verified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mindprint.cli.options import BackendName, Device, Json, ModelPath, RunPath

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="new folder to write")]
To = Annotated[
    str,
    typer.Option("--to", metavar="FORM", help="adapter, mlx-adapter, merged, mlx or ollama"),
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TOPIC", help="as it was at the end of a topic")
]
Without = Annotated[
    list[str] | None,
    typer.Option("--without", metavar="TOPIC", help="leave a topic's change out; repeatable"),
]
Rank = Annotated[
    int | None,
    typer.Option("--rank", min=1, metavar="R", help="an adapter cut to this rank [default: exact]"),
]
DTypeName = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="auto|float32|bfloat16|float16",
        help="of a model's weights",
    ),
]
Quantize = Annotated[
    int | None, typer.Option("--quantize", metavar="4|8", help="bits, with `--to mlx`")
]
LeastSquares = Annotated[
    bool,
    typer.Option(
        "--least-squares",
        help="a line in the place of each spline of an LS-LoRA, and what that loses",
    ),
]
Bound = Annotated[
    float,
    typer.Option("--bound", metavar="X", help="largest share of the adapters' effect to lose"),
]
Unverified = Annotated[
    list[str] | None,
    typer.Option(
        "--unverified", metavar="LIBRARY", help="do not open it with this one; repeatable"
    ),
]


def export(
    run: RunPath,
    folder: Folder,
    to: To,
    until: Until = None,
    without: Without = None,
    rank: Rank = None,
    dtype: DTypeName = "auto",
    quantize: Quantize = None,
    least_squares: LeastSquares = False,
    bound: Bound = 0.1,
    unverified: Unverified = None,
    model: ModelPath = None,
    backend: BackendName = "",
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Write a run's model for others to load, and check that it is that model.

    The folder is opened again in fresh processes by the libraries that will load it, and what they
    give is compared with the run's own; an export that loses too much is not written.
    """
    from mindprint.cli import output
    from mindprint.cli.ground import ground_of
    from mindprint.export import bends
    from mindprint.export.exporting import check_base, check_folder
    from mindprint.export.exporting import export as write
    from mindprint.export.form import Asked, check
    from mindprint.export.source import Source

    asked = Asked(to, rank, dtype, quantize, least_squares)  # type: ignore[arg-type]  # checked next
    check(asked, unverified or ())
    _check_bound(bound)
    source = Source.find(run, until=until, without=without or (), model=model)
    check_base(source, asked)
    bends.check(source, asked)
    check_folder(source, asked, folder)
    ground = ground_of(source, bound, unverified or (), backend, device)
    exported = write(ground, asked, folder)
    if as_json:
        output.result(exported.model_dump(mode="json"))
        return
    from mindprint.cli.exported import show

    show(exported)


def _check_bound(bound: float) -> None:
    from mindprint.errors import ConfigError

    if not 0 < bound < float("inf"):
        hint = "a share, such as 0.1"
        raise ConfigError(f"`--bound` is {bound:g}, not above 0", where="--bound", hint=hint)
