"""Arguments and options that several verbs share, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CurriculumPath = Annotated[Path, typer.Argument(metavar="CURRICULUM", help="curriculum folder")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="run folder")]
ModelPath = Annotated[
    str | None, typer.Option("--model", metavar="PATH|ID", help="base model: a folder or a hub id")
]
BackendName = Annotated[
    str, typer.Option("--backend", metavar="auto|mlx|torch", help="framework to run on")
]
EngineName = Annotated[
    str | None,
    typer.Option("--engine", metavar="native|trl", help="who takes the steps [default: native]"),
]
Device = Annotated[
    str, typer.Option("--device", metavar="auto|cuda|mps|cpu|gpu", help="device to run on")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="settings as YAML")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="one setting, as `sft.epochs=5`; repeatable"),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="RUN", help="new run folder [default: under runs/]")
]
Topics = Annotated[
    list[str] | None,
    typer.Option("--topic", metavar="ID", help="only this topic, chapter or unit; repeatable"),
]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]

DEVICES = ("auto", "cuda", "mps", "cpu", "gpu")
