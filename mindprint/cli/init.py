"""`mindprint init`: a commented configuration and a small curriculum, to make one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Target = Annotated[Path, typer.Argument(metavar="DIR", help="new folder")]


def init(folder: Target) -> None:
    """Write config.yaml and an example curriculum of three topics into a new folder."""
    from importlib import resources

    from mindprint.cli import output
    from mindprint.cli.config_text import sample
    from mindprint.errors import ConfigError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        hint = "name a new folder: nothing is ever written over"
        raise ConfigError(f"`{folder}` is not empty", where="DIR", hint=hint)
    curriculum = folder / "curriculum"
    try:
        _copy(resources.files("mindprint.cli") / "templates" / "init", curriculum)
        (folder / "config.yaml").write_text(sample(), "utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot write the folder: {error.strerror or error}", where=str(folder)
        ) from error
    print(folder)
    output.note(
        f"  mindprint check {curriculum}",
        f"  mindprint train {curriculum} --model MODEL --config {folder / 'config.yaml'}",
    )


def _copy(source: Traversable, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.is_dir():
            _copy(entry, target / entry.name)
        else:
            (target / entry.name).write_bytes(entry.read_bytes())
