"""A finished stage on disk: its record, and a hash of every file that was written with it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from mindprint.disk.sealed import Damaged, digest_of, file_hash, is_whole, read_json, write_json
from mindprint.report.model import StageRecord

STAGE = "stage.json"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def write_stage(folder: Path, record: StageRecord) -> None:
    """The last file to be written into a stage's folder, which vouches for the others."""
    files = {path.name: file_hash(path) for path in sorted(folder.iterdir()) if path.is_file()}
    write_json(folder / STAGE, {"record": record.model_dump(mode="json"), "files": files})


def read_stage(folder: Path) -> StageRecord:
    """The record. Raises Damaged when it, or the stage's adapter, is not as it was written."""
    tree = read_json(folder / STAGE)
    for name in odd_files(folder):
        if name in ADAPTER:
            raise Damaged(folder / name, f"its hash is not the one in {STAGE}")
    try:
        return StageRecord.model_validate(tree["record"])
    except (KeyError, ValidationError) as error:
        raise Damaged(folder / STAGE, "it is no record of a stage") from error


def lay_bare(folder: Path) -> None:
    """Take the stage's adapter away; a record that is whole vouches for the rest."""
    for name in ADAPTER:
        (folder / name).unlink(missing_ok=True)
    if is_whole(folder / STAGE):
        tree = read_json(folder / STAGE)
        rest = {name: one for name, one in tree.get("files", {}).items() if name not in ADAPTER}
        write_json(folder / STAGE, {**tree, "files": rest})


def is_bare(folder: Path) -> bool:
    """Whether the stage's adapter was taken away from it."""
    if not is_whole(folder / STAGE) or any((folder / name).is_file() for name in ADAPTER):
        return False
    return not set(ADAPTER) & read_json(folder / STAGE).get("files", {}).keys()


def adapter_hash(folder: Path) -> str:
    """SHA-256 over the stage's adapter files as they were when they were written, in whatever
    state they are now; as `adapter_digest` makes it. Raises Damaged."""
    files: dict[str, str] = read_json(folder / STAGE).get("files", {})
    if missing := [name for name in ADAPTER if name not in files]:
        raise Damaged(folder / STAGE, f"it does not vouch for `{missing[0]}`")
    return digest_of({name: files[name] for name in ADAPTER})


def odd_files(folder: Path) -> list[str]:
    """Names of the files, missing ones too, that are not as they were when the stage was written.

    Raises Damaged when `stage.json` itself is not.
    """
    files: dict[str, str] = read_json(folder / STAGE).get("files", {})
    return [
        name
        for name, wanted in sorted(files.items())
        if not (folder / name).is_file() or file_hash(folder / name) != wanted
    ]
