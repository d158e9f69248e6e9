"""One export: made under another name, verified there, and only then given its name."""

from __future__ import annotations

import shutil
from pathlib import Path

from backends import text_part
from backends.model_files import read_config
from mindprint.disk.whole import write_folder
from mindprint.errors import ConfigError, MindprintError
from mindprint.export import bends, tensors
from mindprint.export.card import export_card
from mindprint.export.checked import Checked
from mindprint.export.exact import Ground
from mindprint.export.form import FORMS, Asked, Done, Made, writer
from mindprint.export.plain import room
from mindprint.export.source import Source
from mindprint.report.scores import Frozen
from mindprint.rundir import check_place

CARD = "README.md"
TEXT_BYTES = 64 << 20
"""Room for the tokenizer's files and the card beside the weights."""


def check_base(source: Source, asked: Asked) -> None:
    """Raises ConfigError for a whole model of a base of which one part alone was trained."""
    config = read_config(source.base)
    if FORMS[asked.to].model and text_part.kind(config) is not None:
        raise ConfigError(
            f"the base is a vision-language model (`{config['model_type']}`) whose text part was "
            "trained, and a whole model is written of a text model alone",
            where="--to",
            hint="export what was trained: `--to adapter`",
        )


class Exported(Frozen):
    """What `mindprint export --json` prints. `entries`: the ledger's, in order; `files`: name ->
    bytes."""

    run: str
    folder: str
    until: str | None
    without: tuple[str, ...]
    topics: tuple[str, ...]
    entries: tuple[str, ...]
    files: dict[str, int]
    made: Made
    checked: Checked

    @property
    def size(self) -> int:
        return sum(self.files.values())


def check_folder(source: Source, asked: Asked, folder: Path) -> None:
    """Raises ConfigError for a place that holds something, cannot be written, or has no room: asked
    before any weight is loaded."""
    place = folder.absolute().resolve()
    for held, what in ((source.run.path, "the run"), (source.base, "the base model")):
        if place.is_relative_to(held.resolve()):
            said = "is" if held.resolve() == place else "lies in the folder of"
            raise ConfigError(
                f"`{folder}` {said} {what}", where="DIR", hint="choose a folder outside of it"
            )
    try:
        check_place(folder, size_of(source, asked), "the export")
    except ConfigError as error:
        hint = "choose a folder that is not there yet, or is empty, on a disk with room"
        raise ConfigError(error.what, where="DIR", hint=hint) from error


def size_of(source: Source, asked: Asked) -> int:
    """About how many bytes will be written, at most, with a quantized base unpacked beside."""
    if FORMS[asked.to].model:
        return tensors.size_of(source.base, asked.dtype) + TEXT_BYTES + room(source)
    files = (source.run.path / entry.folder for entry in source.entries)
    own = sum(one.stat().st_size for folder in files for one in folder.glob("*.safetensors"))
    # One LS-LoRA is written as it is, and nothing is unpacked for it.
    return own + (0 if bends.alone(source, asked) else room(source))


def export(ground: Ground, asked: Asked, folder: Path) -> Exported:
    """Write `asked` to `folder`, whole or not at all. Raises what its form raises."""
    source = ground.source
    done: list[Done] = []

    def fill(partial: Path) -> None:
        try:
            made, checked = writer(asked.to)(ground, asked, partial)
            card = export_card(source, made, checked)
            (partial / CARD).write_text(card, "utf-8")
            done.append((made, checked))
        except BaseException as error:
            # What was refused may be as large as a model, and leaves nothing behind.
            shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, MindprintError):
                error.where = error.where.replace(str(partial), str(folder))
            raise

    write_folder(folder, fill, size_of(source, asked))
    made, checked = done[0]
    return Exported(
        run=str(source.run.path),
        folder=str(folder),
        until=source.until,
        without=source.without,
        topics=source.topics,
        entries=tuple(entry.name for entry in source.entries),
        files={
            file.relative_to(folder).as_posix(): file.stat().st_size
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        },
        made=made,
        checked=checked,
    )
